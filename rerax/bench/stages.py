"""A chip taken apart: the time of each stage, and the least that this machine needs for it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from rerax.bench.cases import BenchCase, make_case
from rerax.bench.machine import Roofline
from rerax.bench.timing import Work, medians
from rerax.crossbar import keys
from rerax.crossbar.products import factor_format, integer_product
from rerax.evaluate.network import reader
from rerax.faults import NoFault
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.models.bert.crossbars import crossbars_by_section
from rerax.models.bert.model import EncoderLayer
from rerax.models.bert.names import READ_TOGETHER
from rerax.protection import Unprotected

INT8, FLOAT = 1, 4  # bytes


@dataclass(frozen=True)
class Stage:
    """One stage of a chip.

    Attributes:
        name: which.
        seconds: time it takes, of all lanes together.
        floor: operations over the measured product rate, or bytes over the measured bandwidth.
        what: what the floor counts.
    """

    name: str
    seconds: float
    floor: float
    what: str


def take_apart(
    case: BenchCase,
    rate: float,
    roofline: Roofline,
    rounds: int = 5,
) -> tuple[float, list[Stage]]:
    """Time the stages of one lane group of chips.

    Faults, votes and decoding are differences of three readings of all codes: with faults and
    protection, without protection, without either. Products and attention run alone, on the
    shapes of the split; the rest is what is left of the whole.

    Args:
        case: what is timed.
        rate: fault rate.
        roofline: of this machine.
        rounds: how often each piece is timed.

    Returns:
        Seconds of the whole, and its stages.
    """
    plain = make_case(case.inputs)
    fault_free = replace(plain.stored.hardware, fault=NoFault())
    clean = replace(plain, stored=replace(plain.stored, hardware=fault_free))
    works = {
        "whole": case.chips(rate),
        "voted": reading(case, rate),
        "faulty": reading(plain, rate),
        "clean": reading(clean, 0.0),
        "products": _products(case),
        "attention": _attention(case),
    }
    took = medians(works, rounds)
    votes = max(took["voted"] - took["faulty"], 0.0)
    faults = max(took["faulty"] - took["clean"], 0.0)
    known = took["voted"] + took["products"] + took["attention"]
    rest = max(took["whole"] - known, 0.0)
    return took["whole"], [
        Stage("sample and stick", faults, *_floor_of_faults(case, roofline)),
        Stage("vote", votes, *_floor_of_votes(case, roofline)),
        Stage("decode", took["clean"], *_floor_of_decoding(case, roofline)),
        Stage("crossbar products", took["products"], *_floor_of_products(case, roofline)),
        Stage(
            "attention products and softmax", took["attention"], *_floor_of_mixing(case, roofline)
        ),
        Stage("inputs, GELU, norms, head", rest, *_floor_of_rest(case, roofline)),
    ]


def over_lanes(case: BenchCase, one: Callable[[Array], Any]) -> Any:
    """Compute `one` for each chip of a lane group."""
    if case.network.lanes == 1:
        return one(jnp.uint32(0))
    return jax.vmap(one, axis_name="lanes")(jnp.arange(case.network.lanes, dtype=jnp.uint32))


def reading(case: BenchCase, rate: float) -> Work:
    """Make the work of reading the codes of all encoder layers, one after the other."""
    network, hardware = case.network, case.stored.hardware
    rates = jax.tree.map(jnp.asarray, rate_table(rate))
    axis = None if network.lanes == 1 else "lanes"

    @jax.jit
    def read(section: Any, rates: Any) -> Any:
        def one(number: Array) -> Any:
            chip = keys.chip_of(keys.root_key(0), number)
            read_section = reader(hardware, chip, Faults(rates.along(axis)))

            def layer(i: Array, last: Any = None) -> Any:
                return read_section(
                    jax.tree.map(
                        lambda a: lax.dynamic_index_in_dim(jnp.asarray(a), i, keepdims=False),
                        section,
                    )
                )

            room = jax.eval_shape(layer, jnp.int32(0))
            start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), room)
            return lax.fori_loop(0, network.config.layers, layer, start)

        return over_lanes(case, one)

    section = crossbars_by_section(case.stored)["encoder"]
    return lambda: read(section, rates)


def _through_split(
    case: BenchCase, make: Callable[[int, int], tuple[Any, Callable[[Any], Any]]]
) -> Work:
    """Make work that is done for each layer, lane and batch of the split, on its shapes.

    Args:
        case: what is timed.
        make: (batch, tokens) -> what it needs, and what is done with it.
    """
    shapes = [(bucket.ids.shape[1:], int(bucket.used)) for shard in case.shards for bucket in shard]
    pieces = []
    for (batch, tokens), used in shapes:
        needs, do = make(batch, tokens)
        times = used * case.network.config.num_hidden_layers
        pieces.append((_repeated(case, do), needs, times))
    return lambda: [repeat(needs, jnp.int32(times)) for repeat, needs, times in pieces]


def _repeated(case: BenchCase, do: Callable[[Any], Any]) -> Callable[[Any, Array], Any]:
    """Compile `do` in a loop, so that what is timed is the work and not its dispatch."""
    lanes = case.network.lanes

    @jax.jit
    def repeat(needs: Any, times: Array) -> Any:
        def again(_: Array, last: tuple[Any, Any]) -> tuple[Any, Any]:
            needs, _ = lax.optimization_barrier(last)  # or one time would do for all
            return needs, _all_lanes(needs)

        def _all_lanes(needs: Any) -> Any:
            wide = do if lanes == 1 else jax.vmap(do)
            return wide(needs)

        if lanes > 1:
            needs = jax.tree.map(lambda a: jnp.broadcast_to(a, (lanes, *a.shape)), needs)
        room = jax.eval_shape(_all_lanes, needs)
        start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), room)
        return lax.fori_loop(0, times, again, (needs, start))[1]

    return repeat


def _products(case: BenchCase) -> Work:
    """Make the work of the encoder's integer products, on ones of the split's shapes."""
    section = crossbars_by_section(case.stored)["encoder"]
    sizes = {name: crossbar.words.shape[-2:] for name, crossbar in section.items()}
    together = [sizes.pop(name) for name in READ_TOGETHER if name in sizes]
    joined = (together[0][0], sum(columns for _, columns in together))
    shapes = [joined, *sizes.values()]

    def make(batch: int, tokens: int) -> tuple[Any, Callable[[Any], Any]]:
        needs = [
            (jnp.ones((batch, tokens, rows), jnp.int8), jnp.ones((rows, columns), factor_format()))
            for rows, columns in shapes
        ]
        return needs, lambda pairs: [integer_product(x, codes) for x, codes in pairs]

    return _through_split(case, make)


def _attention(case: BenchCase) -> Work:
    """Make the work of attention between its products, on ones of the split's shapes."""
    config = case.network.config
    layer = EncoderLayer(config, dtype=jnp.dtype(case.network.dtype))
    size = config.hidden_size

    def make(batch: int, tokens: int) -> tuple[Any, Callable[[Any], Any]]:
        vectors = jnp.ones((batch, tokens, size), case.network.dtype)
        sentence = jnp.ones((batch, tokens), jnp.int32)

        def do(needs: Any) -> Any:
            vectors, sentence = needs
            return layer.apply({}, *[vectors] * 3, sentence, False, method=EncoderLayer._attend)

        return (vectors, sentence), do

    return _through_split(case, make)


