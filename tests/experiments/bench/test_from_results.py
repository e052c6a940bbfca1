"""The page, the tables and the data set that are made from kept results alone."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from datasets import load_dataset
from kept_results import DATA, GAINS, kept, write_kept

from hf_ood.cli.bench import main
from hf_ood.evaluation.verdicts import interval
from hf_ood.experiments.bench.kept import CHOICES_FILE, keep, read_kept


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    write_kept(folder)
    guide = folder / "guide.md"
    marks = (
        "<!-- bench: headlines -->\n<!-- /bench -->\n\n<!-- bench: ranks -->\nof before\n<!-- /bench -->\n"
    )
    guide.write_text(f"# Which?\n\n{marks}")
    docs = ["--docs_page", str(folder / "docs" / "leaderboard.md"), "--guide", str(guide)]
    assert main(["--from_results", "--results_dir", str(folder), *docs]) == 0
    return folder


def tables(text: str) -> dict[str, dict[str, list[str]]]:
    """By heading: a Markdown table's rows by their first cell."""
    found: dict[str, dict[str, list[str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| "):
            first, *others = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(heading, {})[first] = others
    return found


def test_the_page_has_the_figures_of_the_csv(results: Path) -> None:
    page = tables((results / "full" / "leaderboard.md").read_text())
    csv = pd.read_csv(results / "full" / "leaderboard.csv")
    seen = 0
    for data, (environments, *_) in DATA.items():
        for protocol in csv.loc[csv["data"] == data, "protocol"].unique():
            heading = next(
                name
                for name in page
                if name.startswith((f"{data}: chosen by {protocol}", f"🟥 {data}: chosen by {protocol}"))
            )
            rows = page[heading]
            own = csv[(csv["data"] == data) & (csv["protocol"] == protocol)]
            for method in GAINS:
                shown = dict(zip(rows["method"], rows[method], strict=True))
                values = own[own["method"] == method].set_index("of")
                for column, of in [
                    *(
                        (name.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;"), name)
                        for name in environments
                    ),
                    ("mean", "mean"),
                    ("worst", "worst"),
                ]:
                    assert (
                        shown[column] == f"{values.loc[of, 'value']:.2f} ± {values.loc[of, 'half_width']:.2f}"
                    )
                    seen += 1
                if method != "erm":
                    assert shown["- ERM"].startswith(f"{values.loc['minus ERM', 'value']:+.2f}")
    assert seen == 3 * 4 * (3 + 2 + 2 + 2)


def test_the_csv_has_the_figures_of_the_choices(results: Path) -> None:
    csv = pd.read_csv(results / "full" / "leaderboard.csv")
    choices = pd.read_csv(results / "full" / "styles" / CHOICES_FILE)
    line = csv[(csv["data"] == "styles") & (csv["method"] == "ema") & (csv["of"] == "minus ERM")].iloc[0]
    own = choices[(choices["protocol"] == line["protocol"])]
    by_seed = own.groupby(["method", "seed"])["accuracy"].mean().unstack("method")
    expected = interval((100 * (by_seed["ema"] - by_seed["erm"])).tolist())
    assert line["value"] == pytest.approx(expected.mean, rel=1e-4)
    assert line["half_width"] == pytest.approx(expected.half_width, rel=1e-3)
    assert line["verdict"] == "holds" and line["n"] == 3


def test_the_page_says_what_there_is_to_say(results: Path) -> None:
    text = (results / "full" / "leaderboard.md").read_text()
    assert "styles: ERM reaches 33" in text and "flights: no gap to close is shown" in text
    assert "The largest gain: ema" in text and "mmd moves features." in text
    html = (results / "full" / "leaderboard.html").read_text()
    assert "<td>&lt;b&gt;" in html or "<th>&lt;b&gt;" in html
    assert "<b>" not in html and 'class="oracle"' in html and html.count("data:image/png") == 2
    for document in ("docs/leaderboard.md", "guide.md"):
        assert "The largest gain: ema" in (results / document).read_text()
    assert "of before" not in (results / "guide.md").read_text()
    assert (results / "docs" / "pictures" / "leaderboard" / "leaderboard.png").exists()
    assert "results/bench/full/styles/choices.csv" in (results / "docs" / "leaderboard.md").read_text()


def test_the_results_are_a_data_set(results: Path, tmp_path: Path) -> None:
    folder = str(results / "full" / "dataset")
    cache = str(tmp_path)
    summary = load_dataset(folder, split="train", cache_dir=cache).to_pandas()
    choices = load_dataset(folder, "choices", split="train", cache_dir=cache).to_pandas()
    assert set(summary["data"]) == {*DATA, "all"} and set(choices["data"]) == set(DATA)
    assert len(choices) == sum(len(kept(name).choices) for name in DATA)
    csv = pd.read_csv(results / "full" / "leaderboard.csv")
    assert summary["value"].tolist() == pytest.approx(csv["value"].tolist(), rel=1e-4)
    for name in ("cost", "spaces"):
        assert len(load_dataset(folder, name, split="train", cache_dir=cache))


def test_methods_of_an_earlier_command_stay(tmp_path: Path) -> None:
    folder = tmp_path / "full" / "styles"
    keep(kept("styles"), folder)
    keep(kept("styles", methods=("erm", "rsc")), folder)
    assert set(read_kept(folder).choices["method"]) == {*GAINS, "own environment"}
    keep(kept("styles", seeds=(5, 6), methods=("erm", "rsc")), folder)  # other seeds: another table
    assert set(read_kept(folder).choices["method"]) == {"erm", "rsc", "own environment"}


def test_other_seeds_are_set_against_these(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in DATA:
        again = kept(name, seeds=(3, 4, 5))
        turned = again.choices.copy()
        where = turned["method"] == "ema"
        turned.loc[where & (name == "styles"), "accuracy"] -= 0.05
        keep(type(again)(name, again.about, turned, again.cost, again.spaces), tmp_path / "full" / name)
    assert main(["--from_results", "--results_dir", str(results), "--against", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "styles, seeds [0, 1, 2] and [3, 4, 5]: ema (chosen by" in shown
    assert "flights, seeds [0, 1, 2] and [3, 4, 5]: no verdict is the opposite" in shown


def test_a_bench_is_set_against_another_and_not_against_the_packages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "again").mkdir()
    theirs = ["--from_results", "--results_dir", str(tmp_path / "none"), "--data", "rated_genres"]
    with pytest.raises(SystemExit):
        main([*theirs, "--against", str(tmp_path / "again")])
    assert f"data set of {tmp_path / 'again' / 'full'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:-10], "its end is missing"),
        (lambda text: text.replace("method,", "way,", 1), "its columns are not"),
        (lambda text: text + text.splitlines()[1] + "\n", "a choice is there twice"),
        (lambda text: re.sub(r"0\.33\d+", "33", text, count=1), "not between 0 and 1"),
    ],
)
def test_damage_is_told(tmp_path: Path, change, told: str, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    write_kept(tmp_path)
    file = tmp_path / "full" / "styles" / CHOICES_FILE
    file.write_text(change(file.read_text()))
    with pytest.raises(SystemExit):
        main(["--from_results", "--results_dir", str(tmp_path)])
    error = capsys.readouterr().err
    assert told in error and "--data styles --budget full" in error


def test_each_data_set_is_shown_at_its_larger_budget(tmp_path: Path) -> None:
    first, *others = DATA
    write_kept(tmp_path, "quick")
    keep(kept(first), tmp_path / "full" / first)
    document = tmp_path / "docs" / "leaderboard.md"
    assert main(["--from_results", "--results_dir", str(tmp_path), "--docs_page", str(document)]) == 0
    text = document.read_text()
    assert text.startswith("# Leaderboard\n")
    assert text.count("Budget full: ") == 1 and text.count("Budget quick: ") == len(others)
    assert f"bench/full/{first}/" in text and f"bench/quick/{first}/" not in text
    assert (tmp_path / "full" / "leaderboard.html").exists()
    assert main(["--from_results", "--results_dir", str(tmp_path), "--budget", "quick"]) == 0
    assert (tmp_path / "quick" / "leaderboard.md").read_text().startswith("# Leaderboard (budget quick)")
