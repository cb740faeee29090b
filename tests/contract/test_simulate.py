"""Chips scored by a function of any model's parameters, in memory and in folders."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

import rerax
from rerax.campaign.block import Block
from rerax.crossbar.spec import ChipSpec
from rerax.hardware import Hardware
from rerax.simulation.folder import SimulationFolder
from rerax.simulation.simulate import hash_of

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6)).astype(np.float32), RNG.integers(0, 3, 40)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(8)(x)))


MODEL = Mlp()
PARAMS = jax.device_get(MODEL.init(jax.random.key(0), X))


def accuracy(params):
    return (MODEL.apply(params, X).argmax(-1) == Y).mean(dtype=jnp.float32)


def several(params):
    logits = MODEL.apply(params, X)
    return {"right": (logits.argmax(-1) == Y).sum(), "largest": jnp.abs(logits).max()}


def stored(**hardware):
    return rerax.program(PARAMS, Hardware(**hardware), lambda path, _: path.endswith("kernel"))


STORED = stored()


def test_rows_are_what_each_chip_scores_alone():
    rows = rerax.simulate(accuracy, STORED, rates=[0, 0.02, 0.2], chips=5).to_pandas()
    assert rows.rate.tolist() == [0.0] * 5 + [0.02] * 5 + [0.2] * 5
    assert rows.chip.tolist() == [*range(5)] * 3
    assert (rows.cells == (6 * 8 + 8 * 3) * 8).all()
    alone = jax.jit(lambda n, rates: accuracy(rerax.read(STORED, rerax.chip(0, n), rates)))
    for row in rows.itertuples():
        found = alone(np.uint32(row.chip), rerax.rate_table(row.rate))
        assert row.score == pytest.approx(float(found), abs=1e-6)
    assert (rows.stuck_at_0 + rows.stuck_at_1 > 0).tolist() == [False] * 5 + [True] * 10


def test_rows_say_a_polarity_other_than_plain(tmp_path):
    other = stored(spec=ChipSpec(polarity="alternate"))
    name = {"out": tmp_path / "rows", "name": "accuracy", "version": "1"}
    rows = rerax.simulate(accuracy, other, rates=0.1, chips=2, **name)
    assert rows["polarity"].to_pylist() == ["alternate"] * 2
    assert "polarity" not in rerax.simulate(accuracy, STORED, rates=0.1, chips=2).column_names
    with pytest.raises(ValueError, match="another simulation"):
        rerax.simulate(accuracy, STORED, rates=0.1, chips=2, **name)


def test_a_row_depends_on_no_other_and_numbers_have_their_names():
    whole = rerax.simulate(several, STORED, rates=[0.1, 0.3], chips=40)
    few = rerax.simulate(several, STORED, rates=0.3, chips=3)
    assert few.equals(whole.slice(40, 3))
    assert {"right", "largest"} <= set(few.column_names)
    found = rerax.summarise(whole["right"].to_numpy()[:40])
    assert found.interval[0] < found.mean < found.interval[1]


def test_one_program_serves_all_rates_and_chips():
    traces = []

    def counted(params):
        traces.append(1)
        return accuracy(params)

    rerax.simulate(counted, STORED, rates=[0.0, 0.1, 0.2], chips=70)
    assert len(traces) == 3  # for the names, and in the one compilation for shapes and for the loop


def test_a_folder_is_resumed_grown_and_mended(tmp_path):
    told, asked = [], {"name": "accuracy", "version": "1", "out": tmp_path / "rows"}

    def run(score=accuracy, **changes):
        told.clear()
        how = {"rates": [0.0, 0.1], "chips": 20, **asked, **changes}
        return rerax.simulate(score, STORED, on_progress=lambda *p: told.append(p), **how)

    first = run()
    memory = rerax.simulate(accuracy, STORED, rates=[0.0, 0.1], chips=20)
    named = ["name", "version", "point_hash"]
    assert first.drop_columns(named).equals(memory.drop_columns(named))
    assert run().equals(first)
    assert told == []  # nothing was left to do
    grown = run(chips=40, rates=[0.0, 0.1, 0.2])
    assert len(grown) == 120
    assert grown.slice(40, 20).equals(first.slice(20, 20))
    blocks = sorted(p.name[17:30] for p in (tmp_path / "rows").glob("*.parquet"))
    begun, new = ["000000-000019", "000020-000031"] * 2, ["000000-000031"]
    assert blocks == sorted([*begun, *new, *["000032-000039"] * 3])
    broken = next((tmp_path / "rows").glob("*-000000-000031.parquet"))
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="set aside"):
        assert run(chips=40, rates=[0.0, 0.1, 0.2]).equals(grown)
    read = __import__("pandas").read_parquet(tmp_path / "rows")
    assert len(read) == 120


def test_a_folder_is_of_one_score_and_seed(tmp_path):
    out = tmp_path / "rows"
    asked = {"rates": 0.1, "chips": 2, "name": "a", "out": out}
    rerax.simulate(accuracy, STORED, version="1", **asked)
    with pytest.raises(ValueError, match=r"another simulation \(version '1' there and '2' here\)"):
        rerax.simulate(accuracy, STORED, version="2", **asked)
    with pytest.raises(ValueError, match="seed 0 there and 3 here"):
        rerax.simulate(accuracy, STORED, version="1", seed=3, **asked)
    with pytest.raises(ValueError, match="other columns"):
        rerax.simulate(several, STORED, version="1", **asked)
    with pytest.raises(ValueError, match="name is None: give a text, since rows"):
        rerax.simulate(accuracy, STORED, rates=0.1, out=out)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").write_text("x")
    with pytest.raises(ValueError, match="is there and is no simulation"):
        rerax.simulate(accuracy, STORED, version="1", **{**asked, "out": tmp_path / "else"})


def named(params, **hardware):
    return rerax.program(params, Hardware(**hardware), lambda path, _: path.endswith("kernel"))


def test_what_tells_trees_apart_is_in_their_hash():
    kernel, other = RNG.normal(size=(2, 4, 4)).astype(np.float32)
    tree = {"a/kernel": kernel, "a": {"b": other}, "f": jax.nn.relu, "n": 3, "k": np.float32(1)}
    changes = [
        {"f": jax.nn.gelu}, {"n": 4}, {"n": 3.0}, {"n": "3"}, {"k": np.float64(1)},
        {"k": np.float32(2)}, {"a": (other,)}, {"a": {"b": kernel}},
        {"a/kernel": kernel.astype(np.float16)}, {"a": {"kernel": other}, "a/kernel": kernel},
    ]  # fmt: skip
    hashes = [hash_of(named(tree)), *(hash_of(named({**tree, **c})) for c in changes[:-1])]
    swapped = rerax.program(tree, Hardware(), lambda path, leaf: leaf is other)
    hashes.append(hash_of(swapped))
    assert len(set(hashes)) == len(hashes)
    again = {**tree, "a/kernel": kernel.copy(), "f": jax.nn.relu}
    assert hash_of(named(again)) == hashes[0]
    with pytest.raises(ValueError, match=r"f is <function .*which rows in a folder cannot name"):
        hash_of(named({**tree, "f": lambda x: x}))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Acting:
    """A tree with something static in its structure."""

    kernel: np.ndarray
    act: object = dataclasses.field(metadata={"static": True})


def test_functions_of_one_name_are_told_apart_by_their_modules():
    kernel, hashes = RNG.normal(size=(4, 4)).astype(np.float32), []
    for module in ("one", "other"):
        acts = {"__name__": module}
        exec("def act(x): return x", acts)
        act = acts["act"]
        for held in (act, (act, 1), jax.jit(act), functools.partial(act, 1)):
            hashes.append(hash_of(named({"a": Acting(kernel, held)})))
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("act", [lambda x: x, object()])
def test_what_a_structure_cannot_name_is_refused_in_a_folder(act):
    with pytest.raises(ValueError, match="the tree's structure holds something without a name"):
        hash_of(named(Acting(np.ones((4, 4), np.float32), act)))
    named_one = [named(Acting(np.ones((4, 4), np.float32), a)) for a in ("relu", "gelu", accuracy)]
    assert len({hash_of(one) for one in named_one}) == 3


def test_a_bad_seed_leaves_no_folder(tmp_path):
    asked = {"rates": 0.1, "name": "a", "version": "1", "out": tmp_path / "rows"}
    with pytest.raises(ValueError, match=r"seed 1099511627776 is outside 0\.\.4294967295"):
        rerax.simulate(accuracy, STORED, seed=2**40, **asked)
    assert not (tmp_path / "rows").exists()


def test_a_leaf_may_share_its_path_with_one_on_crossbars(tmp_path):
    """The outer one's numbers are part of the identity too."""
    asked = {"rates": 0.1, "chips": 2, "name": "a", "version": "1", "out": tmp_path / "rows"}
    kernel = np.ones((4, 4), np.float32)

    def run(outside):
        """Scores of a tree with a number of its own beside the kernel."""
        tree = {"a": {"kernel": outside}, "a/kernel": kernel}
        put = rerax.program(tree, Hardware(), lambda path, leaf: leaf is kernel)

        def score(params):
            return params["a"]["kernel"] + 0 * params["a/kernel"][0, 0]

        return rerax.simulate(score, put, **asked)["score"].to_pylist()

    assert run(np.float32(1)) == [1.0] * 2
    assert run(np.float32(5)) == [5.0] * 2


