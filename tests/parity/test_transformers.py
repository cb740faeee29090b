"""Against transformers' own PyTorch model, live. Run by `make parity`."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make parity installs torch")
transformers = pytest.importorskip("transformers")

sys.path.insert(0, str(Path(__file__).parent.parent))
import tiny  # noqa: E402

from rerax.evaluate.engine import Evaluator, Network, to_device  # noqa: E402
from rerax.faults.mask import Faults  # noqa: E402
from rerax.faults.sampling.rates import rate_table  # noqa: E402
from rerax.glue import data, metrics  # noqa: E402
from rerax.glue.packing import make_batches  # noqa: E402
from rerax.glue.tasks import find_task  # noqa: E402
from rerax.hardware import Hardware  # noqa: E402
from rerax.models.bert import convert  # noqa: E402
from rerax.models.bert.crossbars import program_bert  # noqa: E402

SHARED = Path(__file__).resolve().parents[3] / "shared"


def float_logits(config, params, batches):
    stored = program_bert(params, Hardware(), ())
    evaluator = Evaluator(Network(config), stored, batches, to_device(batches), chunk=1)
    (outcome,) = evaluator.outcomes(0, range(1), Faults(rate_table(0.0)))
    return outcome.logits[0]


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("types", [1, 2])
@pytest.mark.parametrize("labels", [1, 2, 3])
def test_random_models_both_ways(tmp_path, act, types, labels):
    """A folder that rerax writes is read by transformers, and both give the same logits."""
    import dataclasses

    config = dataclasses.replace(
        tiny.CONFIG,
        hidden_act=act,
        type_vocab_size=types,
        labels=tuple(f"l{i}" for i in range(labels)),
        num_hidden_layers=2,
    )
    params = tiny.random_params(config, scale=3.0)
    convert.save(tmp_path, config, params)
    model, report = transformers.BertForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    model.eval()
    examples = tiny.random_examples(9)
    examples = data.Examples(examples.ids, [np.minimum(t, types - 1) for t in examples.types])
    got = float_logits(config, params, make_batches(examples))
    for row, ids, segments in zip(got, examples.ids, examples.types, strict=True):
        with torch.no_grad():
            expected = model(
                torch.from_numpy(ids)[None].long(),
                token_type_ids=torch.from_numpy(segments)[None].long(),
            ).logits[0]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-4)


def test_minilm_on_all_of_sst2_dev():
    """Logits within 1e-4, and the float score equal to the last example."""
    if not SHARED.is_dir():
        pytest.skip("no shared models and data beside the repository")
    folder, task = SHARED / "models" / "minilm-sst2", find_task("sst2")
    config, params = convert.load(folder)
    split = data.read_split(task, SHARED / "data" / "glue")
    tokens = data.tokenise(
        split,
        data.load_tokenizer(folder),
        max_length=128,
        positions=config.max_position_embeddings,
        vocab_size=config.vocab_size,
    )
    model = transformers.BertForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32
    ).eval()
    with torch.no_grad():
        expected = np.stack(
            [model(torch.from_numpy(ids)[None].long()).logits[0].numpy() for ids in tokens.ids]
        )
    got = float_logits(config, params, make_batches(tokens))
    print(f"largest difference {np.abs(got - expected).max():.2e}")
    np.testing.assert_allclose(got, expected, atol=1e-4)
    np.testing.assert_array_equal(got.argmax(-1), expected.argmax(-1))
    answers = metrics.predictions_of(task, got[None], (0, 1))
    score = metrics.scores(task, answers, split.labels, split.parts)["score"][0]
    assert score == 778 / 872
