"""Files that come with the package and are found by name: recipes, studies, their results, launch files."""

from __future__ import annotations

from pathlib import Path

from .errors import unknown_name

PACKAGE = Path(__file__).parent
RECIPES, RESULTS, LAUNCH = PACKAGE / "recipes", PACKAGE / "results", PACKAGE / "launch"
BENCH = RECIPES / "bench"


def recipe_file(name: str | Path) -> Path:
    """A recipe of one's own, by its path, or one of the package's, by its name: `quickstart`,
    `bench/rated_genres`.

    Any other path that leads nowhere stands for the name at its end. Raises `ValueError` for a name that
    there is not, with the nearest one.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = BENCH if path.parent.name == BENCH.name else RECIPES
    own = folder / f"{path.stem}.yaml"
    if own.is_file() and path.suffix in ("", ".yaml"):
        return own
    known = sorted(file.stem for file in RECIPES.glob("*.yaml"))
    raise ValueError(f"There is no recipe {name}. {unknown_name('recipe', path.stem, known)}")


def description(file: Path) -> str:
    """What a recipe or a launch file says of itself: its `title`, or its first comment."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    title = next((line for line in lines if line.startswith("title:")), None)
    if title:
        return title.removeprefix("title:").strip(" \"'")
    return next((line.lstrip("# ") for line in lines if line.startswith("# ")), "")
