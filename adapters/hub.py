"""Adapters on the Hugging Face hub, through huggingface_hub; the network is touched only where a hub id is named."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from .artifact import CONFIG_NAME, WEIGHTS_NAME, save_adapters
from .model_card import BACKBONE, CARD_NAME, LORA, card

FILES = (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME)


def push_to_hub(
    source: nn.Module | str | Path,
    repo_id: str,
    *,
    name: str | None = None,
    private: bool = False,
    revision: str | None = None,
    commit_message: str = "Upload a litevl adapter",
    token: str | None = None,
    **details: Any,
) -> str:
    """Uploads an adapter in one commit: its two files and its model card, and of a run what was trained beside it.

    Args:
        source: a plugged model, or a folder that `save_adapters` or a recipe wrote.
        repo_id: such as ``user/litevl-msrvtt``; made if it is not there.
        name: for a model, which of its adapters; by default the active one.
        private: of a repository that is made.
        revision: the branch to write to, made if it is not there; by default the main one.
        commit_message: of the upload.
        token: of the hub; by default the one that `hf auth login` stored.
        details: for a model, as in `save_adapters`.

    Returns:
        The address of the commit.

    Raises:
        ValueError: if the folder lacks one of the files, or comes with a name or details.
        OSError: if the hub refuses, or there is no network (from huggingface_hub, as it comes).
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    if not isinstance(source, nn.Module) and (name or details):
        given = ", ".join(details) or "name"
        raise ValueError(f"{given}: for a model, and {source} is a folder; add_details(folder, ...) adds to one")
    api = HfApi(token=token)
    with TemporaryDirectory() as scratch:
        folder = save_adapters(source, scratch, name, **details) if isinstance(source, nn.Module) else Path(source)
        files = _files(folder)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not revision.startswith("refs/pr/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        files[CARD_NAME] = _card_on_hub(folder, repo_id)
        commit = api.create_commit(
            repo_id,
            [CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=commit_message,
            revision=revision,
        )
    return str(commit.commit_url)


def download(repo_id: str, revision: str | None = None) -> Path:
    """The folder of an adapter from the hub, in huggingface_hub's cache.

    Raises:
        OSError: if it is not to be had: no such repository or revision, no network, or a download that failed.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # huggingface_hub's, its HTTP library's and its storage's share no other class
        raise OSError(" ".join(str(error).split())) from error


def _files(folder: Path) -> dict[str, Path | bytes]:
    """What to upload of a folder, by its path in the repository."""
    if absent := [file for file in FILES if not (folder / file).is_file()]:
        raise ValueError(f"{folder}: expected an adapter folder; it has no {', '.join(absent)}")
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    beside = [LORA] if config.get("lora") else []
    beside += [BACKBONE] if (config.get("backbone") or {}).get("source") == BACKBONE else []
    paths = [folder / file for file in FILES]
    paths += [path for name in beside for path in sorted((folder / name).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _card_on_hub(folder: Path, repo_id: str) -> bytes:
    """The card, with an example that loads from the hub; one that its author edited stays as it is."""
    written = (folder / CARD_NAME).read_text(encoding="utf-8")
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    return (card(config, repo_id) if written == card(config) else written).encode()
