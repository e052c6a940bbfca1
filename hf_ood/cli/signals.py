"""What a command says when it is interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NAMES = {"SIGINT": "Interrupted", "SIGTERM": "Terminated", "SIGHUP": "Hung up"}


class Interrupted(SystemExit):
    """A signal: printed as one sentence, without a traceback; the exit status is what shells give it."""

    def __init__(self, number: int):
        super().__init__(128 + number)


@contextmanager
def one_sentence(how_to_go_on: str) -> Iterator[None]:
    """Within, Ctrl-C, SIGTERM and SIGHUP end the program with a sentence, and with exit status 130, 143 or
    129. A training that listens to signals itself (`save_on_signal`) ends with the same sentence."""

    def stop(number: int, frame: FrameType | None) -> Any:
        raise Interrupted(number)

    numbers = [getattr(signal, name) for name in NAMES if name != "SIGINT" and hasattr(signal, name)]
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]  # as nohup does
    before = {number: signal.signal(number, stop) for number in numbers if number not in ignored}
    try:
        yield
    except KeyboardInterrupt:
        _say(signal.SIGINT, how_to_go_on)
        raise Interrupted(signal.SIGINT) from None
    except SystemExit as stopped:
        if isinstance(stopped.code, int) and stopped.code - 128 in numbers:
            _say(signal.Signals(stopped.code - 128), how_to_go_on)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(number: signal.Signals, how_to_go_on: str) -> None:
    print(f"\n{NAMES[number.name]}. {how_to_go_on}", file=sys.stderr)  # noqa: T201
