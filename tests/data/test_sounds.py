"""Sounds: read, mixed to one channel, resampled, cut and filled up; or refused with file and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from datasets import Audio, Dataset, DatasetDict
from tiny_models import save_sound_model, save_spectrogram_model, save_text_model
from transformers import SeamlessM4TFeatureExtractor

from hf_ood.data import Columns, Protocol, environment_datasets, load_processor, read_dataset
from hf_ood.data.fingerprint import fingerprint
from hf_ood.data.sounds import read_sound, sound_reader, with_length

RATE = 4000


def tone(pitch: float, seconds: float = 0.1, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def cell(file: Path) -> dict[str, str | None]:
    return {"path": str(file), "bytes": None}


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> object:
    return load_processor(str(save_sound_model(tmp_path_factory.mktemp("models") / "wav2vec2")))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Nine sounds of three environments, named by a table beside them."""
    lines = ["file,label,site"]
    for number in range(9):
        soundfile.write(tmp_path / f"{number}.wav", tone(200 + 300 * (number % 2), 0.1 + 0.01 * number), RATE)
        lines.append(f"{number}.wav,{['low', 'high'][number % 2]},{'ABC'[number // 3]}")
    (tmp_path / "sounds.csv").write_text("\n".join(lines))
    return tmp_path / "sounds.csv"


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([tone(300), 0.5 * tone(500)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_sound(cell(tmp_path / "a.wav"), RATE), both.mean(1), atol=1e-6)


@pytest.mark.parametrize("own", [8000, 44100])
def test_a_tone_is_resampled_to_the_same_tone(own: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(300, rate=own), own)
    found = read_sound(cell(tmp_path / "a.flac"), RATE)
    assert found.dtype == np.float32 and abs(len(found) - len(tone(300))) <= 1
    np.testing.assert_allclose(found[40:-40], tone(300)[40 : len(found) - 40], atol=0.02)


@pytest.mark.parametrize("own", [RATE, 16000, 44100])
def test_what_is_cut_off_is_not_read_and_changes_nothing(own: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300, 3, own), own, subtype="FLOAT")
    whole = read_sound(cell(tmp_path / "a.wav"), RATE)
    np.testing.assert_allclose(read_sound(cell(tmp_path / "a.wav"), RATE, 400), whole[:400], atol=1e-6)


def test_bytes_are_read_like_files(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300), RATE)
    inside = {"path": None, "bytes": (tmp_path / "a.wav").read_bytes()}
    np.testing.assert_array_equal(read_sound(inside, RATE), read_sound(cell(tmp_path / "a.wav"), RATE))


@pytest.mark.parametrize("address", ["file://{}", "local://{}", "https://a.org/b.wav::file://{}"])
def test_no_address_stands_for_a_file_of_this_machine(address: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300), RATE)
    with pytest.raises(ValueError, match="only http, https and hf"):
        read_sound({"path": address.format(tmp_path / "a.wav"), "bytes": None}, RATE)


def test_all_have_one_length_whatever_is_beside_them(extractor: object, tmp_path: Path) -> None:
    for name, seconds in (("short", 0.05), ("long", 0.4)):
        soundfile.write(tmp_path / f"{name}.wav", tone(300, seconds), RATE)
    cells = [cell(tmp_path / "short.wav"), cell(tmp_path / "long.wav")]
    read = sound_reader("sound", with_length(extractor, 0.1))
    found = read({"sound": cells})["input_values"]
    assert tuple(found.shape) == (2, 400) and found[0, 200:].unique().numel() == 1
    assert found[:1].equal(read({"sound": cells[:1]})["input_values"])


def test_the_length_is_saved_with_the_extractor(extractor: object, tmp_path: Path) -> None:
    save_sound_model(tmp_path)
    with_length(extractor, 0.2).save_pretrained(tmp_path)
    assert sound_reader("sound", load_processor(str(tmp_path))).length == 800
    assert not hasattr(extractor, "max_seconds")


def test_an_extractor_that_stacks_frames_keeps_all_of_them(tmp_path: Path) -> None:
    """wav2vec 2.0 BERT's fills up single frames, and gives pairs of them."""
    extractor = SeamlessM4TFeatureExtractor()
    soundfile.write(tmp_path / "a.wav", tone(300, 0.5, 16000), 16000, subtype="FLOAT")
    read = sound_reader("s", with_length(extractor, 0.3))
    found = read({"s": [cell(tmp_path / "a.wav")]})["input_features"]
    samples = tone(300, 0.5, 16000)[:4800]
    own = extractor(samples, sampling_rate=16000, return_tensors="pt")["input_features"]
    np.testing.assert_allclose(found, own, atol=1e-4)


def test_an_extractor_with_a_length_of_its_own_needs_none(tmp_path: Path) -> None:
    extractor = load_processor(str(save_spectrogram_model(tmp_path)))
    soundfile.write(tmp_path / "a.wav", tone(300, rate=16000), 16000)
    assert tuple(sound_reader("s", extractor)({"s": [cell(tmp_path / "a.wav")]})["input_values"].shape) == (
        1,
        32,
        16,
    )


