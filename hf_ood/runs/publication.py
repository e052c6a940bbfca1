"""What `push_to_hub` means for a run: it is published when it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..hub import push
from ..trainer import OODConfig
from ..uploads import prepare_repository


@dataclass(frozen=True)
class Publication:
    """Where a run will be published when it has finished."""

    repo_id: str
    private: bool
    revision: str | None
    token: str | None

    def push(self, folder: Path) -> str:
        return push(folder, self.repo_id, self.private, self.revision, self.token)


def take_publication(training: OODConfig) -> Publication | None:
    """What `--push_to_hub` asks for, taken out of the arguments: `Trainer`'s own pushes would upload its
    `training_args.bin`, which holds the token.

    The repository is made now, so that a wrong token or name is found before any training. Raises
    `ValueError` without `--hub_model_id`, and as `prepare_repository`.
    """
    wanted, token = training.push_to_hub, training.hub_token
    training.push_to_hub, training.hub_token = False, None
    if not wanted:
        return None
    if not training.hub_model_id:
        raise ValueError("--push_to_hub needs --hub_model_id user/name.")
    publication = Publication(
        training.hub_model_id, bool(training.hub_private_repo), training.hub_revision, token
    )
    if training.process_index == 0:
        prepare_repository(
            publication.repo_id, "model", publication.private, publication.revision, publication.token
        )
    return publication
