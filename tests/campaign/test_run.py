"""The Python API: rows without a folder, of every kind of task, equal to those in one."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import quick_answers
import tiny
import unoptimised
from arrays import write_map

import rerax
from rerax.campaign import store
from rerax.campaign.point import Point
from rerax.campaign.schema import SCHEMA
from rerax.models.bert.scope import Scope
from rerax.pruning.gates import with_zeros

# One sampler to compile, and one length; two chunks, of which the second is not full.
FAST = {"matrices": "classifier", "chips": 3, "chunk": 2, "rates": (0.0, 0.05)}
EXAMPLES = tiny.random_examples(12, lengths=(8,))


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    with pytest.MonkeyPatch.context() as patch:
        unoptimised.use(patch)
        yield


def model_for(task):
    what = rerax.find_task(task)
    names = what.labels or (("score",) if what.is_regression else ("a", "b", "c"))
    config = dataclasses.replace(tiny.CONFIG, labels=names)
    return tiny.random_params(config), config


def sweep(task="sst2", examples=EXAMPLES, **changes):
    params, config = model_for(task)
    rng = np.random.default_rng(0)
    n = len(examples)
    real = rerax.find_task(task).is_regression
    labels = rng.uniform(0, 5, n) if real else rng.integers(0, config.num_labels, n)
    return rerax.sweep(params, config, examples, labels, task=task, **{**FAST, **changes})


def without_hashes_of_time(rows):
    return rows.sort_by([("point_hash", "ascending"), ("chip", "ascending")])


def test_memory_and_folder_hold_the_same_rows(tmp_path, caplog):
    caplog.set_level("INFO", logger="rerax")
    rows = sweep()
    assert caplog.messages == ["6 chips to evaluate for memory", "6 rows are in memory"]
    assert rows.schema == SCHEMA
    assert rows["chip"].to_pylist() == [0, 1, 2, 0, 1, 2]
    assert rows["rate"].to_pylist() == [0.0] * 3 + [0.05] * 3
    again = sweep(out=tmp_path / "rows")
    assert again.equals(rows)
    on_disk = store.read_rows(tmp_path / "rows")
    assert without_hashes_of_time(on_disk).equals(without_hashes_of_time(rows))


def test_labels_that_are_permuted_stop_a_sweep_before_anything_is_written(quick, tmp_path):
    """Unless the order is given, or a folder knows the float score."""
    params, config = model_for("sst2")

    def scored(labels, config=config, **changes):
        examples = tiny.random_examples(60, lengths=(8,))
        changes = {**FAST, "rates": (0.0,), **changes}
        return rerax.sweep(params, config, examples, labels, **changes)

    (bits,) = set(scored(np.zeros(60, int), order=(0, 1))["correct"].to_pylist())
    wrong = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[:60].astype(int)
    said = r"permuted: 1 of 60 answers .* 59 with --labels positive,negative \(order=\(1, 0\) in"
    with pytest.raises(ValueError, match=said):
        scored(wrong, out=tmp_path / "rows")
    assert not (tmp_path / "rows").exists()
    turned = dataclasses.replace(config, labels=config.labels[::-1])
    assert scored(wrong, turned)["float_score"][0].as_py() > 0.9
    given = scored(wrong, order=(0, 1), out=tmp_path / "rows")
    assert given["float_score"][0].as_py() == pytest.approx(1 / 60)
    assert given["clean_score"][0].as_py() == 0
    grown = scored(wrong, out=tmp_path / "rows", chips=4)
    assert grown.slice(0, 3).equals(given)


def test_names_of_outputs_say_their_order():
    params, config = model_for("sst2")
    strange = dataclasses.replace(config, labels=("POS", "NEG"))
    with pytest.raises(ValueError, match=r"named POS, NEG, sst2's labels negative, positive: give"):
        rerax.sweep(params, strange, EXAMPLES, np.zeros(12, int), **FAST)


OWN = ("a:macro_f1", "a:pearson_spearman")


@pytest.mark.parametrize("task", ["cola", "mrpc", "stsb", "mnli", *OWN])
def test_every_kind_of_task_fills_its_columns(quick, task):
    rows = sweep(task, rates=(0.05,))
    what = rerax.find_task(task)
    filled = {
        name
        for name in ("accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman")
        if rows[name].null_count == 0
    }
    assert filled == set(what.metrics) - {"accuracy_mismatched"}
    assert rows["accuracy_mismatched"].null_count == len(rows)
    assert rows["score"].null_count == 0
    kept, dropped = ("correct", "prediction")
    if what.is_regression:
        kept, dropped = dropped, kept
    assert rows[kept].null_count == 0
    assert rows[dropped].null_count == len(rows)


def test_plain_lists_and_several_values_make_a_grid(quick):
    lists = [[2, 5, 6, 3], [2, 7, 3]] * 3
    rows = sweep(examples=lists, encoding=("offset", "differential"), rates=(0.1,), chips=2)
    assert sorted(set(rows["encoding"].to_pylist())) == ["differential", "offset"]
    assert len(rows) == 4
    cells = dict(zip(rows["encoding"].to_pylist(), rows["cells"].to_pylist(), strict=True))
    assert cells == {"offset": 30 * 2 * 8, "differential": 30 * 2 * 14}


def test_faults_act_where_they_are_asked_for():
    frame = sweep(faulty=("bits=each", None)).to_pandas()
    planes = [f"bits={bit}" for bit in range(8)]
    assert frame.faulty.fillna("").tolist() == [""] * 6 + [p for p in planes for _ in range(3)]
    at = frame[frame.rate > 0].assign(stuck=frame.stuck_at_0 + frame.stuck_at_1)
    whole, parts = at[at.faulty.isna()], at[at.faulty.notna()]
    assert parts.groupby("chip").stuck.sum().tolist() == whole.stuck.tolist()
    assert frame.clean_score.nunique() == 1
    with pytest.raises(ValueError, match=r"faulty bit 4 is outside 0..3: give"):
        sweep(faulty="bits=4", bits=4)


def test_every_kind_of_fault_is_counted_in_its_column():
    """One model of each kind: what each model breaks is under contract in `test_faults`."""
    kinds = {"uniform": "stuck", "short": "shorted", "flip": "flipped"}
    frame = sweep(fault=tuple(kinds), rates=(0.3,), chips=8).to_pandas()
    assert frame.fault.unique().tolist() == list(kinds)
    stuck = frame.stuck_at_0 + frame.stuck_at_1
    for name, at in frame.assign(stuck=stuck).groupby("fault"):
        counts = at[["stuck", "stuck_other", "shorted", "flipped"]].sum()
        assert 0.1 < counts.pop(kinds[name]) / at.cells.sum() < 0.6, name
        assert not counts.any(), name
        assert at.sa1_share.isna().all() == (name != "uniform")


def lot(path):
    """Three chips, two of them side by side; the second has every cell of its classifier at 0."""
    cells = [(5, "classifier", 0, 0, 3, 1), (33, "classifier", 0, 29, 15, 0)]
    cells += [(6, "classifier", 0, w, b, 0) for w in range(30) for b in range(16)]
    return write_map(path, [*cells, (6, "query", 0, 0, 0, 1)])


def test_measured_chips_bring_their_numbers_and_rate(tmp_path):
    fault = f"map:{lot(tmp_path / 'lot.parquet')}"
    rows = sweep(fault=fault, rates=None, chips=None, out=tmp_path / "rows").to_pandas()
    assert rows.chip.tolist() == [5, 6, 33]
    assert rows.fault.unique().tolist() == [
        Point("sst2", "m", 0.0, fault=fault).identity()["fault"]
    ]
    assert rows.fault[0].startswith("map:lot.parquet@")
    assert rows.rate.unique().tolist() == [482 / (3 * 480)]
    assert rows.sa1_share.isna().all()
    assert rows[["stuck_at_0", "stuck_at_1"]].to_numpy().tolist() == [[0, 1], [480, 0], [1, 0]]
    assert not rows[["stuck_other", "shorted", "flipped"]].any(axis=None)
    closed = sweep(rates=(1.0,), sa1_share=0.0, chips=1).to_pandas()  # all cells at 0
    assert rows.score[1] == closed.score[0]
    assert rows.correct[1] == closed.correct[0]
    assert (rows.clean_score == closed.clean_score[0]).all()
    blocks = sorted(file.name[17:30] for file in (tmp_path / "rows").glob("[0-9a-f]*.parquet"))
    assert blocks == ["000005-000006", "000033-000033"]
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "rows").iterdir()}
    again = sweep(fault=fault, rates=None, chips=None, out=tmp_path / "rows")
    assert again.to_pandas().equals(rows)
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "rows").iterdir()} == before


def test_a_map_with_spare_crossbars_and_known_cells(tmp_path):
    """Spare crossbars of a measured chip are fault-free, so two good copies outvote the array."""
    fault = f"map:{lot(tmp_path / 'lot.parquet')}"
    told = r"lot.parquet says nothing of the further arrays of duplicate:3: taken as fault-free"
    with pytest.warns(UserWarning, match=told):
        voted = sweep(fault=fault, rates=None, chips=None, protection="duplicate:3").to_pandas()
    assert (voted.score == voted.clean_score).all()
    assert voted.stuck_at_0.tolist() == [0, 480, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rates": (0.1,)}, "brings its own chips and rate: leave out rates and chips"),
        ({"chips": 3}, "brings its own chips and rate: leave out rates and chips"),
        ({"with": "uniform"}, "brings its own chips and rate: give it as the only fault"),
        ({"bits_per_cell": 4}, "bitline 4: bitline is outside 0..3: give"),
    ],
)
def test_a_map_stands_alone_and_fits(tmp_path, changes, said):
    fault = f"map:{lot(tmp_path / 'lot.parquet')}"
    arguments = {"fault": fault, "rates": None, "chips": None, "out": tmp_path / "rows", **changes}
    if other := arguments.pop("with", None):
        arguments["fault"] = (fault, other)
    with pytest.raises(ValueError, match=said):
        sweep(**arguments)
    assert not (tmp_path / "rows").exists()


def test_arrays_that_a_map_lacks_are_named_in_one_line(quick, tmp_path):
    fault = f"map:{lot(tmp_path / 'lot.parquet')}"
    axes = {"fault": fault, "rates": None, "chips": None, "matrices": "pooler,classifier"}
    with pytest.warns(UserWarning, match=r"has no cells of pooler: taken as fault-free") as said:
        sweep(**axes)
    assert len(said) == 1


def test_a_degenerate_chip_is_counted_not_dropped(monkeypatch):
    """One answer to all, as when every weight reads -128."""

    def same(*where, **how):
        for outcome in quick_answers.outcomes(*where, **how):
            yield outcome._replace(logits=np.full_like(outcome.logits, 2.5))

    monkeypatch.setattr("rerax.evaluate.engine.Evaluator.outcomes", same)
    rows = sweep("stsb", rates=(1.0,))
    assert rows["score"].to_pylist() == [0.0] * 3
    assert rows["degenerate"].to_pylist() == [True] * 3


def test_the_float_score_of_gates_is_the_pruned_models(monkeypatch):
    """Whatever weights under closed gates are, as `load_gates` puts them back."""
    params, config = model_for("sst2")
    gates = {
        "classifier": {"row": np.ones(30, np.float32), "column": np.array([1, -1], np.float32)}
    }
    given, kernel = [], params["head"]["classifier"]["kernel"]

    def run(workload, *others):
        given.append(workload)
        return pa.table({})

    monkeypatch.setattr("rerax.campaign.sweep.run", run)
    by_path = {"head/classifier/kernel": gates["classifier"]}
    zeros = with_zeros(params, gates)
    for tree, named in ((params, gates), (params, by_path), (zeros, gates), (params, None)):
        rerax.sweep(tree, config, EXAMPLES, np.zeros(12, int), gates=named, **FAST)
    for workload in given[:3]:  # one model, however it is given
        assert not workload.load().params["head"]["classifier"]["kernel"][:, 1].any()
        assert list(workload.load().gates) == ["classifier"]
        assert workload.model_hash == given[0].model_hash != given[3].model_hash
    assert kernel.all()
    with pytest.raises(ValueError, match=r"gates of 'classifier' and .* are both"):
        rerax.sweep(params, config, EXAMPLES, np.zeros(12, int), gates=gates | by_path, **FAST)


def test_gates_close_weights_and_are_reported(quick):
    params, config = model_for("sst2")
    gates = {
        "classifier": {"row": np.ones(30, np.float32), "column": np.array([1, -1], np.float32)}
    }
    labels = np.zeros(12, int)
    rows = rerax.sweep(params, config, EXAMPLES, labels, gates=gates, **FAST)
    assert set(rows["sparsity"].to_pylist()) == {0.5}
    assert set(rows["cells"].to_pylist()) == {30 * 2 * 8}  # zero space: the array stays whole


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda a: a["params"]["head"]["pooler"]["kernel"].fill(np.nan),
            "params/head/pooler/kernel",
        ),
        (lambda a: a.update(labels=[0.0]), "1 labels for 12 examples"),
        (lambda a: a.update(labels=np.full(12, 2)), "label 2 is not one of sst2's: give 0 to 1"),
        (lambda a: a.update(labels=[0.5] * 12), "label 0.5 is not one of sst2's"),
        (lambda a: a.update(labels=[np.nan] * 12), "label nan is not one of sst2's"),
        (lambda a: a.update(matrices=""), "matrices is empty, so nothing is on crossbars"),
        (lambda a: a.update(chips=10**20), "is too many: give at most 10000000"),
        (lambda a: a.update(protection="duplicate:99999999999"), "an odd number from 3 to 99"),
        (lambda a: a.update(examples=[[2, 50, 3]] * 12), "beyond the vocabulary of 50"),
        (lambda a: a.update(examples=[[2] * 41] * 12), "has 41 tokens, the model has position"),
        (lambda a: a.update(task="mnli"), "has 2 outputs, mnli needs 3"),
        (lambda a: a.update(chips=0), "chips 0 is too few"),
        (lambda a: a.update(rates=[1.5]), "rate 1.5 is outside"),
        (lambda a: a.update(fault="rust"), "unknown fault 'rust'"),
        (lambda a: a.update(name_of_nothing=1), "name_of_nothing"),
    ],
)
def test_bad_input(tmp_path, spoil, said):
    params, config = model_for("sst2")
    arguments = {
        "params": params,
        "config": config,
        "examples": EXAMPLES,
        "labels": np.zeros(12, int),
        "out": tmp_path / "rows",
    }
    spoil(arguments)
    with pytest.raises((ValueError, TypeError), match=said.replace("(", r"\(")):
        rerax.sweep(**arguments)
    assert not (tmp_path / "rows").exists()


def test_objects_are_taken_where_texts_are(quick):
    """And several of any field make a grid."""
    spec = rerax.ChipSpec("differential", 6, 2, (64, 32), "separate")
    objects = sweep(
        fault=rerax.Clustered(2.0), protection=rerax.MsbEmbed(1, 3, "lsb"), spec=spec,
        matrices=[("pooler", "classifier")], faulty=Scope(bits=(0,)),
    )  # fmt: skip
    texts = sweep(
        fault="clustered:2", protection="msb:1x3:lsb", encoding="differential", bits=6,
        bits_per_cell=2, tile="64x32", layout="separate", matrices="pooler,classifier",
        faulty="bits=0",
    )  # fmt: skip
    assert objects.equals(texts)
    assert sweep(tile=(64, 64)).equals(sweep(tile="64x64"))
    both = sweep(fault=[rerax.Flip(), rerax.Uniform()], tile=["64x64", (32, 8)], rates=(0.1,))
    assert len(set(both["point_hash"].to_pylist())) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fault": rerax.MsbEmbed()}, "unknown fault MsbEmbed"),
        ({"protection": rerax.Flip()}, "unknown protection Flip"),
        ({"spec": 8}, r"spec 8 is none: give a rerax\.ChipSpec"),
        ({"spec": rerax.ChipSpec(), "bits": 6}, "bits is given twice"),
        ({"colour": "red"}, "sweep takes no 'colour': give some of sa1_share"),
        ({"tile": (0, 8)}, r"tile \(0, 8\) is not a size"),
    ],
)
def test_objects_of_another_kind_are_refused(changes, said):
    with pytest.raises(ValueError, match=said) as error:
        sweep(**changes)
    assert "\n" not in str(error.value)


@dataclasses.dataclass(frozen=True)
class Edge(rerax.Uniform):
    """A fault model under the name of another, unless it gets one of its own."""

    text: str = "uniform"


@dataclasses.dataclass(frozen=True)
class Nothing(rerax.Unprotected):
    text: str = "none"


def test_rows_never_name_what_was_not_computed(quick, tmp_path):
    with pytest.raises(ValueError, match="calls itself 'uniform', which is another: give it"):
        sweep(fault=Edge())
    with pytest.raises(ValueError, match="calls itself 'none', which is another: give it"):
        sweep(protection=Nothing())
    own = Edge("own-edge")
    assert set(sweep(fault=own)["fault"].to_pylist()) == {"own-edge"}
    with pytest.raises(ValueError, match=r"is not registered: call .*_fault\('own-edge'"):
        sweep(fault=own, out=tmp_path / "rows")
    with pytest.raises(ValueError, match=r"rerax.register_protection\('own-nothing'"):
        sweep(protection=Nothing("own-nothing"), out=tmp_path / "rows")
    assert not (tmp_path / "rows").exists()
