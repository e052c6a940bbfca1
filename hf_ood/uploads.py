"""One commit to the Hub, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError


def push_folder(
    folder: Path,
    repo_id: str,
    repo_type: str,
    files: Sequence[str],
    message: str,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    check: Callable[[HfApi, str], None] | None = None,
) -> str:
    """Make a repository hold those files of a folder that match the patterns `files`, in one commit.

    Files of the repository that match and are not in the folder are deleted, others are left alone. The
    repository and the branch `revision` are made if there are none. `token`: default is `HF_TOKEN` or
    the saved one. `check(api, head)` may refuse before anything is sent. Without changes there is no commit.

    Returns the commit's address. Raises `ConnectionError` when the push did not get through: the
    repository then is as it was, and so is the folder, always. Raises `ValueError` for a private push to
    a public repository.
    """
    api = HfApi(token=token)
    try:
        api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        info = api.repo_info(repo_id, revision=revision, repo_type=repo_type)
        if private and not info.private:
            raise ValueError(
                f"{repo_id} exists and is public; nothing was pushed. Make it private on the Hub, or push "
                f"without "
                "private."
            )
        if check is not None:
            check(api, str(info.sha))
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            repo_type=repo_type,
            revision=revision,
            parent_commit=info.sha,
            commit_message=message,
            allow_patterns=list(files),
            delete_patterns=list(files),
        )
    except (HTTPError, OSError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        raise ConnectionError(
            f"The push of {folder} to {repo_id} did not get through; the repository is as it was. "
            f"{type(cause).__name__}: {cause}"
        ) from error
    return str(commit.commit_url)
