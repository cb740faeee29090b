"""Training runs from the command line: folders, resuming, and one clear line for bad input."""

import contextlib
import dataclasses
import json
import shlex
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import quick_answers
import tiny
import unoptimised
from forked import fork
from safetensors.numpy import load_file

from rerax.cli import main
from rerax.crossbar.spec import ChipSpec
from rerax.glue.tasks import find_task
from rerax.models.bert import convert
from rerax.models.bert.folder import Model, load_model, save_model
from rerax.models.bert.names import gated_shapes
from rerax.pruning.gates import freed_share, open_gates
from rerax.train import inputs as train_inputs
from rerax.train import loop as train_loop
from rerax.train.recipe import make_recipe
from rerax.train.score import Scorer

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=2)


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    with pytest.MonkeyPatch.context() as patch:
        unoptimised.use(patch)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny", CONFIG)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    tiny.write_sst2(folder, 15, words=(5,))
    return tiny.write_sst2(folder, 16, seed=1, split="train", words=(5,))


@pytest.fixture(scope="module")
def flags(model, data):
    """Flags of a small run of 12 steps, 4 to the epoch; a test replaces or adds some."""

    def make(out, **changes):
        base = {"model": model, "task": "sst2", "data": data, "out": out, "epochs": "3"}
        base |= {"batch": "4", "lr": "1e-3", "sparsity": "0.3", "distil-from": model}
        base["max-length"] = "32"
        base |= {key.replace("_", "-"): value for key, value in changes.items()}
        given = [x for k, v in base.items() if v is not None for x in (f"--{k}", str(v))]
        return ["train", *given, "--quiet"]

    return make


@pytest.fixture(scope="module")
def trained(flags, tmp_path_factory):
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(flags(out)) == 0
    return out


def log(out):
    return [json.loads(r) for r in (out / "training" / "log.jsonl").read_text().splitlines()]


def refused(capsys, arguments):
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    assert captured.err.startswith("error: ")
    assert not captured.out
    return captured.err


def test_the_folder_is_a_model_with_zeros_written_out(trained, model):
    params = convert.load(trained)[1]
    config, whole, gates = load_model(trained)
    assert config.labels == CONFIG.labels
    freed = freed_share(gates)
    assert 0.3 <= freed <= 0.3 + 1 / 30
    kernels = [p["encoder"]["query"]["kernel"] for p in (params, whole)]
    assert (kernels[0] == 0).mean() == pytest.approx(0.3, abs=0.04)
    assert (kernels[1] != 0).all()
    _, began = convert.load(model)
    assert (kernels[1] != began["encoder"]["query"]["kernel"]).any()
    tied = gates["ffn_in"]["column"], gates["ffn_out"]["row"]
    np.testing.assert_array_equal(*tied)
    from transformers import AutoConfig, AutoTokenizer

    assert AutoConfig.from_pretrained(trained).id2label == {0: "negative", 1: "positive"}
    tokens = AutoTokenizer.from_pretrained(trained)("w5 w6")["input_ids"]
    assert tokens == AutoTokenizer.from_pretrained(model)("w5 w6")["input_ids"]
    assert not list(trained.rglob("_writing*"))
    assert not (trained / "training" / "checkpoints").exists()


def test_the_log_tells_loss_score_and_sparsity(trained):
    records = log(trained)
    scores = [r for r in records if "score" in r]
    assert [r["step"] for r in scores] == [0, 4, 8, 12, 12]
    assert scores[-1]["finished"]
    assert scores[-1]["before"] == scores[0]["score"]
    assert scores[0]["freed"] == 0
    assert scores[-1]["best"] == max(r["score"] for r in scores[2:])  # the ramp ends at step 6
    gates = load_model(trained).gates
    assert scores[-1]["freed"] == freed_share(gates)
    assert any("loss" in r and np.isfinite(r["loss"]) for r in records)
    assert convert.load(trained / "best")[0] == convert.load(trained)[0]


