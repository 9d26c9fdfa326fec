"""A small random BLIP of each class of transformers, and one call for all of them."""

import torch
from transformers import BlipConfig, BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering

from litevl.adapters import named_adapters
from litevl.blip import repair

FRAMES = 3


def make(kind, seed=0):
    """A random BLIP of a class, with deviations large enough to show mistakes."""
    width = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": 60, "bos_token_id": 58, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    config = BlipConfig(
        vision_config={**width, "image_size": 32, "patch_size": 16, "initializer_range": 0.1},
        text_config={**width, **text, "encoder_hidden_size": 64, "projection_dim": 32, "initializer_range": 0.1},
        projection_dim=32,
        image_text_hidden_size=32,
    )
    torch.manual_seed(seed)
    model = repair(kind(config).eval())
    torch.nn.init.normal_(model.vision_model.embeddings.class_embedding, std=0.5)
    torch.nn.init.normal_(model.vision_model.embeddings.position_embedding, std=0.5)
    return model


def tokens(batch=2):
    return torch.randint(5, 57, (batch, 6), generator=torch.Generator().manual_seed(1))


def pixels(batch=2, frames=FRAMES):
    return torch.randn(batch, frames, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def call(model, images):
    """What the class computes of images or clips, as one tensor: its loss where it has one, and its scores."""
    ids = tokens(len(images))
    texts = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if isinstance(model, BlipForImageTextRetrieval):
        matching = model(pixel_values=images, **texts).itm_score
        return torch.cat([matching.flatten(), model(pixel_values=images, **texts, use_itm_head=False)[0].flatten()])
    if isinstance(model, BlipForQuestionAnswering):
        return model(pixel_values=images, **texts, decoder_input_ids=ids, labels=ids).loss[None]
    if isinstance(model, BlipForConditionalGeneration):
        output = model(pixel_values=images, input_ids=ids, labels=ids)
        return torch.cat([output.loss[None], output.logits.flatten()])
    output = model(pixel_values=images, **texts, return_loss=True)
    return torch.cat([output.loss[None], output.logits_per_image.flatten()])


def generate(model, images, **options):
    ids = tokens(len(images))
    if isinstance(model, BlipForQuestionAnswering):
        return model.generate(input_ids=ids, pixel_values=images, max_new_tokens=5, **options)
    return model.generate(pixel_values=images, input_ids=ids[:, :2], max_new_tokens=5, **options)


def shake(model):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, adapter in named_adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def train(model, steps=3):
    """A loop written by hand."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(steps):
        loss = call(model, pixels())[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses
