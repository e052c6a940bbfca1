"""Features in columns through the commands: the saved run knows how its vectors were made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForImageClassification

from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.predict import main as predict
from hf_ood.cli.predict import run as predict_rows
from hf_ood.cli.train import main as train
from hf_ood.data import load_processor, read_dataset
from hf_ood.data.features import FEATURES_FILE
from hf_ood.errors import UsageError
from hf_ood.evaluation.shift.encoders import CheckpointEncoder, encode
from hf_ood.hub.push import published_files
from hf_ood.runs.attribution import explain_run
from hf_ood.runs.network import input_size

QUIET = (
    "--max_steps 6 --per_device_train_batch_size 24 --eval_strategy no --save_strategy no --num_threads 1 "
    "--use_cpu true --disable_tqdm true --report_to none --learning_rate 0.01"
).split()
FLAGS = (
    "--feature_columns age bmi sex --environment_column hospital --test_environments C --impute true".split()
)


def write_patients(file: Path, rows: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    ill = rng.random(rows) < 0.5
    table = pd.DataFrame(
        {
            "patient": [f"{number:04d}" for number in range(rows)],
            "age": rng.integers(20, 90, rows),
            "bmi": (25 + 8 * ill + rng.normal(size=rows)).round(2),
            "sex": rng.choice(["f", "m"], rows),
            "hospital": [*"ABC"] * (rows // 3),
            "label": np.where(ill, "ill", "well"),
        }
    )
    table.loc[5, "bmi"] = None
    table.to_csv(file, index=False)
    return table


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "patients.csv"
    write_patients(file)
    return file


@pytest.fixture(scope="module", params=["mlp", "linear"])
def folder(request: pytest.FixtureRequest, patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / request.param
    train(["--dataset", str(patients), "--model", request.param, *FLAGS, *QUIET, "--output_dir", str(out)])
    return out


def logits_of(folder: Path, file: Path) -> np.ndarray:
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    vectors = load_processor(str(folder)).vectors(read_dataset(str(file))["train"])
    with torch.no_grad():
        return model(pixel_values=torch.from_numpy(vectors)).logits.numpy()


def test_a_run_is_evaluated_as_it_was_trained(folder: Path, patients: Path, tmp_path: Path) -> None:
    """The figures of the held-out hospital are the same, whether the run or the model is named."""
    config = json.loads((folder / "config.json").read_text())
    assert config["num_features"] == 4 and (folder / FEATURES_FILE).is_file()
    trained = json.loads((folder / "results.json").read_text())["environments"]["C"]
    for source in (["--run", str(folder)], ["--model", str(folder), "--dataset", str(patients)]):
        found = evaluate(
            [*source, "--environment_column", "hospital", "--output_dir", str(tmp_path / source[0])]
        )
        assert found["environments"]["C"]["accuracy"] == trained["accuracy"]
        assert found["environments"]["C"]["loss"] == pytest.approx(trained["loss"], abs=1e-5)


def test_new_rows_are_predicted_without_naming_columns(folder: Path, tmp_path: Path) -> None:
    """A table is read as written, other columns and another order of them included."""
    file = tmp_path / "new.csv"
    table = write_patients(file, 12, seed=1)[["sex", "patient", "bmi", "age"]]
    table.to_csv(file, index=False)
    found = predict_rows(str(file), str(folder))
    assert found["patient"].tolist() == table["patient"].tolist()
    expected = torch.from_numpy(logits_of(folder, file)).softmax(1).numpy()
    np.testing.assert_allclose(
        found[["probability_ill", "probability_well"]].astype(float), expected, atol=1e-6
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,sex\n30,f\n", "no column 'bmi'"),
        ("age,bmi,sex\n30,20,f\nold,20,m\n", "'age' holds 'old' in row 2 of new.csv"),
        ("age,bmi,sex\n30,inf,f\n", "'bmi' holds 'inf' in row 1 of new.csv"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    text: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(UsageError):
        predict(["--model", str(folder), str(tmp_path / "new.csv")])
    assert message in capsys.readouterr().err


def test_columns_that_the_model_knows_are_not_named_again(folder: Path, patients: Path) -> None:
    with pytest.raises(ValueError, match="leave --feature_columns out"):
        predict_rows(str(patients), str(folder), feature_columns=["age", "bmi"])


def test_the_card_shows_a_table_and_no_images(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert "pipeline_tag: tabular-classification" in card and "age bmi sex" in card
    assert "PIL" not in card and "pipeline(" not in card


def test_the_cards_sample_runs(folder: Path, patients: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(folder)
    exec(code.replace("new.csv", str(patients)), {})


def test_shift_is_measured_in_what_the_network_sees(folder: Path, patients: Path) -> None:
    encoder, rows = CheckpointEncoder(str(folder)), read_dataset(str(patients))["train"].select(range(6, 30))
    model = AutoModelForImageClassification.from_pretrained(folder)
    with torch.no_grad():
        vectors = torch.from_numpy(load_processor(str(folder)).vectors(rows))
        np.testing.assert_allclose(encode(rows, encoder), model.forward_features(vectors), atol=1e-5)


def test_it_is_published_with_its_columns(folder: Path) -> None:
    assert FEATURES_FILE in {file.name for file in published_files(folder)}


def test_a_network_of_vectors_fits_its_data() -> None:
    assert input_size("linear", {}, (3, 8, 8)) == {"num_features": 192}
    assert input_size("mlp", {}, (3, 8, 8)) == {} == input_size("lenet", {}, (3, 8, 8))
    with pytest.raises(ValueError, match="vectors of 5 numbers, which lenet does not take: --model mlp or"):
        input_size("lenet", {}, (5,))


def test_another_configuration_is_read_as_the_runs_own(tmp_path: Path) -> None:
    """Its own training rows would hide the shift between the two."""
    configs = []
    for name, shift in (("near", 0), ("far", 100)):
        for split in ("train", "test"):
            file = tmp_path / "data" / name / f"{split}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            x = np.arange(40) + shift
            pd.DataFrame({"x": x, "label": x % 2, "environment": [*"AB"] * 20}).to_parquet(file)
        files = "".join(f"  - split: {s}\n    path: {name}/{s}.parquet\n" for s in ("train", "test"))
        configs.append(f"- config_name: {name}\n  data_files:\n{files}")
    (tmp_path / "data" / "README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    flags = f"--dataset {tmp_path / 'data'} --dataset_config near --also_test far --feature_columns x".split()
    run = tmp_path / "run"
    trained = train([*flags, "--model", "linear", *QUIET, "--output_dir", str(run)])["also_test"]["far"]
    flags = f"--model {run} --dataset {tmp_path / 'data'} --dataset_config far".split()
    found = evaluate([*flags, "--output_dir", str(tmp_path / "evaluation")])
    for name in "AB":
        measured = found["environments"][name]["loss"]
        assert trained["environments"][name]["loss"] == pytest.approx(measured, rel=1e-4)


def test_explain_refuses_by_name(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"reads features in columns \(age, bmi, sex\)"):
        explain_run(folder)


def test_a_start_brings_its_way_of_making_vectors(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    table = write_patients(other, seed=2)
    table.assign(age=table["age"] * 3).to_csv(other, index=False)
    flags = ["--dataset", str(other), "--model", folder.name, *FLAGS, *QUIET, "--start_from", str(folder)]
    train([*flags, "--output_dir", str(tmp_path / "run")])
    assert (tmp_path / "run" / FEATURES_FILE).read_text() == (folder / FEATURES_FILE).read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model lenet --impute true", "which --model mlp and linear take, not lenet"),
        ("--model mlp --mlp.num_features 7 --impute true", "num_features 7 does not fit: a sample holds 4"),
        ("--model mlp --mlp.image_size 4 --impute true", "image_size is for images"),
        ("--model linear", "row 6 of patients.csv (line 7)"),
        ("--model mlp --impute true --augmentation random_color", "images, not features"),
    ],
)
def test_what_does_not_fit_is_refused(
    flags: str, message: str, patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((UsageError, SystemExit)):
        train(
            [
                "--dataset",
                str(patients),
                *FLAGS[:-2],
                *flags.split(),
                *QUIET,
                "--output_dir",
                str(tmp_path / "run"),
            ]
        )
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_environment_as_a_feature_tells_apart_what_the_others_do_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"site": [*"ABC"] * 400, "marker": rng.normal(size=1200)})
    turned = table["site"] == "B"  # where the same marker means the opposite
    table["label"] = ((table["marker"] > 0) ^ turned).astype(int)
    data = tmp_path / "data"
    data.mkdir()
    table[:900].to_csv(data / "train.csv", index=False)
    table[900:].to_csv(data / "test.csv", index=False)

    def worst(*columns: str) -> float:
        folder = tmp_path / "-".join(columns)
        named = ["--dataset", str(data), "--environment_column", "site", "--model", "mlp"]
        long = ["--max_steps", "120", "--output_dir", str(folder), "--feature_columns", *columns]
        train([*named, *QUIET, *long])
        entries = json.loads((folder / "results.json").read_text())["environments"].values()
        return min(each["accuracy"] for each in entries if each["split"] == "test")

    assert worst("marker") < 0.2 and worst("marker", "site") > 0.9
