"""One commit to the Hub, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HTTPError


def prepare_repository(
    repo_id: str, repo_type: str, private: bool = False, revision: str | None = None, token: str | None = None
) -> str:
    """Make sure that the repository and its branch `revision` are there and may be written to.

    Returns the branch's latest commit. Raises `ConnectionError` when they are not, and `ValueError` when a
    private repository is asked for and it is public.
    """
    api = HfApi(token=token)
    with _explained(f"{repo_id} cannot be written to"):
        api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        info = api.repo_info(repo_id, revision=revision, repo_type=repo_type)
    if private and not info.private:
        raise ValueError(
            f"{repo_id} exists and is public; nothing was pushed. Make it private on the Hub, or push "
            "without private."
        )
    return str(info.sha)


def push_files(
    files: Mapping[str, Path | bytes],
    repo_id: str,
    repo_type: str,
    message: str,
    replaced: Sequence[str],
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    check: Callable[[HfApi, str], None] | None = None,
) -> str:
    """Put files into a repository in one commit; returns its address. Without changes there is no commit.

    `files`: path in the repository -> local file or content. `replaced`: patterns of files that go if
    they are not among these; all others stay. The repository and the branch `revision` are made if there
    are none. `token`: default is `HF_TOKEN` or the saved one. `check(api, head)` may refuse before
    anything is sent.

    Raises as `prepare_repository`, and `ConnectionError` when the push did not get through: the repository is
    then as it was. Local files are only read.
    """
    api = HfApi(token=token)
    head = prepare_repository(repo_id, repo_type, private, revision, token)
    with _explained(f"The push to {repo_id} did not get through; what was published there is as it was"):
        if check is not None:
            check(api, head)
        there = api.list_repo_files(repo_id, revision=head, repo_type=repo_type)
        stale = [path for path in there if path not in files and any(fnmatch(path, one) for one in replaced)]
        commit = api.create_commit(
            repo_id,
            [
                *(CommitOperationDelete(path) for path in stale),
                *(CommitOperationAdd(path, content) for path, content in sorted(files.items())),
            ],
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
            parent_commit=head,
        )
    return str(commit.commit_url)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Whatever the client raises as one `ConnectionError` that says what is the matter."""
    try:
        yield
    except (HTTPError, OSError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        raise ConnectionError(f"{what}. {type(cause).__name__}: {cause}") from error
