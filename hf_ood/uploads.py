"""One commit to the Hub, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HTTPError

from . import hub_client
from .errors import ForeseenError
from .hub_client import is_offline, told_refused


class HubError(ForeseenError, ConnectionError):
    """What did not get through to the Hub: what is known of it, and the way out."""


def prepare_repository(
    repo_id: str, repo_type: str, private: bool = False, revision: str | None = None, token: str | None = None
) -> str:
    """Make sure that the repository and its branch `revision` are there and may be written to.

    Returns the branch's latest commit. Raises `ConnectionError` when they are not, and `ValueError` when a
    private repository is asked for and it is public.
    """
    hub_client.install()
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
    as_it_was = f"The push to {repo_id} did not get through; what was published there is as it was"
    with _explained(as_it_was):
        if check is not None:
            check(api, head)
        there = api.list_repo_files(repo_id, revision=head, repo_type=repo_type)
        stale = [path for path in there if path not in files and any(fnmatch(path, one) for one in replaced)]
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationDelete(path) for path in stale),
            *(CommitOperationAdd(path, content) for path, content in sorted(files.items())),
        ]
        api.preupload_lfs_files(
            repo_id,
            [one for one in operations if isinstance(one, CommitOperationAdd)],
            repo_type=repo_type,
            revision=revision,
        )
    try:
        commit = api.create_commit(
            repo_id,
            operations,
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
            parent_commit=head,
        )
    except (HTTPError, OSError, RuntimeError) as error:
        if is_refused(error):
            with _explained(as_it_was):
                raise
        return _address_of_landed(api, repo_id, repo_type, revision, head, message, error)
    return str(commit.commit_url)


def is_refused(error: BaseException) -> bool:
    """Whether the Hub answered that there will be no commit; an error of the server says nothing."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is not None and 400 <= status < 500


def _address_of_landed(
    api: HfApi,
    repo_id: str,
    repo_type: str,
    revision: str | None,
    head: str,
    message: str,
    error: Exception,
) -> str:
    """The address of a commit whose answer was lost, where the Hub tells that it is there. Raises `HubError`
    with what is known where it is not, or where nobody can tell."""
    branch = revision or "main"
    lost = f"The answer of the Hub to the push to {repo_id} was lost, and it cannot be asked now"
    folder = "datasets/" if repo_type == "dataset" else ""
    address = f"{api.endpoint}/{folder}{repo_id}/commits/{branch}"
    try:
        commits = api.list_repo_commits(repo_id, repo_type=repo_type, revision=revision)
    except Exception:
        raise HubError(
            f"{lost}: the commit may be there, or nothing has changed. Look at {address}: if its first entry "
            f"is {message!r} of today, all is published. The same command is safe in either case. "
            f"{_cause(error)}"
        ) from error
    since = [commit for commit in commits if commit.commit_id == head or commit.title == message]
    if since and since[0].commit_id != head:
        return f"{api.endpoint}/{folder}{repo_id}/commit/{since[0].commit_id}"
    raise HubError(
        f"The push to {repo_id} did not get through; what was published there is as it was (its history, "
        f"{address}, was asked). {_cause(error)}"
    ) from error


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Whatever the client raises as one `HubError` that says what is the matter, and the way out."""
    try:
        yield
    except (HTTPError, OSError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        way_out = told_refused(error)
        if is_offline(error):
            way_out = "Publishing needs a connection to the Hub: try again where there is one."
        raise HubError(f"{what}. {_cause(cause)}" + (f"\n{way_out}" if way_out else "")) from error


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