def _cells_a_layer(case: BenchCase) -> int:
    return case.weights * case.stored.hardware.spec.cells_per_weight * case.network.lanes


def _floor_of_faults(case: BenchCase, roofline: Roofline) -> tuple[float, str]:
    """Compute the floor: states of cells written and read once, words read and written once."""
    moved = 2 * _cells_a_layer(case) * INT8 + 2 * _words(case)
    return moved / roofline.bandwidth, "a byte a cell and the words, written and read once"


def _floor_of_votes(case: BenchCase, roofline: Roofline) -> tuple[float, str]:
    if isinstance(case.stored.hardware.protection, Unprotected):
        return 0.0, "nothing is voted"
    return 2 * _words(case) / roofline.bandwidth, "words read and written once"


def _floor_of_decoding(case: BenchCase, roofline: Roofline) -> tuple[float, str]:
    return 2 * _words(case) / roofline.bandwidth, "words read, codes written once"


def _floor_of_products(case: BenchCase, roofline: Roofline) -> tuple[float, str]:
    passes = case.network.config.passes  # of an ALBERT its one layer counts once in `weights`
    operations = 2 * case.batches.tokens * case.weights * passes * case.network.lanes
    name = max(("int8", "bfloat16"), key=lambda kind: roofline.products[kind])
    return operations / roofline.products[name], f"operations at the {name} rate measured"


def _floor_of_mixing(case: BenchCase, roofline: Roofline) -> tuple[float, str]:
    config = case.network.config
    pairs = sum(
        int(bucket.used) * bucket.ids.shape[1] * bucket.ids.shape[2] ** 2
        for shard in case.shards
        for bucket in shard
    )
    operations = 4 * pairs * config.hidden_size * config.num_hidden_layers * case.network.lanes
    return operations / roofline.products["float32"], "operations at the float32 rate measured"


def _floor_of_rest(case: BenchCase, roofline: Roofline) -> tuple[float, str]:
    """Compute the floor: stream and inner vectors of the FFN, in float, moved between products."""
    config = case.network.config
    a_token = 2 * FLOAT * (6 * config.hidden_size + 2 * config.intermediate_size)
    moved = a_token * case.batches.tokens * config.num_hidden_layers * case.network.lanes
    return moved / roofline.cache, "float vectors between products, read and written once in cache"


def _words(case: BenchCase) -> int:
    return case.weights * case.stored.hardware.spec.groups * case.network.lanes * INT8
