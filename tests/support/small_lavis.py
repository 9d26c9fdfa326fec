"""Small random models of LAVIS's own BLIP classes, and what each of them does with pixels."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from known_blip import DEPTH, FRAMES, HEADS, IMAGE, PATCH, PROJECTED, TEXT, WIDTH
from lavis.models import BlipCaption, BlipFeatureExtractor, BlipITM, BlipRetrieval, BlipVQA
from lavis.models.med import BertConfig, XBertEncoder, XBertLMHeadDecoder
from lavis.models.vit import VisionTransformerEncoder

CLASSES = [BlipRetrieval, BlipITM, BlipVQA, BlipCaption, BlipFeatureExtractor]
TEXTS = ["a red square moves left", "the blue circle"]
ANSWERS = ["red", "blue star", "a circle"]


def make_vit(**options):
    """Options are those of LAVIS's ViT: `use_grad_checkpointing` with `ckpt_layer`, `drop_path_rate`."""
    vit = VisionTransformerEncoder(
        img_size=IMAGE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, **options
    )
    vit.vision_width = WIDTH
    return vit


def text_config():
    config = BertConfig(**TEXT, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0)
    config.encoder_width, config.add_cross_attention, config.add_type_embeddings = WIDTH, True, False
    return config


def make_lavis(kind, seed=0, **vit):
    torch.manual_seed(seed)
    vit, encoder = make_vit(**vit), XBertEncoder(text_config(), add_pooling_layer=False)
    if kind is BlipRetrieval:
        model = kind(vit, encoder, queue_size=4, embed_dim=PROJECTED)
    elif kind is BlipVQA:
        model = kind(vit, encoder, XBertLMHeadDecoder(text_config()))
    elif kind is BlipCaption:
        model = kind(vit, XBertLMHeadDecoder(text_config()), prompt="a ")
    else:
        model = kind(vit, encoder, embed_dim=PROJECTED)
    with torch.no_grad():  # its own start is so small that every output is nearly the same
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(0.1 * torch.randn(parameter.shape))
    if kind is BlipRetrieval:
        model.copy_params()
    return model.eval()


def pixels(frames=FRAMES):
    return torch.randn(2, frames, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(1))


def samples(image, **more):
    return {"image": image, "text_input": list(TEXTS), **more}


@torch.no_grad()
def results(model, image):
    """All that the class's own methods say of `image`, as one list of tensors and texts."""
    given = [model.visual_encoder(image), model.visual_encoder.forward_features(image)]
    if isinstance(model, BlipRetrieval):
        data = SimpleNamespace(dataset=SimpleNamespace(text=TEXTS, image=["one", "two"]))
        loader = type("Loader", (), {"dataset": data.dataset, "__iter__": lambda self: iter([{"image": image}])})()
        scores = model.compute_sim_matrix(loader, SimpleNamespace(k_test=2))
        given += map(torch.from_numpy, scores)
    elif isinstance(model, BlipITM):
        given += [model(samples(image), match_head=head) for head in ("itm", "itc")]
    elif isinstance(model, BlipVQA):
        given.append(model.predict_answers(samples(image), inference_method="rank", answer_list=ANSWERS))
        given += [
            model.predict_answers(samples(image), inference_method="generate", num_beams=beams) for beams in (1, 3)
        ]
        given.append(loss_of(model, image))
    elif isinstance(model, BlipCaption):
        given += [model.generate(samples(image), num_beams=beams, max_length=12) for beams in (1, 3)]
        given.append(loss_of(model, image))
    else:
        for mode in ("image", "multimodal"):
            features = model.extract_features(samples(image), mode=mode)
            given += [features.image_embeds, features.image_embeds_proj, features.multimodal_embeds]
    return [part for part in given if part is not None]


def loss_of(model, image):
    """The class's own loss; for the two that have none, one of their outputs."""
    if isinstance(model, BlipRetrieval):
        return model(samples(image, image_id=torch.tensor([0, 1]), epoch=1, iters=0, num_iters_per_epoch=1)).loss
    if isinstance(model, BlipITM):
        return F.cross_entropy(model(samples(image)), torch.tensor([0, 1]))
    if isinstance(model, BlipVQA):
        answers = {"answer": ANSWERS, "weight": torch.ones(3), "n_answers": torch.tensor([1, 2])}
        return model(samples(image, **answers)).loss
    if isinstance(model, BlipCaption):
        return model(samples(image)).loss
    rows = model.vision_proj(model.visual_encoder.forward_features(image))
    return -F.normalize(rows, dim=-1).flatten(1).prod(dim=0).sum()  # extract_features itself takes no gradient


def train(model, image, steps=3):
    """Trains what asks for it with the class's own loss."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, image).backward()
        optimizer.step()
    model.eval()


def same(one, other):
    """Whether two lists of results are equal, bit for bit."""
    return len(one) == len(other) and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(one, other, strict=True)
    )
