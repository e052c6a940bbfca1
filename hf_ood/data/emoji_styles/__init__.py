"""Emoji in six drawing styles: 1,576 pictograms of eight groups, each in five or six pictures."""

from .builder import EMOJI_STYLES, rendered_emoji_styles
from .drawings import STYLES

load_emoji_styles = EMOJI_STYLES.load

__all__ = ["EMOJI_STYLES", "STYLES", "load_emoji_styles", "rendered_emoji_styles"]
