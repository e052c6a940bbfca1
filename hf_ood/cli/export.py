"""`hf-ood export`: a finished run's network as a file that runs without PyTorch."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..data.features import FEATURES_FILE
from ..evaluation.prediction import load_classifier
from ..evaluation.predictions import load_vector_model
from ..export import DESCRIPTION_FILE, Exported, export_onnx
from ..export.check import TOLERANCE
from ..json_files import read_object
from ..manifest import read_manifest, refuse_damaged_model
from .funnel import add_debug, one_message
from .parser import HelpFormatter
from .predict import recorded_data, refuse_missing_processor

FORMATS = ("onnx",)


@one_message
def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, write the files, and say how far they are from PyTorch."""
    arguments = make_parser().parse_args(argv)
    exported = export_run(arguments.run, arguments.output_dir, arguments.grad_cam)
    told = ", ".join(f"{found:.1e} at {count}" for count, found in exported.differences.items())
    print(f"file:        {exported.file} ({exported.file.stat().st_size / 1e6:,.2f} MB)")  # noqa: T201
    print(f"description: {exported.file.with_name(DESCRIPTION_FILE)}")  # noqa: T201
    print(  # noqa: T201
        f"largest difference from PyTorch, by samples in a batch: {told} (allowed: {TOLERANCE:g} of the "
        "largest logit, or of 1)"
    )


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Write a finished run's network as an ONNX file for batches of any size. It is compared\n"
        "with PyTorch on batches of 1, 2 and 5 before it is kept.\n\n"
        "  %(prog)s --run runs/mine\n"
        "  %(prog)s --run runs/vectors --format onnx --output_dir exported\n\n"
        f"Beside it are the processor's files and {DESCRIPTION_FILE}, which it holds too: how inputs are\n"
        "made (size, mean, deviation), the labels in order, and what turns logits into probabilities.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--run", required=True, type=Path, help="The output folder of a finished run, or one with a model."
    )
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="Of the file.")
    parser.add_argument("--output_dir", type=Path, help="Folder of the files. Default: <run>/onnx.")
    parser.add_argument(
        "--grad_cam",
        action="store_true",
        help="A second output of networks of images: Grad-CAM of the predicted class.",
    )
    add_debug(parser)
    return parser


def export_run(run: Path, output_dir: Path | None = None, grad_cam: bool = False) -> Exported:
    """`export_onnx` of a run's folder. Raises `ValueError` as it does, and for a folder without a model."""
    model, processor = load(run)
    trained = recorded_data(str(run))
    noted: dict[str, Any] = read_manifest(run) or {}
    return export_onnx(
        model,
        processor,
        output_dir or run / "onnx",
        max_length=trained.max_length if trained else None,
        temperature=noted.get("temperature", 1.0),
        grad_cam=grad_cam,
    )


def load(run: Path) -> tuple[PreTrainedModel, Any]:
    """The network and its processor, None for one of bare vectors."""
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} holds no model (config.json): name the output folder of a finished run.")
    refuse_damaged_model(run)
    of_vectors = read_object(run / "config.json").get("num_features") is not None
    if of_vectors and not (run / FEATURES_FILE).is_file():
        return load_vector_model(str(run)), None
    refuse_missing_processor(str(run))
    return load_classifier(str(run))