def test_a_score_is_read_anew_by_every_call():
    data = {"x": 1.0}

    def score(params):
        return data["x"] + 0 * jnp.float32(params["params"]["Dense_0"]["kernel"].sum())

    first = rerax.simulate(score, STORED, rates=0.1, chips=2)
    data["x"] = 2.0
    second = rerax.simulate(score, STORED, rates=0.1, chips=2)
    assert first["score"].to_pylist() == [1.0] * 2
    assert second["score"].to_pylist() == [2.0] * 2


def test_numbers_of_a_score_are_kept_exactly():
    def score(params):
        large = jnp.int32(2**24 + 1) + jnp.int32(0 * params["params"]["Dense_0"]["kernel"][0, 0])
        return {"large": large, "yes": large > 0, "half": jnp.bfloat16(0.1), "python": 7}

    rows = rerax.simulate(score, STORED, rates=0.0, chips=1).to_pylist()[0]
    assert (rows["large"], rows["yes"], rows["python"]) == (2**24 + 1, 1.0, 7.0)
    assert rows["half"] == float(jnp.bfloat16(0.1))


def test_keys_in_the_tree_numbers_of_numpy_and_spare_arrays(tmp_path):
    tree = {"kernel": np.ones((4, 4), np.float32), "key": jax.random.key(3)}
    asked = {"chips": 2, "name": "a", "version": "1", "out": tmp_path / "rows"}
    put = named(tree, protection="duplicate:3")
    rows = rerax.simulate(
        lambda p: p["kernel"].sum(), put, rates=np.float32(1), seed=np.int64(2),
        sa1_share=np.float64(0.5), **asked,
    ).to_pandas()  # fmt: skip
    assert (rows.cells == 3 * 4 * 4 * 8).all()
    assert (rows.stuck_at_0 + rows.stuck_at_1 == rows.cells).all()
    assert (rows.seed == 2).all()
    other = named({**tree, "key": jax.random.key(4)}, protection="duplicate:3")
    assert hash_of(put) != hash_of(other)


