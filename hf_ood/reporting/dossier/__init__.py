"""The evidence on a run, a sweep or a bench: a page for whoever must sign, and a section for a card."""

from .content import Evidence, content
from .pages import MARKDOWN_FILE, PAGE_FILE, write_dossier, write_rounds
from .rounds import Choice, Rounds
from .rounds_content import rounds_content

__all__ = [
    "MARKDOWN_FILE",
    "PAGE_FILE",
    "Choice",
    "Evidence",
    "Rounds",
    "content",
    "rounds_content",
    "write_dossier",
    "write_rounds",
]
