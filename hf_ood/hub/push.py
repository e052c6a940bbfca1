"""A finished run's folder as a model repository on the Hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import safetensors
from huggingface_hub import get_token
from transformers.dynamic_module_utils import get_relative_import_files

from ..evaluation.results import RESULTS_FILE, load_results, told
from ..json_files import json_text, read_object
from ..manifest import LOADED, refuse_damaged_model
from ..uploads import HubError, push_files

CARD_FILE = "README.md"
NEEDED = (RESULTS_FILE, "config.json", CARD_FILE)
# All that ever leaves a run's folder, besides the code that config.json names. Never training_args.bin (it
# pickles the token), optimizer state, checkpoints, arguments.yaml.
PUBLISHED = (
    *NEEDED,
    *LOADED,
    "*.png",
)


def push(
    run_folder: str | Path,
    repo_id: str,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Publish a finished run: weights, configuration, the network's code, processor, card, results, pictures.

    `repo_id`: `user/name`. `revision`: a branch, made if there is none. `token`: default is `HF_TOKEN` or
    the saved one. One commit; none when nothing has changed. The folder is only read; the published card
    loads `repo_id` where the folder's own loads the folder.

    Returns the commit's address. Raises `ValueError` when the folder holds no finished run, a damaged
    file, or the token, and `ConnectionError`, with the command that goes on, when the push did not get
    through.

    Example: `push("runs/unseen_colors-irm-rsc", "user/lenet-unseen-colors")`
    """
    folder = Path(run_folder)
    refuse_damaged_model(folder)
    files: dict[str, Path | bytes] = {file.name: file for file in published_files(folder)}
    refuse_secrets(files.values(), token or get_token())
    results = told(load_results(folder))  # one of an earlier version may have paths of this machine
    files[RESULTS_FILE] = (json_text(results, indent=2) + "\n").encode()
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    files[CARD_FILE] = card.replace('"."', f'"{repo_id}"').encode()
    try:
        return push_files(
            files,
            repo_id,
            "model",
            f"Publish {folder.resolve().name}",
            replaced=["model*.safetensors", "model.safetensors.index.json"],
            private=private,
            revision=revision,
            token=token,
        )
    except ConnectionError as error:
        options = " --private" * private + (f" --revision {revision}" if revision else "")
        raise HubError(
            f"{error}\nThe run is whole in {folder}. To go on:\n"
            f"  hf-ood publish --run {folder} --repo_id {repo_id}{options}"
        ) from error


def published_files(folder: Path) -> list[Path]:
    """The files of a run that are published. Raises `ValueError` when it is not finished, or damaged."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    weights = sorted(folder.glob("model*.safetensors"))
    if missing or not weights:
        lacking = ", ".join([*missing, *([] if weights else ["model.safetensors"])])
        raise ValueError(f"{folder} is not the folder of a finished run: it lacks {lacking}.")
    for file in weights:
        try:
            with safetensors.safe_open(file, framework="pt"):
                pass
        except safetensors.SafetensorError as error:
            raise ValueError(f"{file} is damaged ({error}); run again.") from error
    chosen = [file for pattern in PUBLISHED for file in folder.glob(pattern)]
    return sorted({*chosen, *_code_files(folder)})


def _code_files(folder: Path) -> list[Path]:
    """The Python files that `auto_map` names, and those that they import."""
    named = set()
    for file in ("config.json", "preprocessor_config.json"):
        if (folder / file).is_file():
            written = read_object(folder / file)
            behind = written.get("network") if isinstance(written.get("network"), dict) else {}
            for auto_map in (written.get("auto_map", {}), (behind or {}).get("auto_map", {})):
                named |= {folder / f"{reference.partition('.')[0]}.py" for reference in auto_map.values()}
    for path in named:
        if not path.is_file():
            raise ValueError(f"{folder / 'config.json'} names {path.name}, which is not there; run again.")
    return [*named, *(Path(needed) for path in named for needed in get_relative_import_files(path))]


def refuse_secrets(files: Iterable[Path | bytes], token: str | None) -> None:
    """Raise `ValueError` if a file holds the token."""
    for file in files:
        content = file.read_bytes() if isinstance(file, Path) else file
        if token and token.encode() in content:
            raise ValueError(
                f"{file!s} holds your access token; nothing was pushed. Take it out of the file."
            )
