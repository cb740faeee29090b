"""Write tests/golden/bert anew with transformers' PyTorch model: needs `make parity`'s torch.

python tests/golden/make_bert.py
"""

import itertools
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

HERE = Path(__file__).parent / "bert"


def main() -> None:
    shutil.rmtree(HERE, ignore_errors=True)
    sizes = itertools.cycle([(30, 3, 37), (21, 7, 44)])
    for i, (act, types, labels) in enumerate(
        [("gelu", 2, 2), ("gelu_new", 1, 3), ("relu", 2, 1), ("gelu", 1, 3)]
    ):
        hidden, heads, ffn = next(sizes)
        config = BertConfig(
            vocab_size=40,
            hidden_size=hidden,
            num_hidden_layers=2,
            num_attention_heads=heads,
            intermediate_size=ffn,
            max_position_embeddings=17,
            type_vocab_size=types,
            hidden_act=act,
            num_labels=labels,
            initializer_range=0.4,
        )
        torch.manual_seed(i)
        model = BertForSequenceClassification(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(0, 0.2)  # transformers starts them at zero
        draw = np.random.default_rng(i)
        ids = draw.integers(1, 40, (6, 13))
        segments = draw.integers(0, types, (6, 13))
        mask = (np.arange(13)[None] < draw.integers(3, 14, 6)[:, None]).astype(np.int64)
        with torch.no_grad():
            tensors = (torch.from_numpy(a) for a in (ids, mask, segments))
            logits = model(*tensors).logits.numpy()
        name = f"{act}-{types}types-{labels}labels"
        model.save_pretrained(HERE / name)
        np.savez(
            HERE / f"{name}.npz",
            ids=ids.astype(np.int32),
            types=segments.astype(np.int32),
            mask=mask.astype(np.int8),
            logits=logits,
        )


if __name__ == "__main__":
    main()
