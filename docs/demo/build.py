"""Build the demonstration page: train its networks, export them, fetch the runtime, put all in one folder.

    python docs/demo/build.py
    python -m http.server -d site/demo

The folder is static: any host serves it, and no header is needed. Training takes minutes, once: runs that are
there are used again. Most of it is the tab of emoji (`emoji_tab.py`), whose encoder runs over all images; its
weights are in the extra `bench`. Further flags go to `hf-ood train`. npm fetches ONNX Runtime Web.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emoji_tab import build_emoji

from hf_ood.data import load_grey_images
from hf_ood.evaluation import load_results
from hf_ood.evaluation.results import RESULTS_FILE

HERE = Path(__file__).parent
PAGE = ("index.html", "demo.css", "demo.js", "digits.js", "emoji.js")
RUNTIME = "onnxruntime-web@1.30.0"  # MIT
RUNTIME_FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
TRAIN = (
    "hf-ood train --dataset colored_mnist --dataset_config unseen_colors --colored_mnist.label_rule ten "
    "--model lenet --num_train_epochs 2 --seed 0 --use_cpu true"
)
# Name of a network -> its title and the flags that tell it from the other.
NETWORKS = {
    "erm": ("ERM: sees the pixels", ""),
    "structure_tensor": ("Structure tensor: sees edges only", "--input_stem structure_tensor"),
}

ORDER = (5, 2, 7, 3, 8, 0, 4, 6, 9, 1)  # of the examples


def main(argv: Sequence[str] | None = None) -> None:
    """Build the page from the command line's flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--output_dir", type=Path, default=Path("site/demo"), help="Folder of the page.")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/demo"), help="Folder of the runs.")
    parser.add_argument("--runtime", type=Path, help="dist of onnxruntime-web. Default: npm fetches it.")
    arguments, flags = parser.parse_known_args(argv)
    build(arguments.output_dir, arguments.runs_dir, arguments.runtime, flags, flags)
    print(f"python -m http.server -d {arguments.output_dir}")


def build(
    output_dir: Path,
    runs_dir: Path,
    runtime: Path | None = None,
    flags: Sequence[str] = (),
    emoji_flags: Sequence[str] = (),
) -> None:
    """Write the page. `runtime`: the folder `dist` of onnxruntime-web; `flags`, `emoji_flags`: of `hf-ood
    train`, beside its own, for the networks of either tab."""
    output_dir.mkdir(parents=True, exist_ok=True)
    told, commands = [], []
    for name, (title, own) in NETWORKS.items():
        command = " ".join([TRAIN, *own.split(), *flags, "--output_dir", f"runs/demo/{name}"])
        export = f"hf-ood export --run runs/demo/{name} --grad_cam"
        commands += [command, export]
        if not (runs_dir / name / RESULTS_FILE).is_file():
            hf_ood(command, runs_dir / name, "--output_dir")
        hf_ood(f"{export} --output_dir {name}", output_dir / name, "--output_dir", runs_dir / name)
        told.append({"name": name, "title": title, "measured": measured(load_results(runs_dir / name))})

    def train(command: str, folder: Path) -> None:
        hf_ood(command, folder, "--output_dir")

    build_emoji(output_dir, runs_dir, train, emoji_flags)
    page = {"networks": told, "commands": commands, "examples": examples()}
    (output_dir / "demo.json").write_text(json.dumps(page), encoding="utf-8")
    for file in PAGE:
        shutil.copy2(HERE / file, output_dir / file)
    if runtime is None:
        with tempfile.TemporaryDirectory() as folder:
            copy_runtime(fetched(Path(folder)), output_dir / "runtime")
    else:
        copy_runtime(runtime, output_dir / "runtime")


def hf_ood(command: str, folder: Path, flag: str, run: Path | None = None) -> None:
    """Carry out a command that the page names, with the folders that are asked for."""
    words = command.split()[1:]
    words[words.index(flag) + 1] = str(folder)
    if run is not None:
        words[words.index("--run") + 1] = str(run)
    subprocess.run([sys.executable, "-m", "hf_ood", *words], check=True)


def measured(results: dict[str, Any]) -> str:
    """What the run says of digits in colours that it never saw."""
    tested = [entry for entry in results["environments"].values() if entry["split"] == "test"]
    count = sum(entry["count"] for entry in tested)
    right = sum(entry["accuracy"] * entry["count"] for entry in tested) / count
    return f"Reads {100 * right:.1f} % of {count:,} test digits whose colours it never saw."


def examples() -> list[list[int]]:
    """Grey test digits, 28 x 28 numbers in 0..255 each: one of every digit, 5 first."""
    grey = load_grey_images()
    digits, pictures = grey.classes[grey.num_train :], grey.images[grey.num_train :]
    return [pictures[digits == digit][0].reshape(-1).tolist() for digit in ORDER]


def fetched(folder: Path) -> Path:
    """The files of ONNX Runtime Web as npm has them, unpacked into a folder."""
    if shutil.which("npm") is None:
        raise SystemExit(f"npm fetches {RUNTIME}: install it, or name an unpacked dist by --runtime.")
    packed = subprocess.run(
        ["npm", "pack", "--silent", RUNTIME], cwd=folder, check=True, capture_output=True, text=True
    )
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "dist"


def copy_runtime(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for file in RUNTIME_FILES:
        shutil.copy2(source / file, target / file)


if __name__ == "__main__":
    main()