def test_the_last_line_is_the_next_command(trained, flags, data, capsys):
    assert main([*flags(trained), "--resume"]) == 0  # finished long since
    told, last = capsys.readouterr().out.splitlines()
    scores = [r["score"] for r in log(trained) if "score" in r]
    assert f"before training {100 * scores[0]:.2f} %, now {100 * scores[-1]:.2f} %" in told
    flag, command = last.split(": ")
    assert flag == "next"
    words = shlex.split(command)
    assert words[:2] == ["rerax", "sweep"]
    assert words[words.index("--model") + 1] == str(trained / "best")
    assert words[words.index("--protection") + 1] == "none,plan"
    assert main([*words[1:], "--dry-run"]) == 0


def test_the_next_command_sweeps_the_codes_that_it_learned(flags, tmp_path, capsys):
    out = tmp_path / "out"
    codes = {"bits": "4", "encoding": "sign_magnitude", "distil_from": None}
    assert main([*flags(out, epochs=None, steps="2", **codes), "--quantised"]) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[words.index("--bits") + 1] == "4"
    assert words[words.index("--encoding") + 1] == "sign_magnitude"


def test_sweep_takes_the_folder_as_it_is(trained, data, tmp_path, monkeypatch, capsys):
    """Its gates, and its float score; its chips answer at once."""
    answers = quick_answers.outcomes_of_floats
    monkeypatch.setattr("rerax.evaluate.engine.Evaluator.outcomes", answers)
    out = tmp_path / "sweep"
    arguments = ["sweep", "--model", trained, "--task", "sst2", "--data", data, "--out", out]
    more = ["--rates", "0,0.02", "--chips", "2", "--max-length", "32", "--quiet"]
    assert main([str(a) for a in (*arguments, *more)]) == 0
    rows = pd.read_parquet(out)
    gates = load_model(trained).gates
    sizes = {n: np.prod(g["row"].shape) * g["column"].shape[-1] for n, g in gates.items()}
    on_chip = sum(sizes.values()) + 30 * 30 + 30 * 2  # pooler and classifier have no gates here
    np.testing.assert_allclose(
        rows.sparsity, freed_share(gates) * sum(sizes.values()) / on_chip, rtol=1e-9
    )
    assert (rows.float_score == log(trained)[-1]["score"]).all()
    damaged = tmp_path / "damaged"
    shutil.copytree(trained, damaged)
    whole = (damaged / "gates.safetensors").read_bytes()
    (damaged / "gates.safetensors").write_bytes(whole[:-9])
    arguments[2], arguments[-1] = damaged, tmp_path / "other"
    message = refused(capsys, [str(a) for a in (*arguments, *more)])
    assert "gates.safetensors is cut short or garbled" in message


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", [1, 6, 8, 11])
def test_a_killed_run_goes_on_to_the_same_bits(step, trained, flags, tmp_path, monkeypatch):
    out = tmp_path / "run"
    real = train_loop.train_step

    def kill(setup, state, batch, root):
        if int(state.step) == step:
            raise Killed
        return real(setup, state, batch, root)

    with monkeypatch.context() as patch:
        patch.setattr(train_loop, "train_step", kill)
        with pytest.raises(Killed):
            main(flags(out))
    with (out / "training" / "log.jsonl").open("a") as stream:
        stream.write('{"step": 9, "lo')  # killed while it wrote
    assert main([*flags(out), "--resume"]) == 0
    for file in ("model.safetensors", "gates.safetensors", "best/model.safetensors"):
        assert (out / file).read_bytes() == (trained / file).read_bytes(), file
    timeless = [
        [{k: v for k, v in r.items() if k != "seconds_a_step"} for r in log(o) if "score" in r]
        for o in (out, trained)
    ]
    assert timeless[0] == timeless[1]
    assert main([*flags(out), "--resume"]) == 0  # finished: nothing is done
    assert (out / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_a_checkpoint_cut_short_is_named_and_its_predecessor_kept(
    trained, flags, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    real = train_loop.train_step

    def kill(setup, state, batch, root):
        if int(state.step) == 11:
            raise Killed
        return real(setup, state, batch, root)

    with monkeypatch.context() as patch:
        patch.setattr(train_loop, "train_step", kill)
        with pytest.raises(Killed):
            main(flags(out))
    checkpoints = out / "training" / "checkpoints"
    assert sorted(p.name for p in checkpoints.iterdir()) == ["4", "8"]
    largest = max((p for p in (checkpoints / "8").rglob("*") if p.is_file()),
                  key=lambda p: p.stat().st_size)  # fmt: skip
    largest.write_bytes(largest.read_bytes()[:100])
    # In a process of its own: Orbax leaves readers behind, which complain when they are collected.
    done = fork("from rerax.cli import entry; entry()", [*flags(out), "--resume"], devices=2)
    told, errors = done.communicate(timeout=120)
    assert done.returncode == 2
    assert not told
    (message,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert f"checkpoint {checkpoints / '8'} is cut short or garbled" in message
    assert "--resume goes on from step 4" in message
    shutil.rmtree(checkpoints / "8")
    assert main([*flags(out), "--resume"]) == 0
    assert (out / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_another_runs_folder_is_refused_and_left_alone(trained, flags, data, tmp_path, capsys):
    def state():
        return {p: p.read_bytes() for p in sorted(trained.rglob("*")) if p.is_file()}

    before = state()
    for changes, said in (
        ({"lr": "2e-3"}, "holds another run: lr was 0.001 and is 0.002"),
        ({"sparsity": "0.4"}, "sparsity was 0.3 and is 0.4"),
        ({"max_examples": "12", "epochs": "4"}, "train data was"),
        ({"distil_from": None}, "distil was"),
    ):
        assert said in refused(capsys, [*flags(trained, **changes), "--resume"])
    assert "holds a run: give --resume to go on, or a new folder" in refused(capsys, flags(trained))
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert "is not empty and holds no run" in refused(capsys, flags(other))
    assert [p.name for p in other.iterdir()] == ["notes.txt"]
    recipe = tmp_path / "garbled" / "training" / "recipe.json"
    recipe.parent.mkdir(parents=True)
    recipe.write_text('{"lr": 0.')
    message = refused(capsys, [*flags(tmp_path / "garbled"), "--resume"])
    assert "recipe.json is garbled: give a new folder" in message
    assert state() == before


def test_bad_input_is_one_line_and_nothing_is_written(flags, data, model, tmp_path, capsys):
    out = tmp_path / "out"
    bad = tmp_path / "bad"
    tiny.write_sst2(bad, 8)

    def with_labels(labels):
        tiny.write_sst2(bad, len(labels), split="train", label=np.array(labels, np.int64))
        return bad

    dense = {"distil_from": None}
    short, small, other, loose = (tmp_path / name for name in ("short", "small", "other", "loose"))
    tiny.write_model(short, dataclasses.replace(CONFIG, max_position_embeddings=6))
    tiny.write_model(small, dataclasses.replace(CONFIG, vocab_size=20))
    for folder in (short, small):
        (folder / "tokenizer.json").unlink()  # so that only its embeddings tell
    tiny.write_model(other, CONFIG)
    words = json.loads((other / "tokenizer.json").read_text())
    vocabulary = words["model"]["vocab"]
    vocabulary["w7"], vocabulary["w8"] = vocabulary["w8"], vocabulary["w7"]
    (other / "tokenizer.json").write_text(json.dumps(words))
    params = tiny.random_params(CONFIG)
    gates = open_gates(gated_shapes(params, ("encoder",)))
    gates["ffn_in"]["column"][:, :2] = -1
    save_model(loose, Model(CONFIG, params, gates), source=model)
    for changes, said in (
        ({"data": with_labels([0, 1, 2])}, "label"),
        ({"sparsity": "1"}, "sparsity 1.0: give a share in [0, 1)"),
        ({"sparsity": "-0.2"}, "sparsity -0.2: give a share in [0, 1)"),
        ({"sparsity": "0.999"}, "give at most"),
        ({"steps": "5"}, "epochs 3 and steps 5 are both given"),
        ({"gates": "embeddings"}, "gates on 'embeddings'"),
        ({"tie": "most"}, "tie 'most': give one of none, ffn, all"),
        ({"sparsity_scope": "layer"}, "scope 'layer': give one of matrix, global"),
        ({"batch": "5"}, "batch 5 is no multiple of the 2 devices: give 6"),
        ({"batch": "0"}, "batch 0: give at least 1"),
        ({"train_split": "training"}, "training"),
        ({"model": tmp_path / "nothing"}, "nothing"),
        ({"distil_from": tmp_path / "nothing"}, "nothing"),
        ({"task": "sst3"}, "sst3"),
        ({"lr": "fast"}, "'fast'"),
        (dense | {"max_length": "3"}, "max-length"),
        ({"bits": "4"}, "--bits 4 without --quantised or --faults changes nothing"),
        ({"encoding": "offset"}, "--encoding offset without --quantised or --faults"),
        ({"sparsity": None, "gates": "pooler"}, "--gates pooler without --sparsity"),
        ({"sparsity": None, "sparsity_scope": "global"}, "--sparsity-scope global without"),
        ({"sparsity": None, "tie": "none"}, "--tie none without --sparsity"),
        ({"seed": "4294967296"}, "seed 4294967296: give a whole number"),
        ({"distil_from": short}, "has 7 tokens, the teacher has positions for 6: distil from"),
        ({"distil_from": small}, "beyond the vocabulary of 20: distil from a model that has the"),
        ({"distil_from": other}, "has another tokenizer than the student: distil from a model"),
        (dense | {"model": loose}, "tie all makes one of the gates of ffn_in and ffn_out"),
    ):
        message = refused(capsys, flags(out, **changes))
        assert said in message, message
        assert not out.exists(), said
    assert "label" in refused(capsys, flags(out, data=with_labels([0, -1, 1])))
    assert "no examples" in refused(capsys, flags(out, data=with_labels([])))
    assert not out.exists()


def test_an_interrupted_run_says_what_is_kept(flags, trained, tmp_path, monkeypatch, capsys):
    """Nothing before the first checkpoint, so that the same command starts anew; then its step."""
    out = tmp_path / "out"
    real = train_loop.train_step

    def stopped_at(last, arguments):
        def step(setup, state, batch, root):
            if int(state.step) == last:
                raise KeyboardInterrupt
            return real(setup, state, batch, root)

        with monkeypatch.context() as patch:
            patch.setattr(train_loop, "train_step", step)
            assert main(arguments) == 130
        return capsys.readouterr().err.strip()

    nothing = "interrupted: there is no checkpoint yet, nothing is kept: the same command"
    assert stopped_at(2, flags(out)) == f"{nothing} starts anew"
    assert not out.exists()
    assert stopped_at(2, [*flags(out), "--resume"]) == f"{nothing} starts anew"
    (tmp_path / "out").mkdir()
    said = stopped_at(6, flags(out))  # the very same command
    assert said == (
        "interrupted: the state of step 4 is kept, the same command with --resume goes on from it"
    )
    (out / "notes.txt").write_text("mine")
    shutil.rmtree(out / "training" / "checkpoints")
    assert stopped_at(2, [*flags(out), "--resume"]) == f"{nothing} with --resume starts anew"
    assert main([*flags(out), "--resume"]) == 0
    assert (out / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_a_run_tells_what_takes_long(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rerax.progress.SECONDS_BETWEEN_LINES", 0.0)
    given = [flag for flag in flags(tmp_path / "out") if flag != "--quiet"]
    assert main(given) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "0 of 12 steps, begun (scoring)",
        "0 of 12 steps, begun (compiling)",
        "0 of 12 steps, begun (teacher answers)",
    ]
    assert "12 of 12 steps, after" in lines[-1]
    assert "(loss" in lines[-1]
    assert any("(scoring)" in line for line in lines)


@pytest.fixture
def quick(monkeypatch):
    """Steps and answers that cost nothing, for tests whose subject is not what a step does."""
    real = train_loop.train_step.__wrapped__

    def step(setup, state, batch, root):
        if state.step == 0:
            jax.eval_shape(lambda *arrays: real(setup, *arrays), state, batch, root)
        drawn = np.random.default_rng(int(state.step))

        def moved(leaf):
            return leaf + drawn.random(leaf.shape, np.float32)

        params, importance = (jax.tree.map(moved, t) for t in (state.params, state.importance))
        state = state._replace(params=params, importance=importance, step=state.step + 1)
        return state, jnp.float32(0.5)

    monkeypatch.setattr(train_loop, "train_step", step)
    quick_answers.use(monkeypatch)
    fresh = jax.jit(train_inputs.init_params, static_argnums=0)  # one program, not one an operation
    monkeypatch.setattr(train_inputs, "init_params", fresh)


def test_gates_go_on_from_the_folder_that_they_came_from(
    quick, trained, flags, tmp_path, monkeypatch, capsys
):
    """A further stage begins at the first one's sparsity and never opens up on the way."""
    monkeypatch.setattr(train_loop, "LOG_STEPS", 1)
    out = tmp_path / "more"
    assert main(flags(out, model=trained, sparsity="0.5")) == 0
    freed = [r["freed"] for r in log(out)]
    assert min(freed) >= 0.3
    assert 0.5 <= freed[-1] <= 0.5 + 1 / 30
    message = refused(capsys, flags(tmp_path / "no", model=trained, gates="encoder,pooler"))
    assert "gate the same matrices, or start from a dense model" in message
    still = tmp_path / "still"
    assert main(flags(still, model=trained, sparsity=None)) == 0
    found = [load_model(f).gates for f in (trained, still)]
    for name in found[0]:
        for side in ("row", "column"):
            np.testing.assert_array_equal(found[0][name][side], found[1][name][side])


def test_dense_quantised_training_of_a_new_head(quick, flags, tmp_path, monkeypatch, model):
    """No gates are written, and the model is scored as the chip of the same codes."""
    specs = []

    def watched(config, examples, spec=None):
        specs.append(spec)
        return Scorer(config, examples, spec)

    monkeypatch.setattr(train_loop, "Scorer", watched)
    body, out = tmp_path / "body", tmp_path / "out"
    convert.save(body, CONFIG, {**tiny.random_params(CONFIG), "head": {}})
    tiny.write_tokenizer(body)
    dense = flags(out, model=body, sparsity=None, distil_from=None, epochs="1", bits="4")
    assert main([*dense, "--quantised", "--encoding", "differential"]) == 0
    config, params = convert.load(out)
    assert set(params["head"]) == {"pooler", "classifier"}
    assert config.labels == CONFIG.labels
    began = convert.load(body)[1]["encoder"]["query"]["kernel"]
    assert (params["encoder"]["query"]["kernel"] != began).mean() > 0.9
    assert not (out / "gates.safetensors").exists()
    assert set(load_file(out / "model.safetensors")) == set(load_file(model / "model.safetensors"))
    assert specs == [ChipSpec("differential", 4)]
    assert json.loads((out / "training" / "recipe.json").read_text())["bits"] == 4


@pytest.mark.parametrize(
    ("names", "labels", "order", "keeps_head"),
    [
        (("negative", "positive"), None, (0, 1), True),
        (("POSITIVE", "NEGATIVE"), None, (1, 0), True),
        (("LABEL_0", "LABEL_1"), None, (0, 1), False),
        (("POS", "NEG"), None, (0, 1), False),
        (("POS", "NEG"), ("positive", "negative"), (1, 0), True),
        (("a", "b", "c"), None, (0, 1), False),
        (("a", "b", "c"), ("positive", "negative"), (1, 0), False),
    ],
)
def test_a_head_is_kept_where_names_say_what_it_means(names, labels, order, keeps_head):
    config = dataclasses.replace(CONFIG, labels=names)
    head = {"head": {"pooler": {}, "classifier": {}}}
    lost = not keeps_head and len(names) == 2  # a head that might have been right
    words = pytest.warns(UserWarning, match="a new classifier is drawn")
    with words if lost else contextlib.nullcontext():
        got = train_inputs._outputs(find_task("sst2"), config, head, labels)
    assert got[1:] == (order, keeps_head)
    assert got[0].labels == (labels or (names if keeps_head else ("negative", "positive")))


def test_labels_that_are_not_the_tasks_are_refused():
    for head in ({}, {"pooler": {}, "classifier": {}}):
        with pytest.raises(ValueError, match="labels good,bad are not sst2's"):
            train_inputs._outputs(find_task("sst2"), CONFIG, {"head": head}, ("good", "bad"))


def test_a_teacher_whose_outputs_mean_something_else_is_refused(monkeypatch, tmp_path):
    def named(*names):
        config = dataclasses.replace(CONFIG, labels=names)
        read = Model(config, {"head": {"pooler": {}, "classifier": {}}}, None)
        monkeypatch.setattr(train_inputs, "load_model", lambda _: read)
        return train_inputs._read_teacher(find_task("sst2"), str(tmp_path))

    assert named("POSITIVE", "NEGATIVE")[-1] == (1, 0)
    with pytest.warns(UserWarning, match="LABEL_1, which says nothing: taken in GLUE's order"):
        assert named("LABEL_0", "LABEL_1")[-1] == (0, 1)
    with pytest.raises(ValueError, match=r"named POS, NEG, .*: mend id2label in its config"):
        named("POS", "NEG")


def test_a_full_disk_leaves_no_half_written_model(flags, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rerax.models.bert.folder.save_gates", full)
    assert "No space left" in refused(capsys, flags(out))


def test_a_teacher_without_weight_and_a_weight_without_a_teacher_are_refused(model, data):
    for teacher, weight in ((model, 0.0), (None, 0.8)):
        with pytest.raises(ValueError, match=r"distil 0(\.8)? with(out)? a teacher: give"):
            train_inputs.read_training_inputs(
                lambda n, distil=weight: make_recipe("sst2", n, steps=2, distil=distil),
                str(model),
                "sst2",
                teacher=teacher and str(teacher),
                data=str(data),
                max_length=16,
            )


def test_a_teacher_reads_its_own_segment_ids(tmp_path):
    """As a BERT reads them that teaches a student whose tokenizer gives none."""
    config = dataclasses.replace(CONFIG, labels=("not_equivalent", "equivalent"))
    for name, inputs in (("teacher", ("input_ids", "token_type_ids")), ("student", ("input_ids",))):
        tiny.write_model(tmp_path / name, config)
        tiny.write_tokenizer(tmp_path / name, CONFIG.vocab_size, inputs)
    pairs = {"sentence1": ["w7 w8", "w9"], "sentence2": ["w10 w11", "w12"], "label": [0, 1]}
    for split in ("train", "validation"):
        (tmp_path / "data" / "mrpc").mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(pa.table(pairs), tmp_path / "data" / "mrpc" / f"{split}.parquet")
    read = train_inputs.read_training_inputs(
        lambda n: make_recipe("mrpc", n, steps=2, teacher=True),
        str(tmp_path / "student"),
        "mrpc",
        teacher=str(tmp_path / "teacher"),
        data=str(tmp_path / "data"),
        max_length=16,
    )
    assert [row.any() for row in read.train_tokens.types] == [False, False]
    assert [row.any() for row in read.teacher_tokens.types] == [True, True]
    assert [r.tolist() for r in read.train_tokens.ids] == [
        r.tolist() for r in read.teacher_tokens.ids
    ]


def test_a_classifier_without_a_pooler_is_drawn_anew():
    head = {"head": {"classifier": {}}}
    config = dataclasses.replace(CONFIG, labels=("negative", "positive"))
    assert not train_inputs._outputs(find_task("sst2"), config, head, None)[-1]


def test_a_store_is_no_place_to_train_in(flags, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, flags("gs://bucket/run"))
    assert "gs://bucket/run is in an object store: give a local path" in message
    assert not any(tmp_path.iterdir())
