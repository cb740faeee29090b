"""The PyTorch side's model: a quantised BERT whose matrices lie in one buffer.

Weights are quantised by rerax's own `quantise`, so that the codes are the very same. Every matrix
on crossbars (encoder, pooler, classifier) is a view into one flat tensor, which lets a fault act
on the whole model with a handful of calls. Sentences are sorted by length and padded only to the
longest of their batch.

Three ways to multiply: float32 and bfloat16 weights (inputs stay float), and int8, where inputs
are quantised per token and each product is an exact integer one, which is what rerax computes by
default.

`python experiments/benchmarks/torch_model.py --model DIR --data DIR` times all batch sizes and both
attentions; do so on a quiet machine before timing anything else, and give `run.py` the best batch.
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rows import BITS, accuracy
from transformers import BertForSequenceClassification
from transformers.utils import logging as transformers_logging

from rerax.campaign.workload import read_workload
from rerax.crossbar.quantise import quantise

BATCH = 32
ATTENTION = "sdpa"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
FORWARDS = ("eager", "compiled", "graphs", "compiled+graphs")
"""Ways to run the model: kernel by kernel, by `torch.compile`, in one CUDA graph, or both."""
HALF = 1 << (BITS - 1)

Where = slice | torch.Tensor


@dataclass(frozen=True)
class Store:
    """All matrices on crossbars, one after the other in flat tensors of W weights.

    Attributes:
        words: uint8 offset words that the cells hold; a chip's faults change them.
        values: what the model multiplies by, float weights or int8 codes; its matrices are views.
        scale: float32 worth of a code of each weight.
        clean_words, clean_values: the two without faults.
        blocks: where each matrix lies.
        columns: length of a row of each.
    """

    words: torch.Tensor
    values: torch.Tensor
    scale: torch.Tensor
    clean_words: torch.Tensor
    clean_values: torch.Tensor
    blocks: tuple[slice, ...]
    columns: tuple[int, ...]

    @property
    def cells(self) -> int:
        """Cells of the whole model, one bit each."""
        return BITS * len(self.words)

    def decode(self, words: torch.Tensor, where: Where) -> torch.Tensor:
        """What the model multiplies by if the cells at `where` hold these words."""
        if self.values.dtype == torch.int8:
            return (words ^ HALF).view(torch.int8)
        return (words.to(torch.float32) - HALF).mul_(self.scale[where]).to(self.values.dtype)


@dataclass(frozen=True)
class Job:
    """A model, its matrices if they are laid out, and the sentences that it is scored on.

    Attributes:
        model: as transformers has it, its layers pointing into the store.
        store: the matrices on crossbars; None where the tool has a quantiser of its own.
        batches: the sentences, as the model takes them.
        forward: answers all batches by the model, one of `FORWARDS`.
        places: sentence of each answer.
        labels: of all sentences, in the split's order.
        order: label of each output.
    """

    model: torch.nn.Module
    store: Store | None
    batches: tuple[dict[str, torch.Tensor], ...]
    forward: Callable[[], list[torch.Tensor]]
    places: np.ndarray
    labels: np.ndarray
    order: tuple[int, ...]

    def by(self, model: torch.nn.Module) -> "Job":
        """The same sentences answered by another model, kernel by kernel."""
        forward = make_forward(model, self.batches, "eager")
        return dataclasses.replace(self, model=model, forward=forward)

    def logits(self) -> np.ndarray:
        """[E, N] outputs for all sentences, in the split's order."""
        answers = torch.cat(self.forward()).float().cpu().numpy()
        ordered = np.empty_like(answers)
        ordered[self.places] = answers
        return ordered

    def score(self) -> float:
        """Accuracy over all sentences."""
        return accuracy(self.logits(), self.labels, self.order)


