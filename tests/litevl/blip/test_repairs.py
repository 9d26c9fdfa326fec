import copy
import pickle
import warnings

import pytest
import torch

from litevl.blip import enable_gradient_checkpointing, repair
from litevl.blip.repairs import hand_on_cross_attention_mask


def hooks(model):
    return [
        hook
        for module in model.modules()
        for hook in module._forward_pre_hooks.values()
        if hook is hand_on_cross_attention_mask
    ]


@pytest.mark.parametrize(("task", "count"), [("retrieval", 2), ("vqa", 4), ("captioning", 2)])
def test_one_hook_for_each_cross_attention_however_often(small, task, count):
    model = small.small_blip(task)
    names = list(model.state_dict())
    assert repair(repair(model)) is model
    assert len(hooks(model)) == count
    assert list(model.state_dict()) == names


@torch.no_grad()
def fused(model):
    memory = torch.randn(1, 6, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0, 0, 0]])
    ids = torch.tensor([[2, 5, 6, 3]])
    return model(ids, torch.ones_like(ids), encoder_hidden_states=memory, encoder_attention_mask=mask).last_hidden_state


def test_copies_are_repaired_once_too(small):
    model = repair(small.small_blip())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert len(hooks(twin)) == len(hooks(repair(twin))) == 2
        assert torch.equal(fused(twin.text_encoder), fused(model.text_encoder))


def test_compiled(small):
    encoder = repair(small.small_blip()).text_encoder
    expected = fused(encoder)
    with warnings.catch_warnings():
        # torch's own, on the first use of the compiler.
        warnings.simplefilter("ignore")
        compiled = torch.compile(encoder, backend="eager", fullgraph=False)
        torch.testing.assert_close(fused(compiled), expected)


def test_a_mask_passed_under_the_right_name_is_left_alone():
    memory, right, wrong = torch.zeros(1, 2, 4), torch.ones(1), torch.zeros(1)
    for kwargs in (
        {"encoder_hidden_states": memory, "encoder_attention_mask": right, "attention_mask": wrong},
        {"attention_mask": wrong},
    ):
        assert hand_on_cross_attention_mask(torch.nn.Identity(), (memory,), kwargs) == ((memory,), kwargs)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_inside_peft(small):
    peft = pytest.importorskip("peft")
    model = small.small_blip()
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["qkv"]))
    repair(enable_gradient_checkpointing(wrapped))
    assert len(hooks(wrapped)) == 2
    pixels = torch.randn(1, 3, 32, 32)
    wrapped.train()
    model.vision_model(pixels).last_hidden_state.sum().backward()
    gradients = [p.grad for name, p in wrapped.named_parameters() if "lora_B" in name]
    assert gradients
    assert all(gradient is not None for gradient in gradients)


def test_checkpointing_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"vision_model.*Linear"):
        enable_gradient_checkpointing(torch.nn.Linear(1, 1))
