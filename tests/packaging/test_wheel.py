"""The wheel, installed outside the checkout, is the whole product."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import SMALL, install, run

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("elsewhere"))


def test_it_is_the_installed_one_that_is_tried(elsewhere: Path) -> None:
    assert str(elsewhere) in run(elsewhere, "python -c 'import hf_ood; print(hf_ood.__file__)'")
    assert run(elsewhere, "hf-ood --version").startswith("hf-ood ")


def test_the_quickstart_trains_and_writes_to_the_working_folder(elsewhere: Path) -> None:
    told = run(elsewhere, f"hf-ood train --config quickstart --output_dir runs/quick {SMALL}")
    assert "random_colors" in told
    assert (elsewhere / "runs" / "quick" / "model.safetensors").is_file()
    old_name = "trainers/recipes/quickstart.yaml"
    run(elsewhere, f"hf-ood train --config {old_name} --output_dir runs/same {SMALL}")
    first, same = (
        json.loads((elsewhere / "runs" / name / "results.json").read_text()) for name in ("quick", "same")
    )
    assert first["environments"] == same["environments"]


def test_studies_are_listed_and_carried_out(elsewhere: Path) -> None:
    assert "figure_15" in run(elsewhere, "hf-ood reproduce --list")
    one = "--study table_2 --only 'random colours (2a)' --budget quick --seeds 1"
    assert "1 of 1 runs are finished" in run(elsewhere, f"hf-ood reproduce {one} --results_dir results/some")
    told = run(elsewhere, f"hf-ood reproduce {one} --rerun --results_dir results/some")
    assert "0 of 1 runs are finished, 1 to do." in told
    assert (elsewhere / "results" / "some" / "report.html").is_file()
    run(elsewhere, "hf-ood reproduce --from_results")
    assert (elsewhere / "results" / "report.html").is_file()


def test_recipes_launch_files_and_modules_are_found(elsewhere: Path) -> None:
    assert "quickstart" in run(elsewhere, "hf-ood recipes")
    assert Path(run(elsewhere, "hf-ood recipes fsdp").strip()).is_file()
    assert "fishr" in run(elsewhere, "hf-ood methods")
    load = "evaluate.load(hf_ood.evaluation.module('environment_report'))"
    told = run(elsewhere, f'python -c "import evaluate, hf_ood.evaluation; print({load}.name)"')
    assert "environment_report" in told
