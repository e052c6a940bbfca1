"""Benches draw their trials by Optuna, which is in the extra `sweep`."""

import pytest

pytest.importorskip("optuna", reason="benches need hf_ood[sweep]")
