import pytest

from litevl.blip import CheckpointError, enc_token_id, load_tokenizer
from litevl.blip.tokenizer import check_vocabulary, dec_token_id


def test_lower_casing_wordpiece_with_dec_and_enc(small, tmp_path):
    tokenizer = load_tokenizer(small.write_vocabulary(tmp_path))
    assert len(tokenizer) == small.ROWS
    assert (dec_token_id(tokenizer), enc_token_id(tokenizer)) == (small.DEC, small.ENC)
    assert (tokenizer.bos_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id) == (small.DEC, 3, 0)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("A Rêd DOGs? elephant")["input_ids"])
    assert tokens == ["[CLS]", "a", "red", "dog", "##s", "?", "[UNK]", "[SEP]"]
    assert tokenizer.decode(tokenizer("a red dog")["input_ids"], skip_special_tokens=True) == "a red dog"


def test_a_saved_tokenizer_comes_back_the_same(small, tmp_path):
    tokenizer = load_tokenizer(small.write_vocabulary(tmp_path))
    tokenizer.save_pretrained(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again("a Red dogs")["input_ids"] == tokenizer("a Red dogs")["input_ids"]


def test_dec_and_enc_in_the_vocabulary_keep_their_ids(small, tmp_path):
    tokenizer = load_tokenizer(small.write_vocabulary(tmp_path, ("[ENC]", "[DEC]", *small.VOCABULARY)))
    assert (enc_token_id(tokenizer), dec_token_id(tokenizer), len(tokenizer)) == (0, 1, small.ROWS)


def test_a_folder_of_a_plain_bert_tokenizer_gets_the_two_tokens(small, tmp_path):
    import transformers

    ids = {token: i for i, token in enumerate(small.VOCABULARY)}
    transformers.BertTokenizer(ids).save_pretrained(tmp_path)
    assert enc_token_id(load_tokenizer(tmp_path)) == small.ENC


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (("[PAD]", "[UNK]", "[CLS]", "dog"), r"missing \[SEP\] \[MASK\]"),
        (("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "dog"), "'dog' comes again on line 7"),
    ],
)
def test_a_vocabulary_file_that_is_not_berts(small, tmp_path, tokens, message):
    with pytest.raises(CheckpointError, match=f"vocab.txt: expected .*{message}"):
        load_tokenizer(small.write_vocabulary(tmp_path, tokens))


def test_sources_without_a_vocabulary(tmp_path):
    with pytest.raises(CheckpointError, match=r"expected tokenizer.json or vocab.txt, found neither"):
        load_tokenizer(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)))
    with pytest.raises(CheckpointError, match=r"weights.bin: expected a vocabulary"):
        load_tokenizer(tmp_path / "weights.bin")
    with pytest.raises(CheckpointError, match=r"there is nothing at"):
        load_tokenizer(tmp_path / "none.txt")


def test_tokens_beyond_the_table_are_named(small, tmp_path):
    tokenizer = load_tokenizer(small.write_vocabulary(tmp_path))
    check_vocabulary(tokenizer, small.ROWS, "blip")
    with pytest.raises(CheckpointError, match=r"blip: .* 20 word embeddings, ids 0 to 19.*\[ENC\] = 20; pass"):
        check_vocabulary(tokenizer, small.ROWS - 1, "blip")


def test_tokenizers_without_the_token_are_named(small):
    import transformers

    plain = transformers.BertTokenizer({token: i for i, token in enumerate(small.VOCABULARY)})
    with pytest.raises(ValueError, match=r"a tokenizer with \[ENC\]"):
        enc_token_id(plain)