@dataclasses.dataclass(frozen=True)
class Dust(rerax.FaultModel):
    """A fault model without a name."""

    def states(self, key, rates, spec, shape):
        return rerax.stuck_cells(key, rates, spec, *shape)


def test_a_fault_model_without_a_name_is_for_rows_in_memory(tmp_path):
    own = stored(fault=Dust())
    rows = rerax.simulate(accuracy, own, rates=0.1, chips=3)
    assert rows["fault"].to_pylist() == [None] * 3
    same = rerax.simulate(accuracy, STORED, rates=0.1, chips=3)
    assert rows["score"].equals(same["score"])
    with pytest.raises(ValueError, match="has no name for rows"):
        rerax.simulate(accuracy, own, rates=0.1, name="a", version="1", out=tmp_path / "rows")


@dataclasses.dataclass(frozen=True)
class Shifted(rerax.FaultModel):
    """A fault model whose name does not say by how much it is shifted."""

    by: int = 0
    text = "shifted-here"

    def states(self, key, rates, spec, shape):
        cells = rerax.stuck_cells(key, rates, spec, *shape)
        return cells[: self.by] if self.by < 0 else jnp.roll(cells, self.by, axis=1)


def test_a_name_registered_later_for_another_model_is_not_taken(tmp_path):
    own = stored(fault=Shifted(1))
    rerax.register_fault("shifted-here", lambda _: Shifted(2))
    with pytest.raises(ValueError, match="calls itself 'shifted-here', which is another"):
        rerax.simulate(accuracy, own, rates=0.1, name="a", version="1", out=tmp_path / "rows")


