"""Repairs of defects in transformers' BLIP, which litevl needs and users of stock transformers may want too.

Each has a test in tests/litevl/blip/test_upstream_traps.py that fails, and says so, once upstream has mended it.
"""

from typing import Any, TypeVar

from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def hand_on_cross_attention_mask(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give a cross-attention the mask of the memory under the name it reads (a forward pre-hook).

    transformers 4.54 to at least 5.23: `BlipTextLayer` passes the mask of the encoder's tokens as
    `attention_mask`, and `BlipTextSelfAttention` reads `encoder_attention_mask`, which is None. So padded frames
    and padded question tokens are attended. The mask is already additive here. Where upstream passes the right
    name (4.49 to 4.53) nothing is changed.
    """
    # The fifth positional argument of older signatures is encoder_attention_mask itself.
    if (
        len(args) <= 4
        and kwargs.get("encoder_hidden_states") is not None
        and kwargs.get("encoder_attention_mask") is None
    ):
        kwargs = {**kwargs, "encoder_attention_mask": kwargs.get("attention_mask")}
    return args, kwargs


def repair(model: Model) -> Model:
    """Make every cross-attention of a transformers BLIP model heed the mask of the tokens it attends to.

    Parameters, buffers and their names stay as they are. Calling it twice, and copying or pickling the model
    afterwards, is safe: the hook is one function of this module, and it is never added a second time.

    Args:
        model: Any of transformers' BLIP models, also inside PEFT's wrapper or another module.

    Returns:
        The same object.
    """
    for name, module in model.named_modules():
        if f".{name}".endswith(".crossattention.self"):
            present = module._forward_pre_hooks.values()
            if not any(hook is hand_on_cross_attention_mask for hook in present):
                module.register_forward_pre_hook(hand_on_cross_attention_mask, with_kwargs=True)
    return model


def enable_gradient_checkpointing(blip: Model) -> Model:
    """Recompute the vision encoder's blocks in the backward pass instead of keeping their activations.

    `blip.gradient_checkpointing_enable()` of transformers 5 makes the frozen word embeddings require a gradient
    and then fails in an in-place addition; enabling the vision encoder alone avoids that, and it is where a
    clip's activations are. Always non-reentrant: the reentrant form refuses inputs that need no gradient, as
    pixels do. Takes effect in training mode, as everywhere in transformers.

    Args:
        blip: A transformers BLIP model, or one wrapped by PEFT.

    Returns:
        The same object.

    Raises:
        ValueError: The model holds no vision encoder of transformers' BLIP.
    """
    encoders = [module for name, module in blip.named_modules() if f".{name}".endswith(".vision_model")]
    if not encoders:
        children = ", ".join(name for name, _ in blip.named_children()) or "no children"
        raise ValueError(
            f"expected a transformers BLIP model, which has a `vision_model`; {type(blip).__name__} has {children}; "
            "pass what load_blip returned"
        )
    for encoder in encoders:
        # transformers 5.23 renamed the method and warns at the old name; 5.0 to 5.17 know only the old one.
        enable = getattr(encoder, "activation_checkpointing_enable", None) or encoder.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return blip
