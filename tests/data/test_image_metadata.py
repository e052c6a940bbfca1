"""What is taken out of image files, and that the picture stays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from hf_ood.data.image_metadata import ORIENTATION, without_metadata

SECRET = "Jane Doe, 48.85 N"
PIXELS = np.random.default_rng(0).integers(0, 255, (24, 16, 3), dtype=np.uint8)


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[0x013B], tags[0x010E] = SECRET, SECRET
    if orientation != 1:
        tags[ORIENTATION] = orientation
    return tags


def png_texts() -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", SECRET)
    texts.add_text("Comment", SECRET, zip=True)
    texts.add_itxt("Path", SECRET)
    return texts


def saved(format_: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, format_, **options)
    return file.getvalue()


def seen(content: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))


XMP = b"<x:xmpmeta>" + SECRET.encode() + b"</x:xmpmeta>"
FILES = {
    "jpeg": (saved("JPEG", exif=exif(), comment=SECRET, xmp=XMP), "JPEG"),
    "progressive jpeg": (saved("JPEG", exif=exif(), comment=SECRET, progressive=True), "JPEG"),
    "cmyk jpeg": (saved("JPEG", "CMYK", comment=SECRET), "JPEG"),
    "jpeg and more": (saved("JPEG") + SECRET.encode(), "JPEG"),
    "png": (saved("PNG", pnginfo=png_texts(), exif=exif()), "PNG"),
    "png with palette": (saved("PNG", "P", pnginfo=png_texts()), "PNG"),
    "png and more": (saved("PNG") + SECRET.encode(), "PNG"),
    "webp": (saved("WEBP", lossless=True, exif=exif(), xmp=XMP), "WEBP"),
    "gif": (saved("GIF", "P", comment=SECRET), "GIF"),
    "tiff": (saved("TIFF", tiffinfo={270: SECRET, 315: SECRET}), "PNG"),
    "cmyk tiff": (saved("TIFF", "CMYK", tiffinfo={270: SECRET}), "TIFF"),
    "ppm": (saved("PPM").replace(b"P6\n", b"P6\n# " + SECRET.encode() + b"\n", 1), "PNG"),
    **{
        f"turned {format_} {way}": (saved(format_, exif=exif(way)), "PNG")
        for format_ in ("JPEG", "PNG", "WEBP")
        for way in (3, 6, 5)
    },
}


@pytest.mark.parametrize("name", FILES)
def test_the_picture_stays_and_the_rest_goes(name: str) -> None:
    content, format_ = FILES[name]
    clean = without_metadata(content)
    picture = Image.open(io.BytesIO(clean))
    assert picture.format == format_
    np.testing.assert_array_equal(np.asarray(picture), seen(content), "as it is seen")
    assert SECRET.encode() in content and SECRET.encode() not in clean
    assert not picture.getexif().get(ORIENTATION) and SECRET not in str([picture.info, picture.getexif()])
    assert without_metadata(clean) == clean, "nothing is left to take out"


@pytest.mark.parametrize(
    "content",
    [saved("PNG"), saved("JPEG"), saved("GIF", "P"), saved("WEBP"), saved("BMP"), saved("PNG", "RGBA")],
)
def test_a_clean_file_keeps_its_bytes(content: bytes) -> None:
    assert without_metadata(content) == content


def test_colours_and_animations_stay() -> None:
    profile = b"not really a profile" * 10
    for format_ in ("JPEG", "PNG", "WEBP"):
        picture = Image.open(io.BytesIO(without_metadata(saved(format_, icc_profile=profile, exif=exif()))))
        assert picture.info["icc_profile"] == profile
    frames = [Image.fromarray(np.roll(PIXELS, shift)).convert("P") for shift in (0, 1, 2)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], loop=3, duration=90, comment=SECRET)
    picture = Image.open(io.BytesIO(without_metadata(file.getvalue())))
    assert (picture.n_frames, picture.info["loop"], picture.info["duration"]) == (3, 3, 90)


@pytest.mark.parametrize("content", [b"", b"words", saved("PNG")[:20]])
def test_what_is_no_picture_is_said(content: bytes) -> None:
    with pytest.raises(ValueError, match="no picture that can be read"):
        without_metadata(content)
