"""What users' data look like: each odd input trained on and evaluated on, or refused with the way out."""

from __future__ import annotations

import gzip
import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from PIL import Image
from tiny_models import save_image_model, save_text_model

from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.train import main as train
from hf_ood.errors import UsageError

BASE = (
    "--use_cpu true --num_threads 1 --disable_tqdm true --max_steps 1 --eval_strategy no --save_strategy no "
    "--per_device_train_batch_size 4"
).split()
Make = Callable[[Path], str]  # writes the input below a folder -> the name of the dataset


@dataclass(frozen=True)
class Odd:
    """An input: its kind, what it is, how it is made, the flags it is given with; and what must happen: rows
    of each environment that is tested, or a part of the message. `evaluated`: what happens in `evaluate`,
    where that is something else; None: it is not asked (the input is about how rows are divided)."""

    kind: str
    what: str
    make: Make
    flags: str
    trained: dict[str, int] | str
    evaluated: str | int | None = 0  # 0: as in training; a number of rows; or a message

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def text_rows(
    label: Callable[[int], str] = "ab".__getitem__, place: str = "ABC", text: str = "good"
) -> list[str]:
    return [f"{text},{label(i % 2)},{place[i // 2 % len(place)]}" for i in range(24)]


def table(
    name: str = "t.csv", heading: str = "text,label,environment", encoding: str = "utf-8", **rows: object
) -> Make:
    return lines(heading, *text_rows(**rows), name=name, encoding=encoding)  # type: ignore[arg-type]


def lines(*written: str, name: str = "t.csv", encoding: str = "utf-8") -> Make:
    def make(place: Path) -> str:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(("\n".join(written) + "\n").encode(encoding))
        return str(place / name)

    return make


def content(name: str, data: bytes) -> Make:
    def make(place: Path) -> str:
        (place / name).write_bytes(data)
        return str(place / name)

    return make


def changed(row: int, line: str, heading: str = "text,label,environment") -> Make:
    """The usual table with one other row, counted from 1."""
    rows = text_rows()
    rows[row - 1] = line
    return lines(heading, *rows)


def frame(name: str) -> Make:
    def make(place: Path) -> str:
        rows = pandas.DataFrame(
            {"text": ["good", "bad"] * 12, "label": ["a", "b"] * 12, "environment": list("AABBCC") * 4}
        )
        file = place / name
        if name.endswith("xlsx"):
            pytest.importorskip("openpyxl")
            rows.to_excel(file, index=False)
        elif name.endswith("jsonl"):
            rows.to_json(file, orient="records", lines=True)
        else:
            rows.to_parquet(file)
        return str(file)

    return make


def saved(**splits: dict[str, list[object]]) -> Make:
    def make(place: Path) -> str:
        DatasetDict({split: Dataset.from_dict(rows) for split, rows in splits.items()}).save_to_disk(
            str(place / "d")
        )
        return str(place / "d")

    return make


