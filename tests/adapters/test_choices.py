"""A misspelt option is an error from Python too."""

from dataclasses import dataclass
from typing import Literal

import pytest

from litevl.adapters.choices import check_choices


@dataclass
class Options:
    name: Literal["one", "two"] = "one"
    layers: Literal["all"] | tuple[int, ...] = "all"
    other: str = "anything"


def test_choices_are_checked_by_name():
    check_choices(Options())
    check_choices(Options("two", (1, 2), "x"))
    with pytest.raises(ValueError, match="name: expected one of 'one', 'two'; got 'three'"):
        check_choices(Options("three"))
    with pytest.raises(ValueError, match="layers: expected one of 'all'; got 'some'"):
        check_choices(Options(layers="some"))