def test_states_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"states of Shifted are uint8 .*: give uint8 \(8, "):
        rerax.simulate(accuracy, dataclasses.replace(STORED, hardware=broken()), rates=0.1)


def broken():
    hardware = Hardware()
    object.__setattr__(hardware, "fault", Shifted(-1))
    return hardware


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda p: jnp.ones(3), r"the score gives 'score' of shape \(3,\)"),
        (lambda p: "good", "the score gives 'score' str"),
        (lambda p: {}, "an empty dictionary"),
        (lambda p: {"rate": 1.0}, "'rate', which is a column"),
        (lambda p: {3: 1.0}, "the score gives 3 "),
        (lambda p: 1.0, "the score does not depend on the weights on crossbars"),
        (lambda p: accuracy(PARAMS), "the score does not depend on the weights on crossbars"),
        (lambda p: p["params"]["Dense_0"]["bias"].sum(), "the score does not depend on the we"),
        (lambda p: 1j, "the score gives 'score' of complex64"),
        (lambda p: 2**40, "the score gives 'score' int"),
        (lambda p: jax.random.key(0), r"the score gives 'score' of key<fry>"),
        (lambda p: float(jax.tree.leaves(p)[0].sum()), "the score needs to know a number while"),
        (lambda p: np.sum(np.asarray(jax.tree.leaves(p)[0])), "needs to know a number while it"),
        (lambda p: 1 if jax.tree.leaves(p)[0].sum() > 0 else 0, "needs to know a number"),
        (5, "score is 5: give a function"),
    ],
)
def test_bad_scores_are_refused(score, said):
    with pytest.raises(ValueError, match=said):
        rerax.simulate(score, STORED, rates=0.1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rates": 1.5}, "rate 1.5 is outside"),
        ({"rates": "x"}, "rate 'x' is not a number"),
        ({"rates": []}, "rates is empty"),
        ({"chips": 0}, "chips 0 is outside"),
        ({"sa1_share": 2}, "sa1_share 2.0 is outside"),
        ({"seed": -1}, "seed -1 is outside"),
    ],
)
def test_bad_input_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        rerax.simulate(accuracy, STORED, **{"rates": 0.1, **changes})


def test_a_share_that_means_nothing_is_refused():
    stored = rerax.program(PARAMS, rerax.Hardware(fault="flip"), lambda path, _: "kernel" in path)
    with pytest.raises(ValueError, match=r"sa1_share 0.1 with faults of Flip: leave it out"):
        rerax.simulate(accuracy, stored, rates=0.1, sa1_share=0.1)


def test_the_model_has_to_be_on_crossbars():
    with pytest.raises(ValueError, match=r"stored is of type dict: give what rerax.program did"):
        rerax.simulate(accuracy, PARAMS, rates=0.1)


def test_scores_that_disagree_are_not_written_over_each_other(tmp_path):
    text = [(name, pa.string()) for name in ("point_hash", "platform")]
    schema = pa.schema([*text, ("chip", pa.int64()), ("score", pa.float64())])
    folder = SimulationFolder.open(tmp_path / "rows", "s", "1", 0, schema)

    def rows(first, last, score, platform="cpu"):
        block = Block("a" * 16, first, last)
        one = {"point_hash": "a" * 20, "platform": platform, "score": score}
        found = [{**one, "chip": chip} for chip in range(first, last + 1)]
        return block, pa.Table.from_pylist(found, schema)

    folder.write(*rows(0, 7, 0.9))
    before = {f.name: f.read_bytes() for f in folder.path.iterdir()}
    for disagreeing in (rows(0, 7, 0.1), rows(4, 20, 0.1)):
        with pytest.raises(ValueError, match="disagrees with what is to be written"):
            folder.write(*disagreeing)
    folder.write(*rows(0, 7, 0.1, "gpu"))
    assert {f.name: f.read_bytes() for f in folder.path.iterdir()} == before
    folder.write(*rows(4, 20, 0.9))
    assert folder.read("a" * 20, 21)["score"].to_pylist() == [0.9] * 21
