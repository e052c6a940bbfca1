"""Passwords in addresses of storages and data, which no message, table or file may show."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
# Up to the last @: a password may hold @, / and : that should have been written as %40, %2F, %3A.
_IN_ADDRESS = re.compile(r"(?P<before>[A-Za-z][\w+.-]*://[^\s:/?#@'\"]*:)(?P<password>[^\s'\"]*)(?=@)")
_NAMED = re.compile(
    r"(?P<before>\b\w*(?:password|passwd|passphrase|pwd|secret|token|api_?key)\w*\s*=\s*)"
    r"(?P<password>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^\s&;,'\")]+)",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
VARIABLES = ("PGPASSWORD", "MYSQL_PWD")  # that drivers read by themselves
_SEPARATORS = re.compile(r"[@/:?#\s]")  # at which drivers cut a password that was not encoded
SHORTEST = 4  # a shorter secret is part of ordinary words, and is hidden in its address only


def without_passwords(text: str, given: Iterable[str] = ()) -> str:
    """The text with *** for passwords in addresses and `password=...`, and for every password of the
    addresses `given`, in whatever spelling an error quotes it."""
    for secret in sorted(_spellings(given), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern in (_IN_ADDRESS, _NAMED):
        text = pattern.sub(rf"\g<before>{HIDDEN}", text)
    return text


def _spellings(given: Iterable[str]) -> set[str]:
    """The passwords of these addresses, as they are written, and as libraries decode and encode them."""
    addresses = [re.sub(r"^\s*--[\w-]+=", "", text) for text in given]  # a flag's value
    found = {os.environ.get(name, "") for name in VARIABLES}
    for address in addresses:
        found |= {match["password"].strip("'\"") for match in _in_whole(address)}
        found |= {match["password"].strip("'\"") for match in _NAMED.finditer(address)}
    found |= {os.environ.get(name, "") for secret in list(found) for name in _VARIABLE.findall(secret)}
    found |= {part for secret in list(found) for part in _SEPARATORS.split(secret)}
    spelled = {
        spelling
        for secret in found
        for plain in (secret, unquote(secret), unquote_plus(secret), secret.replace("\\", ""))
        for spelling in (plain, quote(plain, safe=""), quote_plus(plain), repr(plain)[1:-1])
    }
    return {secret for secret in spelled if len(secret) >= SHORTEST and secret != HIDDEN}


def _in_whole(address: str) -> Iterable[re.Match[str]]:
    """The password of what is an address as a whole, which may hold spaces and quotes."""
    match = re.match(r"\s*(?:[A-Za-z][\w+.-]*://)?[^:/?#@]*:(?P<password>.*)@", address, re.DOTALL)
    return [match] if match else []
