"""Rows checked from outside: a chip's weights in transformers' own PyTorch model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="make parity installs torch")
transformers = pytest.importorskip("transformers")

from rerax.cli import main  # noqa: E402
from rerax.glue import data  # noqa: E402
from rerax.glue.tasks import find_task  # noqa: E402

SHARED = Path(__file__).resolve().parents[3] / "shared"


def answers(folder, ids):
    model = transformers.BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    with torch.no_grad():
        logits = [model(torch.from_numpy(row)[None].long()).logits[0].numpy() for row in ids]
    return np.argmax(logits, axis=-1)


def test_three_chips_of_sst2_score_the_same_in_pytorch(tmp_path):
    """Float inputs, so that the saved weights are all there is to a chip: every example agrees."""
    if not SHARED.is_dir():
        pytest.skip("no shared models and data beside the repository")
    model, glue, out = (
        SHARED / "models" / "minilm-sst2",
        SHARED / "data" / "glue",
        tmp_path / "rows",
    )
    assert main(["sweep", "--model", str(model), "--task", "sst2", "--data", str(glue), "--out",
                 str(out), "--rates", "3e-3", "--chips", "3", "--input-bits", "none",
                 "--quiet"]) == 0  # fmt: skip
    split = data.read_split(find_task("sst2"), glue)
    tokens = data.tokenise(
        split, data.load_tokenizer(model), max_length=128, positions=512, vocab_size=30522
    )
    scores = []
    for row in pd.read_parquet(out).itertuples():
        saved = tmp_path / f"chip-{row.chip}"
        assert main(["chip", str(out), "--point", row.point_hash, "--chip", str(row.chip),
                     "--worst", "0", "--save", str(saved), "--quiet"]) == 0  # fmt: skip
        right = answers(saved, tokens.ids) == split.labels
        expected = np.unpackbits(np.frombuffer(row.correct, np.uint8), bitorder="little")
        print(f"chip {row.chip}: {int(right.sum())} right in PyTorch, score {row.score:.6f}")
        np.testing.assert_array_equal(right, expected[: len(right)].astype(bool))
        assert right.sum() == round(row.score * len(right), 9)  # means may differ in a last bit
        scores.append(row.score)
    assert len(scores) == 3
    assert len({*scores, 778 / 872}) > 1  # chips, and not the clean model
