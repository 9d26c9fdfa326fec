"""The environment of tests/lowest is the low end of every range that pyproject.toml states."""

import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HIGHER = {
    "transformers": "5.0.0",  # what load_blip asks for; below it litevl takes LAVIS's BLIP
    "huggingface-hub": "1.3.0",  # what that transformers asks for
}


def test_every_pin_is_the_low_end_of_its_range():
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for pin in (Requirement(line) for line in lines if line and not line.startswith("#")):
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert not pin.url
        assert "+" not in specifier.version, "a local build"
        pins[canonicalize_name(pin.name)] = specifier.version
    extras = PROJECT["optional-dependencies"]
    ranges = PROJECT["dependencies"] + [
        line for name in ("search", "tensorboard", "plots", "captioning") for line in extras[name]
    ]
    for requirement in map(Requirement, ranges):
        name = canonicalize_name(requirement.name)
        (low,) = (each.version for each in requirement.specifier if each.operator in (">=", "=="))
        assert Version(pins[name]) == Version(HIGHER.get(name, low)), f"{requirement}, pinned {pins[name]}"
