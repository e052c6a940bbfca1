"""What a failure says to the user: one message for every exception that can be foreseen, ours or a library's.

Libraries are known by the names of their classes: a message must not import what the command did not need.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path

from .disk import is_disk_full, told_full
from .errors import ForeseenError
from .hub_client import LOG_IN, is_offline, told_offline, told_refused

# Exceptions that speak of what was given to the program, or of the machine it runs on.
FORESEEN = (ForeseenError, ValueError, OSError, ImportError, EOFError)
FORESEEN_ELSEWHERE = {
    "SafetensorError",
    "YAMLError",
    "DatasetsError",
    "ArrowException",
    "HTTPError",  # of huggingface_hub's client
    "RequestError",
    "StreamError",
    "SQLAlchemyError",
    "DecompressionBombError",
    "BadZipFile",
    "UnpicklingError",
    "ZstdError",
    "LZMAError",
}
NO_MEMORY = (
    "There is not enough memory ({}). Use smaller batches (--per_device_train_batch_size with "
    "--gradient_accumulation_steps; --batch_size), or a smaller network."
)
# Runtime errors of torch, by what they say.
BY_WORDS = {
    "PytorchStreamReader failed": "A file of saved state is damaged ({}). Use an earlier checkpoint, or "
    "start again.",
    "DataLoader worker (pid": "A process that reads the data has died, perhaps for want of memory ({}). Use "
    "fewer processes (--dataloader_num_workers, --num_workers) or smaller batches.",
    "onnection closed by peer": "Another process of this run has ended; its own message says why ({}).",
    "onnection reset by peer": "Another process of this run has ended; its own message says why ({}).",
    "not enough memory": NO_MEMORY,
    "out of memory": NO_MEMORY,
}
IN_A_WORKER = re.compile(r"^Caught \w+ in [^\n]*\nOriginal Traceback", re.MULTILINE)


def message_of(
    error: BaseException, places: Sequence[Path | str] = (), given: Sequence[str] = ()
) -> str | None:
    """What to tell the user, or None for a bug. `places`: where the command writes; `given`: what it was
    given, folders among it."""
    if is_disk_full(error):
        return told_full(error, places=places)
    if isinstance(error, MemoryError):
        return NO_MEMORY.format(_plain(error) or "the system gives no more")
    if isinstance(error, RuntimeError) and not isinstance(error, ForeseenError):
        text = _plain(error)
        found = next((told for words, told in BY_WORDS.items() if words in text), None)
        return found and found.format(text.split("\n")[0].strip())
    if not is_foreseen(error):
        return None
    if isinstance(error, ForeseenError):
        return str(error)
    if is_offline(error):
        return told_offline(error)
    if "SafetensorError" in _kinds(error):
        file = damaged_weights(given)
        what = file or "A file of weights"
        return f"{what} is damaged ({_plain(error)}): take another copy of it, or train again."
    refused = told_refused(error)
    message = _told(error)
    return f"{message.rstrip()} {refused}" if refused and LOG_IN not in message else message


def _told(error: BaseException) -> str:
    kinds = _kinds(error)
    if "DatasetGenerationError" in kinds and error.__cause__ is not None:
        return f"The data cannot be read. {_named(error.__cause__)}"
    if "DecompressionBombError" in kinds:
        return f"An image is too large to be opened safely, perhaps on purpose: {_plain(error)} Take it out."
    if "YAMLError" in kinds:
        return f"A file is not valid YAML: {_plain(error)}"
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return _of_the_system(error)
    if isinstance(error, KeyError) or not _plain(error):
        return _named(error)
    return _plain(error) if isinstance(error, FORESEEN) else _named(error)


def is_foreseen(error: BaseException) -> bool:
    return isinstance(error, FORESEEN) or bool(_kinds(error) & FORESEEN_ELSEWHERE)


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _of_the_system(error: OSError) -> str:
    """File and reason in words, where the system said no."""
    file = error.filename
    ways_out = {
        errno.EACCES: "it is not yours to use: choose another place, or change its permissions",
        errno.EPERM: "it is not yours to use: choose another place, or change its permissions",
        errno.EROFS: "it lies on a disk that can only be read: choose another place",
        errno.ENOTDIR: "a file is where a folder is wanted: choose another place, or move it away",
        errno.EISDIR: "it is a folder, and a file is wanted",
        errno.EEXIST: "it is there already: choose another place, or move it away",
        errno.ENAMETOOLONG: "the name is too long",
        errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
        errno.ENOENT: "it is not there",
        errno.EIO: "the disk cannot be read or written: it may be broken",
    }
    if file is None or error.errno not in ways_out:
        return _plain(error) or _named(error)
    return f"{file}: {ways_out[error.errno]} ({error.strerror})."


def _named(error: BaseException) -> str:
    text = _plain(error)
    return f"{type(error).__name__}: {text}" if text else f"{type(error).__name__}."


def _plain(error: BaseException) -> str:
    """The message, of an error in a process that reads data without the traceback that torch puts into it."""
    text = str(error).strip()
    if IN_A_WORKER.search(text):
        lines = text.split("\n")
        last = max(number for number, line in enumerate(lines) if not line.startswith(" ") and line)
        text = re.sub(r"^[\w.]+: ", "", "\n".join(lines[last:]))
    return text


def damaged_weights(given: Sequence[str]) -> Path | None:
    """The first file of weights in the folders among these that cannot be opened: libraries do not say."""
    from safetensors import SafetensorError, safe_open

    for folder in {Path(text.rpartition("=")[2]) for text in given if text}:
        for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
            try:
                with safe_open(file, framework="np"):
                    pass
            except SafetensorError:
                return file
    return None
