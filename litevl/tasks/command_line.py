"""From a command line to a recipe's config."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import tyro

from litevl.training import describe_changes, read_config

Config = TypeVar("Config")
ANYWHERE = (tyro.conf.CascadeSubcommandArgs,)
"""The options of a chosen adapter family may stand before and after other flags."""


def parse(arguments: list[str], embedded: Config, real: Config, description: str | None) -> Config:
    """The config of a command line: defaults of the embedded corpus, of real data, or of the run to evaluate again.

    Args:
        arguments: the words after the recipe's name.
        embedded: the defaults without --data.root.
        real: the defaults with it.
        description: the recipe's docstring, for --help.
    """
    default = real if any(word.startswith("--data.root") for word in arguments) else embedded
    config: Any = tyro.cli(type(default), default=default, args=arguments, description=description, config=ANYWHERE)
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
    backbone = config.model.backbone
    backbone = str(Path(backbone).resolve()) if Path(backbone).exists() else backbone
    videos = None if config.data.videos is None else config.data.videos.resolve()
    data, model = replace(config.data, root=root, videos=videos), replace(config.model, backbone=backbone)
    return replace(config, data=data, model=model)
