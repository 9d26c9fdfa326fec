"""The model card beside an adapter: what it is, what it was trained on, what it reached, and how to load it."""

import json
from pathlib import Path
from typing import Any

CARD_NAME = "README.md"


def write_card(path: Path, config: dict[str, Any]) -> None:
    """Writes the card of an adapter from its `adapter_config.json`.

    Args:
        path: of the card.
        config: the content of `adapter_config.json`. Of what `save_adapters` was given as details the card shows
            `task`, `backbone`, `metrics` (numbers by name, or a dict of those by score), `protocol` and `command`.
    """
    adapter, backbone = config["adapter"], config.get("backbone") or {}
    source = str(backbone.get("source", ""))
    options = {name: value for name, value in adapter.items() if name != "family"}
    head = ["library_name: litevl", "tags:", "- litevl", "- video-language", f"- {adapter['family']}"]
    if source.count("/") == 1 and not Path(source).exists():
        head.append(f"base_model: {source}")
    lines = ["---", *head, "---", "", f"# {_title(config)}", ""]
    lines += [
        f"Temporal adapters ({adapter['family']}) for a frozen BLIP, made with litevl"
        + (f" {config['litevl_version']}" if "litevl_version" in config else "")
        + ". They hold no weights of the backbone.",
        "",
        "| | |",
        "|---|---|",
    ]
    if source:
        lines.append(f"| backbone | `{source}` |")
    lines += [
        f"| fingerprint of its vision encoder | `{config['vision_encoder_fingerprint']}` |",
        f"| fingerprint of the whole | `{config['backbone_fingerprint']}` |",
        *(f"| {name} | `{json.dumps(value)}` |" for name, value in options.items()),
    ]
    for title in ("pooling", "preprocessing", "evaluation", "protocol"):
        if config.get(title):
            lines += [f"| {title}: {name} | `{json.dumps(value)}` |" for name, value in config[title].items()]
    lines += ["", "## Results", "", *_results(config.get("metrics"))]
    if config.get("command"):
        lines += ["", "Trained and evaluated by:", "", "```bash", str(config["command"]), "```"]
    lines += [
        "",
        "## Use",
        "",
        "```python",
        "from litevl import load_blip",
        "from litevl.adapters import load_adapters",
        "",
        f'blip = load_blip("{source or "the backbone"}")',
        'load_adapters(blip, "this folder, or its hub id")  # refused on another backbone',
        "```",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _title(config: dict[str, Any]) -> str:
    return f"litevl adapter for {config['task']}" if config.get("task") else "litevl adapter"


def _results(metrics: dict[str, Any] | None) -> list[str]:
    if not metrics:
        return ["None were recorded."]
    rows = {name: value for name, value in metrics.items() if isinstance(value, dict)} or {"": metrics}
    names = list(dict.fromkeys(name for row in rows.values() for name, value in row.items() if _is_number(value)))
    return [
        "| | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
        *(
            f"| {title} | "
            + " | ".join(f"{row[name]:.4g}" if _is_number(row.get(name)) else "" for name in names)
            + " |"
            for title, row in rows.items()
        ),
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
