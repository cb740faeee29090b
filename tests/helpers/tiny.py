"""Small models, examples and folders that tests share."""

import dataclasses
import json

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rerax.glue.data import Examples
from rerax.models.bert import convert
from rerax.models.bert.config import BertConfig
from rerax.models.bert.families import FAMILIES
from rerax.models.bert.model import init_params

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=30,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=37,
    max_position_embeddings=40,
    labels=("negative", "positive"),
)


def config_of(family):
    """The tiny model as another family has it: its padding, and no segments."""
    if family == "bert":
        return CONFIG
    what = FAMILIES[family]
    changed = {"type_vocab_size": 1, **what.defaults, **what.fixed}
    changed["embedding_size"] = 20 if what.projects else None
    return dataclasses.replace(CONFIG, model_type=family, **changed)


def random_params(config=CONFIG, seed=0, scale=6.0):
    """Random parameters with matrices large enough that outputs differ between examples.

    NumPy draws them: drawn by JAX they would cost every test process seconds of compiling.
    """
    rng = np.random.default_rng(seed)

    def drawn(path, leaf):
        if path[-1].key in ("kernel", "table"):
            return rng.normal(0, 0.02 * scale, leaf.shape).astype(np.float32)
        return np.full(leaf.shape, path[-1].key == "scale", np.float32)

    shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    return jax.tree_util.tree_map_with_path(drawn, shapes)


def random_examples(n=40, seed=0, config=CONFIG, lengths=range(3, 30)):
    rng = np.random.default_rng(seed)
    ids = [
        rng.integers(1, config.vocab_size, rng.choice(lengths)).astype(np.int32) for _ in range(n)
    ]
    return Examples(ids, [(np.arange(len(row)) > len(row) // 2).astype(np.int32) for row in ids])


def random_labels(n=40, seed=0):
    return np.random.default_rng(seed).integers(0, 2, n)


def write_tokenizer(folder, vocab_size=50, inputs=("input_ids", "token_type_ids")):
    """A word-level tokenizer: `w5` ... `w<vocab_size - 1>` and the special tokens."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{i}" for i in range(5, vocab_size))]
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    named = {} if inputs is None else {"model_input_names": [*inputs, "attention_mask"]}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        **named,
    ).save_pretrained(folder)


def write_byte_pairs(folder):
    """A byte-level BPE of the characters of those words, as the two files of older folders."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pairs = [("\u0120", "w"), *(("\u0120w", digit) for digit in "1234"), ("w", "7"), ("0", "1")]
    made = ["".join(pair) for pair in pairs]
    words = [*special, "\u0120", "w", *"0123456789", *made, "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    text = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in pairs)
    (folder / "merges.txt").write_text(text, encoding="utf-8")


def write_model(folder, config=CONFIG, seed=0):
    convert.save(folder, config, random_params(config, seed))
    if config.family.tokens == "BPE":
        write_byte_pairs(folder)
    else:
        write_tokenizer(folder, config.vocab_size)
    return folder


def write_sst2(folder, n=24, seed=0, split="validation", words=range(2, 20), **columns):
    """`sst2/<split>.parquet` with sentences of the tokenizer's words."""
    rng = np.random.default_rng(seed)
    sentences = [
        " ".join(f"w{i}" for i in rng.integers(5, 50, rng.choice(words))) for _ in range(n)
    ]
    table = {
        "sentence": sentences,
        "label": rng.integers(0, 2, n),
        "idx": np.arange(n, dtype=np.int32),
        **columns,
    }
    (folder / "sst2").mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in table.items() if value is not None}
    pq.write_table(pa.table(kept), folder / "sst2" / f"{split}.parquet")
    return folder
