"""BLIP's tokenizer: BERT's lower-casing WordPiece with [DEC], which starts a decoder, and [ENC], which starts ITM.

In the published models the ids are 30522 and 30523, after the 30522 of bert-base-uncased.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from litevl.blip.checkpoint import CheckpointError, in_one_line
from litevl.blip.source import fetch_hub_files, find_source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DECODER_TOKEN = "[DEC]"
ENCODER_TOKEN = "[ENC]"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Embedding tables are sometimes rounded up for speed; a larger surplus is another vocabulary.
PADDING_ROWS = 64


def load_tokenizer(source: str | Path) -> "PreTrainedTokenizerBase":
    """Load BLIP's tokenizer and give it [DEC] and [ENC] where it has none.

    Args:
        source: A `vocab.txt` (one token a line), a transformers folder with a tokenizer in it, or a hub id
            such as "Salesforce/blip-itm-base-coco" or "google-bert/bert-base-uncased".

    Returns:
        transformers' BERT tokenizer; `bos_token` is [DEC].

    Raises:
        CheckpointError: There is nothing at `source`, or it is not a BERT vocabulary.
    """
    found = find_source(source)
    if found.kind == "hub":
        folder = fetch_hub_files(found.label, wanted=(), optional=TOKENIZER_FILES)
    elif found.path.is_file():
        return _with_blip_tokens(_from_vocab_file(found.path))
    else:
        folder = found.path
    if (folder / "tokenizer.json").is_file():
        return _from_folder(folder)
    if (folder / "vocab.txt").is_file():
        return _with_blip_tokens(_from_vocab_file(folder / "vocab.txt"))
    raise CheckpointError(
        f"{found.label}: expected tokenizer.json or vocab.txt, found neither; pass the vocabulary explicitly: "
        'the path of a vocab.txt, or "google-bert/bert-base-uncased" for the published models'
    )


def enc_token_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Give the id of [ENC], which takes the place of [CLS] when a text is matched with an image (ITM).

    Raises:
        ValueError: The tokenizer has no such token.
    """
    return _token_id(tokenizer, ENCODER_TOKEN)


def dec_token_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Give the id of [DEC], with which the text decoder starts.

    Raises:
        ValueError: The tokenizer has no such token.
    """
    return _token_id(tokenizer, DECODER_TOKEN)


def check_vocabulary(tokenizer: "PreTrainedTokenizerBase", rows: int, origin: str) -> None:
    """Refuse a vocabulary that is not the one a text encoder was trained with.

    Args:
        tokenizer: As from `load_tokenizer`.
        rows: Rows of the text encoder's table of word embeddings.
        origin: The checkpoint, for the error.

    Raises:
        CheckpointError: An id (of [DEC] and [ENC] above all) lies beyond the table, or the table has so many
            more rows than the vocabulary has ids that it must be another vocabulary's.
    """
    ids = tokenizer.get_vocab()
    count = max(ids.values()) + 1
    if count > rows:
        beyond = sorted((i, token) for token, i in ids.items() if i >= rows)
        tokens = ", ".join(f"{token} = {i}" for i, token in beyond[:4]) + (", ..." if len(beyond) > 4 else "")
        raise CheckpointError(
            f"{origin}: the text encoder has {rows} word embeddings, ids 0 to {rows - 1}; the vocabulary with [DEC] "
            f"and [ENC] has {count} ids, so these do not fit: {tokens}; pass the vocabulary it was trained with"
        )
    if rows - count > PADDING_ROWS:
        raise CheckpointError(
            f"{origin}: the text encoder has {rows} word embeddings; the vocabulary with [DEC] and [ENC] has only "
            f"{count} ids, so it is another one and every token would be read wrongly; pass the vocabulary it was "
            'trained with ("google-bert/bert-base-uncased" for the published models)'
        )


def _token_id(tokenizer: "PreTrainedTokenizerBase", token: str) -> int:
    ids = tokenizer.get_vocab()
    if token not in ids:
        raise ValueError(f"expected a tokenizer with {token}, as load_tokenizer gives; this one has none")
    return ids[token]


def _from_folder(folder: Path) -> "PreTrainedTokenizerBase":
    from transformers import BertTokenizer

    try:
        return _with_blip_tokens(BertTokenizer.from_pretrained(str(folder), local_files_only=True))
    except Exception as error:  # whatever transformers and its Rust make of a damaged file
        raise CheckpointError(
            f"{folder}: expected BERT's tokenizer in tokenizer.json and tokenizer_config.json, transformers cannot "
            f"read it ({in_one_line(error)}); copy the files again, or pass vocab=: the path of a vocab.txt"
        ) from error


def _from_vocab_file(path: Path) -> "PreTrainedTokenizerBase":
    from transformers import BertTokenizer

    try:
        tokens = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: expected a vocabulary, text with one token a line; got other data") from error
    ids = {token: i for i, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(token for i, token in enumerate(tokens) if ids[token] != i)
        raise CheckpointError(f"{path}: expected each token once, {twice!r} comes again on line {ids[twice] + 1}")
    absent = [token for token in BERT_TOKENS if token not in ids]
    if absent:
        raise CheckpointError(f"{path}: expected BERT's {' '.join(BERT_TOKENS)}, missing {' '.join(absent)}")
    # The ids themselves are passed: transformers 5 silently ignores BertTokenizer(vocab_file=path).
    return BertTokenizer(ids, do_lower_case=True)


def _with_blip_tokens(tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedTokenizerBase":
    tokenizer.add_special_tokens({"bos_token": DECODER_TOKEN})
    tokenizer.add_special_tokens({"additional_special_tokens": [ENCODER_TOKEN]})
    return tokenizer
