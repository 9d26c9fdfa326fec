"""What a user's `source` string means: the embedded model, a local folder or file, or a model on the hub.

Only a hub id may touch the network, and only a string that cannot be a path is one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from litevl.blip.checkpoint import CheckpointError

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")


@dataclass(frozen=True)
class Source:
    """Where to load from."""

    kind: Literal["embedded", "folder", "file", "hub"]
    path: Path
    label: str


def find_source(source: str | Path, task: str | None = None) -> Source:
    """Tell what a source is, without touching the network.

    Args:
        source: "embedded", an existing folder or file, or a hub id ("owner/name"). A string with a suffix, more
            than one slash, a backslash, or a leading `.` or `~` is a path and never a hub id.
        task: "retrieval", "vqa" or "captioning": which of the embedded models; None is retrieval.

    Raises:
        CheckpointError: There is nothing at that path, or the string is none of these.
    """
    if source == EMBEDDED:
        folder = EMBEDDED_FOLDER / (task or "retrieval")
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"expected the embedded BLIP in {folder}, found none; make it with `python "
                f"recipes/pretrain_small_{'blip' if folder.name == 'retrieval' else 'decoder'}.py`, or install the "
                "package again"
            )
        return Source("embedded", folder, EMBEDDED)
    path = Path(source).expanduser()
    if path.is_dir():
        return Source("folder", path, str(source))
    if path.is_file():
        return Source("file", path, str(source))
    text = str(source)
    if isinstance(source, str) and _HUB_ID.match(text) and not _SUFFIX.search(text):
        return Source("hub", path, text)
    raise CheckpointError(
        f"expected an existing file or folder, a hub id such as Salesforce/blip-itm-base-coco, or {EMBEDDED!r}; "
        f"there is nothing at {text!r} (looked in {path.absolute()}); check the path"
    )


def fetch_hub_files(
    repo_id: str, wanted: Sequence[Sequence[str]], optional: Sequence[str] = (), revision: str | None = None
) -> Path:
    """Fetch files of a model on the hub into its cache, or find them there.

    Args:
        repo_id: "owner/name".
        wanted: Alternatives, in order of preference, for each file that is needed: the first that exists is
            fetched.
        optional: Files that are fetched where they exist.
        revision: A commit; None is the newest.

    Returns:
        The folder of the cached revision; its name is the revision's commit.

    Raises:
        CheckpointError: The model, or all alternatives of a needed file, cannot be had.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder: Path | None = None
    failure: Exception | None = None
    connected = True
    for names, needed in [*((names, True) for names in wanted), *(((name,), False) for name in optional)]:
        # All files are of the first one's commit. Of a known commit, what is in the cache costs no request.
        revision = folder.name if folder else revision
        fetched = _find_cached(repo_id, names, revision)
        if fetched is None and connected:
            fetched, failure = _download_first(repo_id, names, revision)
            # Its meaning is: neither cached nor reachable. Each further attempt would wait half a minute in vain.
            connected = not isinstance(failure, LocalEntryNotFoundError)
        folder = folder or (fetched and fetched.parent)
        if fetched is None and needed:
            raise _not_fetched(repo_id, names, failure)
    if folder is None:
        raise _not_fetched(repo_id, optional, failure)
    return folder


def _find_cached(repo_id: str, names: Sequence[str], revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if revision is None:
        return None
    found = (try_to_load_from_cache(repo_id, name, revision=revision) for name in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _download_first(repo_id: str, names: Sequence[str], revision: str | None) -> tuple[Path | None, Exception | None]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    failure: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(repo_id, name, revision=revision)), None
        except LocalEntryNotFoundError as error:
            return None, error
        except (OSError, EntryNotFoundError, HFValidationError) as error:
            failure = error
    return None, failure


def _not_fetched(repo_id: str, names: Sequence[str], failure: Exception | None) -> CheckpointError:
    reason = str(failure).strip().splitlines()[0].rstrip(".")
    error = CheckpointError(
        f"{repo_id}: expected {' or '.join(names)} on the hub or in its cache, got: {reason}; "
        "check the name and the connection, or pass the path of a local copy"
    )
    error.__cause__ = failure
    return error
