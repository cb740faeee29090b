"""Write tests/golden/families anew with transformers' PyTorch models: needs `make parity`'s torch.

python tests/golden/make_families.py
"""

import shutil
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent / "families"
SENTENCES, LENGTH = 6, 13


def roberta(hidden: int, heads: int, ffn: int, act: str, labels: int) -> torch.nn.Module:
    config = transformers.RobertaConfig(
        vocab_size=40,
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=heads,
        intermediate_size=ffn,
        max_position_embeddings=LENGTH + 4,
        type_vocab_size=1,
        hidden_act=act,
        num_labels=labels,
        initializer_range=0.4,
    )
    return transformers.RobertaForSequenceClassification(config)


def distilbert(hidden: int, heads: int, ffn: int, act: str, labels: int) -> torch.nn.Module:
    config = transformers.DistilBertConfig(
        vocab_size=40,
        dim=hidden,
        n_layers=2,
        n_heads=heads,
        hidden_dim=ffn,
        max_position_embeddings=LENGTH + 4,
        activation=act,
        num_labels=labels,
        initializer_range=0.4,
    )
    return transformers.DistilBertForSequenceClassification(config)


def electra(
    hidden: int, heads: int, ffn: int, act: str, labels: int, tables: int
) -> torch.nn.Module:
    config = transformers.ElectraConfig(
        vocab_size=40,
        embedding_size=tables,
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=heads,
        intermediate_size=ffn,
        max_position_embeddings=LENGTH + 4,
        hidden_act=act,
        num_labels=labels,
        initializer_range=0.4,
    )
    return transformers.ElectraForSequenceClassification(config)


def albert(
    hidden: int, heads: int, ffn: int, act: str, labels: int, tables: int
) -> torch.nn.Module:
    config = transformers.AlbertConfig(
        vocab_size=40,
        embedding_size=tables,
        hidden_size=hidden,
        num_hidden_layers=3,
        num_attention_heads=heads,
        intermediate_size=ffn,
        max_position_embeddings=LENGTH + 4,
        hidden_act=act,
        num_labels=labels,
        initializer_range=0.4,
    )
    return transformers.AlbertForSequenceClassification(config)


CASES = {
    "roberta-2labels": (roberta, (30, 3, 37, "gelu", 2)),
    "roberta-gelu_new-3labels": (roberta, (21, 7, 44, "gelu_new", 3)),
    "roberta-relu-1labels": (roberta, (30, 5, 37, "relu", 1)),
    "distilbert-2labels": (distilbert, (30, 3, 37, "gelu", 2)),
    "distilbert-relu-3labels": (distilbert, (21, 7, 44, "relu", 3)),
    "electra-2labels": (electra, (30, 3, 37, "gelu", 2, 19)),
    "electra-gelu_new-3labels": (electra, (21, 7, 44, "gelu_new", 3, 21)),
    "albert-2labels": (albert, (30, 3, 37, "gelu_new", 2, 19)),
    "albert-relu-3labels": (albert, (21, 7, 44, "relu", 3, 21)),
}


def main() -> None:
    shutil.rmtree(HERE, ignore_errors=True)
    for i, (name, (make, shape)) in enumerate(CASES.items()):
        torch.manual_seed(i)
        model = make(*shape).eval()
        with torch.no_grad():
            for parameter in (p for n, p in model.named_parameters() if n.endswith("bias")):
                parameter.normal_(0, 0.2)  # transformers starts them at zero
        draw = np.random.default_rng(i)
        pad = model.config.pad_token_id
        mask = (np.arange(LENGTH)[None] < draw.integers(3, LENGTH + 1, SENTENCES)[:, None]) * 1
        ids = np.where(mask, draw.integers(pad + 1, 40, mask.shape), pad)
        ids[0, 1] = pad  # a sentence may spell the padding token, which RoBERTa does not count
        with torch.no_grad():
            given = {"input_ids": ids, "attention_mask": mask}
            logits = model(**{n: torch.from_numpy(a) for n, a in given.items()}).logits.numpy()
        model.save_pretrained(HERE / name)
        np.savez(
            HERE / f"{name}.npz",
            ids=ids.astype(np.int32),
            mask=mask.astype(np.int8),
            logits=logits,
        )


if __name__ == "__main__":
    main()
