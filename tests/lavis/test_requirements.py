"""The environment of these tests is one that `litevl[lavis]` allows, with LAVIS's own pins."""

import importlib.metadata
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.10", "3.11")  # those that run.sh takes


def pins(python):
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    applying = [pin for pin in requirements if pin.marker is None or pin.marker.evaluate({"python_version": python})]
    assert not [str(pin) for pin in applying if pin.url or "+" in str(pin.specifier)], "local builds or addresses"
    versions = {}
    for pin in applying:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert canonicalize_name(pin.name) not in versions, f"{pin.name} has two pins for Python {python}"
        versions[canonicalize_name(pin.name)] = specifier.version
    return versions


@pytest.mark.parametrize("python", PYTHONS)
def test_the_pins_are_ones_that_the_extra_allows(python):
    versions = pins(python)
    wanted = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["lavis"]]
    wanted = [each for each in wanted if each.marker is None or each.marker.evaluate({"python_version": python})]
    assert "salesforce-lavis" in {each.name for each in wanted}
    held = [each for each in wanted if canonicalize_name(each.name) in versions]
    assert {"torch", "transformers", "numpy", "salesforce-lavis"} <= {each.name for each in held}
    for each in held:
        version = versions[canonicalize_name(each.name)]
        assert each.specifier.contains(version), f"{each}, pinned {version}"


def test_the_extra_changes_nothing_where_lavis_does_not_install():
    wanted = [Requirement(line) for line in PROJECT["optional-dependencies"]["lavis"]]
    assert not [str(each) for each in wanted if each.marker is None or each.marker.evaluate({"python_version": "3.12"})]


def test_what_is_installed_is_what_lavis_asks_for():
    pytest.importorskip("lavis.models", reason="needs LAVIS; run `bash tests/lavis/run.sh`")
    for requirement in map(Requirement, importlib.metadata.requires("salesforce-lavis")):
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not imported by its BLIP models
        assert requirement.specifier.contains(found), f"{requirement}, found {found}"
