"""The model card beside an adapter: what it is, what it reached, how to load it, and how it was made."""

import json
import logging
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from .families import adapter_config
from .text_pooling import PoolingConfig

logger = logging.getLogger(__name__)

CARD_NAME = "README.md"
LORA, BACKBONE = "lora", "backbone"
"""The folders of a run that hold what was trained beside the adapters: LoRA as peft writes it, the whole backbone."""
OURS = "library_name: litevl"
TASK_MODELS = {
    "retrieval": "VideoTextRetrieval",
    "vqa": "VideoQuestionAnswering",
    "captioning": "VideoCaptioning",
}
SETTINGS = ("pooling", LORA, "preprocessing", "evaluation", "protocol")
LEGEND = "t2v is text to video, v2t video to text; r1, r5, r10: recall in percent; mdr, mnr: median and mean rank."
WEIGHT_FILES = (".pth", ".pt", ".bin", ".safetensors")


def may_write_card(path: Path) -> bool:
    """Whether a card may be written there: over nothing or such a card, but over no other README, which is said."""
    if not path.is_file() or OURS in path.read_text(encoding="utf-8", errors="replace"):
        return True
    logger.warning("%s: is no model card of litevl's, left as it is", path)
    return False


def card(config: dict[str, Any], place: str = ".") -> str:
    """The text of an adapter's card.

    Args:
        config: the content of `adapter_config.json`. Of what `save_adapters` was given as details the card shows
            `task`, `license`, `backbone`, `metrics` (numbers by name, or a dict of those by score), `command`,
            `pooling`, `lora`, `preprocessing`, `evaluation` and `protocol`.
        place: where its example loads the adapter from: the card's own folder, or a hub id.
    """
    parts = [
        _front_matter(config),
        _introduction(config),
        ["## Results", "", *_results(config)],
        ["## Use", "", "```python", *_example(config, place), "```"],
        ["## How it was made", "", *_command(config), *_settings(config)],
        ["## Licence", "", _licence(config.get("license"))],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def is_hub_id(source: str) -> bool:
    """Whether `source` looks like ``user/repository``: two plain names with one slash between them."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", source) is not None and not source.startswith((".", "~"))


def _source(config: dict[str, Any]) -> str:
    return str((config.get("backbone") or {}).get("source") or "")


def _front_matter(config: dict[str, Any]) -> list[str]:
    source = _source(config)
    lines = ["---", OURS]
    if config.get("license"):
        lines.append(f"license: {json.dumps(config['license'])}")
    if is_hub_id(source) and not source.endswith(WEIGHT_FILES) and not Path(source).exists():
        lines += [f"base_model: {source}", "base_model_relation: adapter"]
    tags = dict.fromkeys(["litevl", "blip", "video-language", config["adapter"]["family"]])
    return [*lines, "tags:", *(f"- {tag}" for tag in tags), "---"]


def _introduction(config: dict[str, Any]) -> list[str]:
    source, lora = _source(config), config.get("lora")
    title = adapter_config(config["adapter"]).title
    heading = title[:1].upper() + title[1:] + (f" for {config['task']}" if config.get("task") else "")
    backbone = "a BLIP"
    if source and source != BACKBONE:
        heading += f", on {Path(source).name}"
        backbone = f"`{source}`, {'the small BLIP that ships with litevl' if source == 'embedded' else 'a BLIP'},"
    beside = " Images give what they gave before."
    if lora or source == BACKBONE:
        beside = f" {'LoRA' if lora else 'The backbone'} was trained too and lies in `{LORA if lora else BACKBONE}/`."
    return [
        f"# {heading}",
        "",
        f"Adapters ({title}) that let {backbone} take video, in clips of {config['adapter']['num_frames']} frames; "
        f"made with litevl {config.get('litevl_version', '')}. They load onto the backbone that has the fingerprint "
        f"below and are refused on any other.{beside}",
    ]


def _results(config: dict[str, Any]) -> list[str]:
    metrics, protocol = config.get("metrics") or {}, config.get("protocol") or {}
    scores = {name: value for name, value in metrics.items() if isinstance(value, dict)}
    rows = scores if not any(map(_is_number, metrics.values())) else {"": metrics}
    table = _table(rows)
    if not table:
        return ["None were recorded."]
    named = [f"{name.replace('_', ' ')} `{protocol[name]}`" for name in ("dataset", "test_split") if name in protocol]
    lines = [f"On {', '.join(named)}.", "", *table] if named else table
    if any(name.startswith(("t2v_", "v2t_")) for row in rows.values() for name in row):
        lines += ["", LEGEND]
    nested = dict.fromkeys(name for row in rows.values() for name, value in row.items() if isinstance(value, dict))
    for name in nested:
        table = _table({title: row[name] for title, row in rows.items() if isinstance(row.get(name), dict)}, name)
        lines += ["", *table] if table else []
    return lines


def _table(rows: dict[str, dict[str, Any]], corner: str = "") -> list[str]:
    names = list(dict.fromkeys(name for row in rows.values() for name, value in row.items() if _is_number(value)))
    if not names:
        return []
    values = [
        [title, *(f"{row[name]:.4g}" if _is_number(row.get(name)) else "" for name in names)]
        for title, row in rows.items()
    ]
    return [_row([corner, *names]), "|---" * (len(names) + 1) + "|", *map(_row, values)]


def _example(config: dict[str, Any], place: str) -> list[str]:
    source, adapter = _source(config), adapter_config(config["adapter"])
    task, lora = TASK_MODELS.get(config.get("task", "")), config.get("lora")
    ours = {"load_adapters"} | ({type(adapter).__name__, "PoolingConfig", "plug"} if task else set())
    imports = [f"from litevl import {', '.join(filter(None, [task, 'load_blip']))}"]
    imports.append(f"from litevl.adapters import {', '.join(sorted(ours))}")
    where = json.dumps(source or "the backbone: a hub id, a folder, or a .pth file")
    if source == BACKBONE and place != ".":
        imports.insert(0, "from huggingface_hub import snapshot_download")
        where = f'snapshot_download("{place}") + "/{BACKBONE}"'
    size = (config.get("backbone") or {}).get("image_size")
    options = [where, *([f'task="{config["task"]}"'] if task else []), *([f"image_size={size}"] if size else [])]
    lines = [f"blip = load_blip({', '.join(options)})"]
    if lora:
        imports.append("from peft import PeftModel")
        lines.append(f'PeftModel.from_pretrained(blip, "{place}", subfolder="{LORA}")  # puts it into blip')
    if task:
        pooling = PoolingConfig(**(config.get("pooling") or {}))
        heads = ', heads="copied"' if config.get("heads") == "copied" else ""
        heads += f", classes={config['classes']}" if config.get("classes") else ""
        lines += [f"plug(blip, {_call(adapter)})", f"model = {task}(blip, {_call(pooling)}{heads}).eval()"]
    inside = "  # from inside this folder" if place == "." else ""
    lines.append(f'load_adapters({"model" if task else "blip"}, "{place}"){inside}')
    return [*imports, "", *lines, *(f"# {line}" for line in _going_on(config))]


def _going_on(config: dict[str, Any]) -> list[str]:
    """What one does with a task's model, for a file of one's own."""
    video = 'video = model.encode_video(load_clip("video.mp4", model)[None])  # from litevl import load_clip'
    asked = 'asked = model.ground(video, model.tokenize_questions(["what is seen?"]))'
    listed = 'answers = json.load(open("adapter_config.json"))["answers"]["answers"]'
    uses = {
        "retrieval": [video, 'model.similarity(model.encode_text(["a dog catches a frisbee"]), video)'],
        "vqa": [video, asked, listed, "answers[model.rank(asked, model.tokenize_answers(answers))[0][0]]"],
        "captioning": [video, "model.generate(video)"],
    }
    if config.get("classes"):
        uses["vqa"][-1] = "answers[model.classify(asked).argmax()]"
    return uses.get(config.get("task", ""), [])


def _call(config: Any) -> str:
    changed = [
        f"{item.name}={json.dumps(value) if isinstance(value, str) else repr(value)}"
        for item in fields(config)
        if item.init and ((value := getattr(config, item.name)) != item.default or item.name == "num_frames")
    ]
    return f"{type(config).__name__}({', '.join(changed)})"


def _command(config: dict[str, Any]) -> list[str]:
    return ["```bash", str(config["command"]), "```", ""] if config.get("command") else []


def _settings(config: dict[str, Any]) -> list[str]:
    backbone = config.get("backbone") or {}
    rows = [
        ["backbone", _listed(backbone) or "not recorded"],
        ["fingerprint of its vision encoder", f"`{config['vision_encoder_fingerprint']}`"],
        ["fingerprint of the whole backbone", f"`{config['backbone_fingerprint']}`"],
        ["adapter", _listed(config["adapter"])],
        *([title, _listed(config[title])] for title in SETTINGS if config.get(title)),
    ]
    return [_row(["", ""]), "|---|---|", *map(_row, rows)]


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} `{json.dumps(value)}`" for name, value in values.items() if value is not None)


def _licence(name: str | None) -> str:
    if name:
        return f"These adapters: {name}, as their author states it. The backbone keeps its own."
    return (
        "None is stated here: the licence of these adapters is their author's to choose (`license:` at the top of this "
        "card). The backbone keeps its own."
    )


def _row(cells: list[str]) -> str:
    return "|" + "|".join(f" {cell} ".replace("|", "\\|") if cell else " " for cell in cells) + "|"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
