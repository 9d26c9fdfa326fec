"""Checking the named options of a config dataclass: a misspelt one is an error from Python as on a command line."""

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


def check_choices(config: Any) -> None:
    """Checks every field whose type is a `Literal`, alone or in a union with other types.

    Raises:
        ValueError: names the field, its choices, and what came.
    """
    hints = get_type_hints(type(config))
    for field in fields(config):
        hint, value = hints[field.name], getattr(config, field.name)
        options = [hint] if get_origin(hint) is Literal else list(get_args(hint))
        choices = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
        others = any(get_origin(option) is not Literal for option in options)
        if choices and value not in choices and (isinstance(value, str) or not others):
            listed = ", ".join(map(repr, choices))
            raise ValueError(f"{field.name}: expected one of {listed}; got {value!r}")
