"""Uploading a package to a hub, on a person's explicit command only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brainseg.errors import InputError, brief
from brainseg.predict.packaged import check_sums, read_manifest

SETTINGS = "https://huggingface.co/settings/tokens"

WHY = {
    401: "does not know this token. Make one that may write at " + SETTINGS,
    403: "does not allow it: the token may not write there. Choose a repository of your own, or "
    "make a token that may write at " + SETTINGS,
    404: "knows no such repository, or this token may not see it",
    413: "says that a file is too large",
    429: "asks to wait: there were too many requests. Repeat the command later",
}
"""Answer of a hub → what to say of it."""


@dataclass(frozen=True)
class Pushed:
    """Where a package is now: `url`, its number of `files`, and whether only its owner sees it."""

    url: str
    files: int
    private: bool


def push(folder: Path, repo: str, *, public: bool = False, message: str | None = None) -> Pushed:
    """Upload the files that a package lists, and no others, in one commit.

    The repository is made where it is missing. The token is the hub's own: `HF_TOKEN`, or that of
    `hf auth login`.

    Args:
        folder: the package.
        repo: such as `anna/tumours`.
        public: whether everybody may see it; if not, a repository that is public is refused.
        message: of the commit.

    Raises:
        InputError: it is no package or was changed, there is no token, the hub cannot be reached,
            or it refuses.
    """
    manifest, files = read_manifest(folder), check_sums(folder)
    from huggingface_hub import CommitOperationAdd, HfApi, get_token  # it takes time

    if not get_token():
        raise InputError(
            f"There is no token of a hub. Make one that may write at {SETTINGS}, and set HF_TOKEN "
            "or type `hf auth login`."
        )
    api = HfApi()
    what = f"{manifest['name']} ({manifest['mode']})"
    with _telling_hub(str(api.endpoint), repo):
        url = str(api.create_repo(repo, private=not public, exist_ok=True))
        private = bool(api.model_info(repo).private)
        if not (private or public):
            raise InputError(
                f"{repo} is public. Choose another repository, or let everybody see the package "
                "with --public."
            )
        additions = [CommitOperationAdd(file.as_posix(), folder / file) for file in files]
        api.create_commit(
            repo, additions, commit_message=message or f"{what}, brainseg {manifest['brainseg']}"
        )
    return Pushed(url, len(files), private)


@contextmanager
def _telling_hub(endpoint: str, repo: str) -> Iterator[None]:
    """Say in words what a hub answered, or that it does not answer; never with the token."""
    # Versions before 0.25 have them only there.
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError

    try:
        yield
    except InputError:
        raise
    except HFValidationError as error:
        raise InputError(f"{repo} is no name of a repository: {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = WHY.get(status, f"answered {status} ({brief(error)})")
        raise InputError(f"{repo} was not uploaded: {endpoint} {why}.") from error
    except Exception as error:  # each version of the client has other errors of the network
        raise InputError(
            f"{repo} was not uploaded: {endpoint} could not be reached or broke off "
            f"({brief(error)}). Check the network, and repeat the command."
        ) from error
