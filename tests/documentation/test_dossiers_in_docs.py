"""The dossiers in the documents are those that the results in the package give, by the commands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hf_ood.cli.dossier import main

pytest.importorskip("matplotlib", reason="dossiers need hf_ood[plot]")
DOCS = Path(__file__).parents[2] / "docs"
PICTURE = re.compile(r"data:image/png;base64,[^\"]+")  # the same to the eye, not to the byte, elsewhere
PAGE = (DOCS / "dossier.md").read_text(encoding="utf-8")
COMMANDS = [
    command.replace("\\\n", " ")
    for command in re.findall(r"^hf-ood dossier --bench hf_ood/.*?(?:\\\n.*)?$", PAGE, re.MULTILINE)
]


def test_both_are_there() -> None:
    assert len(COMMANDS) == 2


@pytest.mark.parametrize("name", ["emoji_styles", "rated_genres", "emoji_styles_run", "rated_genres_run"])
def test_the_table_has_what_the_page_has(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|(.*)\|$", PAGE, re.MULTILINE)
    page = (DOCS / "dossiers" / name / "dossier.html").read_text(encoding="utf-8")
    cards = re.findall(r"<strong>(.*?)</strong>", page)
    shown = [re.sub(r"<[^>]+>", "", card) for card in cards]
    assert [cell.strip() for cell in row.split("|")[:2]] == shown[:2]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_makes_the_page(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS.parent)
    flags = shlex.split(command)[2:]
    place = flags.index("--output_dir") + 1
    committed, flags[place] = DOCS.parent / flags[place] / "dossier.html", str(tmp_path)
    (page,) = main(flags)
    made, kept = (PICTURE.sub("", file.read_text(encoding="utf-8")) for file in (page, committed))
    assert made == kept
    for figure in re.findall(r"in (\d+\.\d %) of cases|trained on, in (\d+\.\d %)", PAGE):
        assert committed.parent.name != "emoji_styles" or f">{max(figure)}<" in made
