"""The adapter families by name, for files and command lines."""

from dataclasses import fields
from typing import Any

from .aim import AIMConfig
from .bottleneck_attention import BottleneckConfig
from .choices import check_types
from .config import AdapterConfig
from .frame_average import FrameAverageConfig
from .litevl import LiteVLConfig
from .st_adapter import STAdapterConfig
from .temporal_shift import TemporalShiftConfig

FAMILIES: dict[str, type[AdapterConfig]] = {
    "litevl": LiteVLConfig,
    "bottleneck": BottleneckConfig,
    "st-adapter": STAdapterConfig,
    "aim": AIMConfig,
    "shift": TemporalShiftConfig,
    "none": FrameAverageConfig,
}


def adapter_config(stored: Any) -> AdapterConfig:
    """The configuration that `dataclasses.asdict` gave, as JSON keeps it.

    Raises:
        ValueError: for an unknown family, or options that it does not have, or of another type.
    """
    if not isinstance(stored, dict):
        raise ValueError(f"expected an object with a family and its options, got {stored!r:.80}")
    family = stored.get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(f"family: expected one of {', '.join(FAMILIES)}; got {family!r}")
    kind: Any = FAMILIES[family]
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    given = {item.name for item in fields(kind) if item.init}
    fixed = {item.name: item.default for item in fields(kind) if not item.init}
    unknown = {name for name, value in options.items() if name not in given and fixed.get(name, object) != value}
    if unknown or given - options.keys():
        listed = ", ".join(sorted(unknown | (given - options.keys())))
        raise ValueError(f"{family}: expected the options {', '.join(sorted(given))}; unknown or missing: {listed}")
    chosen = {name: value for name, value in options.items() if name in given}
    check_types(kind, chosen)
    return kind(**chosen)
