"""Every BLIP class of transformers takes video after `plug`, and nothing else of its interface changes."""

import copy

import pytest
import torch
from blip_classes import FRAMES, call, generate, make, pixels, shake, tokens, train
from safetensors.torch import load_file
from torch.utils.data import Dataset
from transformers import (
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipModel,
    Trainer,
    TrainingArguments,
)

from litevl.adapters import AIMConfig, LiteVLConfig, fingerprint, load_adapters, named_adapters, plug, unplug
from litevl.blip import repair

CLASSES = [BlipForImageTextRetrieval, BlipForQuestionAnswering, BlipForConditionalGeneration, BlipModel]
GENERATING = [BlipForQuestionAnswering, BlipForConditionalGeneration]
every_class = pytest.mark.parametrize("kind", CLASSES)
every_generator = pytest.mark.parametrize("kind", GENERATING)
# transformers 5.23 says of BlipModel that it will go.
pytestmark = pytest.mark.filterwarnings("ignore:.*going to be deprecated:FutureWarning")


@every_class
def test_video_goes_in_and_trains_only_adapters(kind):
    model = make(kind)
    stock = call(model, pixels()[:, 0])
    before = copy.deepcopy(dict(model.named_parameters()))
    plug(model, LiteVLConfig(num_frames=FRAMES), verbose=False)
    torch.manual_seed(0)
    train(model)
    held = {f"{name}.{key}" for name, adapter in named_adapters(model) for key, _ in adapter.named_parameters()}
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters() if name not in held)
    forward, backward = call(model, pixels()), call(model, pixels().flip(1))
    assert not torch.allclose(forward, backward, atol=1e-6), "the order of frames reaches the scores"
    assert torch.equal(call(model, pixels()[:, 0]), stock), "images are untouched"
    unplug(model)
    assert torch.equal(call(model, pixels()[:, 0]), stock)


@every_class
def test_a_clip_of_one_frame_is_an_image_when_fresh(kind):
    model = plug(make(kind), LiteVLConfig(num_frames=FRAMES), verbose=False)
    assert torch.allclose(call(model, pixels(frames=1)), call(model, pixels(frames=1)[:, 0]), atol=1e-5)


@every_generator
@pytest.mark.parametrize("beams", [1, 3])
def test_generation_sees_the_video(kind, beams):
    model = make(kind)
    images = pixels()[:, 0]
    stock = generate(model, images, num_beams=beams)
    plug(model, LiteVLConfig(num_frames=FRAMES), verbose=False)
    assert torch.equal(generate(model, images, num_beams=beams), stock)
    assert torch.equal(generate(model, images[:, None], num_beams=beams), stock)
    shake(model)
    assert torch.equal(generate(model, images, num_beams=beams), stock)
    together = generate(model, pixels(4), num_beams=beams)
    alone = torch.cat([generate_padded(model, pixels(4), row, beams, together.shape[1]) for row in range(4)])
    assert torch.equal(together, alone), "each text is of its own clip"
    assert (generate(model, pixels(4).flip(1), num_beams=beams).tolist()) != together.tolist()


def generate_padded(model, clips, row, beams, length):
    ids = tokens(4)[row : row + 1]
    images = clips[row : row + 1]
    if isinstance(model, BlipForQuestionAnswering):
        found = model.generate(input_ids=ids, pixel_values=images, max_new_tokens=5, num_beams=beams)
    else:
        found = model.generate(pixel_values=images, input_ids=ids[:, :2], max_new_tokens=5, num_beams=beams)
    return torch.nn.functional.pad(found, (0, length - found.shape[1]))


@every_class
@pytest.mark.parametrize("config", [LiteVLConfig(num_frames=FRAMES), AIMConfig(num_frames=FRAMES)])
def test_save_pretrained_writes_the_stock_model_and_keeps_the_adapters(kind, config, tmp_path):
    model = make(kind)
    stock = call(model, pixels()[:, 0])
    keys = set(model.state_dict())
    shake(plug(model, config, verbose=False))
    model.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) <= keys
    again, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    repair(again.eval())
    assert torch.equal(call(again, pixels()[:, 0]), stock)
    load_adapters(again, tmp_path / "litevl" / "default", verbose=False)
    assert torch.equal(call(again, pixels()), call(model, pixels()))
    unplug(model)
    assert "save_pretrained" not in vars(model)


class Clips(Dataset):
    """Eight clips with a question and an answer each."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        ids = tokens(8)[index]
        return {"pixel_values": pixels(8)[index], "input_ids": ids, "decoder_input_ids": ids, "labels": ids}


def trainer(model, folder, **options):
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        learning_rate=0.01,
        max_steps=6,
        save_steps=3,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **options,
    )
    return Trainer(model=model, args=arguments, train_dataset=Clips())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_trainer_of_transformers_trains_saves_and_resumes(tmp_path):
    """Its checkpoints hold the stock model and the adapters; with those loaded first, resuming is exact."""
    whole = plug(make(BlipForQuestionAnswering), LiteVLConfig(num_frames=FRAMES), verbose=False)
    before = fingerprint(whole)
    done = trainer(whole, tmp_path / "whole")
    done.train()
    losses = [line["loss"] for line in done.state.log_history if "loss" in line]
    assert losses[-1] < losses[0]
    assert fingerprint(whole) == before
    checkpoint = tmp_path / "whole" / "checkpoint-3"
    stock = BlipForQuestionAnswering.from_pretrained(checkpoint)
    assert fingerprint(stock) == before
    resumed = make(BlipForQuestionAnswering)
    load_adapters(resumed, checkpoint / "litevl" / "default", verbose=False)
    trainer(resumed, tmp_path / "resumed").train(resume_from_checkpoint=str(checkpoint))
    for (name, value), (_, other) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(value, other), name
