"""Tables of any usual kind as rows: every cell as it is written, every row there."""

from __future__ import annotations

import csv
import glob
import gzip
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from datasets import Dataset, Features, Value, concatenate_datasets, config, load_dataset
from datasets.exceptions import DatasetGenerationError

from .align import listed
from .ids import MISSING_WORDS
from .origins import Origin, with_origins

SEPARATORS = {"csv": ",", "tsv": "\t"}
FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "arrow", "xlsx")
OTHER_SEPARATORS = (";", "\t", "|", ",")
WHOLE = r"^(0|-?[1-9]\d{0,17})$"
NUMBER = r"(?i)^[+-]?(inf(inity)?|((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?)$"
FORMAT_VERSION = "1"  # of what is kept in the cache


@dataclass(frozen=True)
class TableOptions:
    """How delimited files are written: their separator (None: as the suffix says) and encoding."""

    separator: str | None = None
    encoding: str = "utf-8"


def table_format(file: str | Path) -> str | None:
    """`csv`, `tsv`, `json`, `jsonl`, `parquet`, `arrow` or `xlsx`, by the suffix, which may be `.CSV` or
    `.csv.gz`; None for what is no table."""
    parts = Path(file).name.lower().split(".")
    if len(parts) > 2 and parts[-1] == "gz" and parts[-2] in ("csv", "tsv", "json", "jsonl"):
        return parts[-2]
    return parts[-1] if len(parts) > 1 and parts[-1] in FORMATS else None


def read_table(file: str | Path, options: TableOptions | None = None, name: str | None = None) -> Dataset:
    """The rows of one file. `name`: what errors call it.

    Of delimited files and spreadsheets a column is one of whole numbers, or of numbers, where every cell that
    is not empty is written as one (NA and its like apart); 001 is none. All other columns are text as it
    stands, in which an empty cell is None. Raises `ValueError` for what cannot be read, with the way out.
    """
    file, options = Path(file), options or TableOptions()
    name, kind = name or file.name, table_format(file)
    if kind is None:
        raise ValueError(
            f"{name} is no table: its name ends in none of {', '.join('.' + one for one in FORMATS)}."
        )
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}.")
    if kind in (*SEPARATORS, "xlsx"):
        return _from_cells(file, kind, options, name)
    try:
        loader = {"jsonl": "json"}.get(kind, kind)
        found = load_dataset(loader, data_files=glob.escape(str(file)), split="train")
    except (DatasetGenerationError, ValueError, pa.ArrowInvalid) as error:
        raise ValueError(f"{name} cannot be read as .{kind}: {error.__cause__ or error}") from error
    return with_origins(found, [Origin(name, len(found), heading=0, is_lines=kind == "jsonl")])


def read_tables(
    files: Sequence[Path], options: TableOptions | None = None, file_column: str | None = None
) -> Dataset:
    """Several files as one table, one below the other; `file_column`: a column with the name of each row's
    file, without its suffix. Raises `ValueError` where their columns differ."""
    parts = [read_table(file, options) for file in files]
    first = parts[0].column_names
    for file, part in zip(files, parts, strict=True):
        if sorted(part.column_names) != sorted(first):
            raise ValueError(
                f"{files[0].name} and {file.name} have different columns ({', '.join(first)}; "
                f"{', '.join(part.column_names)}): they make no table together."
            )
    origins = [Origin(f.name, len(part), **_lines(part)) for f, part in zip(files, parts, strict=True)]
    if file_column:
        parts = [
            (part.remove_columns(file_column) if file_column in part.column_names else part).add_column(
                file_column, [stem(file)] * len(part), feature=Value("string")
            )
            for file, part in zip(files, parts, strict=True)
        ]
    return with_origins(concatenate_datasets(_with_one_type(parts)), origins)


def _lines(part: Dataset) -> dict[str, Any]:
    (entry,) = (part.info.download_checksums or {}).values()
    return {"heading": entry["heading"], "is_lines": entry["is_lines"]}


