"""The fused kernel, interpreted, against its twin, the plain path: bit for bit."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from placed import lines
from quick import WITHOUT_OPTIMISING

from rerax import chip, evaluate, fused, keys
from rerax.faults import Flip, Uniform, dose
from rerax.glue.data import make_batches
from rerax.network import reader
from rerax.protection import protection
from rerax.spec import BITS_PER_CELL, ENCODINGS, LAYOUTS, ChipSpec

RATES_AND_SHARES = (
    *((0.0, 0.4), (1e-4, 1.0), (1e-2, 0.4), (0.3, 0.0), (0.3, 0.4)),
    *((0.9, 0.4), (0.9, 1.0), (1.0, 0.0), (1.0, 0.4)),
)
CHIPS = jnp.arange(2, dtype=jnp.uint32)
INTERPRETED = GPU, TPU = ("gpu:interpreted", "tpu:interpreted")


def readers(spec, words, shield=None, extra=None, kernels=INTERPRETED):
    """Jitted: a dose -> what each kernel, and the plain path (first), reads in lanes of chips."""
    shield = shield or protection("none")

    def read(kernel, words, extra, dose):
        def one(chip_number):
            key = keys.chip_key(keys.root_key(3), chip_number)
            how = (dose, Uniform(), spec, shield, {"query": extra}, "lanes", chip_number)
            return chip.read({"query": words}, key, 1, *how, kernel=kernel)

        return jax.vmap(one, axis_name="lanes")(CHIPS)

    run = jax.jit(
        lambda *stored: [read(kernel, *stored) for kernel in (None, *kernels)],
        compiler_options=WITHOUT_OPTIMISING,
    )
    return functools.partial(run, words, extra)


def random_words(spec, rows, columns):
    shape = (spec.groups, rows, columns)
    words = np.random.default_rng(1).integers(0, 1 << spec.group_bits, shape, np.uint8)
    return jnp.asarray(words)


def agree(run, rate, share=0.4):
    """Whether all paths read the same codes and count the same cells; how many cells."""
    plain, *others = jax.device_get(run(jax.tree.map(jnp.asarray, dose(rate, share))))
    same = all(
        np.array_equal(ours, theirs)
        for other in others
        for ours, theirs in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True)
    )
    (counts,) = plain[1].values()
    return same, counts


CASES = [
    (GPU, ChipSpec("offset", 8, 1), (61, 143)),
    (TPU, ChipSpec("offset", 5, 4, layout="separate"), (40, 128)),
    (GPU, ChipSpec("twos_complement", 7, 2, layout="separate"), (130, 5)),
    (TPU, ChipSpec("twos_complement", 4, 1), (1, 1)),
    (GPU, ChipSpec("sign_magnitude", 6, 4), (33, 260)),
    (TPU, ChipSpec("sign_magnitude", 8, 2, layout="separate"), (128, 40)),
    (TPU, ChipSpec("differential", 6, 1), (35, 131)),
    (GPU, ChipSpec("differential", 8, 4), (9, 128)),
]


@pytest.mark.parametrize(("kernel", "spec", "shape"), CASES, ids=range(len(CASES)))
def test_equals_the_plain_path(kernel, spec, shape):
    run = readers(spec, random_words(spec, *shape), kernels=(kernel,))
    for rate, share in RATES_AND_SHARES:
        same, counts = agree(run, rate, share)
        assert same, (rate, share)
        if rate in (0, 1):
            stuck = counts.stuck_at_0 + counts.stuck_at_1
            assert (stuck == rate * spec.cells(*shape)).all()


def test_every_encoding_cell_and_layout_is_among_the_cases():
    for kernel in INTERPRETED:
        specs = [spec for of, spec, _ in CASES if of == kernel]
        assert {spec.encoding for spec in specs} == set(ENCODINGS)
        assert {spec.bits_per_cell for spec in specs} == set(BITS_PER_CELL)
        assert {spec.layout for spec in specs} == set(LAYOUTS)


def test_duplicates_are_voted_in_the_kernel():
    spec = ChipSpec("sign_magnitude", 3, 2)
    run = readers(spec, random_words(spec, 37, 30), protection("duplicate:3"))
    for rate in (0.0, 0.02, 0.3, 1.0):
        same, counts = agree(run, rate)
        assert same, rate
    assert (counts.stuck_at_0 + counts.stuck_at_1 == 3 * spec.cells(37, 30)).all()


@pytest.mark.parametrize("name", ["msb:2x3:pruned", "msb:1x3:lsb"])
def test_copies_are_voted_behind_the_kernel(name):
    spec, shield = ChipSpec("differential", 5), protection(name)
    rng = np.random.default_rng(0)
    row, column = lines(rng, 20, 24, 10, 8)
    codes = rng.integers(-15, 16, (20, 24)).astype(np.int8) * (row[:, None] & column)
    stored = jax.tree.map(jnp.asarray, shield.store(codes, (row, column), spec, "query"))
    run = readers(spec, stored.words, shield, stored.extra, INTERPRETED[:1])
    for rate in (0.0, 0.02, 0.6):
        assert agree(run, rate)[0], rate


def test_a_network_reads_with_its_kernel():
    spec, config = ChipSpec(bits=4), tiny.CONFIG
    words = {"pooler": random_words(spec, 30, 30)}
    at = jax.tree.map(jnp.asarray, dose(0.02))

    def read(kernel):
        net = evaluate.Network(config, spec, Uniform(), lanes=2, kernel=kernel)

        def one(chip_number):
            how = (keys.root_key(3), at, chip_number, "lanes", None)
            return reader(net, *how)(words, {"pooler": None}, 0)

        return jax.vmap(one, axis_name="lanes")(CHIPS)

    both = jax.jit(lambda: (read(None), read(GPU)), compiler_options=WITHOUT_OPTIMISING)
    assert both.trace().jaxpr.pretty_print().count("pallas_call[") == 1
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get(both()))


@pytest.mark.slow  # compiles two networks, for what the readings above all but say
def test_logits_and_counts_of_a_model():
    config = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
    batches = make_batches(tiny.random_examples(6, lengths=(8,)), tokens=64)
    spec = ChipSpec(bits=4)
    found = []
    for kernel in (None, INTERPRETED[0]):
        network = evaluate.Network(config, spec, Uniform(), lanes=2, kernel=kernel)
        programmed = chip.program(tiny.random_params(config), spec, ("pooler",))
        blocks = evaluate.to_device(batches)
        found += evaluate.evaluate_chips(
            network,
            jax.tree.map(jnp.asarray, programmed),
            batches,
            blocks,
            seed=3,
            dose=dose(0.02),
            first=0,
            chips=2,
            chunk=2,
        )
    plain, ours = found
    np.testing.assert_array_equal(ours.logits, plain.logits)
    np.testing.assert_array_equal(ours.counts, plain.counts)
    assert (plain.logits[0] != plain.logits[1]).any()


PLANTED = {
    "one slice on": (fused, "_locate", lambda at, n: (at[0], (at[1] + 1) % n)),
    "polarity forgotten": (fused._Points, "state", lambda state, _: (state[0] | 2, state[1])),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(bug, monkeypatch):
    place, name, spoil = PLANTED[bug]
    real, spec = getattr(place, name), ChipSpec("offset", 2)
    monkeypatch.setattr(place, name, lambda *a: spoil(real(*a), spec.cells_per_weight))
    run = readers(spec, random_words(spec, 20, 20), kernels=INTERPRETED[:1])
    assert agree(run, 0.0)[0]
    assert not agree(run, 0.1)[0]


@pytest.mark.parametrize("name", ["none", "duplicate:3", "msb:2x3:pruned"])
@pytest.mark.parametrize(("kernel", "platform"), [("gpu", "cuda"), ("tpu", "tpu")])
def test_lowers_without_the_hardware(kernel, platform, name):
    """As far as JAX itself goes: what the compilers behind it make of it is not seen here."""
    spec = ChipSpec("differential", 2, layout="separate")
    run = readers(spec, random_words(spec, 131, 300), protection(name), None, (kernel,))
    traced = run.func.trace(*run.args, jax.tree.map(jnp.asarray, dose(0.01)))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("triton" if kernel == "gpu" else "tpu_custom_call") in text


def test_what_is_not_covered_takes_the_plain_path():
    spec = ChipSpec()

    def covers(kernel="tpu", fault=None, name="none", spec=spec, rows=768, columns=3072):
        shield = protection(name)
        return fused.covers(kernel, fault or Uniform(), shield, spec, rows, columns)

    assert covers()
    assert covers(name="msb:2x3:pruned")
    assert covers(name="duplicate:3")
    assert not covers(name="duplicate:9")
    assert covers("gpu", name="duplicate:9")
    assert not covers(fault=Flip())
    assert not covers(name="msb:2x3:pruned:erasures")
    assert not covers(name="duplicate:3:erasures")
    assert not covers(name="allocation:query=msb:1x3:lsb")
    assert not covers(rows=30522, columns=768)
    words, at = random_words(spec, 8, 8), jax.tree.map(jnp.asarray, dose(0.3))
    how = (keys.root_key(0), 0, at, Flip(), spec)
    read = jax.jit(lambda: [chip.read({"query": words}, *how, kernel=k) for k in (None, "gpu")])
    plain, ours = jax.device_get(read())
    np.testing.assert_array_equal(ours[0]["query"], plain[0]["query"])


def test_there_is_no_kernel_for_a_cpu():
    assert fused.kernel_of("cpu") is None
    assert {fused.kernel_of(backend) for backend in ("gpu", "tpu")} <= set(fused.KERNELS)