class IntegerLinear(torch.nn.Module):
    """A layer whose product is an exact integer one: inputs in 8 bits a token, weights as codes."""

    def __init__(self, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.codes, self.scale, self.bias = codes, scale, bias  # [R, C], [C], [C]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        step = rows.abs().amax(dim=-1, keepdim=True) * (1 / 127)
        step = torch.where(step == 0, torch.ones_like(step), step)
        inputs = (rows / step).round_().clamp_(-127, 127).to(torch.int8)
        sums = torch._int_mm(inputs, self.codes)  # the only exact int8 product PyTorch offers
        y = sums.to(torch.float32).mul_(step * self.scale).add_(self.bias)
        return y.view(*x.shape[:-1], -1)


def load(
    model_dir: str,
    data_dir: str,
    max_examples: int | None = None,
    dtype: str = "float32",
    batch: int = BATCH,
    attention: str = ATTENTION,
    quantised: bool = True,
    device: str = "cpu",
    forward: str = "eager",
) -> Job:
    """Read, quantise and lay out a model, and cut its sentences into batches.

    Args:
        model_dir: Hugging Face folder of a BERT fine-tuned on SST-2.
        data_dir: folder with sst2/validation.parquet.
        max_examples: use only the first so many sentences.
        dtype: float32, bfloat16 or int8, see `DTYPES`.
        batch: sentences a batch.
        attention: transformers' attention, `sdpa` or `eager`.
        quantised: False leaves the float weights alone, for tools with a quantiser of their own.
        device: where the model, the words and the sentences lie: cpu or cuda.
        forward: one of `FORWARDS`.
    """
    workload = read_workload(model_dir, "sst2", "model", data=data_dir, max_examples=max_examples)
    examples = workload.load().examples
    transformers_logging.disable_progress_bar()
    model = BertForSequenceClassification.from_pretrained(
        model_dir, dtype=torch.float32, attn_implementation=attention
    ).eval()
    model.to(device)
    store = lay_out(model, dtype, device) if quantised else None
    sizes = np.array([len(row) for row in examples.ids])
    places = np.argsort(-sizes, kind="stable")
    cut = [places[i : i + batch] for i in range(0, len(places), batch)]
    batches = tuple(_padded(examples, rows, device) for rows in cut)
    answer = make_forward(model, batches, forward)
    return Job(model, store, batches, answer, places, workload.labels, workload.order)


kept = functools.cache(load)
"""`load` that remembers: the rounds of a benchmark load a model once."""


def make_forward(
    model: torch.nn.Module, batches: tuple[dict[str, torch.Tensor], ...], how: str
) -> Callable[[], list[torch.Tensor]]:
    """The model's answers to all batches; weights may change in place between calls.

    Args:
        model: what answers.
        batches: its inputs, which stay where they are.
        how: one of `FORWARDS`; a CUDA graph needs a GPU.
    """
    ready = torch.compile(model, dynamic=False) if "compiled" in how else model

    @torch.inference_mode()
    def answer() -> list[torch.Tensor]:
        return [ready(**batch).logits for batch in batches]

    if "graphs" not in how:
        return answer
    torch.cuda.synchronize()  # the inputs may still be on their way
    aside = torch.cuda.Stream()
    with torch.cuda.stream(aside):  # libraries set themselves up, which no graph may hold
        for _ in range(3):
            answer()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answers = answer()

    def replay() -> list[torch.Tensor]:
        graph.replay()
        return answers

    return replay


def _padded(examples: Any, rows: np.ndarray, device: str) -> dict[str, torch.Tensor]:
    longest = max(len(examples.ids[i]) for i in rows)
    shape = (len(rows), longest)
    ids, types, mask = (np.zeros(shape, np.int64) for _ in range(3))
    for r, i in enumerate(rows):
        n = len(examples.ids[i])
        ids[r, :n], types[r, :n], mask[r, :n] = examples.ids[i], examples.types[i], 1
    named = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
    return {name: torch.from_numpy(array).to(device) for name, array in named.items()}


def matrices(model: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    """The layers whose matrices go onto crossbars, by name: encoder, pooler, classifier."""
    return {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}


def lay_out(model: torch.nn.Module, dtype: str, device: str) -> Store:
    """Quantise the matrices into flat tensors and make the model multiply by those."""
    kind, layers = DTYPES[dtype], matrices(model)
    words, scales, blocks, columns, start = [], [], [], [], 0
    for layer in layers.values():
        codes, scale = quantise(layer.weight.detach().cpu().numpy().T, BITS)  # [in, out]
        wide = np.broadcast_to(scale, codes.shape)
        if kind != torch.int8:  # PyTorch multiplies by [out, in]; integer products want [in, out]
            codes, wide = codes.T, wide.T
        words.append((codes.astype(np.int16) + HALF).astype(np.uint8).ravel())
        scales.append(wide.ravel())
        columns.append(codes.shape[1])
        blocks.append(slice(start, start + codes.size))
        start += codes.size
    flat = torch.from_numpy(np.concatenate(words)).to(device)
    scale = torch.from_numpy(np.concatenate(scales)).to(device)
    values = torch.empty(len(flat), dtype=kind, device=device)
    clean = (flat.clone(), values.clone())
    store = Store(flat, values, scale, *clean, tuple(blocks), tuple(columns))
    values.copy_(store.decode(flat, slice(None)))
    store.clean_values.copy_(values)
    if kind != torch.int8:
        model.to(kind)
    for (name, layer), block in zip(layers.items(), blocks, strict=True):
        _point_at(model, name, layer, values[block], scale[block])
    return store


def _point_at(
    model: torch.nn.Module,
    name: str,
    layer: torch.nn.Linear,
    values: torch.Tensor,
    scale: torch.Tensor,
) -> None:
    """Make one layer multiply by its part of the flat tensor."""
    shape = (layer.in_features, layer.out_features)
    if values.dtype == torch.int8:
        with torch.no_grad():
            integer = IntegerLinear(values.view(shape), scale.view(shape)[0], layer.bias.detach())
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, integer)
    else:
        layer.weight = torch.nn.Parameter(values.view(shape[::-1]), requires_grad=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Try batch sizes, dtypes and attentions once.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--max-examples", type=int)
    arguments = parser.parse_args()
    where = (arguments.model, arguments.data, arguments.max_examples)
    for dtype in DTYPES:
        for attention in ("sdpa", "eager"):
            for batch in (16, 32, 64, 128):
                job = load(*where, dtype, batch, attention)
                score, seconds = job.score(), []
                for _ in range(3):
                    start = time.perf_counter()
                    job.score()
                    seconds.append(time.perf_counter() - start)
                print(f"{dtype:9} {attention:6} {batch:4} {min(seconds):7.3f} s  {score:.4f}")


if __name__ == "__main__":
    main()
