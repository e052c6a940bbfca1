"""Sweeps need the extra `sweep`."""

import pytest

pytest.importorskip("optuna", reason="sweeps need hf_ood[sweep]")
