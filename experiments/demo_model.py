"""Train the small BERT that `rerax demo` ships with.

    python experiments/demo_model.py [FOLDER] [--steps 1500]      default: rerax/demo/model

One to three minutes on two CPU cores; accuracy on the demo's 256 sentences is expected at 0.97 or
more. The sentences it trains on come from other seeds than the demo's.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from rerax.demo import MODEL
from rerax.demo.sentences import make_sentences, words
from rerax.models.bert import convert
from rerax.models.bert.config import BertConfig
from rerax.models.bert.model import Bert, init_params

STEPS, BATCH, LENGTH = 1500, 128, 40
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_tokenizer() -> Tokenizer:
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *words()))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer


def batch_of(tokenizer: Tokenizer, sentences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    rows = [encoding.ids for encoding in tokenizer.encode_batch(sentences)]
    ids = np.zeros((len(rows), LENGTH), np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids, ids != 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=MODEL)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    make(arguments.folder, arguments.steps)


def make(folder: Path, steps: int) -> None:
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        labels=("negative", "positive"),
    )
    params = init_params(config, jax.random.key(0))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-3, min(100, steps // 2), steps)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.01)
    )

    @jax.jit
    def step(params, state, ids, mask, labels):  # type: ignore[no-untyped-def]
        def loss(params):  # type: ignore[no-untyped-def]
            logits = Bert(config).apply({"params": params}, ids, jnp.zeros_like(ids), mask)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state = optimiser.init(params)
    for i in range(steps):
        sentences, labels = make_sentences(BATCH, seed=1000 + i)
        ids, mask = batch_of(tokenizer, sentences)
        params, state, loss = step(params, state, ids, mask, np.array(labels, np.int32))
        if i % 250 == 249:
            print(f"step {i + 1}: loss {float(loss):.4f}", flush=True)

    sentences, labels = make_sentences(256, seed=1)
    ids, mask = batch_of(tokenizer, sentences)
    logits = Bert(config).apply({"params": params}, ids, jnp.zeros_like(ids), mask)
    print(f"accuracy {np.mean(np.argmax(np.asarray(logits), axis=-1) == np.array(labels)):.4f}")
    convert.save(folder, config, jax.device_get(params))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": config.max_position_embeddings,
        **{f"{token[1:-1].lower()}_token": token for token in SPECIAL},
    }
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
