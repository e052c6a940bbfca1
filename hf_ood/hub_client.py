"""How the client of the Hub behaves here: no minutes of retries without a network, but the waits that the Hub
asks for.

Everything that reads from the Hub or writes to it, of transformers and datasets too, goes through the session
that `install` makes.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .disk import causes

CONNECT_SECONDS = 3.0  # to a server that has not answered yet
TRIES = 2  # to connect to it
UNREACHABLE_FOR = 60.0  # seconds in which it is not asked again
LONGEST_WAIT = 600  # seconds that the Hub may ask for
WAITS = 5
CANNOT_CONNECT = {"ConnectError", "ConnectTimeout", "OfflineModeIsEnabled"}
OFFLINE_IN_WORDS = (
    "We couldn't connect to",  # transformers
    "Couldn't reach",  # datasets
    "LocalEntryNotFoundError",
    "cannot find the requested files in the local cache",
)
_ASKED_FOR = re.compile(r"Couldn't (?:reach|find) '([^']+)'|/([\w.-]+/[\w.-]+)/resolve/")
REFUSED = {401: "refuses the token, or wants one", 403: "does not let this token do it"}
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may do it"

_answered: set[str] = set()  # hosts
_unreachable: dict[str, float] = {}  # host -> when it was found so


def install() -> None:
    """Make new sessions of huggingface_hub patient and quick; once, and only where it is in use."""
    if "huggingface_hub" not in sys.modules:
        return
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http

    if getattr(_http, "_GLOBAL_CLIENT_FACTORY", None) is not _session:
        set_client_factory(_session)


def _session() -> Any:
    from huggingface_hub.utils._http import default_client_factory

    session = default_client_factory()
    session.send = _with_manners(session.send)  # type: ignore[method-assign]
    return session


def _with_manners(send: Callable[..., Any]) -> Callable[..., Any]:
    def send_patiently(request: Any, **options: Any) -> Any:
        waits = 0
        while True:
            response = _send_or_say_offline(send, request, options)
            seconds = _asked_to_wait(response)
            if seconds is None or waits == WAITS or not _repeatable(request):
                return response
            response.close()
            waits += 1
            # Not a log entry: whoever waits for minutes is told why.
            print(f"The Hub asks to wait {seconds} s; waiting.", file=sys.stderr)  # noqa: T201
            time.sleep(seconds)

    return send_patiently


def _send_or_say_offline(send: Callable[..., Any], request: Any, options: dict[str, Any]) -> Any:
    """Raise `OfflineModeIsEnabled`, at which every library looks into its cache, where there is no way to the
    server; what was reached once keeps the retries of the libraries."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    host = str(request.url.netloc)
    if host in _answered:
        return send(request, **options)
    if time.monotonic() - _unreachable.get(host, -UNREACHABLE_FOR) < UNREACHABLE_FOR:
        raise OfflineModeIsEnabled(f"{request.url.host} cannot be reached")
    timeout = request.extensions.get("timeout") or {}
    asked = timeout.get("connect")
    limit = CONNECT_SECONDS if asked is None else min(asked, CONNECT_SECONDS)
    request.extensions["timeout"] = {**timeout, "connect": limit}
    for tries_left in reversed(range(TRIES)):
        try:
            response = send(request, **options)
        except Exception as error:
            if type(error).__name__ not in CANNOT_CONNECT or type(error) is OfflineModeIsEnabled:
                raise
            if tries_left and type(error).__name__ != "ConnectTimeout":
                time.sleep(0.5)
                continue
            _unreachable[host] = time.monotonic()
            raise OfflineModeIsEnabled(f"{request.url.host} cannot be reached ({error})") from error
        _answered.add(host)
        return response
    raise AssertionError("the last try returns or raises")


def _asked_to_wait(response: Any) -> int | None:
    """Seconds after which the server wants to be asked again; None where it asks for none, or for hours."""
    if response.status_code != 429:
        return None
    from huggingface_hub.utils._http import parse_ratelimit_headers

    limits = parse_ratelimit_headers(response.headers)
    seconds = _seconds_until(response.headers.get("Retry-After", ""))
    if seconds is None and limits is not None and limits.remaining == 0:
        seconds = limits.reset_in_seconds
    return seconds if seconds is not None and seconds <= LONGEST_WAIT else None


def _seconds_until(retry_after: str) -> int | None:
    """A header's `30`, or its date."""
    if retry_after.strip().isdigit():
        return int(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
        return max(0, math.ceil((when - datetime.now(when.tzinfo)).total_seconds()))
    except (ValueError, TypeError):
        return None


def _repeatable(request: Any) -> bool:
    """Whether the body is in memory: a stream is used up."""
    try:
        request.content  # noqa: B018 (raises where it was not read)
    except Exception:
        return False
    return True


def is_offline(error: BaseException) -> bool:
    """Whether it came from a server that cannot be reached, or from HF_HUB_OFFLINE."""
    return any(
        type(one).__name__ in CANNOT_CONNECT
        or (isinstance(one, OSError) and any(words in str(one) for words in OFFLINE_IN_WORDS))
        for one in causes(error)
    )


def told_offline(error: BaseException) -> str:
    """What to do without a network."""
    from huggingface_hub import constants

    named = [
        match[1] or match[2] for one in causes(error) for match in [_ASKED_FOR.search(str(one))] if match
    ]
    what = repr(named[0]) if named else "what is asked for"
    why, first = f"{constants.ENDPOINT} cannot be reached", "Check the connection and the name;"
    if constants.HF_HUB_OFFLINE:
        why, first = "HF_HUB_OFFLINE is set", "Unset it where there is a network;"
    return (
        f"{why}, and {what} is neither on this machine nor in its cache. {first} or work offline: "
        "name a local folder or file, or `hf download` it elsewhere and bring the cache along "
        "(~/.cache/huggingface, or the folder HF_HOME)."
    )


def told_refused(error: BaseException) -> str | None:
    """The way out where the Hub wants another token; None where it does not, or where it is said already."""
    for one in causes(error):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if status in REFUSED:
            return f"The Hub {REFUSED[status]} ({status}): {LOG_IN}."
    kinds = {type(one).__name__ for one in causes(error)}
    if kinds & {"RepositoryNotFoundError", "GatedRepoError", "DatasetNotFoundError"}:
        return f"If it is private or gated, {LOG_IN}."
    return None
