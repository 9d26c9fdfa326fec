"""Checking the options of a config dataclass: a wrong one is an error from Python and a file as on a command line."""

from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


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


def check_types(kind: type, options: Mapping[str, Any]) -> None:
    """Checks the types of options that come from a file.

    Raises:
        ValueError: names the option, its type, and what came.
    """
    hints = get_type_hints(kind)
    for name, value in options.items():
        if not _fits(value, hints[name]):
            expected = getattr(hints[name], "__name__", None) or str(hints[name]).replace("typing.", "")
            raise ValueError(f"{name}: expected {expected}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON, its lists as tuples, is of a type. Which names there are, `check_choices` checks."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is Literal:
        return isinstance(value, tuple({type(choice) for choice in arguments}))
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