def part(count: int = 24, **columns: list[object]) -> dict[str, list[object]]:
    usual: dict[str, list[object]] = {
        "text": ["good"] * count,
        "label": ["a", "b"] * (count // 2),
        "environment": [("ABC")[i // 2 % 3] for i in range(count)],
    }
    return usual | columns


def labelled(**names: list[str]) -> Make:
    """Splits whose label is a ClassLabel with these names, the rows a, b, a, b."""

    def make(place: Path) -> str:
        splits = {}
        for split, own in names.items():
            data = Dataset.from_dict(part(label=[sorted(own)[i % 2] for i in range(24)]))
            splits[split] = data.cast_column("label", ClassLabel(names=own))
        DatasetDict(splits).save_to_disk(str(place / "d"))
        return str(place / "d")

    return make


def picture(value: int = 90, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new("RGB", size, (value, 40, 0))


def pictures(place: Path, count: int = 12) -> None:
    for number in range(count):
        picture(number * 9).save(place / f"{number}.png")


def image_table(odd: str = "11.png", prepare: Callable[[Path], None] = lambda place: None) -> Make:
    """Twelve rows that name images, the last of them `odd`."""

    def make(place: Path) -> str:
        home = place / "home"
        home.mkdir()
        pictures(home)
        prepare(home)
        named = [f"{number}.png" for number in range(11)] + [odd.replace("HOME", str(home))]
        rows = [f"{name},{'ab'[i % 2]},{'ABC'[i // 2 % 3]}" for i, name in enumerate(named)]
        (home / "t.csv").write_text("\n".join(["image,label,environment", *rows]))
        return str(home / "t.csv")

    return make


def broken(home: Path) -> None:
    raw = bytearray((home / "0.png").read_bytes())
    at = raw.find(b"IDAT")
    raw[at - 4 : at] = struct.pack(">I", 9)
    (home / "broken.png").write_bytes(raw)


def cut(home: Path) -> None:
    (home / "cut.png").write_bytes((home / "0.png").read_bytes()[:60])


def no_image(home: Path) -> None:
    (home / "words.png").write_text("not an image")


def deep(home: Path) -> None:
    Image.fromarray(np.full((16, 16), 4000, np.uint16)).save(home / "deep.png")


def below(home: Path) -> None:
    (home / "more").mkdir()
    picture().save(home / "more" / "x.png")


def above(home: Path) -> None:
    picture().save(home.parent / "x.png")


def folders(*paths: str, count: int = 4, table: str | None = None) -> Make:
    def make(place: Path) -> str:
        root = place / "d"
        for path in paths:
            (root / path).mkdir(parents=True)
            for number in range(count):
                picture(number * 30).save(root / path / f"{number}.png")
        if table is not None:
            (root / "metadata.csv").write_text(table)
        return str(root)

    return make


def grid(domains: str, classes: str, before: str = "") -> list[str]:
    return [f"{before}{domain}/{kind}" for domain in domains.split() for kind in classes.split()]


def several(*names: str) -> Make:
    def make(place: Path) -> str:
        (place / "d").mkdir()
        for name in names:
            (place / "d" / name).write_text("\n".join(["text,label,environment", *text_rows()]))
        return str(place / "d")

    return make


def image_bytes(place: Path) -> str:
    """Parquet as other tools write it: no word of Hugging Face's about images."""
    cells = []
    for number in range(12):
        buffer = io.BytesIO()
        picture(number * 9).save(buffer, "png")
        cells.append({"bytes": buffer.getvalue(), "path": f"{number}.png"})
    rows = {"image": cells, "label": ["a", "b"] * 6, "environment": list("AABBCC") * 2}
    pandas.DataFrame(rows).to_parquet(place / "t.parquet")
    return str(place / "t.parquet")


def bare_bytes(place: Path) -> str:
    pandas.read_parquet(image_bytes(place)).assign(
        image=lambda rows: [cell["bytes"] for cell in rows["image"]]
    ).to_parquet(place / "bare.parquet")
    return str(place / "bare.parquet")


def classes(count: int, each: int) -> Make:
    rows = [f"good,k{i // each:04d},{'ABC'[i % 3]}" for i in range(count * each)]
    return lines("text,label,environment", *rows)


def unknown_class(place: Path) -> str:
    features = Features(
        {"text": Value("string"), "label": ClassLabel(names=["a", "b"]), "environment": Value("string")}
    )
    rows = part(label=[-1 if i == 7 else i % 2 for i in range(24)])
    Dataset.from_dict(rows, features=features).save_to_disk(str(place / "d"))
    return str(place / "d")


def named_places(name: str) -> Make:
    def make(place: Path) -> str:
        rows = part(environment=[("A", "B", name)[i // 2 % 3] for i in range(24)])
        Dataset.from_dict(rows).to_parquet(str(place / "t.parquet"))
        return str(place / "t.parquet")

    return make


C = {"C": 8}
C4 = {"C": 4}
ODD = [
    # encodings
    Odd("encoding", "latin-1", table(text="schön", encoding="latin-1"), "", "line 2.*--csv_encoding latin-1"),
    Odd("encoding", "latin-1, named", table(text="schön", encoding="latin-1"), "--csv_encoding latin-1", C),
    Odd("encoding", "utf-16", table(encoding="utf-16"), "", "--csv_encoding utf-16"),
    Odd("encoding", "utf-16, named", table(encoding="utf-16"), "--csv_encoding utf-16", C),
    Odd("encoding", "utf-8 with a mark", table(encoding="utf-8-sig"), "", C),
    Odd("encoding", "no such encoding", table(), "--csv_encoding utf-99", "no encoding 'utf-99'"),
    # separators
    Odd(
        "separator",
        "semicolons",
        lines("text;label;environment", "good;a;A"),
        "",
        "one column 'text;label;env.*--csv_separator ';'",
    ),
    Odd(
        "separator",
        "semicolons, named",
        lines("text;label;environment", *[row.replace(",", ";") for row in text_rows()]),
        "--csv_separator ;",
        C,
    ),
    Odd(
        "separator",
        "tabs in a .tsv",
        lines("text\tlabel\tenvironment", *[row.replace(",", "\t") for row in text_rows()], name="t.tsv"),
        "",
        C,
    ),
    Odd("separator", "two characters", table(), "--csv_separator ::", "one character, not '::'"),
    # kinds of files
    Odd("file", "suffix in capitals", table(name="T.CSV"), "", C),
    Odd(
        "file",
        "compressed",
        content("t.csv.gz", gzip.compress("\n".join(["text,label,environment", *text_rows()]).encode())),
        "",
        C,
    ),
    Odd(
        "file",
        "called .gz and not compressed",
        content("t.csv.gz", b"text,label\ngood,a\n"),
        "",
        "t.csv.gz cannot be read",
    ),
    Odd("file", "a spreadsheet", frame("t.xlsx"), "", C),
    Odd(
        "file",
        "a broken spreadsheet",
        content("t.xlsx", b"no spreadsheet"),
        "",
        "t.xlsx cannot be read|openpyxl",
    ),
    Odd("file", "json lines", frame("t.jsonl"), "", C),
    Odd(
        "file",
        "json lines cut off",
        lines('{"text": "good", "label": "a"}', '{"text":', name="t.jsonl"),
        "",
        "t.jsonl cannot be read",
    ),
    Odd("file", "no parquet", content("t.parquet", b"PAR1nonsense"), "", "t.parquet cannot be read"),
    Odd("file", "not there", lambda place: str(place / "absent.csv"), "", "There is no file"),
    Odd("file", "another suffix", content("t.doc", b"x"), "", "no folder or table"),
    # what a table looks like
    Odd("heading", "alone", lines("text,label,environment"), "", "has a heading .* and no rows"),
    Odd("heading", "none: an empty file", content("t.csv", b""), "", "t.csv is empty"),
    Odd(
        "heading", "two of one name", table(heading="text,label,label"), "", "several columns called 'label'"
    ),
    Odd(
        "heading",
        "without the label",
        table(heading="text,lable,environment"),
        "",
        "Did you mean '?lable",
        "Did you mean '?lable",
    ),
    Odd("row", "with a cell too many", changed(5, "good,a,A,x"), "", "Row #6: Expected 3 columns, got 4"),
    Odd("row", "with a cell too few", changed(5, "good,a"), "", "Row #6: Expected 3 columns, got 2"),
    Odd(
        "row",
        "with a quote that never ends",
        changed(24, 'good,a,"A'),
        "",
        "quote .* never closed, in row 24",
    ),
    Odd("row", "with a line break in quotes", changed(7, '"good\nfilm",a,A'), "", C),
    # missing cells
    Odd(
        "missing", "label", changed(8, "good,,A"), "", r"no label in column label: row 8 of t.csv \(line 9\)"
    ),
    Odd("missing", "label of spaces", changed(8, "good,  ,A"), "", "no label in column label: row 8"),
    Odd("missing", "environment", changed(8, "good,a,"), "", "no environment in column environment: row 8"),
    Odd(
        "missing",
        "NA, which may be a name",
        changed(8, "good,a,NA"),
        "",
        "'NA' may be a name or mean that there is none",
    ),
    Odd("missing", "text", changed(8, ",a,A"), "", r"rows without text \(row 8 of t.csv"),
    Odd("missing", "label -1", unknown_class, "", "no label in column label: row 7"),
    # numbers
    Odd(
        "number",
        "an infinite environment",
        lines(
            "text,label,environment", *[f"good,{'ab'[i % 2]},{'inf' if i == 5 else i % 3}" for i in range(24)]
        ),
        "",
        r"holds inf \(row 6 of t.csv",
        r"holds inf \(row 6",
    ),
    Odd(
        "number",
        "labels with a point",
        lines("text,label,environment", *[f"good,{i % 2}.0,{'ABC'[i // 2 % 3]}" for i in range(24)]),
        "",
        C,
    ),
    Odd(
        "number",
        "keys with leading zeros",
        lines(
            "text,label,environment",
            *[f"good,{'ab'[i % 2]},{('001', '01', 'C')[i // 2 % 3]}" for i in range(24)],
        ),
        "--train_environments 001 01",
        C,
    ),
    Odd(
        "number",
        "measures as labels",
        lines("text,label,environment", *[f"good,{i / 7:.4f},{'ABC'[i // 2 % 3]}" for i in range(24)]),
        "",
        "24 different values",
        None,
    ),
    Odd(
        "number",
        "an id as the label",
        lines("text,label,environment", *[f"good,p{i},{'ABC'[i // 2 % 3]}" for i in range(24)]),
        "",
        "24 different values",
        None,
    ),
    Odd(
        "number", "1,000 classes of two samples", classes(1000, 2), "--max_train_samples 60", {"C": 666}, None
    ),
    # spelling
    Odd(
        "spelling",
        "labels in two spellings",
        changed(8, "good,A,A"),
        "",
        "3 different labels, 2 without regard.*Did you mean the same",
    ),
    Odd(
        "spelling",
        "environments in two spellings",
        changed(8, "good,a,a "),
        "",
        "different environments.*Did you mean the same",
    ),
    # names
    Odd("name", "markup", named_places("[red]"), "--test_environments [red]", {"[red]": 8}),
    Odd("name", "html", named_places("<script>"), "--test_environments <script>", {"<script>": 8}),
    Odd("name", "a pipe and a line break", named_places("a|b\nc"), "--train_environments A B", {"a|b\nc": 8}),
    Odd("name", "a slash", named_places("x/../y"), "--test_environments x/../y", {"x/../y": 8}),
    Odd("name", "300 characters", named_places("x" * 300), "--train_environments A B", {"x" * 300: 8}),
    # splits
    Odd("split", "val beside train", saved(train=part(), val=part(12), test=part()), "", C, None),
    Odd(
        "split",
        "dev and validation",
        saved(train=part(), dev=part(), validation=part()),
        "",
        "'dev' and 'validation' both mean validation",
        None,
    ),
    Odd(
        "split",
        "one left out",
        saved(train=part(), dev=part(), validation=part()),
        "--ignore_splits dev",
        {"C": 16},
        None,
    ),
    Odd(
        "split",
        "to leave out is not there",
        saved(train=part()),
        "--ignore_splits dev",
        "no split 'dev' to ignore",
        None,
    ),
    Odd(
        "split",
        "test without labels, environments held out",
        saved(train=part(), test=part(label=[None] * 24)),
        "",
        C,
        None,
    ),
    Odd(
        "split",
        "test without labels, nothing held out",
        saved(train=part(), test=part(label=[None] * 24)),
        "--test_environments",
        "split test has no label in column label.*--ignore_splits test",
        None,
    ),
    Odd("split", "classes in another order", labelled(train=["b", "a"], test=["a", "b"]), "", C, 24),
    Odd(
        "split",
        "numbers for names",
        saved(train=part(), test=part(label=[0, 1] * 12)),
        "",
        "numbers and names are not matched",
        None,
    ),
    Odd(
        "split",
        "another type of a column that nobody needs",
        saved(train=part(age=[3] * 24), test=part(age=["x"] * 24)),
        "",
        C,
        24,
    ),
    # folders
    Odd("folder", "domain/class", folders(*grid("A B C", "cat dog")), "", C),
    Odd(
        "folder",
        "class/domain, told by the name that is held out",
        folders(*grid("cat dog", "A B C")),
        "",
        C,
        None,
    ),
    Odd("folder", "class/domain, said", folders(*grid("cat dog", "A B C")), "--label_column @folder", C),
    Odd("folder", "a class called train", folders(*grid("A B C", "dog train")), "", C),
    Odd(
        "folder",
        "splits above domains",
        folders(*grid("A B C", "cat dog", "train/"), *grid("A B C", "cat dog", "test/")),
        "",
        C,
        24,
    ),
    Odd("folder", "files at different depths", folders("A/cat", "B"), "", "different depths"),
    Odd("folder", "too deep", folders("x/A/cat/y"), "", "4 folders deep"),
    Odd(
        "folder",
        "classes, and a table of environments",
        folders(
            "cat",
            "dog",
            count=6,
            table="file_name,environment\n"
            + "\n".join(f"{kind}/{i}.png,{'ABC'[i // 2]}" for kind in ("cat", "dog") for i in range(6)),
        ),
        "",
        C4,
    ),
    Odd(
        "folder",
        "tables that are called like no split",
        several("south.csv", "training-ward.csv"),
        "",
        "2 tables .*called like no split.*@file",
    ),
    Odd(
        "folder",
        "tables that are environments",
        several("A.csv", "B.csv", "C.csv"),
        "--environment_column @file",
        {"C": 24},
    ),
    Odd("folder", "empty", lambda place: str(place), "", "holds no files"),
    # images
    Odd(
        "image",
        "broken",
        image_table("broken.png", broken),
        "",
        r"row 12 of t.csv \(line 13\), broken.png: the image cannot be read",
    ),
    Odd("image", "cut off", image_table("cut.png", cut), "", "row 12 of t.csv.*cut.png"),
    Odd("image", "cut off and skipped", image_table("cut.png", cut), "--skip_bad_rows 1", {"C": 3}, None),
    Odd(
        "image",
        "cut off, from disk",
        image_table("cut.png", cut),
        "--in_memory never",
        "row 12 of t.csv.*cut.png",
        None,
    ),
    Odd("image", "no image", image_table("words.png", no_image), "", "row 12 of t.csv"),
    Odd("image", "16 bits", image_table("deep.png", deep), "", "row 12 of t.csv.*more than 8 bits a pixel"),
    Odd("image", "an empty cell", image_table(""), "", "row 12 of t.csv.*there is no image"),
    Odd("image", "of a struct", image_bytes, "", C4),
    Odd("image", "of bytes", bare_bytes, "", C4),
    # paths
    Odd("path", "not there", image_table("absent.png"), "", "absent.png .row 12 of t.csv"),
    Odd("path", "with backslashes", image_table("more\\x.png", below), "", C4),
    Odd("path", "absolute", image_table("HOME/0.png"), "", C4),
    Odd(
        "path",
        "above the table",
        image_table("../x.png", above),
        "",
        "leads out of the table's folder.*--allow_outside_files",
    ),
    Odd("path", "above the table, allowed", image_table("../x.png", above), "--allow_outside_files true", C4),
    Odd(
        "path",
        "an address",
        image_table("https://example.org/x.png"),
        "",
        "it is an address.*--allow_outside_files",
    ),
    # types
    Odd("type", "lists as labels", saved(train=part(label=[["a"]] * 24)), "", "one a row"),
    Odd("type", "lists as texts", saved(train=part(text=[["good"]] * 24)), "", "which is no text"),
    Odd("type", "truth as labels", saved(train=part(label=[True, False] * 12)), "", C),
    Odd(
        "type",
        "numbers as texts",
        saved(train=part(text=[7] * 24)),
        "",
        "holds 7, which is no text",
        "which is no text|name --text_column",
    ),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {"text": save_text_model(place / "text"), "image": save_image_model(place / "image")}


def test_there_are_sixty_of_twelve_kinds() -> None:
    assert len(ODD) >= 60 and len({odd.kind for odd in ODD}) >= 12
    assert len({str(odd) for odd in ODD}) == len(ODD)


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_input(odd: Odd, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    dataset = odd.make(tmp_path / "input")
    of_images = odd.kind in ("image", "path") or (
        odd.kind == "folder" and "table" not in odd.what.split(",")[0]
    )
    reads = ["--image_column", "image"] if of_images else ["--text_column", "text"]
    flags = odd.flags.split(" ") if odd.flags else []
    divides = [] if "_environments" in odd.flags else ["--test_environments", "C"]
    if flags == ["--test_environments"]:
        flags = []
    model = ["--model", str(models["image" if of_images else "text"])]
    command = ["--dataset", dataset, *model, *(reads if not of_images else [])]
    message = odd.trained if isinstance(odd.trained, str) else None
    expect(
        lambda: train([*command, *BASE, *divides, *flags, "--output_dir", str(tmp_path / "run")]), odd.trained
    )
    if odd.evaluated is None:
        return
    asked = [flag for flag in flags if flag.startswith("--") and "_environments" not in flag]
    kept = [part for flag in asked for part in flags[flags.index(flag) : flags.index(flag) + 2]]
    expected = odd.evaluated or message
    split = ["--split", "test"] if odd.kind == "split" or "splits" in odd.what else []
    where = ["--output_dir", str(tmp_path / "evaluated")]
    result = expect(lambda: evaluate([*command, *split, *kept, *where]), expected or {})
    if result is not None:
        tested = odd.trained if isinstance(odd.trained, dict) else {}
        counts = {name: entry["count"] for name, entry in result["environments"].items()}
        if isinstance(expected, int) and expected:
            assert sum(counts.values()) == expected
        assert {name: counts[name] for name in tested} == tested


def expect(run: Callable[[], dict], wanted: object) -> dict | None:
    """Run it: it is refused with a message like the one that is wanted, or tests as many rows."""
    if isinstance(wanted, str):
        with pytest.raises(UsageError) as refused:
            run()
        assert re.search(wanted, refused.value.message, re.S), refused.value.message
        assert "Traceback" not in refused.value.message
        return None
    results = run()
    tested = {
        name: entry["count"] for name, entry in results["environments"].items() if entry["split"] == "test"
    }
    if isinstance(wanted, dict) and wanted and "seconds" in results and "history" in results:
        assert tested == wanted
    return results
