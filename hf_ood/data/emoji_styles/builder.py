"""Emoji in six drawing styles, as they lie in this package or rendered again from their sources."""

from __future__ import annotations

import io
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage

from ..embedded import EmbeddedDataset
from ..hashed_split import SHARES
from .card import card_text
from .drawings import GROUPS, STYLES, Drawing, read_drawings, split_of

SIZE = 64
FEATURES = Features(
    {
        "image": Image(),
        "label": ClassLabel(names=list(GROUPS.values())),
        "environment": ClassLabel(names=list(STYLES)),
        "emoji": Value("string"),
        "name": Value("string"),
    }
)


def rendered_emoji_styles(packages: Path) -> DatasetDict:
    """The splits train, validation and test, rendered from the packages in a folder: a minute or two.

    No emoji and no picture is in two of them, in whatever style. Raises `ImportError` without resvg-py, and
    as `read_drawings` does.
    """
    drawings = read_drawings(packages)
    rows: dict[str, list[dict[str, object]]] = {split: [] for split in SHARES}
    homes: dict[bytes, str] = {}
    for drawing in drawings:
        image, split = webp(drawing.svg), split_of(drawing.code)
        if homes.setdefault(image, split) == split:  # in black and white, some emoji are the same picture
            rows[split].append(_row(drawing, image))
    return DatasetDict({split: Dataset.from_list(own, features=FEATURES) for split, own in rows.items()})


def _row(drawing: Drawing, image: bytes) -> dict[str, object]:
    return {
        "image": {"bytes": image, "path": None},
        "label": drawing.group,
        "environment": drawing.style,
        "emoji": drawing.text,
        "name": drawing.name,
    }


def webp(svg: str) -> bytes:
    """A drawing on white, 64 x 64 pixels, lossless."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise ImportError("Rendering emoji needs resvg-py: pip install hf_ood[bench].") from error
    png = svg_to_bytes(svg_string=svg, background="white", width=SIZE, height=SIZE, skip_system_fonts=True)
    stored = io.BytesIO()
    PILImage.open(io.BytesIO(png)).convert("RGB").save(stored, "WEBP", lossless=True, quality=75, method=4)
    return stored.getvalue()


EMOJI_STYLES = EmbeddedDataset(
    Path(__file__).parent / "assets",
    {
        "train": "62dc7ee9bb9a9834b9eb50a7394047e7ae953cb1f14be2793d1e1e409b06cc8d",
        "validation": "e57f319c3cef0d5f382e8a9fbb8c638db9777911b40002174f511921a6f564ad",
        "test": "f58e907dc7105c9bd1537caddf7215a4d2f77ac176106c95aee91f3ce0996be8",
    },
    rendered_emoji_styles,
    card_text,
)
