"""The rooms of the library import in one direction."""

from __future__ import annotations

import ast
from pathlib import Path

import hf_ood

PACKAGE = Path(hf_ood.__file__).parent
# A room may import from rooms of lower rank; rooms of equal rank do not know each other.
RANK = {
    "data": 0,
    "models": 2,
    "methods": 2,
    "evaluation": 3,
    "engine": 4,
    "trainer": 5,
    "discovery": 4,
    "explain": 4,
    "reporting": 6,
    "hub": 7,
    "export": 7,
    "runs": 8,
    "experiments": 9,
    "cli": 10,
}


def imported_rooms(file: Path) -> set[str]:
    """The rooms that a file imports from, its own left out."""
    own = file.relative_to(PACKAGE).parts[:-1]
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = list(own[: len(own) - node.level + 1]) if node.level else []
            parts = base + (node.module or "").split(".")
            if node.level == 0:
                if parts[0] != "hf_ood":
                    continue
                parts = parts[1:]
            if parts and parts[0] in RANK:
                rooms.add(parts[0])
    return rooms - {own[0]}


def test_every_folder_is_a_known_room() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(RANK)


def test_rooms_import_only_from_their_left() -> None:
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).parts
        if len(parts) < 2:
            continue
        for room in imported_rooms(file):
            assert RANK[room] < RANK[parts[0]], f"{file.relative_to(PACKAGE)} imports from {room}"


def test_models_can_travel_without_this_package() -> None:
    for file in (PACKAGE / "models").glob("*/*.py"):
        if file.name.startswith(("modeling_", "configuration_", "image_processing_", "color_")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom):
                    assert node.level < 2, f"{file.name} imports from outside its folder"
                    assert not (node.module or "").startswith("hf_ood")