def _with_one_type(parts: Sequence[Dataset]) -> list[Dataset]:
    """Columns that are numbers in some files and text in others are text in all."""
    types = [
        {name: getattr(feature, "dtype", None) for name, feature in part.features.items()} for part in parts
    ]
    changed = {
        name: "string"
        for name in types[0]
        if "string" in {one[name] for one in types}
        if len({one[name] for one in types}) > 1
    }
    changed |= {name: "float64" for name in types[0] if {one[name] for one in types} == {"int64", "float64"}}
    if not changed:
        return list(parts)
    return [
        part.cast(Features({**part.features, **{name: Value(kind) for name, kind in changed.items()}}))
        for part in parts
    ]


def stem(file: Path) -> str:
    """The file's name without its suffix, `.csv.gz` as a whole."""
    name = file.name[:-3] if file.name.lower().endswith(".gz") else file.name
    return Path(name).stem


def _from_cells(file: Path, kind: str, options: TableOptions, name: str) -> Dataset:
    """A file of written cells; what was made of it is kept in the cache of `datasets`, by its content."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    digest.update(repr((kind, options, file.suffix.lower(), FORMAT_VERSION)).encode())
    kept = Path(config.HF_DATASETS_CACHE) / "tables" / f"{digest.hexdigest()}.arrow"
    if not kept.exists():
        raw = written_cells(file, options, name)
        if raw.num_rows == 0:
            raise ValueError(f"{name} has a heading ({listed(raw.column_names)}) and no rows.")
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        table = pa.table({column: _typed(raw[column]) for column in raw.column_names})
        with pa.ipc.new_stream(str(partial), table.schema) as stream_out:
            stream_out.write_table(table, max_chunksize=10_000)
        os.replace(partial, kept)
    found = Dataset.from_file(str(kept))
    is_lines = kind != "xlsx" and _number_of_lines(file) == len(found) + 1
    return with_origins(found, [Origin(name, len(found), is_lines=is_lines or kind == "xlsx")])


def written_cells(file: Path, options: TableOptions, name: str | None = None) -> pa.Table:
    """A .csv, .tsv or .xlsx file, every cell as it is written, empty ones as `""`. Raises as `read_table`."""
    kind, name = str(table_format(file)), name or file.name
    return _spreadsheet(file, name) if kind == "xlsx" else _delimited(file, kind, options, name)


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Written cells as numbers, where all of them are; empty ones are None."""
    empty = pc.equal(pc.utf8_trim_whitespace(column), "")
    text = pc.if_else(empty, pa.scalar(None, pa.string()), column)
    named = pc.if_else(pc.is_in(text, value_set=pa.array(MISSING_WORDS)), pa.scalar(None, pa.string()), text)
    if named.null_count == len(named):
        return text
    for pattern, kind in ((WHOLE, pa.int64()), (NUMBER, pa.float64())):
        if pc.all(pc.match_substring_regex(named, pattern)).as_py():
            return pc.cast(pc.utf8_lower(named), kind)
    return text


def _delimited(file: Path, kind: str, options: TableOptions, name: str) -> pa.Table:
    separator = (options.separator or SEPARATORS[kind]).replace("\\t", "\t")
    try:
        if len(separator) != 1:
            raise ValueError(f"A separator is one character, not {separator!r} (--csv_separator).")
        heading = _heading(file, separator, options, name)
        table = pyarrow.csv.read_csv(
            file,
            pyarrow.csv.ReadOptions(encoding=options.encoding, use_threads=False),  # errors tell their row
            pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(heading, pa.string()), strings_can_be_null=False
            ),
        )
        if _ends_in_a_quote(table, file):
            raise ValueError(
                f'{name}: a quote (") is opened and never closed, in row {table.num_rows} (from 1, below the '
                "heading) at the latest; all that follows would be one cell. Close it, or write it twice."
            )
        return table
    except (UnicodeError, pa.ArrowInvalid) as error:
        if isinstance(error, UnicodeError) or "UTF8" in str(error) or "decod" in str(error):
            raise ValueError(_not_decoded(file, options, name)) from error
        raise ValueError(
            f"{name} cannot be read as .{kind}: {error} (its rows are counted with the heading). If another "
            "character separates its columns, name it (--csv_separator ';')."
        ) from error


