"""No message shows the password of a storage, however its address is written."""

from __future__ import annotations

import pytest

from hf_ood.passwords import HIDDEN, without_passwords
from hf_ood.runs.published_command import command_line

pytest.importorskip("optuna", reason="sweeps need hf_ood[sweep]")

from hf_ood.cli.sweep import main

SECRET = "s3cr3tW0rd"
ADDRESSES = [
    f"postgresql://user:p%40{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:p@{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:p/{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:p@x/{SECRET}:y@127.0.0.1:1/db",
    f"postgresql+psycopg://user:{SECRET}@127.0.0.1:1/db",
    f"postgresql://127.0.0.1:1/db?user=u&password={SECRET}",
    f"postgresql://127.0.0.1:1/db?user=u&password=p@{SECRET}",
    f"postgresql://127.0.0.1:1/db?sslpassword={SECRET}",
    f"postgresql://user:a {SECRET}@127.0.0.1:1/db",
    f"POSTGRESQL://user:{SECRET}@[::1]:1/db",
    f"postgresql://user:{SECRET}@127.0.0.1:noport/db",
    f"mysql+pymysql://user:{SECRET}@127.0.0.1:1/db",
    f"redis://:{SECRET}@127.0.0.1:1/0",
    f"host=127.0.0.1 port=1 password={SECRET} dbname=x",
    f"host=127.0.0.1 port=1 password='two words {SECRET}' dbname=x",
    f'host=127.0.0.1 PASSWORD = "{SECRET}"',
    f"user:{SECRET}@127.0.0.1/db",
    f"postgresql:user:{SECRET}@127.0.0.1/db",
    "postgresql://user:${SWEEP_PASSWORD}@127.0.0.1:1/db",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_way_of_writing_an_address_shows_the_password(
    address: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """With the real drivers, whose errors quote parts of it, mistyped flags, and tracebacks."""
    monkeypatch.setenv("SWEEP_PASSWORD", SECRET)
    sweep = f"--config quickstart --methods erm --results_dir {tmp_path}/s --runs_dir {tmp_path}/r".split()
    monkeypatch.setattr("hf_ood.cli.sweep.make_plan", lambda arguments: None)  # which reads the data
    for flags in (["--storage", address], [f"--storages={address}"], ["--storage", address, "--debug"]):
        with pytest.raises(SystemExit):
            main([*sweep, *flags])
        told = "".join(capfd.readouterr())
        assert told and SECRET not in told
    assert SECRET not in command_line("trainers/sweep.py", ["--storage", address, "--dataset", address])


def test_the_rest_of_a_message_stays() -> None:
    told = "could not connect to postgresql://me:secret@host:5432/db?sslmode=require as me"
    shown = f"could not connect to postgresql://me:{HIDDEN}@host:5432/db?sslmode=require as me"
    assert without_passwords(told) == shown
    for innocent in ("12:30 at https://example.org/a?b=c", "mail me@example.org", "runs/a: step 3 of 4"):
        assert without_passwords(innocent, [innocent]) == innocent
