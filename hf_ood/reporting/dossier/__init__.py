"""The evidence on a run in one document: a page for whoever must sign, and a section for its card."""

from .content import Evidence, content
from .pages import MARKDOWN_FILE, PAGE_FILE, write_dossier

__all__ = ["MARKDOWN_FILE", "PAGE_FILE", "Evidence", "content", "write_dossier"]