def _ends_in_a_quote(table: pa.Table, file: Path) -> bool:
    """Whether the last cell runs to the end of the file, its line break included."""
    if not table.num_rows or "\n" not in table.column(table.num_columns - 1)[-1].as_py():
        return False
    with _opened(file) as stream:
        return sum(block.count(b'"') for block in iter(lambda: stream.read(1 << 20), b"")) % 2 == 1


def _opened(file: Path) -> Any:
    return gzip.open(file, "rb") if file.suffix.lower() == ".gz" else file.open("rb")


def _heading(file: Path, separator: str, options: TableOptions, name: str) -> list[str]:
    """The names of the columns. Raises `ValueError` for none, two of one name, and another separator."""
    try:
        with _opened(file) as stream:
            line = stream.read(1 << 16)
    except (OSError, EOFError) as error:
        raise ValueError(f"{name} cannot be read: {error}.") from error
    if not line.strip():
        raise ValueError(f"{name} is empty: a table has a heading, which names its columns.")
    try:
        first = line.decode(options.encoding, errors="ignore").lstrip("\ufeff").lstrip("\r\n")
    except LookupError as error:
        raise ValueError(f"There is no encoding {options.encoding!r} (--csv_encoding).") from error
    if "\x00" in first:
        raise ValueError(_not_decoded(file, options, name))
    names = next(csv.reader(io.StringIO(first, newline=""), delimiter=separator))
    if len(names) == 1:
        other = next((one for one in OTHER_SEPARATORS if one != separator and one in names[0]), None)
        if other:
            raise ValueError(
                f"{name}: there is one column {names[0]!r}: pass --csv_separator {other!r} if that is what "
                "separates its columns."
            )
    _refuse_twice(names, name)
    return names


def _refuse_twice(columns: Sequence[str], name: str) -> None:
    twice = sorted({one for one in columns if list(columns).count(one) > 1})
    if twice:
        raise ValueError(
            f"{name} has several columns called {listed([repr(one) for one in twice])}: rename one."
        )


def _not_decoded(file: Path, options: TableOptions, name: str) -> str:
    """What is not written in the encoding, and where."""
    with _opened(file) as stream:
        data = stream.read()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:1000].count(0) > 100:
        return (
            f"{name} is not written in {options.encoding}, but looks like utf-16: pass --csv_encoding utf-16."
        )
    try:
        data.decode(options.encoding)
        place = ""
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        around = data[max(0, error.start - 10) : error.end + 10].decode("latin-1").strip()
        place = f" (line {line}, near {around!r})"
    return (
        f"{name} is not written in {options.encoding}{place}: pass the encoding that it has, for instance "
        "--csv_encoding latin-1 or cp1252, or save it as UTF-8."
    )


def _number_of_lines(file: Path) -> int:
    count, last = 0, b"\n"
    with _opened(file) as stream:
        while block := stream.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


def _spreadsheet(file: Path, name: str) -> pa.Table:
    """The first sheet, its cells as text."""
    try:
        sheet = pd.read_excel(file, dtype=str, keep_default_na=False, header=None)
    except ImportError as error:
        raise ValueError(
            f"{name}: .xlsx needs openpyxl: pip install openpyxl, or save it as .csv."
        ) from error
    except Exception as error:  # openpyxl raises whatever it meets in a broken file
        raise ValueError(f"{name} cannot be read as .xlsx: {error}") from error
    if not len(sheet):
        raise ValueError(f"{name} is empty: a table has a heading, which names its columns.")
    names = [str(cell) for cell in sheet.iloc[0]]
    _refuse_twice(names, name)
    rows = sheet.iloc[1:]
    return pa.table(
        {column: pa.array(rows[at].astype(str).tolist(), pa.string()) for at, column in enumerate(names)}
    )
