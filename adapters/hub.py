"""Adapters on the Hugging Face hub, through huggingface_hub; the network is touched only where a hub id is named."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from .artifact import CONFIG_NAME, WEIGHTS_NAME, save_adapters
from .model_card import CARD_NAME

FILES = (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME)


def is_hub_id(source: str) -> bool:
    """Whether `source` looks like ``user/repository``: two plain names with one slash between them."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", source) is not None and not source.startswith((".", "~"))


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
    """Uploads an adapter: its two files and its model card.

    Args:
        source: a plugged model, or a folder that `save_adapters` or a recipe wrote.
        repo_id: such as ``user/litevl-msrvtt``; made if it is not there.
        name: for a model, which of its adapters; by default the active one.
        private: of a repository that is made.
        revision: the branch to write to; by default the main one.
        commit_message: of the upload.
        token: of the hub; by default the one that `hf auth login` stored.
        details: for a model, as in `save_adapters`.

    Returns:
        The address of the commit.

    Raises:
        ValueError: if the folder lacks one of the files.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with TemporaryDirectory() as scratch:
        folder = save_adapters(source, scratch, name, **details) if isinstance(source, nn.Module) else Path(source)
        if absent := [file for file in FILES if not (folder / file).is_file()]:
            raise ValueError(f"{folder}: expected an adapter folder; it has no {', '.join(absent)}")
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=list(FILES),
            revision=revision,
            commit_message=commit_message,
        )
    return str(commit.commit_url)


def download(repo_id: str, revision: str | None = None) -> Path:
    """The folder of an adapter from the hub, in huggingface_hub's cache.

    Raises:
        OSError: if there is no such repository, or no network.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(FILES)))
    except HfHubHTTPError as error:
        raise OSError(str(error)) from error
