"""Names that come with data, where they are shown: they are data, never markup, math or a path.

Classes, environments, datasets and runs may be called anything: `[red]`, `<b>`, `a|b`, `$x$`, two lines. What
shows one passes it through one of these.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

LONGEST_IN_PLOT = 60  # characters; the middle of a longer name is left out
LONGEST_FILE_NAME = 120  # bytes; file systems take 255, and something may be put before or behind
# What Markdown reads; `_` inside a word and `&` before no entity are themselves.
_MARKDOWN = re.compile(r"[\\|`*~$\[\]]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_REVERSING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")  # on Windows


def visible(name: object) -> str:
    r"""The name on one line.

    Control characters, and those that reverse the text after them, are written as Python writes them (a line
    break as `\n`). A name that looks empty, or has spaces around it, is put in quotes.
    """
    text = str(name)
    shown = one_line(text)
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        return ascii(text)
    return shown if shown == shown.strip() else f"'{shown}'"


def one_line(sentence: str) -> str:
    """A sentence with names in it, without control characters and those that reverse what follows."""
    return "".join(map(_escaped, sentence))


def _escaped(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") or character in _REVERSING
    return ascii(character)[1:-1] if hidden else character


def markdown(name: object) -> str:
    """The name in Markdown, also in a cell of a table, as text and nothing else."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", visible(name))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(name: object) -> str:
    """The name as code in Markdown, outside tables."""
    text = visible(name)
    fence = _fence(text, 1)
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def markdown_block(code: str, language: str) -> str:
    """Lines of code in Markdown; none of them ends the block."""
    fence = _fence(code, 3)
    return f"{fence}{language}\n{code}\n{fence}"


def _fence(text: str, least: int) -> str:
    return "`" * max(least, *(1 + len(run) for run in re.findall("`+", text)), 0)


def python_string(name: object) -> str:
    """The name as a string of Python, in double quotes, on one line."""
    text = str(name)
    return json.dumps(text, ensure_ascii=any(_escaped(character) != character for character in text))


def plot_text(name: object, longest: int = LONGEST_IN_PLOT) -> str:
    """The name in a figure: `$` begins no formula, and `_` at the front does not hide it from the legend."""
    text = visible(name)
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[-(longest // 2) + 1 :]}"
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def file_name(name: object) -> str:
    """The name as that of a file or folder, on any system: no separators, no dots at its front, not too long.

    Letters of any alphabet, digits, spaces and `-_.+,=` stay. A name that is changed ends in a digest of the
    original, so that no two become one.
    """
    text = str(name)
    plain = re.sub(r"[^\w\-.+,= ]+", "-", unicodedata.normalize("NFC", text))
    plain = re.sub(r"\s", " ", plain).strip(" .-")
    plain = "" if _RESERVED.match(plain) else plain
    if plain == text and len(plain.encode()) <= LONGEST_FILE_NAME and plain:
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    short = plain.encode()[: LONGEST_FILE_NAME - len(digest) - 1].decode(errors="ignore").rstrip(" .-")
    return f"{short}-{digest}" if short else digest
