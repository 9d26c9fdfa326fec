"""Make the parity fixtures: small random BLIPs saved by the real LAVIS package, and what LAVIS computes with them.

Run once, with an environment of its own (CPython 3.11; LAVIS's pins and transformers 5 exclude each other):

    python3.11 -m venv lavis-env
    lavis-env/bin/pip install torch==2.13.0
    lavis-env/bin/pip install torch==2.13.0 torchvision==0.28.0 transformers==4.26.1 tokenizers==0.13.3 \
        timm==0.4.12 fairscale==0.4.4 "numpy<2" opencv-python-headless==4.5.5.64 omegaconf iopath pandas webdataset \
        decord==0.6.0 einops spacy pycocoevalcap pillow tqdm requests pyyaml regex filelock packaging safetensors
    lavis-env/bin/pip install --no-deps salesforce-lavis==1.0.2
    lavis-env/bin/python tests/litevl/blip/make_lavis_fixture.py

It writes into tests/litevl/blip/fixtures/: vocab.txt, and for retrieval, vqa and captioning a checkpoint
`<task>.pth.xz` ({"model": state dict}, as LAVIS and Salesforce save) and `<task>_expected.safetensors`.

To be small in the repository the weights are whole multiples of 1/32, which xz packs about tenfold, and the momentum
copies equal the model but for their one-dimensional tensors, which are shifted so that using one would show.
"""

import json
import lzma
from pathlib import Path

import torch

# PyPI's torchvision is built for CUDA: beside a CPU torch its import fails for want of these two operators.
_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    try:
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        print(f"torchvision::{_name} is there already")

from lavis.models.blip_models.blip import BlipBase  # noqa: E402
from lavis.models.blip_models.blip_caption import BlipCaption  # noqa: E402
from lavis.models.blip_models.blip_image_text_matching import BlipITM  # noqa: E402
from lavis.models.blip_models.blip_retrieval import BlipRetrieval  # noqa: E402
from lavis.models.blip_models.blip_vqa import BlipVQA  # noqa: E402
from lavis.models.med import BertConfig, XBertEncoder, XBertLMHeadDecoder  # noqa: E402
from lavis.models.vit import VisionTransformerEncoder  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import BertTokenizer  # noqa: E402

FIXTURES = Path(__file__).parent / "fixtures"
WIDTH, HEADS, EMBED = 128, 2, 32
PATCH, IMAGE, LARGER_IMAGE = 8, 24, 40
WORDS = """a an the of is in on to what which many how color picture dog cat man woman ball red blue green square circle
star left right up down before after moves jumps catch throw run play ##s ##es ##ing ##ed two three yes no ? . ,"""
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
CAPTIONS = ["A dog catches the red ball", "two cats", "a blue square moves left before the green circle jumps ."]
QUESTIONS = ["what color is the ball ?", "how many dogs run to the left of the star ?"]
ANSWERS = ["red", "two dogs", "three"]


def init_tokenizer(cls: type) -> BertTokenizer:
    """Stand in for BlipBase.init_tokenizer, which downloads bert-base-uncased; the rest is the same."""
    tokenizer = BertTokenizer(str(FIXTURES / "vocab.txt"))
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
    tokenizer.enc_token_id = tokenizer.additional_special_tokens_ids[0]
    return tokenizer


def vision_encoder(depth: int, image: int = IMAGE) -> VisionTransformerEncoder:
    encoder = VisionTransformerEncoder(
        img_size=image, patch_size=PATCH, embed_dim=WIDTH, depth=depth, num_heads=HEADS, mlp_ratio=2.0
    )
    encoder.vision_width = WIDTH
    return encoder


def text_config(depth: int) -> BertConfig:
    config = BertConfig(
        vocab_size=len(VOCABULARY) + 2,
        hidden_size=WIDTH,
        num_hidden_layers=depth,
        num_attention_heads=HEADS,
        intermediate_size=192,
        max_position_embeddings=48,
    )
    config.encoder_width = WIDTH
    config.add_cross_attention = True
    config.add_type_embeddings = False
    return config


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draw every weight anew in multiples of 1/32, large enough for any slip in head count or epsilon to show."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.split(".")[0].endswith("_m") or name == "temp":
            continue
        steps = (2 * torch.randn(parameter.shape, generator=generator)).round().clamp(-6, 6) / 32
        is_norm_scale = parameter.ndim == 1 and "norm" in name.lower() and name.endswith("weight")
        parameter.data.copy_(1 + steps if is_norm_scale else steps)


def write_checkpoint(name: str, model: torch.nn.Module) -> Path:
    plain = Path(f"{FIXTURES / name}.pth")
    torch.save({"model": model.state_dict()}, plain)
    # A preset that any reader's memory allows; the window still covers a momentum copy's distance.
    Path(f"{plain}.xz").write_bytes(lzma.compress(plain.read_bytes(), preset=9))
    return plain


def write_expected(name: str, tensors: dict, **strings: object) -> None:
    plain = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    save_file(plain, FIXTURES / f"{name}_expected.safetensors", {k: json.dumps(v) for k, v in strings.items()})


