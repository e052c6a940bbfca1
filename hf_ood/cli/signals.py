"""What a command says when it is interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED, TERMINATED = 130, 143  # exit statuses, as shells have them


class Interrupted(SystemExit):
    """Ctrl-C or SIGTERM: printed as one sentence, without a traceback."""


@contextmanager
def one_sentence(how_to_go_on: str) -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM end the program with a sentence, and with exit status 130 or 143."""

    def terminate(number: int, frame: FrameType | None) -> Any:
        raise Interrupted(TERMINATED)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        _say("Interrupted", how_to_go_on)
        raise Interrupted(INTERRUPTED) from None
    except Interrupted:
        _say("Terminated", how_to_go_on)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(what: str, how_to_go_on: str) -> None:
    print(f"\n{what}. {how_to_go_on}", file=sys.stderr)  # noqa: T201
