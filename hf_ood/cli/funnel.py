"""The way of every failure to the user: each command's `main` goes through `one_message`."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from .. import hub_client
from ..disk import written_everywhere
from ..errors import UsageError
from ..failures import message_of
from ..passwords import without_passwords

DEBUG = "--debug"
DEBUG_VARIABLE = "HF_OOD_DEBUG"
DEBUG_HELP = f"Show the traceback of an error; so does {DEBUG_VARIABLE}=1 in the environment."
REPORT = (
    "This should not happen: please report the command and the lines above at "
    "https://github.com/hf-ood/hf_ood/issues."
)
Result = TypeVar("Result")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Show the flag among a command's own; it is `one_message` that takes it."""
    parser.add_argument(DEBUG, action="store_true", default=argparse.SUPPRESS, help=DEBUG_HELP)


def one_message(main: Callable[..., Result]) -> Callable[..., Result]:
    """A command whose foreseeable failures end in one message and exit status 2, without a traceback.

    What was not foreseen is a bug, and keeps its traceback, with a line about where to report it.
    """

    @wraps(main)
    def told(argv: Sequence[str] | None = None, *args: Any, **kwargs: Any) -> Result:
        flags, debug = take_debug(sys.argv[1:] if argv is None else argv)
        hub_client.install()
        try:
            result = main(flags, *args, **kwargs)
            sys.stdout.flush()
            return result
        except (UsageError, KeyboardInterrupt):
            if debug:
                print_traceback(flags)
            raise
        except BrokenPipeError:  # whoever read what is printed has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except Exception as error:
            message = message_of(error, [*written_to(flags), *written_everywhere()], flags)
            if message is None:
                error.add_note(REPORT)
                if not holds_passwords(flags):
                    raise
                print_traceback(flags)
                raise SystemExit(1) from None
            if debug:
                print_traceback(flags)
            raise UsageError(without_passwords(message, flags)) from error

    return told


def print_traceback(flags: Sequence[str]) -> None:
    """The traceback of the exception that is handled, without passwords that the flags hold."""
    sys.stderr.write(without_passwords(traceback.format_exc(), flags))


def holds_passwords(flags: Sequence[str]) -> bool:
    text = " ".join(flags)
    return without_passwords(text, flags) != text


def take_debug(flags: Sequence[str]) -> tuple[list[str], bool]:
    """Part `--debug` from the other flags. With a value it is `TrainingArguments`' own, and stays."""
    kept, debug = [], os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0", "false")
    for position, flag in enumerate(flags):
        if flag == DEBUG and (position + 1 == len(flags) or flags[position + 1].startswith("-")):
            debug = True
        else:
            kept.append(flag)
    return kept, debug


def written_to(flags: Sequence[str]) -> list[Path]:
    """The folders and files that the flags name as output."""
    found = []
    for flag, value in zip(flags, [*flags, ""][1:], strict=True):
        name, equals, inner = flag.partition("=")
        if name.startswith("--") and name.endswith(("_dir", "output")):
            found.append(Path(inner if equals else value))
    return found
