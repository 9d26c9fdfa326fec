"""The distribution holds what the tree holds, and needs what it says it needs."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def folders_with_code(top: str, name: str) -> set[str]:
    """Import names of the packages under a folder of the tree."""
    folders = {path.parent for path in (ROOT / top).rglob("*.py")}
    return {".".join((name, *folder.relative_to(ROOT / top).parts)) for folder in folders}


def modules_imported_by(folder: str) -> set[str]:
    """Top-level names that the modules under a folder import; relative imports are its own."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


def test_every_package_of_the_tree_is_declared():
    packages = folders_with_code("adapters", "litevl.adapters")
    packages |= {name for name in folders_with_code("litevl", "litevl") if not name.startswith("litevl.adapters")}
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(packages)


def test_imports_point_one_way():
    assert modules_imported_by("adapters") <= {"torch", "einops", "jaxtyping", "safetensors", "huggingface_hub"}
    assert not modules_imported_by("litevl") & {"recipes", "tests", "adapters", "lavis"}
    assert "adapters" not in modules_imported_by("recipes"), "installed, it is litevl.adapters"


def test_what_is_imported_is_declared():
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    distributions = {"PIL": "pillow"}
    imported = {canonicalize_name(distributions.get(name, name)) for name in modules_imported_by("litevl") - {"litevl"}}
    # Taken only when a user chooses it, by an extra.
    extras = PROJECT["project"]["optional-dependencies"]
    chosen = [line for name in extras if name not in ("test", "dev") for line in extras[name]]
    assert imported - declared <= {canonicalize_name(Requirement(line).name) for line in chosen}


def test_importing_every_module_needs_no_optional_package():
    """decord has no wheels for ARM and LAVIS none for Python 3.12: everything must import without either."""
    code = """
import importlib, pkgutil, sys
optional = ("decord", "torchcodec", "torchvision", "tensorboard", "wandb", "matplotlib", "lancedb", "pyarrow")
for absent in ("lavis", "gradio", "fastapi", "uvicorn", *optional):
    sys.modules[absent] = None
import litevl, litevl.adapters
for module in pkgutil.walk_packages(litevl.__path__, "litevl."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_constraints_pin_every_dependency_within_its_range():
    """One pin applies to each dependency on this Python, it satisfies pyproject.toml, and it is anyone's to install."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert not [str(pin) for pin in pins if pin.url or "+" in str(pin.specifier)], "local builds or addresses"
    applying = {canonicalize_name(pin.name): pin for pin in pins if pin.marker is None or pin.marker.evaluate()}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = PROJECT["project"]["dependencies"] + [line for name in extras if name != "lavis" for line in extras[name]]
    for requirement in map(Requirement, wanted):
        if requirement.name == "litevl" or (requirement.marker and not requirement.marker.evaluate()):
            continue
        pin = applying.get(canonicalize_name(requirement.name))
        assert pin is not None, f"constraints.txt does not pin {requirement.name}"
        (version,) = (specifier.version for specifier in pin.specifier)
        assert requirement.specifier.contains(version), f"{pin} is outside {requirement}"


def test_pre_commit_runs_the_checks_of_ci():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = [line.split("entry:")[1].strip() for line in hooks.splitlines() if "entry:" in line]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    steps = [line.split("'")[1] for line in ci.splitlines() if line.startswith("step '")]
    assert entries == [*steps, ".venv/bin/python -m pytest"]


def build(kind: str, source: Path, target: Path) -> Path:
    """Build a distribution without the network: pip would fetch setuptools anew for an isolated build."""
    code = f"import sys, setuptools.build_meta as backend; print(backend.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


def test_a_wheel_from_the_sdist_holds_the_tree(tmp_path):
    """Through the source distribution, as PyPI's users without a wheel get it, and free of the link in litevl/."""
    pytest.importorskip("setuptools", minversion=PROJECT["build-system"]["requires"][0].partition(">=")[2])
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("adapters", "litevl"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    sdist = build("sdist", tree, tmp_path)
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(build("wheel", source, tmp_path)) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = [path for top in ("litevl", "adapters") for path in (ROOT / top).rglob("*") if path.is_file()]
    paths = {path.relative_to(ROOT).as_posix() for path in files if path.suffix not in {".md", ".pyc"}}
    assert held == {f"litevl/{path}" if path.startswith("adapters/") else path for path in paths}
