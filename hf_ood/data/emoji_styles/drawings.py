"""The emoji that at least five of six sets draw, as SVG, with what they mean and where they belong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..hashed_split import digest, split_by_hash
from ..packages import NpmPackage, PackageFile

STYLES: Mapping[str, NpmPackage] = {
    name: NpmPackage(f"@iconify-json/{package}", version, integrity)
    for name, package, version, integrity in (
        (
            "noto",
            "noto",
            "1.2.9",
            "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
        ),
        (
            "noto_v1",
            "noto-v1",
            "1.2.5",
            "/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
        ),
        (
            "twemoji",
            "twemoji",
            "1.2.5",
            "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
        ),
        (
            "openmoji",
            "openmoji",
            "1.2.29",
            "vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==",
        ),
        (
            "fluent_flat",
            "fluent-emoji-flat",
            "1.2.6",
            "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        ),
        (
            "fluent_high_contrast",
            "fluent-emoji-high-contrast",
            "1.2.6",
            "esqhZPpkrF7sNX3NsLoh8KW64okEr/bzko7WNnFP+qTJGAqDPDYjp0925yxuivXy3HtVQB8xhIKu3+Nq1byX5w==",
        ),
    )
}
GROUPS = {  # as Unicode calls them -> their class here
    "Smileys Emotion": "smileys",
    "People Body": "people",
    "Animals Nature": "animals",
    "Food Drink": "food",
    "Travel Places": "travel",
    "Activities": "activities",
    "Objects": "objects",
    "Symbols": "symbols",
}
FEWEST_STYLES = 5

_PRESENTATION = "fe0f"  # asks for colour; sets differ in where they write it
_SKIN_TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
_JOINER, _MALE, _FEMALE = "200d", "2642", "2640"
_ADULT = {"1f468": "1f9d1", "1f469": "1f9d1"}  # man, woman -> person


@dataclass(frozen=True)
class Drawing:
    """One emoji in one style. `code`: its code points in hexadecimal, joined by `-`, without U+FE0F."""

    style: str
    code: str
    name: str
    group: str
    svg: str

    @property
    def text(self) -> str:
        return "".join(chr(int(point, 16)) for point in self.code.split("-"))


def read_drawings(folder: Path) -> list[Drawing]:
    """Every drawing of the packages in a folder, which are fetched into it where they are not there; emoji in
    an order that tells nothing.

    Left out are flags, skin tones, emoji that fewer than `FEWEST_STYLES` sets draw, and those that sets put
    in different groups. Raises as `NpmPackage.file` does.
    """
    packages = {style: package.file(folder) for style, package in STYLES.items()}
    codes = {style: package.json("chars.json") for style, package in packages.items()}
    named = {name: code for known in codes.values() for code, name in known.items()}
    drawings = [
        drawing
        for style, package in packages.items()
        for drawing in _of_style(style, package, codes[style] or {code: name for name, code in named.items()})
    ]
    groups: dict[str, set[str]] = defaultdict(set)
    for drawing in drawings:
        groups[drawing.code].add(drawing.group)
    drawn = Counter(drawing.code for drawing in drawings)
    kept = [d for d in drawings if drawn[d.code] >= FEWEST_STYLES and len(groups[d.code]) == 1]
    return sorted(kept, key=lambda drawing: (digest(drawing.code), list(STYLES).index(drawing.style)))


def _of_style(style: str, package: PackageFile, names: Mapping[str, str]) -> list[Drawing]:
    """`names`: code points -> name of the icon."""
    groups = {
        name: GROUPS[group.replace(" & ", " ")]
        for group, members in package.json("metadata.json")["categories"].items()
        if group.replace(" & ", " ") in GROUPS
        for name in members
    }
    icons = package.json("icons.json")
    return [
        Drawing(style, without_presentation(code), name, groups[name], _svg(icons, name))
        for code, name in names.items()
        if name in groups and name in icons["icons"] and not _SKIN_TONES & {*code.split("-")}
    ]


def _svg(icons: Mapping[str, Any], name: str) -> str:
    """An icon in the middle of a square."""
    icon = icons["icons"][name]
    width, height = (icon.get(side, icons[side]) for side in ("width", "height"))
    left, top, side = icon.get("left", 0), icon.get("top", 0), max(width, height)
    box = f"{left - (side - width) / 2:g} {top - (side - height) / 2:g} {side:g} {side:g}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}">{icon["body"]}</svg>'
    )


def without_presentation(code: str) -> str:
    return "-".join(point for point in code.split("-") if point != _PRESENTATION)


def relatives(code: str) -> str:
    """The same for an emoji and its men's, women's and neutral form, which hardly differ as pictures."""
    points = [_ADULT.get(point, point) for point in code.split("-")]
    return "-".join(point for point in points if point not in (_JOINER, _MALE, _FEMALE))


def split_of(code: str) -> str:
    """Where an emoji goes, in all styles and with its `relatives`."""
    return split_by_hash(relatives(code))
