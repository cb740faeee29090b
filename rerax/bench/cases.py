"""What is timed: a BERT on crossbars and sentences, random ones of usual shapes or the user's."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rerax.bench.timing import Work
from rerax.campaign.workload import Inputs
from rerax.crossbar.spec import ChipSpec
from rerax.evaluate import engine
from rerax.evaluate.lanes import chip_range
from rerax.evaluate.network import Network
from rerax.faults import Uniform
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.data import Examples
from rerax.glue.packing import Batches
from rerax.hardware import Hardware
from rerax.models.bert.config import BertConfig
from rerax.models.bert.crossbars import crossbars_by_section, program_bert
from rerax.models.bert.model import init_params
from rerax.models.bert.names import gated_shapes
from rerax.models.stored import StoredModel
from rerax.protection import protection, without_planner
from rerax.pruning.gates import open_gates

SHAPES = {
    "minilm": BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    ),
    "base": BertConfig(),
}
SENTENCES = 872
"""As many as SST-2's dev set has."""
LENGTHS = (4, 47)
"""Tokens of the shortest and longest sentence; SST-2's are about as many."""
CLOSED = 0.2
"""Share of rows and of columns that are closed, so that two MSBs fit in threefold."""


@dataclass(frozen=True)
class BenchCase:
    """A model laid out on crossbars and a split on the device.

    Attributes:
        inputs: the model and examples.
        network: static description.
        stored: the model on crossbars.
        batches: the split's batches.
        shards: the same on the device.
    """

    inputs: Inputs
    network: Network
    stored: StoredModel
    batches: Batches
    shards: tuple[Any, ...]

    @property
    def weights(self) -> int:
        """Weights of the encoder."""
        encoder = crossbars_by_section(self.stored)["encoder"].values()
        return sum(crossbar.words.size // crossbar.words.shape[1] for crossbar in encoder)

    def chips(self, rate: float, groups: int = 1) -> Work:
        """Make the work of so many lane groups of chips.

        Args:
            rate: fault rate.
            groups: lane groups; on a CPU a group is a chip.
        """
        faults = jax.tree.map(jnp.asarray, Faults(rate_table(rate)))
        chunk = groups * self.network.lanes

        def work() -> Any:
            how = (chip_range(0, 0, groups), faults)
            return [
                engine.chunk_logits(self.network, chunk, self.stored, shard, *how)
                for shard in self.shards
            ]

        return work


def make_case(inputs: Inputs, scheme: str = "none") -> BenchCase:
    """Lay a model out.

    Args:
        inputs: the model and examples.
        scheme: protection.

    Raises:
        ValueError: no room for the protection.
    """
    hardware = Hardware(ChipSpec(), Uniform(), without_planner(protection(scheme)))
    lanes = engine.lane_width(inputs.config, jax.default_backend())
    network = Network(inputs.config, lanes=lanes)
    stored = program_bert(inputs.params, hardware, gates=inputs.gates)
    batches = engine.batches_of(inputs.config, inputs.examples)
    _, shards = engine.fit_memory(network, batches)
    on_device = jax.tree.map(jnp.asarray, stored)
    return BenchCase(inputs, network, on_device, batches, engine.to_device(batches, shards))


def random_inputs(
    config: BertConfig,
    sentences: int = SENTENCES,
    pruned: bool = False,
    seed: int = 0,
    lengths: tuple[int, int] = LENGTHS,
) -> Inputs:
    """Draw a random model and random sentences: they take the work of real ones.

    Args:
        config: the model's shape.
        sentences: how many.
        pruned: close a fifth of all rows and columns of the encoder's matrices.
        seed: of all of it.
        lengths: fewest tokens of a sentence, and the number that they stay below.
    """
    draw = np.random.default_rng(seed)
    shape = replace(config, vocab_size=min(config.vocab_size, 1000))  # tables are not timed
    params = jax.device_get(init_params(shape, jax.random.key(seed)))
    tokens = draw.integers(*lengths, sentences)
    ids = [draw.integers(5, shape.vocab_size, n).astype(np.int32) for n in tokens]
    examples = Examples(ids, [np.zeros_like(row) for row in ids])
    return Inputs(shape, params, examples, _random_gates(params, draw) if pruned else None)


def _random_gates(params: Any, draw: np.random.Generator) -> Any:
    gates = open_gates(gated_shapes(params, ("encoder",)))
    for sides in gates.values():
        for lines in sides.values():
            order = draw.random(lines.shape).argsort(-1).argsort(-1)
            lines[order < CLOSED * lines.shape[-1]] = -1.0
    return gates
