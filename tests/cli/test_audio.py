"""Sounds through the commands: trained on, evaluated, predicted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from tiny_models import save_sound_model, save_spectrogram_model
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.predict import run as predict
from hf_ood.cli.train import main as train
from hf_ood.errors import UsageError
from hf_ood.evaluation.shift.encoders import CheckpointEncoder
from hf_ood.runs.attribution import explain_run

RATE = 16000
FLAGS = (
    "--environment_column site --test_environments C --max_steps 3 --per_device_train_batch_size 8 "
    "--eval_strategy no --save_strategy no --num_threads 1 --use_cpu true --disable_tqdm true "
    "--report_to none"
).split()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of two pitches in three kinds of noise, named by a table."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    lines = ["file,label,site"]
    for number in range(36):
        time = np.arange(1600 + 40 * (number % 5)) / RATE
        pitch, noise = (300, 1200)[number % 2], number % 3
        samples = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.05 * noise * rng.normal(size=len(time))
        soundfile.write(folder / f"{number}.wav", samples, RATE)
        lines.append(f"{number}.wav,{['low', 'high'][number % 2]},{'ABC'[noise]}")
    (folder / "sounds.csv").write_text("\n".join(lines))
    return folder / "sounds.csv"


@pytest.fixture(scope="module", params=["wav2vec2", "spectrogram"])
def folder(request: pytest.FixtureRequest, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    if request.param == "wav2vec2":
        model, length = save_sound_model(root / "model", RATE), ["--max_seconds", "0.1"]
    else:
        model, length = save_spectrogram_model(root / "model"), ["--audio_column", "file"]
    flags = ["--dataset", str(sounds), "--model", str(model), *length, *FLAGS]
    train([*flags, "--output_dir", str(root / "run")])
    return root / "run"


def probabilities(folder: Path, files: list[Path]) -> np.ndarray:
    """By transformers alone, a sound at a time."""
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    found = []
    for file in files:
        samples, _ = soundfile.read(file, dtype="float32")
        options = {}
        if hasattr(extractor, "max_seconds"):
            options = {
                "padding": "max_length",
                "max_length": round(extractor.max_seconds * RATE),
                "truncation": True,
            }
        inputs = extractor(samples, sampling_rate=RATE, return_tensors="pt", **options)
        with torch.no_grad():
            found.append(model(**inputs).logits.softmax(1))
    return torch.cat(found).numpy()


def test_a_run_is_evaluated_as_it_was_trained(folder: Path, sounds: Path, tmp_path: Path) -> None:
    trained = json.loads((folder / "results.json").read_text())["environments"]["C"]
    for source in (["--run", str(folder)], ["--model", str(folder), "--dataset", str(sounds)]):
        found = evaluate([*source, "--environment_column", "site", "--output_dir", str(tmp_path / source[0])])
        assert found["environments"]["C"]["accuracy"] == trained["accuracy"]
        assert found["environments"]["C"]["loss"] == pytest.approx(trained["loss"], abs=1e-5)


def test_new_sounds_are_predicted(folder: Path, sounds: Path, tmp_path: Path) -> None:
    files = [sounds.parent / f"{number}.wav" for number in (5, 2, 3)]
    pd.DataFrame({"sound": [str(file) for file in files], "n": [1, 2, 3]}).to_csv(
        tmp_path / "new.csv", index=False
    )
    found = predict(str(tmp_path / "new.csv"), str(folder))
    assert found["n"].tolist() == ["1", "2", "3"]
    columns = ["probability_high", "probability_low"]
    np.testing.assert_allclose(found[columns].astype(float), probabilities(folder, files), atol=1e-5)


def test_a_folder_of_sounds_is_shown_by_its_files(folder: Path, sounds: Path, tmp_path: Path) -> None:
    for name in ("b.wav", "a.wav"):
        (tmp_path / name).write_bytes((sounds.parent / "0.wav").read_bytes())
    found = predict(str(tmp_path), str(folder))
    assert found["audio"].tolist() == ["a.wav", "b.wav"]


def test_a_broken_sound_is_named(folder: Path, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes((sounds.parent / "0.wav").read_bytes())
    (tmp_path / "b.wav").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"row 1 .*b\.wav: the sound b\.wav cannot be read"):
        predict(str(tmp_path), str(folder))


def test_the_cards_sample_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (folder / "README.md").read_text()
    assert "pipeline_tag: audio-classification" in card and "PIL" not in card
    monkeypatch.chdir(folder)
    exec(card.split("```python\n")[1].split("```")[0], {})


@pytest.mark.parametrize("flags", ["--cache_features true", "--from_scratch true"])
def test_a_run_on_sounds_is_told_as_one(flags: str, sounds: Path, tmp_path: Path) -> None:
    model = str(save_spectrogram_model(tmp_path / "model"))
    train(
        [
            "--dataset",
            str(sounds),
            "--model",
            model,
            *flags.split(),
            *FLAGS,
            "--output_dir",
            str(tmp_path / "r"),
        ]
    )
    assert "pipeline_tag: audio-classification" in (tmp_path / "r" / "README.md").read_text()


def test_what_looks_at_images_refuses_by_name(folder: Path) -> None:
    with pytest.raises(ValueError, match="hears sounds"):
        explain_run(folder)
    with pytest.raises(ValueError, match="hears sounds"):
        CheckpointEncoder(str(folder))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "name the seconds after which they are cut"),
        ("--max_seconds 0.1 --augmentation random_color", "changes images, not sounds"),
        ("--max_seconds -1", "must be more than 0"),
        ("--max_seconds 0.0005", "pass a longer --max_seconds"),
        ("--max_seconds 0.1 --text_column label", "takes sounds"),
    ],
)
def test_what_does_not_fit_is_refused(
    flags: str, message: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(save_sound_model(tmp_path / "model", RATE))
    with pytest.raises(UsageError):
        train(
            [
                "--dataset",
                str(sounds),
                "--model",
                model,
                *flags.split(),
                *FLAGS,
                "--output_dir",
                str(tmp_path / "r"),
            ]
        )
    assert message in " ".join(capsys.readouterr().err.split())
