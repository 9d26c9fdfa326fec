"""Turning a BLIP that takes images into one that also takes video, in place, and back.

`plug` adds adapters as children of the vision encoder's blocks; no stock parameter is renamed or changed. Inside the
encoder the layout stays `(batch*time, 1+patches, dim)`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from .adapter import CONTAINER, adapter_parameter_names, describe_trainable, named_adapters, peft_parameter_names
from .artifact import save_stock_pretrained
from .clip_cls import ClipCLS, EntryClipCLS
from .compiled import run_as_written
from .config import AdapterConfig
from .litevl import LiteVLConfig
from .plugged import Plugged, both, plugged_state, require_plugged, state_of
from .video_block import take_images_only, take_video
from .video_encoder import require_clips_possible, take_clips, take_whole_images_only
from .vision_encoder import VisionEncoder, find_vision_encoder


def plug(
    model: nn.Module, config: AdapterConfig | None = None, name: str = "default", *, verbose: bool = True
) -> nn.Module:
    """Makes `model` take video beside images, and freezes all of it but the adapter.

    After it, `pixel_values` of shape `(batch, time, 3, height, width)` is video: the encoder's `last_hidden_state` is
    `(batch, 1 + rows, dim)`, row 0 the clip's CLS (see `pack_video`). Four dimensions are images, as ever, bit for bit.

    A plugged model takes further adapters under other names; the newest is the active one (`set_adapter`).

    Args:
        model: a BLIP of transformers, of LAVIS or of Salesforce's original code, or its vision encoder.
        config: what to insert; `LiteVLConfig()` if not given.
        name: the adapter's, to switch by.
        verbose: print how much is trainable.

    Returns:
        The same object.

    Raises:
        ValueError: if the model has no vision encoder, holds an adapter of that name, a layer does not exist, or its
            transformers is too old.
    """
    config = config or LiteVLConfig()
    encoder = find_vision_encoder(model)
    state = state_of(encoder.module)
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise ValueError(f"name: expected a name without a dot that no module's attribute has, got {name!r}")
    if state is not None and name in state.adapters:
        raise ValueError(
            f"this model is plugged already, with an adapter named {name!r}; give the new one another name, or call "
            "unplug(model) first"
        )
    # All of it is built before any of it goes in, so that what cannot be built leaves the model as it was.
    built = [(each, _build(each, config)) for each in both(encoder)]
    if state is None:
        require_clips_possible(encoder)
        _open(model, encoder)
    for each, parts in built:
        run_as_written(each.module)
        for block, part in zip(each.blocks, parts, strict=True):
            getattr(block.module, CONTAINER)[name] = part
        _state(each).adapters[name] = config
    start_momentum(model, name)
    set_adapter(model, name)
    if verbose:
        print(describe_trainable(model))
    return model


def unplug(model: nn.Module, name: str | None = None) -> nn.Module:
    """Takes back what `plug` did: all of it, or the adapter of one name.

    Without a name (or with the last one) the stock model comes back, bit for bit, with its former `requires_grad`.

    Raises:
        ValueError: if the model is not plugged, or holds no such adapter.
    """
    encoder = find_vision_encoder(model)
    state = require_plugged(model)
    names = list(state.adapters) if name is None else [_known(state, name)]
    for each in both(encoder):
        run_as_written(each.module)
        for gone in names:
            for block in each.blocks:
                getattr(block.module, CONTAINER).pop(gone)
            del _state(each).adapters[gone]
    if not state.adapters:
        _close(model, encoder)
    elif state.active in names:
        set_adapter(model, next(iter(state.adapters)))
    return model


def set_adapter(model: nn.Module, name: str) -> None:
    """Makes the adapter of that name the one that clips run through and that is trained.

    The others are frozen. Call `backward` on what ran through them before: afterwards they get no gradient from it.

    Raises:
        ValueError: if the model is not plugged, or holds no such adapter.
    """
    _known(require_plugged(model), name)
    activate(model, name)
    freeze_backbone(model)


def activate(model: nn.Module, name: str | None) -> None:
    """Lets clips run through the adapter of that name, or through none; `requires_grad` stays as it is."""
    for each in both(find_vision_encoder(model)):
        _state(each).active = name


def start_momentum(model: nn.Module, name: str) -> None:
    """Gives the momentum copy's adapter of that name the values of the model's own, as the copy itself was started."""
    encoder = find_vision_encoder(model)
    if encoder.momentum is None:
        return
    for block, copy in zip(encoder.blocks, encoder.momentum.blocks, strict=True):
        own = getattr(block.module, CONTAINER)[name]
        getattr(copy.module, CONTAINER)[name].load_state_dict(own.state_dict())


@contextmanager
def disable_adapters(model: nn.Module) -> Iterator[None]:
    """Within it, clips run through no adapter: BLIP frame by frame, laid out as `cls="frame"`.

    Afterwards they run through the one they ran through before, unless that was unplugged meanwhile.

    Raises:
        ValueError: if the model is not plugged.
    """
    active = require_plugged(model).active
    activate(model, None)
    try:
        yield
    finally:
        state = plugged_state(model)
        if state is not None and active in (None, *state.adapters):
            activate(model, active)
        elif state is not None and state.active is None:
            activate(model, next(iter(state.adapters)))


def freeze_backbone(model: nn.Module) -> None:
    """Makes the active adapter trainable (with a task model's heads), and nothing else of `model`.

    What peft put in keeps its `requires_grad`: whether LoRA is trained is peft's to say.
    """
    encoder = find_vision_encoder(model)
    state = state_of(encoder.module)
    adapters, peft = adapter_parameter_names(model), peft_parameter_names(model)
    inactive = [f".{CONTAINER}.{name}." for name in state.adapters if name != state.active] if state else []
    for name, parameter in model.named_parameters():
        if name in adapters:
            momentum = encoder.momentum is not None and name.startswith(f"{encoder.momentum.path}.")
            parameter.requires_grad_(not momentum and not any(part in name for part in inactive))
        elif name not in peft:
            parameter.requires_grad_(False)


def merge(model: nn.Module) -> nn.Module:
    """Folds FC_t of every temporal attention into its output projection, in place, for inference.

    The outputs stay the same up to rounding. A merged model can no longer be trained or saved as adapters.

    Raises:
        ValueError: if the model is not plugged.
    """
    require_plugged(model)
    for _, adapter in named_adapters(model):
        adapter.merge()
    return model


def _open(model: nn.Module, encoder: VisionEncoder) -> None:
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    announced: set[tuple[str, int]] = set()
    for each in both(encoder):
        state = Plugged(frozen_before=flags, announced=announced)
        each.module.litevl_plugged = state  # type: ignore[assignment]
        take_clips(each, state)
        for block in each.blocks:
            block.module.add_module(CONTAINER, nn.ModuleDict())
            take_video(block.module, each.layout)
    owner = _owner(model, encoder)
    if hasattr(owner, "save_pretrained"):
        save_stock_pretrained(owner)


def _close(model: nn.Module, encoder: VisionEncoder) -> None:
    flags = _state(encoder).frozen_before
    for each in both(encoder):
        take_whole_images_only(each, _state(each))
        for block in each.blocks:
            take_images_only(block.module)
            delattr(block.module, CONTAINER)
        del each.module.litevl_plugged
    _owner(model, encoder).__dict__.pop("save_pretrained", None)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(flags.get(name, parameter.requires_grad))


def _build(encoder: VisionEncoder, config: AdapterConfig) -> list[nn.ModuleDict]:
    blocks = encoder.blocks
    layers = config.layer_numbers(len(blocks))
    first = layers[0] if layers else 0
    built = []
    for number, block in enumerate(blocks):
        parts: dict[str, nn.Module] = {}
        if number == first and config.cls == "clip" and first > 0:
            parts["entry_clip_cls"] = EntryClipCLS()
        if number in layers:
            parts |= config.build(block, number == first)
        if number >= first and config.cls == "clip":
            parts["clip_cls"] = ClipCLS()
        built.append(nn.ModuleDict(parts).to(block.qkv.weight))
    return built


def _owner(model: nn.Module, encoder: VisionEncoder) -> nn.Module:
    """The BLIP itself, whatever it is wrapped in: what holds the vision encoder, or the encoder where that is all."""
    return model.get_submodule(encoder.path.rpartition(".")[0]) if encoder.path else encoder.module


def _state(encoder: VisionEncoder) -> Plugged:
    return encoder.module.litevl_plugged  # type: ignore[return-value]


def _known(state: Plugged, name: str) -> str:
    if name not in state.adapters:
        raise ValueError(f"expected one of the adapters {', '.join(map(repr, state.adapters))}; got {name!r}")
    return name
