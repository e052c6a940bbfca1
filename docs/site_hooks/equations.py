"""Equations as MathML, written when the site is built: pages need no script and no network to show them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

EQUATION = re.compile(r'<(div|span) class="arithmatex">\\([\[(])(.*?)\\[\])]</\1>', re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    return EQUATION.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    return convert(unescape(found[3]).strip(), display="block" if found[2] == "[" else "inline")
