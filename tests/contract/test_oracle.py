"""The fast path equals plain loops: gate, quantise, encode, stick, decode, product."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerax import faults, keys
from rerax.chip import program, read
from rerax.encoding import decode, encode
from rerax.gates import open_cells
from rerax.products import EXACT_ROWS, integer_product
from rerax.quantise import quantise, quantise_inputs
from rerax.spec import BITS_PER_CELL, ENCODINGS, ChipSpec

ALL_SPECS = [
    ChipSpec(encoding, bits, per_cell, layout=layout)
    for encoding, bits, per_cell in itertools.product(ENCODINGS, range(2, 9), BITS_PER_CELL)
    for layout in (("interleaved", "separate")[(bits + per_cell) % 2],)
]
SHAPE = (5, 7)
FACTORS = ("int8", "bfloat16")


def spec_name(spec):
    return f"{spec.encoding}-{spec.bits}b-{spec.bits_per_cell}c-{spec.layout}"


def random_weights(seed, shape=SHAPE):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=shape).astype(np.float32)
    weights[:, 2] = 0  # an empty column
    weights[1, 3] = np.float32(-0.0)
    return weights


@given(seed=st.integers(0, 10**6), bits=st.integers(2, 8))
def test_gate_and_quantise(seed, bits):
    rng = np.random.default_rng(seed)
    weights = random_weights(seed)
    row, column = (rng.normal(size=n).astype(np.float32) for n in SHAPE)
    codes, scales = quantise(weights, bits, open_cells(row, column))
    expected_codes, expected_scales = oracle.quantise(oracle.gate(weights, row, column), bits)
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(scales, expected_scales)


def test_quantise_rounds_half_to_even_and_is_layerwise():
    weights = np.array([[[127.0, 7.0], [0.5, -3.5]], [[2.0, 0.0], [1.0, 0.0]]], np.float32)
    codes, scales = quantise(weights, 8)
    assert codes[0, :, 0].tolist() == [127, 0]
    assert scales.shape == (2, 2)
    assert scales[1, 1] == 1
    per_layer = [quantise(w, 8) for w in weights]
    np.testing.assert_array_equal(codes, np.stack([c for c, _ in per_layer]))


@pytest.mark.parametrize("spec", ALL_SPECS, ids=spec_name)
def test_encode_and_decode_every_code_and_word(spec):
    q = 2 ** (spec.bits - 1) - 1
    codes = np.arange(-q, q + 1, dtype=np.int8)[None]
    words = encode(codes, spec)
    expected = [oracle.groups_of(int(code), spec) for code in codes[0]]
    np.testing.assert_array_equal(words[:, 0], np.transpose(expected))
    np.testing.assert_array_equal(decode(jnp.asarray(words), spec), codes)
    n = 1 << spec.group_bits  # and what only a faulty cell can write
    every = np.stack(np.meshgrid(*[np.arange(n)] * spec.groups, indexing="ij")).astype(np.uint8)
    every = every.reshape(spec.groups, 1, -1)
    expected = [oracle.code_of([int(g) for g in groups], spec) for groups in every[:, 0].T]
    np.testing.assert_array_equal(decode(jnp.asarray(every), spec)[0], expected)


def oracle_stuck(seed, chip, spec, rate, share, shape):
    key = keys.matrix_key(keys.chip_key(keys.root_key(seed), jnp.uint32(chip)), "query", 0)
    return oracle.stuck_cells(
        np.asarray(keys.purpose_keys(key, 3)),
        faults.dose(rate, share),
        spec,
        shape[0],
        spec.bitlines(shape[1]),
    )


READINGS = [(spec, True) for spec in ALL_SPECS] + [
    (spec, False) for spec in ALL_SPECS if spec.bits in (5, 8)
]


@pytest.mark.parametrize(
    ("spec", "jit"),
    READINGS,
    ids=[f"{spec_name(s)}-{'jit' if j else 'nojit'}" for s, j in READINGS],
)
def test_read_through_stuck_cells(spec, jit):
    """Sampling, sticking and decoding, at a rate on either side of one half."""
    codes, _ = quantise(random_weights(1), spec.bits)
    words = jnp.asarray(encode(codes, spec))

    def read_one(dose, chip):
        chip_key = keys.chip_key(keys.root_key(5), chip)
        out, counts = read({"query": words}, chip_key, 0, dose, faults.Uniform(), spec)
        return out["query"], counts["query"]

    run = jax.jit(read_one) if jit else read_one
    for rate, share, chip in ((0.2, 0.8, 0), (0.7, 0.3, 1)):
        stuck = oracle_stuck(5, chip, spec, rate, share, SHAPE)
        got, counts = run(jax.tree.map(jnp.asarray, faults.dose(rate, share)), jnp.uint32(chip))
        np.testing.assert_array_equal(got, oracle.read(codes, stuck, spec))
        assert int(counts.stuck_at_0) == (stuck == "SA0").sum()
        assert int(counts.stuck_at_1) == (stuck == "SA1").sum()


@pytest.mark.parametrize("spec", ALL_SPECS[::3], ids=spec_name)
def test_flips(spec):
    """Flips follow the same process over bits; bits that a cell lacks are not counted."""
    codes, _ = quantise(random_weights(2), spec.bits)
    key = keys.matrix_key(keys.chip_key(keys.root_key(1), jnp.uint32(0)), "query", 0)
    dose = faults.dose(0.15, 0.0)
    words, _, counts = faults.Flip().disturb(jnp.asarray(encode(codes, spec)), key, dose, spec)
    units = spec.bitlines(SHAPE[1]) * spec.bits_per_cell
    hit = oracle.stuck_cells(np.asarray(keys.purpose_keys(key, 3)), dose, spec, SHAPE[0], units)
    flipped = np.empty(SHAPE, object)
    for r, c in itertools.product(*map(range, SHAPE)):
        flipped[r, c] = [[] for _ in range(spec.groups)]
        for slice_ in range(spec.cells_per_weight):
            group, cell = divmod(slice_, spec.cells_per_group)
            for bit in range(spec.bits_of_cell(cell)):
                unit = spec.bitline(c, slice_, SHAPE[1]) * spec.bits_per_cell + bit
                if hit[r, unit] is not None:
                    flipped[r, c][group].append(cell * spec.bits_per_cell + bit)
    np.testing.assert_array_equal(decode(words, spec), oracle.flip(codes, flipped, spec))
    assert int(counts.flipped) == sum(len(bits) for groups in flipped.flat for bits in groups)


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 12))
@settings(max_examples=15)
def test_product(seed, rows):
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-127, 128, (rows, 9)).astype(np.int8)
    codes = rng.integers(-128, 128, (9, 6)).astype(np.int8)
    expected = oracle.product(inputs, codes)
    for f in (integer_product, jax.jit(integer_product)):
        for form in FACTORS:
            found = f(jnp.asarray(inputs), jnp.asarray(codes).astype(form))
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", FACTORS)
@pytest.mark.parametrize("rows", [1, EXACT_ROWS - 1, EXACT_ROWS, EXACT_ROWS + 1, 3072, 4096])
def test_product_is_exact_at_its_worst(form, rows):
    inputs = np.full((3, rows), -127, np.int8)
    inputs[1, ::2] = 127  # sums that stay small pass through large ones
    inputs[2, :-1] = 127
    codes = np.full((rows, 2), -128, np.int8)
    codes[-1, 1] = 1  # an odd sum, which a rounded one would miss
    found = integer_product(jnp.asarray(inputs), jnp.asarray(codes).astype(form))
    np.testing.assert_array_equal(found, oracle.product(inputs, codes))


@pytest.mark.parametrize("form", FACTORS)
def test_product_of_inputs_fresh_from_a_look_up(form):
    rng = np.random.default_rng(1)
    inputs = rng.integers(-127, 128, (4, 16, 30)).astype(np.int8)
    codes, order = rng.integers(-128, 128, (30, 21)).astype(np.int8), rng.permutation(30)
    look_up = jax.jit(lambda x, c: integer_product(x.take(order, axis=-1), c.astype(form)))
    expected = oracle.product(inputs[..., order].reshape(-1, 30), codes).reshape(4, 16, 21)
    np.testing.assert_array_equal(look_up(jnp.asarray(inputs), jnp.asarray(codes)), expected)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_input_quantisation_to_one_step_at_ties(seed):
    x = np.random.default_rng(seed).normal(size=(6, 11)).astype(np.float32)
    x[3] = 0
    codes, scales = jax.jit(quantise_inputs)(jnp.asarray(x))
    for row, code, scale in zip(x, np.asarray(codes), np.asarray(scales), strict=True):
        expected, expected_scale = oracle.quantise_inputs(row)
        assert scale[0] == expected_scale
        exact = row / np.float64(expected_scale)
        tie = np.abs(np.abs(exact - np.trunc(exact)) - 0.5) < 1e-4
        assert (np.abs(code - expected) <= tie).all()


def test_program_leaves_biases_and_other_matrices_alone():
    weights = random_weights(0)
    params = {
        "embeddings": {"word_embeddings": {"table": weights}},
        "encoder": {"query": {"kernel": weights[None], "bias": np.ones((1, 7), np.float32)}},
        "head": {"pooler": {"kernel": weights, "bias": np.ones(7, np.float32)}},
    }
    closed = {"query": {"row": np.ones((1, 5)), "column": np.where(np.arange(7) == 4, -1, 1)[None]}}
    closed = {k: {n: g.astype(np.float32) for n, g in v.items()} for k, v in closed.items()}
    laid = program(params, ChipSpec(), ("encoder",), closed)
    assert set(laid.words["encoder"]) == {"query"}
    assert not laid.words["head"]
    assert set(laid.params["encoder"]["query"]) == {"bias"}
    assert "kernel" in laid.params["head"]["pooler"]
    codes = decode(jnp.asarray(laid.words["encoder"]["query"][0]), ChipSpec())
    assert not codes[:, 4].any()
    zeroed = {**params, "encoder": {"query": {**params["encoder"]["query"]}}}
    kernel = weights[None].copy()
    kernel[:, :, 4] = 0
    zeroed["encoder"]["query"]["kernel"] = kernel
    same = program(zeroed, ChipSpec(), ("encoder",))
    np.testing.assert_array_equal(same.words["encoder"]["query"], laid.words["encoder"]["query"])
    np.testing.assert_array_equal(same.scales["encoder"]["query"], laid.scales["encoder"]["query"])
