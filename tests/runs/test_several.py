"""Several methods and seeds of one recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hf_ood.cli.arguments import parse
from hf_ood.cli.train import main
from hf_ood.errors import UsageError
from hf_ood.evaluation.comparison import Comparison
from hf_ood.resources import recipe_file
from hf_ood.runs.recipe import read_recipe
from hf_ood.runs.several import is_several, split_up

SMALL = (
    "--max_train_samples 144 --per_device_train_batch_size 72 --num_train_epochs 1 --use_cpu true "
    "--num_threads 1 --disable_tqdm true"
)


def test_each_method_and_seed_has_a_run_and_a_folder() -> None:
    runs, folder = split_up({"method": ["erm", "irm+rsc"], "seeds": 2, "output_dir": "runs/both"})
    assert folder == Path("runs/both")
    assert [(run["method"], run["seed"], run["output_dir"]) for run in runs] == [
        ("erm", 0, "runs/both/erm-seed0"),
        ("irm+rsc", 0, "runs/both/irm-rsc-seed0"),
        ("erm", 1, "runs/both/erm-seed1"),
        ("irm+rsc", 1, "runs/both/irm-rsc-seed1"),
    ]
    assert not is_several({"method": "erm"}) and is_several({"seeds": 1})


def test_what_is_beside_is_a_run_of_the_comparison(tmp_path: Path) -> None:
    settings = {"method": ["erm", "irm"], "lenet": {"instance_norm": True}, "output_dir": "runs/all"}
    runs, _ = split_up(settings, {"edges": {"lenet": {"edge_structure": "tensor"}}})
    assert [run["output_dir"] for run in runs] == [
        f"runs/all/{name}-seed0" for name in ("erm", "irm", "edges")
    ]
    assert runs[2]["method"] == "erm"
    assert runs[2]["lenet"] == {"instance_norm": True, "edge_structure": "tensor"}
    (tmp_path / "recipe.yaml").write_text("method: erm\nbeside: [edges]\n")
    with pytest.raises(ValueError, match=r"recipe.yaml, line 2: beside must be runs by name"):
        read_recipe(tmp_path / "recipe.yaml")
    quickstart = read_recipe(recipe_file("quickstart"))
    assert quickstart.beside and "beside" not in quickstart.settings  # a single run has nothing beside it


@pytest.mark.parametrize("flags", ["--model mlp", "--lenet.edge_structure tensor"])
def test_what_is_beside_is_no_run_of_its_own_where_flags_make_it_one_of_the_others(flags: str) -> None:
    specs, _ = parse(f"--config quickstart --method erm irm --seeds 2 {flags}".split()).specs()
    assert [spec.folder.name for spec in specs] == ["erm-seed0", "irm-seed0", "erm-seed1", "irm-seed1"]
    specs, _ = parse("--config quickstart --method erm irm".split()).specs()
    assert [spec.folder.name for spec in specs] == ["erm-seed0", "irm-seed0", "edges-seed0"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": ["erm", "erm"]}, "name each once"),
        ({"method": ["erm", "irn"]}, "Did you mean 'irm'"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": 2, "seed": 7}, "leave seed out"),
        ({"seeds": 2, "stages": [{"name": "a"}]}, "stages is of one run"),
        ({"seeds": 2, "push_to_hub": True}, "push_to_hub is of one run"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_up(settings)


@pytest.mark.slow
def test_a_command_trains_all_compares_them_and_repeats_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (
        f"--method erm sd --sd.penalty_weight 0.2 --seeds 2 --output_dir {tmp_path / 'both'} {SMALL}".split()
    )
    comparison = main(flags)
    assert isinstance(comparison, Comparison)
    assert {name: len(rows) for name, rows in comparison.rows.items()} == {"erm": 2, "sd": 2}
    folders = sorted(path.parent.name for path in (tmp_path / "both").glob("*/results.json"))
    assert folders == ["erm-seed0", "erm-seed1", "sd-seed0", "sd-seed1"]
    results = json.loads((tmp_path / "both" / "sd-seed1" / "results.json").read_text())
    assert results["seed"] == 1 and results["hyperparameters"]["sd"]["penalty_weight"] == 0.2
    assert (tmp_path / "both" / "comparison" / "comparison.html").is_file()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "both").glob("*/results.json")}
    capsys.readouterr()
    main(flags)
    assert "4 of 4: sd-seed1, finished before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_a_flag_of_none_of_the_methods_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        main("--method erm sd --irm.l2 1".split())
    assert "--irm.l2 has no effect with --method erm sd" in capsys.readouterr().err