def pixels(seed: int, count: int, size: int = IMAGE) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def make_retrieval() -> None:
    torch.manual_seed(1)
    text = XBertEncoder(text_config(2), add_pooling_layer=False)
    trained = BlipRetrieval(vision_encoder(2), text, queue_size=8, embed_dim=EMBED).eval()
    randomise(trained, seed=11)
    trained.copy_params()
    for name, parameter in trained.named_parameters():
        if name.split(".")[0].endswith("_m") and parameter.ndim == 1:
            parameter.data += 0.5
    trained.temp.data.fill_(0.0625)
    plain = write_checkpoint("retrieval", trained)

    fresh_text = XBertEncoder(text_config(2), add_pooling_layer=False)
    model = BlipITM(vision_encoder(2), fresh_text, embed_dim=EMBED).eval()
    model.load_from_pretrained(str(plain))
    images = pixels(12, count=3)
    samples = {"image": images, "text_input": CAPTIONS}
    tokens = model.visual_encoder.forward_features(images)
    ids = model.tokenizer(CAPTIONS, padding="longest", return_tensors="pt")
    text_cls = model.text_encoder.forward_text(ids).last_hidden_state[:, 0]

    # A clip of two frames per caption; of the first and the last clip the second frame is padding.
    clips = torch.cat([tokens, tokens.flip(0)], dim=1)
    clip_mask = torch.ones(clips.shape[:2], dtype=torch.long)
    clip_mask[[0, 2], tokens.shape[1] :] = 0
    encoder_ids = ids.input_ids.clone()
    encoder_ids[:, 0] = model.tokenizer.enc_token_id
    fused = model.text_encoder(
        encoder_ids,
        attention_mask=ids.attention_mask,
        encoder_hidden_states=clips,
        encoder_attention_mask=clip_mask,
        return_dict=True,
    ).last_hidden_state

    larger = BlipITM(vision_encoder(2, LARGER_IMAGE), fresh_text, embed_dim=EMBED).eval()
    larger.load_from_pretrained(str(plain))
    larger_images = pixels(13, count=1, size=LARGER_IMAGE)
    expected = {
        "images": images,
        "input_ids": ids.input_ids,
        "attention_mask": ids.attention_mask,
        "encoder_input_ids": encoder_ids,
        "vision_tokens": tokens,
        "image_embeds": torch.nn.functional.normalize(model.vision_proj(tokens[:, 0]), dim=-1),
        "text_embeds": torch.nn.functional.normalize(model.text_proj(text_cls), dim=-1),
        "itc": model(dict(samples), match_head="itc"),
        "itm": model(dict(samples), match_head="itm"),
        "clip_mask": clip_mask,
        "fused": fused,
        "fused_itm": model.itm_head(fused[:, 0]),
        "larger_images": larger_images,
        "larger_vision_tokens": larger.visual_encoder.forward_features(larger_images),
        "temperature": trained.temp,
    }
    write_expected("retrieval", expected, captions=CAPTIONS)
    plain.unlink()


def make_vqa() -> None:
    torch.manual_seed(2)
    text, decoder = XBertEncoder(text_config(1), add_pooling_layer=False), XBertLMHeadDecoder(text_config(1))
    model = BlipVQA(vision_encoder(1), text, decoder).eval()
    randomise(model, seed=21)
    write_checkpoint("vqa", model).unlink()
    images = pixels(22, count=2)
    counts = torch.tensor([1, 2])
    samples = {"image": images, "text_input": QUESTIONS, "answer": ANSWERS, "n_answers": counts}
    output = model(samples | {"weight": torch.ones(3)}).intermediate_output
    questions = model.tokenizer(QUESTIONS, padding="longest", return_tensors="pt")
    questions.input_ids[:, 0] = model.tokenizer.enc_token_id
    answers = model.tokenizer(ANSWERS, padding="longest", return_tensors="pt")
    answers.input_ids[:, 0] = model.tokenizer.bos_token_id
    expected = {
        "images": images,
        "question_ids": questions.input_ids,
        "question_mask": questions.attention_mask,
        "answer_ids": answers.input_ids,
        "answer_mask": answers.attention_mask,
        "question_of_answer": torch.repeat_interleave(torch.arange(2), counts),
        "question_states": output.encoder_output.last_hidden_state,
        "answer_logits": output.decoder_output.logits,
    }
    write_expected("vqa", expected, questions=QUESTIONS, answers=ANSWERS)


def make_captioning() -> None:
    torch.manual_seed(3)
    model = BlipCaption(vision_encoder(1), XBertLMHeadDecoder(text_config(1)), prompt="a picture of ").eval()
    randomise(model, seed=31)
    write_checkpoint("captioning", model).unlink()
    images = pixels(32, count=2)
    texts = [f"a picture of {caption}" for caption in CAPTIONS[:2]]
    output = model({"image": images, "text_input": texts}).intermediate_output
    ids = model.tokenizer(texts, padding="longest", return_tensors="pt")
    ids.input_ids[:, 0] = model.tokenizer.bos_token_id
    expected = {
        "images": images,
        "input_ids": ids.input_ids,
        "attention_mask": ids.attention_mask,
        "logits": output.decoder_output.logits,
    }
    write_expected("captioning", expected, texts=texts)


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    (FIXTURES / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    BlipBase.init_tokenizer = classmethod(init_tokenizer)
    with torch.no_grad():
        make_retrieval()
        make_vqa()
        make_captioning()
    for path in sorted(FIXTURES.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
