"""Biases and layer norms fitted anew to each chip, from sentences without labels.

    python experiments/refit.py --work WORK --data DATA [--tasks sst2]

What is in no crossbar is easily written: biases, and gains and biases of layer norms. On each chip
the first 128 sentences of the *train* split run beside the clean chip's. Layer by layer, every bias
is moved by the mean difference of its outputs, and every norm's gain and bias are the least-squares
line from the chip's outputs to the clean ones, channel by channel; the next layer sees the layers
before it as they are then. Labels are not looked at. TASK-SEED-dense of WORK, the models, chips and
sentences of `rivals.py`, which puts the curves among its own. About ten minutes a scheme on two
CPU cores. Leaves `refit.json`: the scores of all chips. Expected: a little better than bare.

Source: after the re-calibration of batch norms, which a BERT does not have.
"""

import functools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rivals import CHIPS
from zero_cells import (
    MOST_RATES,
    Curve,
    dense_score,
    next_rate,
    parser_of_models,
    workload_of,
)

import rerax
from rerax.campaign.worker import Worker
from rerax.campaign.workload import Settings, read_workload
from rerax.evaluate.engine import Network
from rerax.evaluate.network import reader
from rerax.faults.mask import Faults
from rerax.models.bert.crossbars import crossbar_product, crossbars_by_section, params_outside
from rerax.models.bert.model import Embeddings, EncoderLayer, Head, Norm
from rerax.models.stored import StoredModel

SENTENCES = 128
FITTED = (
    Curve("dense", "offset", "alternate", "none", (2e-3, 4e-3, 8e-3)),
    Curve("dense", "offset", "alternate", "closest", (0.03, 0.05, 0.08)),
)
Changed = dict[str, dict[str, dict[str, Any]]]
"""New leaves of parameters: {section: {module: {leaf: array}}}."""


