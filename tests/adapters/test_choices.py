"""A wrong option is an error from Python and from a file too."""

from dataclasses import dataclass
from typing import Literal

import pytest

from litevl.adapters.choices import check_choices, check_types


@dataclass
class Options:
    name: Literal["one", "two"] = "one"
    layers: Literal["all"] | tuple[int, ...] = "all"
    other: str = "anything"
    rate: float = 0.5
    width: int | None = None
    pair: tuple[int, int] = (1, 2)
    flag: bool = False


def test_choices_are_checked_by_name():
    check_choices(Options())
    check_choices(Options("two", (1, 2), "x"))
    with pytest.raises(ValueError, match="name: expected one of 'one', 'two'; got 'three'"):
        check_choices(Options("three"))
    with pytest.raises(ValueError, match="layers: expected one of 'all'; got 'some'"):
        check_choices(Options(layers="some"))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("name", ["one", "three"], [1, None]),
        ("layers", ["all", (), (1, 2)], [(1, "2"), 3, (1.0,), (True,)]),
        ("rate", [1, 0.5], ["0.5", True, None]),
        ("width", [None, 3], [3.0, "3", True]),
        ("pair", [(1, 2)], [(1,), (1, 2, 3), (1, None)]),
        ("flag", [True], [1, "yes", None]),
    ],
)
def test_types_of_what_comes_from_a_file(name, good, bad):
    for value in good:
        check_types(Options, {name: value})
    for value in bad:
        with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
            check_types(Options, {name: value})
