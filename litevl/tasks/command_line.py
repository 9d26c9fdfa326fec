"""From a command line to a recipe's config, and to its run."""

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, TypeVar

import torch
import tyro

from litevl.data.annotations import AnnotationError
from litevl.data.coverage import UnusableVideosError
from litevl.data.video import VideoError
from litevl.training import LossNotFinite, RunFailed, describe_changes, read_config
from litevl.training.run_folder import CONFIG_NAME

Config = TypeVar("Config")
ANYWHERE = (tyro.conf.CascadeSubcommandArgs,)
"""The options of a chosen adapter family may stand before and after other flags."""

USER_ERRORS = (
    *(AnnotationError, UnusableVideosError, VideoError, LossNotFinite, RunFailed),
    *(FileExistsError, FileNotFoundError, ImportError, ValueError),
)
"""What a run says of its input and settings; the message is enough."""


def run_recipe(
    name: str, main: Callable[[Any, str], Any], embedded: Config, real: Config, description: str | None
) -> None:
    """Runs a recipe from the words of the command line. An error of the user's ends in a line, with exit status 1.

    `LITEVL_DEBUG=1` shows where such an error came from.

    Args:
        name: of the recipe's file, without its ending.
        main: the recipe's; takes its config and the command for the model card.
        embedded: see `parse`.
        real: see `parse`.
        description: see `parse`.
    """
    torch.set_float32_matmul_precision("high")
    words = sys.argv[1:]
    try:
        config = parse(words, embedded, real, description)
        main(config, shlex.join(["accelerate", "launch", f"recipes/{name}.py", *words]))
    except USER_ERRORS as error:
        if os.environ.get("LITEVL_DEBUG"):
            raise
        sys.exit(f"error: {error}")


def parse(arguments: list[str], embedded: Config, real: Config, description: str | None) -> Config:
    """The config of a command line: defaults of the embedded corpus, of real data, or of the run to go on with.

    Args:
        arguments: the words after the recipe's name.
        embedded: the defaults without --data.root.
        real: the defaults with it.
        description: the recipe's docstring, for --help.
    """
    rooted = any(word.startswith("--data.root") for word in arguments)
    default = real if rooted else embedded
    shown = (
        "with --data.root" if rooted else "without --data.root; `--data.root FOLDER --help` shows those of real data"
    )
    description = f"{description or ''}\n\nThe defaults are {shown}."
    config: Any = tyro.cli(type(default), default=default, args=arguments, description=description, config=ANYWHERE)
    if config.resume and config.output_dir is not None and (config.output_dir / CONFIG_NAME).is_file():
        # The run's own settings; RunFolder refuses words that differ from them.
        stored = replace(read_config(type(config), config.output_dir), resume=True, output_dir=config.output_dir)
        return absolute(tyro.cli(type(config), default=stored, args=arguments, config=ANYWHERE))
    if config.evaluate is None:
        return absolute(config)
    stored = replace(read_config(type(config), config.evaluate), evaluate=config.evaluate)
    config = tyro.cli(type(config), default=stored, args=arguments, config=ANYWHERE)
    for change in describe_changes(asdict(stored), asdict(config)):
        print(f"not as in the run: {change}")
    return config


def absolute(config: Any) -> Any:
    """The config with absolute paths, so that its run folder means the same from anywhere."""
    root = None if config.data.root is None else config.data.root.resolve()
    videos = None if config.data.videos is None else config.data.videos.resolve()
    names = ("frame_store", "feature_store")
    given = {name: getattr(config.data, name) for name in names}
    stores = {name: None if folder is None else folder.resolve() for name, folder in given.items()}
    data = replace(config.data, root=root, videos=videos, **stores)
    if getattr(data, "answer_file", None) is not None:
        data = replace(data, answer_file=data.answer_file.resolve())
    return replace(config, data=data, model=config.model.absolute())