@functools.partial(jax.jit, static_argnames="network")
def fit(
    network: Network, stored: StoredModel, tokens: tuple[Any, Any, Any], number: Any, rates: Any
) -> Changed:
    """Fit what is in no crossbar to one chip.

    Args:
        network: static description.
        stored: the model on crossbars.
        tokens: ids, types and mask of the sentences, [B, T].
        number: of the chip.
        rates: the sampler's table.
    """
    ids, types, mask = tokens
    sections, params = crossbars_by_section(stored), params_outside(stored)
    chip, bits = rerax.chip(0, number), stored.hardware.input_bits
    as_chip = reader(stored.hardware, chip, Faults(rates))
    as_clean = reader(stored.hardware, chip, Faults(rerax.rate_table(0.0)))

    def through(
        module: nn.Module, section: dict, own: dict, inputs: tuple[Any, Any], shown: Any, *more: Any
    ) -> tuple[tuple[Any, Any], dict]:
        """Run a module clean and as the chip has it, and fit its leaves.

        Args:
            module: without its product.
            section: its crossbars.
            own: its parameters.
            inputs: of both runs.
            shown: [B, T] which tokens count.
            more: further inputs of both.
        """
        clean, faulty = (
            crossbar_product(read(section)[0], section, bits) for read in (as_clean, as_chip)
        )
        wanted: dict[str, Any] = {}
        found: dict[str, dict[str, Any]] = {}
        weight = shown[..., None] / shown.sum()

        def mean(x: Any) -> Any:
            return (x * weight).sum((0, 1))

        def product(names: Any, x: Any, kernels: Any) -> Any:
            outputs = clean(names, x, kernels)
            wanted.update(zip(names, outputs, strict=True))
            return outputs

        def fitted_product(names: Any, x: Any, kernels: Any) -> Any:
            outputs = []
            for name, y in zip(names, faulty(names, x, kernels), strict=True):
                shift = mean((wanted[name] - y).reshape(*shown.shape, -1))
                found[name] = {"bias": own[name]["bias"] + shift}
                outputs.append(y + shift.reshape((1,) * (y.ndim - 1) + (-1,)))
            return tuple(outputs)

        def keep(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
            out = next_fun(*args, **kwargs)
            if isinstance(context.module, Norm):
                wanted[context.module.name] = out
            return out

        def fit_norm(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
            out = next_fun(*args, **kwargs)
            if not isinstance(context.module, Norm):
                return out
            name = context.module.name
            off, goal = mean(out), mean(wanted[name])
            spread = mean((out - off[None, None]) ** 2)
            both = mean((out - off[None, None]) * (wanted[name] - goal[None, None]))
            gain = both / jnp.maximum(spread, 1e-12)
            shift = goal - gain * off
            leaves = own[name]
            found[name] = {"scale": leaves["scale"] * gain, "bias": leaves["bias"] * gain + shift}
            return out * gain[None, None] + shift[None, None]

        with nn.intercept_methods(keep):
            x = module.clone(product=product).apply({"params": own}, inputs[0], *more)
        with nn.intercept_methods(fit_norm):
            y = module.clone(product=fitted_product).apply({"params": own}, inputs[1], *more)
        return (x, y), found

    def layer(inputs: tuple[Any, Any], one: tuple[dict, dict]) -> tuple[tuple[Any, Any], dict]:
        return through(EncoderLayer(network.config), *one, inputs, mask, mask)

    embedded = Embeddings(network.config).apply({"params": params["embeddings"]}, ids, types)
    layers = (sections["encoder"], params["encoder"])
    (x, y), encoder = lax.scan(layer, (embedded, embedded), layers)
    firsts = (x[:, :1], y[:, :1])
    whole = jnp.ones((len(ids), 1))
    _, head = through(Head(network.config), sections["head"], params["head"], firsts, whole)
    return {"encoder": encoder, "head": head}


def changed(stored: StoredModel, leaves: Changed) -> StoredModel:
    """Put new leaves in the place of those outside the crossbars."""
    whole = jax.tree_util.tree_unflatten(stored.structure, stored.rest)
    for section, modules in leaves.items():
        for name, own in modules.items():
            whole[section][name] = {**whole[section][name], **own}
    return replace(stored, rest=tuple(stored.structure.flatten_up_to(whole)))


def scores(worker: Worker, tokens: tuple[Any, Any, Any], point: Any, chips: int) -> list[float]:
    """Fit and score chips, one after the other."""
    evaluator, faults = worker.whole(point), worker.faults_at(point)
    found = []
    for chip in range(chips):
        number = jnp.uint32(chip)
        leaves = fit(evaluator.network, evaluator.stored, tokens, number, faults.rates)
        own = replace(evaluator, stored=changed(evaluator.stored, leaves), chunk=1)
        (outcome,) = own.outcomes(worker.settings.seed, range(chip, chip + 1), faults)
        found.append(float(worker.scored(outcome.logits)["score"][0]))
    return found


def sentences(folder: Path, task: str, data: str, count: int) -> tuple[Any, Any, Any]:
    """Tokenise the first sentences of the train split: ids, types and mask [B, T]."""
    how = {"data": data, "split": "train", "max_examples": count}
    inputs = read_workload(str(folder), task, task, **how).load()
    examples, longest = inputs.examples, max(map(len, inputs.examples.ids))
    shape = (len(examples), longest)
    ids, types = np.full(shape, inputs.config.pad_token_id, np.int32), np.zeros(shape, np.int32)
    mask = np.zeros(shape, bool)
    for k, (own, of) in enumerate(zip(examples.ids, examples.types, strict=True)):
        ids[k, : len(own)], types[k, : len(own)], mask[k, : len(own)] = own, of, True
    return jnp.asarray(ids), jnp.asarray(types), jnp.asarray(mask)


def sorted_items(scores: dict[str, list[float]]) -> list[tuple[str, list[float]]]:
    """Sort scores by rate."""
    return sorted(scores.items(), key=lambda item: float(item[0]))


def _is_done(one: dict[str, Any], wanted: dict[str, Any], chips: int) -> bool:
    """Whether an entry is of the same model, curve and sentences, with chips enough."""
    same = all(json.dumps(one.get(name)) == json.dumps(value) for name, value in wanted.items())
    return same and all(len(scores) >= chips for scores in one["scores"].values())


def main() -> None:
    """Run what is missing."""
    parser = parser_of_models(__doc__)
    parser.add_argument("--curves", help="numbers of FITTED, comma list; by default all")
    parser.add_argument("--sentences", type=int, default=SENTENCES)
    parser.add_argument("--chips", type=int, default=CHIPS)
    parser.add_argument("--most-rates", type=int, default=MOST_RATES)
    args = parser.parse_args()
    file = args.out / "refit.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    numbers = map(int, args.curves.split(",")) if args.curves else range(len(FITTED))
    curves = [FITTED[k] for k in numbers]
    for task in args.tasks.split(","):
        given = (args.seed, args.data, args.max_examples)
        workload = workload_of(args.work, task, "dense", *given)
        top = dense_score(workload, args.out / "zero_cells")
        folder = args.work / f"{task}-{args.seed}-dense"
        tokens = sentences(folder, task, args.data, args.sentences)
        for curve in curves:
            own = {"task": task, "model_hash": workload.model_hash, **asdict(curve)}
            own |= {"float_score": top, "sentences": args.sentences}
            if any(_is_done(one, own, args.chips) for one in found):
                continue
            points = {rate: curve.point(workload, rate) for rate in curve.rates}
            worker = Worker.start(workload, Settings(args.chips), list(points.values()))
            clean = worker.clean_score(next(iter(points.values())), {})
            own |= {"clean_score": clean, "scores": {}}
            while points:
                for rate, point in points.items():
                    own["scores"][f"{rate:g}"] = scores(worker, tokens, point, args.chips)
                means = {float(r): float(np.mean(s)) for r, s in sorted_items(own["scores"])}
                print(task, curve.protection, means, flush=True)
                more = next_rate(means, clean, top, args.most_rates)
                points = {} if more is None else {more: curve.point(workload, more)}
            kept = [o for o in found if (o["task"], o["protection"]) != (task, curve.protection)]
            found = [*kept, own]
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