def test_a_sound_shorter_than_a_window_is_refused(tmp_path: Path) -> None:
    extractor = load_processor(str(save_spectrogram_model(tmp_path)))
    soundfile.write(tmp_path / "a.wav", np.ones(10), 16000)
    with pytest.raises(ValueError, match=r"ASTFeatureExtractor makes nothing of a sound of 0.000625 seconds"):
        sound_reader("s", extractor)({"s": [cell(tmp_path / "a.wav")]})


def test_an_extractor_without_one_asks_for_it(extractor: object) -> None:
    with pytest.raises(ValueError, match="--max_seconds"):
        sound_reader("sound", extractor)


def test_a_table_that_names_sounds_is_divided_like_any(extractor: object, table: Path) -> None:
    data = read_dataset(str(table))
    assert data["train"].features["file"] == Audio(decode=False)
    found = environment_datasets(
        data, Columns(environment=["site"]), Protocol(["A"], ["C"], ["B"]), extractor, max_seconds=0.1
    )
    assert {role: len(part) for role, part in found.items()} == {"train": 3, "validation": 3, "test": 3}
    assert tuple(found["train"].__getitems__([0, 2])["input_values"].shape) == (2, 400)
    before = fingerprint(found)
    soundfile.write(table.parent / "0.wav", tone(900), RATE)
    changed = environment_datasets(
        data, Columns(environment=["site"]), Protocol(["A"], ["C"], ["B"]), extractor, max_seconds=0.1
    )
    assert fingerprint(changed) != before


def test_folders_name_classes_and_environments(extractor: object, tmp_path: Path) -> None:
    for site in "AB":
        for label, pitch in (("low", 200), ("high", 500)):
            folder = tmp_path / site / label
            folder.mkdir(parents=True)
            for number in range(2):
                soundfile.write(folder / f"{number}.wav", tone(pitch), RATE)
    found = environment_datasets(
        read_dataset(str(tmp_path)), None, Protocol(test_environments=["B"]), extractor, max_seconds=0.1
    )
    assert len(found["test"]) == 4 and found["test"].label_names == ["high", "low"]


def test_a_column_that_datasets_would_decode_is_read_without_it(extractor: object, table: Path) -> None:
    data = read_dataset(str(table))["train"].cast_column("file", Audio())
    found = environment_datasets(
        data, Columns(environment=["site"]), Protocol(test_environments=["C"]), extractor, max_seconds=0.1
    )
    assert tuple(found["train"].__getitems__([0])["input_values"].shape) == (1, 400)


def test_bad_sounds_are_named_together_before_training(extractor: object, table: Path) -> None:
    folder = table.parent
    (folder / "1.wav").write_bytes(b"no sound")
    soundfile.write(folder / "4.wav", np.zeros(0, np.float32), RATE)
    soundfile.write(folder / "7.wav", np.full(400, np.nan, np.float32), RATE, subtype="FLOAT")
    data, columns = read_dataset(str(table)), Columns(environment=["site"])
    with pytest.raises(ValueError) as error:
        environment_datasets(data, columns, Protocol(test_environments=["C"]), extractor, max_seconds=0.1)
    told = str(error.value)
    assert "3 rows cannot be used" in told and "--skip_bad_rows 3" in told and "Images" not in told
    assert "row 2 of sounds.csv (line 3)" in told and "1.wav cannot be read" in told
    assert "4.wav is empty" in told and "7.wav holds samples that are not finite" in told
    found = environment_datasets(
        data, columns, Protocol(test_environments=["C"]), extractor, skip_bad_rows=3, max_seconds=0.1
    )
    assert sum(map(len, found.values())) == 6


def test_a_missing_file_is_named(table: Path) -> None:
    (table.parent / "3.wav").unlink()
    with pytest.raises(ValueError, match=r"3\.wav \(row 4 of sounds.csv"):
        read_dataset(str(table))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(audio="label"), "'label' must be an Audio, not Value"),
        (Columns(audio="fiel"), "Did you mean 'file'"),
        (Columns(text=["label"]), "takes sounds"),
    ],
)
def test_columns_that_hold_no_sounds_are_refused(
    columns: Columns, message: str, extractor: object, table: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        environment_datasets(
            read_dataset(str(table)).rename_column("site", "environment"),
            columns,
            Protocol(test_environments=["C"]),
            extractor,
            max_seconds=0.1,
        )


def test_sounds_need_a_model_that_takes_them(table: Path, tmp_path: Path) -> None:
    data = DatasetDict(train=Dataset.from_dict({"label": [0, 1], "environment": ["A", "B"]}))
    with pytest.raises(ValueError, match="need a model that takes sounds"):
        environment_datasets(data, Columns(audio="x"), Protocol(test_environments=["B"]))
    with pytest.raises(ValueError, match="takes texts: leave the column of sounds out"):
        tokenizer = load_processor(str(save_text_model(tmp_path / "texts")))
        read = Columns(text=["label"], audio="file", environment=["site"])
        environment_datasets(read_dataset(str(table)), read, Protocol(test_environments=["C"]), tokenizer)
    with pytest.raises(ValueError, match="leave it out"):
        environment_datasets(data, None, Protocol(test_environments=["B"]), max_seconds=1.0)
