"""Clients of the loopback Hub: unmodified libraries in processes of their own.

Importing transformers costs seconds, so a `Client` imports once and forks for every program that it is given.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TOKEN = "hf_loopbackAliceSecretToken"
TOKENS = {TOKEN: "alice", "hf_loopbackBobSecretToken": "bob", "hf_loopbackFlwrSecretToken": "flwrlabs"}

_SERVE = """
import importlib, json, os, sys, traceback

blocked, imports, folder = json.loads(sys.argv[1])


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Blocked())
for name in imports:
    importlib.import_module(name)
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
            stream.flush()
            file = open(os.path.join(folder, name), "w")
            os.dup2(file.fileno(), stream.fileno())
        os.environ.update(request["environment"])
        status = 1
        try:
            sys.argv[:] = ["program", *request["arguments"]]
            exec(compile(request["program"], "program", "exec"), {"__name__": "__main__"})
            status = 0
        except SystemExit as stopped:
            status = stopped.code if isinstance(stopped.code, int) else 0 if stopped.code is None else 1
            if isinstance(stopped.code, str):
                print(stopped.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def fresh_environment(folder: Path) -> str:
    """A new virtual environment -> its python. It finds the libraries that are installed here, but not a
    package that is a link to its sources, as this one is."""
    venv.create(folder, symlinks=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(packages, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(folder / "bin" / "python")


class Client:
    """A process that runs programs against a Hub, each in a fork; what a program prints last may be JSON."""

    def __init__(self, endpoint: str, folder: Path, imports: Sequence[str], blocked: Sequence[str] = ()):
        folder.mkdir(parents=True)
        self.folder = folder
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHONPATH"))
        }
        environment = {
            **kept,
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(folder / "hf"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": "" if "hf_ood" in blocked else str(ROOT),
        }
        python = fresh_environment(folder / "venv") if "hf_ood" in blocked else sys.executable
        command = [python, "-c", _SERVE, json.dumps([list(blocked), list(imports), str(folder)])]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, cwd=folder
        )

    def start(self, program: str, *arguments: Any, **environment: str) -> int:
        """Begin a program and return its process id; `finish` waits for it."""
        request = {"program": program, "arguments": [str(a) for a in arguments], "environment": environment}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def finish(self) -> subprocess.CompletedProcess[str]:
        assert self.process.stdout
        status = int(self.process.stdout.readline())
        out, err = ((self.folder / name).read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess("program", status, out, err)

    def attempt(self, program: str, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
        self.start(program, *arguments, **environment)
        return self.finish()

    def run(self, program: str, *arguments: Any, **environment: str) -> Any:
        """Run a program that must succeed; returns the JSON on its last line, if it printed anything."""
        finished = self.attempt(program, *arguments, **environment)
        assert finished.returncode == 0, finished.stderr
        lines = finished.stdout.splitlines()
        return json.loads(lines[-1]) if lines else None

    def script(self, file: Path, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script of this repository with a command line."""
        program = f"import runpy; runpy.run_path({str(file)!r}, run_name='__main__')"
        return self.attempt(program, *arguments, **environment)

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()
