"""Image files without what they tell besides the picture: EXIF, comments, texts, thumbnails."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

from PIL import Image, ImageOps, UnidentifiedImageError

ORIENTATION = 0x0112
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks of a PNG that the picture needs: pixels, palette, transparency, colours, size of a pixel, animation.
PNG_CHUNKS = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD pHYs hIST acTL fcTL fdAT".split()
)
WEBP_CHUNKS = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
WEBP_EXIF_OR_XMP = 0b1100  # flags of the header VP8X
GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
PNG_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"))


class _Unlike(Exception):
    """The file is not built as its format says."""


def without_metadata(content: bytes) -> bytes:
    """The same picture without EXIF, comments, texts, XMP, IPTC, thumbnails and whatever follows its end.

    JPEG, PNG, GIF and WebP keep their coded pixels: only segments are left out, those about colours stay
    (ICC, Adobe, gamma). A picture that EXIF turns or mirrors is saved as it is seen, and so is one in any
    other format but BMP, which has no metadata: as PNG, or, where PNG lacks the kind of pixels (CMYK, 32
    bits), as TIFF; both without loss, animations by their first frame. Returns `content` itself where there
    was nothing to take out.

    Raises `ValueError` when this is no picture that can be read.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            strip = _STRIPPED.get(picture.format or "")
            turned = picture.getexif().get(ORIENTATION, 1) not in (0, 1)
            if strip is not None and not turned:
                try:
                    return strip(content)
                except (_Unlike, struct.error, IndexError):
                    pass
            return _saved_anew(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"no picture that can be read ({error})") from error


def _saved_anew(picture: Image.Image) -> bytes:
    colors = {"icc_profile": profile} if (profile := picture.info.get("icc_profile")) else {}
    seen = ImageOps.exif_transpose(picture)
    clean = Image.frombytes(seen.mode, seen.size, seen.tobytes())
    if seen.mode == "P":
        clean.putpalette(seen.palette.getdata()[1], seen.palette.mode)  # type: ignore[union-attr]
        if "transparency" in picture.info:
            clean.info["transparency"] = picture.info["transparency"]
    file = io.BytesIO()
    if seen.mode in PNG_MODES:
        clean.save(file, "PNG", **colors)
    else:
        clean.save(file, "TIFF", compression="tiff_adobe_deflate", **colors)
    return file.getvalue()


def _jpeg(content: bytes) -> bytes:
    kept, position = [content[:2]], 2
    while True:
        if content[position] != 0xFF:
            raise _Unlike
        marker = content[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker == 0xD9:
            return b"".join([*kept, b"\xff\xd9"])
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            kept.append(content[position : position + 2])
            position += 2
        else:
            length = struct.unpack_from(">H", content, position + 2)[0]
            end = position + 2 + length
            if length < 2 or end > len(content):
                raise _Unlike
            kept.append(_jpeg_segment(marker, content[position:end]))
            position = end
            if marker == 0xDA:
                end = _end_of_scan(content, position)
                kept.append(content[position:end])
                position = end
                if end == len(content):  # cut off: readers stop here
                    return b"".join(kept)


def _jpeg_segment(marker: int, segment: bytes) -> bytes:
    body = segment[4:]
    if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return b"\xff\xe0\0\x10" + body[:12] + b"\0\0"  # without its thumbnail
    if marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
        return segment
    if marker == 0xEE and body.startswith(b"Adobe"):
        return segment
    return b"" if 0xE0 <= marker <= 0xEF or marker == 0xFE else segment


def _end_of_scan(content: bytes, position: int) -> int:
    """Where the next marker is, after coded pixels (0xFF00 is a pixel's, 0xFFD0 to 0xFFD7 go on)."""
    while (position := content.find(b"\xff", position)) >= 0 and position + 1 < len(content):
        following = content[position + 1]
        if following != 0 and not 0xD0 <= following <= 0xD7 and following != 0xFF:
            return position
        position += 1 if following == 0xFF else 2
    return len(content)


def _png(content: bytes) -> bytes:
    kept, position = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while position < len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            raise _Unlike
        if name in PNG_CHUNKS:
            kept.append(content[position:end])
        position = end
        if name == b"IEND":
            break
    return b"".join(kept)


def _webp(content: bytes) -> bytes:
    kept, position = [], 12
    while position + 8 <= min(len(content), 8 + struct.unpack_from("<I", content, 4)[0]):
        name, length = struct.unpack_from("<4sI", content, position)
        chunk = content[position : position + 8 + length + length % 2]
        if name == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~WEBP_EXIF_OR_XMP]) + chunk[9:]
        if name in WEBP_CHUNKS:
            kept.append(chunk)
        position += 8 + length + length % 2
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _gif(content: bytes) -> bytes:
    def after_color_table(flags: int, position: int) -> int:
        return position + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)

    def after_blocks(position: int) -> int:
        while content[position]:
            position += 1 + content[position]
        return position + 1

    position = after_color_table(content[10], 13)
    kept = [content[:position]]
    while content[position] != 0x3B:
        if content[position] == 0x2C:
            end = after_blocks(after_color_table(content[position + 9], position + 10) + 1)
            kept.append(content[position:end])
        elif content[position] == 0x21:
            end = after_blocks(position + 2)
            loops = content[position + 1] == 0xFF and content[position + 3 : position + 14] in GIF_LOOPS
            if content[position + 1] == 0xF9 or loops:
                kept.append(content[position:end])
        else:
            raise _Unlike
        position = end
    return b"".join([*kept, b";"])


def _bmp(content: bytes) -> bytes:
    return content


_STRIPPED: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": _jpeg,
    "MPO": _jpeg,  # several JPEGs in one file, of which the first is seen
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "DIB": _bmp,
}
