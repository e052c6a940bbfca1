"""Any data set becomes one with environments."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
from PIL import Image

from hf_ood.data import add_environments
from hf_ood.data.environment_dataset import EnvironmentDataset


def make(**columns: list) -> Dataset:
    return Dataset.from_dict(columns)


def names(data: Dataset) -> list[str]:
    feature = data.features["environment"]
    return [feature.int2str(value) for value in data["environment"]]


def test_one_list_of_names_over_all_splits() -> None:
    data = DatasetDict(train=make(site=["b", "a"]), test=make(site=["c", "a"]))
    marked = add_environments(data, column="site")
    assert marked["train"].features == marked["test"].features
    assert marked["test"].features["environment"] == ClassLabel(names=["a", "b", "c"])
    assert names(marked["train"]) == ["b", "a"] and marked["test"]["environment"][:] == [2, 0]
    assert data["train"].column_names == ["site"]  # what was given is left alone


def test_numbers_keep_their_order_and_class_labels_their_names() -> None:
    assert add_environments(make(year=[2020, 9, 100]), column="year").features["environment"].names == [
        "9",
        "100",
        "2020",
    ]
    features = Features({"camera": ClassLabel(names=["z", "y"])})
    data = Dataset.from_dict({"camera": [1, 0]}, features=features)
    assert names(add_environments(data, column="camera")) == ["y", "z"]


def test_several_columns_make_the_groups_that_occur() -> None:
    data = make(site=["1", "1", "1,scanner=a"], scanner=["a", "b", "a"])
    marked = add_environments(data, column=["site", "scanner"])
    assert names(marked) == ["site=1,scanner=a", "site=1,scanner=b", "site=1,scanner=a,scanner=a"]


def test_a_function_of_the_row() -> None:
    data = DatasetDict(train=make(text=["Good film.", "bad"]))
    marked = add_environments(data, function=lambda row: "long" if len(row["text"]) > 5 else "short")
    assert names(marked["train"]) == ["long", "short"]


def test_a_metadata_file_joined_by_a_column(tmp_path: Path) -> None:
    file = tmp_path / "meta.csv"
    file.write_text("patient,site,extra\n1,x,\n2,y,\n3,x,\n")
    marked = add_environments(make(patient=[3, 2, 2]), metadata_file=file, column="site")
    assert names(marked) == ["x", "y", "y"]
    with pytest.raises(ValueError, match=r"1 of 2 rows of the split all are not in .*meta.csv.* patient '7'"):
        add_environments(make(patient=[3, 7]), metadata_file=file, column="site")
    with pytest.raises(ValueError, match=r"Unknown column 'sit'. Did you mean 'site'"):
        add_environments(make(patient=[3]), metadata_file=file, column="sit")
    with pytest.raises(ValueError, match=r"Name the key that joins .*patient, site, extra.* \(name\)"):
        add_environments(make(name=["a"]), metadata_file=file, column="site")
    with pytest.raises(ValueError, match=r"The split all has no environment in column extra"):
        add_environments(make(patient=[1]), metadata_file=file, column="extra")
    file.write_text("patient,environment\n1,x\n1,y\n")
    with pytest.raises(ValueError, match=r"several rows with patient '1'"):
        add_environments(make(patient=[1]), metadata_file=file)
    with pytest.raises(FileNotFoundError, match=r"no metadata file .*absent\.csv"):
        add_environments(make(patient=[1]), metadata_file=tmp_path / "absent.csv")


def test_a_folder_of_images_with_a_metadata_file_is_trained_on(tmp_path: Path) -> None:
    for number, label in enumerate("cats dogs cats dogs".split()):
        (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / "images" / label / f"{number}.png")
    file = tmp_path / "sites.jsonl"
    lines = [f'{{"file_name": "{number}.png", "environment": "s{number // 2}"}}' for number in range(4)]
    file.write_text("\n".join(lines))
    data = load_dataset("imagefolder", data_dir=str(tmp_path / "images"), cache_dir=str(tmp_path / "cache"))
    ready = EnvironmentDataset.from_dataset(add_environments(data, metadata_file=file)["train"])
    assert ready.environment_names == ["s0", "s1"] and ready.label_names == ["cats", "dogs"]
    red = ready.columns["pixel_values"][:, 0, 0, 0]
    assert (ready.environments == red // 2).all() and (ready.labels == red % 2).all()


@pytest.mark.parametrize("value", [None, "", float("nan")])
def test_a_missing_value_is_named(value: object) -> None:
    kind = Value("float64") if isinstance(value, float) else Value("string")
    known = 1.0 if isinstance(value, float) else "a"
    data = Dataset.from_dict({"site": [known, known, value]}, features=Features({"site": kind}))
    for columns in ("site", ["site", "site"]):
        with pytest.raises(ValueError, match=r"1 of 3 rows of the split all .* row 2"):
            add_environments(data, column=columns)


def test_mistakes_are_named() -> None:
    data = make(site=["a"], environment=["b"], box=[[1, 2]])
    with pytest.raises(
        ValueError, match=r"Unknown environment column 'sites'. Did you mean 'site'.*site, environment, box"
    ):
        add_environments(data, column="sites")
    with pytest.raises(ValueError, match=r"has a column 'environment' already"):
        add_environments(data, column="site")
    with pytest.raises(ValueError, match=r"told by a string or a number"):
        add_environments(data, column="box")
    with pytest.raises(ValueError, match=r"column, function, or metadata_file"):
        add_environments(data)
    with pytest.raises(ValueError, match=r"one of column, function"):
        add_environments(data, column="site", function=str)
    with pytest.raises(TypeError, match=r"not list"):
        add_environments([1], column="site")  # type: ignore[type-var]
    assert names(add_environments(data, column="environment")) == ["b"]
