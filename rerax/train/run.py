"""From a model folder and a task to a trained folder."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.glue import data as glue
from rerax.glue.label_order import label_order, named_order
from rerax.glue.tasks import Task, find_task
from rerax.models.bert import convert
from rerax.models.bert.config import BertConfig
from rerax.models.bert.folder import Model, files_hash, load_model, save_model
from rerax.models.bert.model import init_params
from rerax.models.bert.names import SECTION, TIES, gated_shapes
from rerax.pruning.budget import Units, units_of, weights_to_free
from rerax.pruning.gates import FILE, freed_share, freed_weights, open_gates
from rerax.train.folder import RunFolder
from rerax.train.order import Batch, Order, epoch_batches
from rerax.train.recipe import Recipe
from rerax.train.score import Scorer
from rerax.train.step import State, Trainer, close_gates, rank_gates, start, train_step
from rerax.train.teacher import answers_of

LOG_STEPS = 20


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is; `text` says what it has reached."""

    done: int
    total: int
    text: str


@dataclass(frozen=True)
class Job:
    """All that a run reads: model, teacher, sentences.

    Attributes:
        recipe: the run's choices.
        task: the task.
        config: shape of the BERT, with the task's labels.
        params: weights to start from.
        gates: gates of the folder that it starts from, if any.
        order: GLUE label id of each output.
        train, dev: the splits.
        train_tokens, dev_tokens: the same, tokenised.
        source: folder whose tokenizer goes with the trained model.
        teacher: (config, params, gates, output order) to imitate, if any.
        identity: all that decides the result, for a resumed run to compare.
    """

    recipe: Recipe
    task: Task
    config: BertConfig
    params: Any
    gates: Any
    order: tuple[int, ...]
    train: glue.Split
    dev: glue.Split
    train_tokens: glue.Examples
    dev_tokens: glue.Examples
    source: Path
    teacher: tuple[BertConfig, Any, Any, tuple[int, ...]] | None
    identity: Mapping[str, Any]


def read_job(
    recipe: Callable[[int], Recipe],
    model: str,
    task: str,
    *,
    data: str = glue.HUB,
    train_split: str = "train",
    max_examples: int | None = None,
    max_length: int | None = None,
    labels: tuple[str, ...] | None = None,
    teacher: str | None = None,
) -> Job:
    """Read and check everything before anything is written.

    Args:
        recipe: gives the recipe for a number of training sentences.
        model: Hugging Face folder or hub id to start from, with or without a classifier.
        task: GLUE task.
        data: folder with <task>/<split>.parquet, or hub id.
        train_split: split to learn from; the task's validation split gives the scores.
        max_examples: use only the first so many training sentences.
        max_length: most tokens of a sentence; by default as `glue.data.length_limit` says.
        labels: names of the outputs in order.
        teacher: folder or hub id of the model to distil from.

    Raises:
        ValueError: bad model, data or choice: the value, the rule, the fix.
    """
    what = find_task(task)
    directory = convert.locate(model)
    positions = convert.read_config(directory).max_position_embeddings
    max_length = glue.length_limit(max_length, positions)
    train = glue.read_split(what, data, train_split, max_examples)
    dev = glue.read_split(what, data, "validation")
    chosen = recipe(len(train.labels))
    config, params, gates = load_model(directory)
    config, order, keeps_head = _outputs(what, config, params, labels)
    params = _with_head(config, params, chosen.seed, keeps_head)
    _check_gates(chosen, params, gates)
    tokenizer = glue.load_tokenizer(directory)

    def tokens(split: glue.Split) -> glue.Examples:
        return glue.tokenise(
            split,
            tokenizer,
            max_length=max_length,
            positions=config.max_position_embeddings,
            vocab_size=config.vocab_size,
        )

    identity = {
        **chosen.to_json(),
        "model": files_hash(directory),
        "labels": list(order),
        "train data": train.digest(max_length),
        "validation data": dev.digest(max_length),
        "teacher": None if teacher is None else files_hash(convert.locate(teacher)),
    }
    return Job(
        chosen, what, config, params, gates, order, train, dev, tokens(train), tokens(dev),
        directory, None if teacher is None else _read_teacher(what, teacher), identity,
    )  # fmt: skip


def fine_tune(
    job: Job,
    out: str | Path,
    *,
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Train; `out` is a Hugging Face folder at the end.

    Args:
        job: what `read_job` gave.
        out: folder for the run (`rerax.train.folder`).
        resume: go on with the run that is there, if there is one.
        on_progress: told after every step, and before what takes long.

    Returns:
        The last record of the log: score, best score, score before the first step (None in the
        log of an earlier version), freed share.

    Raises:
        ValueError: the folder holds another run, or a checkpoint that cannot be read; the batch
            does not divide among the devices.
    """
    _check_batch(job.recipe.batch, jax.local_device_count())
    folder = RunFolder(Path(out))
    folder.open(job.identity, resume)
    finished = [record for record in folder.records() if record.get("finished")]
    if finished:
        return finished[0]
    try:
        run = Run.of(job, folder, on_progress)
        run.take_up()
        return run.finish()
    except KeyboardInterrupt:
        folder.forget()
        raise


@dataclass
class Run:
    """A run in motion: `of` a job, perhaps `take_up` a checkpoint, then `finish`.

    Attributes:
        job: what is trained.
        folder: where it is kept.
        tell: told of progress.
        trainer: what is static about a step.
        order: the batches.
        dev: scores the validation split.
        need: weights that each budget is to free in the end.
        began: weights that the first model's gates freed.
        mesh: the local devices.
        state: weights, gates, optimiser.
        best: best score so far at the full sparsity.
        done: steps behind it.
        loss: as last measured.
        text: loss, best score and sparsity as last measured.
    """

    job: Job
    folder: RunFolder
    tell: Callable[[TrainingProgress], None]
    trainer: Trainer
    order: Order
    dev: Scorer
    need: dict[str, int]
    began: dict[str, int]
    mesh: Mesh
    state: State
    best: float
    done: int = 0
    loss: float = math.nan
    text: str = "training"

    @classmethod
    def of(cls, job: Job, folder: RunFolder, tell: Callable[[TrainingProgress], None]) -> "Run":
        """A run at its first step; nothing is read or written."""
        recipe = job.recipe
        shapes = _shapes(job)
        trainer = Trainer(job.config, recipe, tuple(shapes.items()))
        units = _first_units(job, shapes)
        root = keys.root_key(recipe.seed)
        tokens = job.train_tokens
        seen = np.concatenate(epoch_batches(tokens, recipe.batch, root, 0))
        teacher = answers_of(
            job.teacher, tokens, seen, job.order, lambda: run.say("teacher answers")
        )
        order = Order(tokens, _targets(job), teacher, recipe.batch, root, job.config.pad_token_id)
        spec = None if recipe.bits is None else ChipSpec(recipe.encoding, recipe.bits)
        need = weights_to_free(shapes, recipe.sparsity or 0.0, recipe.scope) if shapes else {}
        mesh = Mesh(np.array(jax.local_devices()), ("data",))
        run = cls(
            job, folder, tell, trainer, order, Scorer(job.config, job.dev_tokens, spec), need,
            _freed_at_start(job, shapes, recipe.scope), mesh, start(trainer, job.params, units),
            -math.inf,
        )  # fmt: skip
        run.spread()
        return run

    def take_up(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        saved = self.folder.load_state({"state": self.state._asdict(), "best": np.float64(0)})
        if saved is not None:
            self.state, self.best = State(**saved["state"]), float(saved["best"])
        self.folder.cut_log(int(self.state.step))
        self.spread()

    def spread(self) -> None:
        """Put a copy of the state on every device."""
        self.state = jax.device_put(self.state, NamedSharding(self.mesh, PartitionSpec()))

    def finish(self) -> dict[str, Any]:
        """Run all steps that are left and write the trained folder."""
        recipe = self.job.recipe
        every = recipe.every or self.order.per_epoch
        first, losses = int(self.state.step), []
        self.done = first
        if first == 0 and not self.scored():
            self.say("scoring")
            self.record(0)
        began = time.monotonic()
        for step in range(first + 1, recipe.steps + 1):
            self.say(self.text if step > first + 1 else "compiling")
            losses.append(self.step(step))
            jax.block_until_ready(losses[-2:-1])  # one step waits behind another, no more
            self.done = step
            if step % LOG_STEPS == 0 or step == recipe.steps:
                self.note(step, losses, (time.monotonic() - began) / (step - first))
                losses = []
            if step % every == 0 or step == recipe.steps:
                self.say("scoring")
                self.score(step)
                if step < recipe.steps:
                    saved = {"state": self.state._asdict(), "best": np.float64(self.best)}
                    self.folder.save_state(step, saved)
        scored = self.scored()
        before = next((r["score"] for r in scored if r["step"] == 0), None)
        self.save(self.folder.path)
        record = {**scored[-1], "best": self.best, "before": before, "finished": True}
        self.folder.tell(record)
        self.folder.drop_checkpoints()
        self.say(self.measured(record["freed"]))
        return record

    def step(self, step: int) -> jax.Array:
        """Weights, then gates; `step` counts from 1."""
        recipe = self.job.recipe
        batch = self._on_devices(self.order.batch(step - 1))
        self.state, loss = train_step(self.trainer, self.state, batch, self.order.root)
        if self.trainer.shapes and recipe.sparsity is not None:
            if step == max(1, recipe.observing) and self.job.gates is None:
                units = rank_gates(self.trainer, self.state.importance)
                self.state = self.state._replace(units=units)
            if recipe.moves_gates(step):
                units = close_gates(self.trainer, self.state.units, self.to_free(step))
                self.state = self.state._replace(units=units)
        return loss

    def to_free(self, step: int) -> dict[str, np.int32]:
        """Weights that each budget is to have freed after a step."""
        way = self.job.recipe.sparsity_at(step)
        return {
            name: np.int32(need - math.floor((need - self.began[name]) * (1 - way)))
            for name, need in self.need.items()
        }

    def note(self, step: int, losses: list[jax.Array], seconds: float) -> None:
        """Write loss and speed to the log."""
        loss = float(np.mean([float(loss) for loss in losses]))
        freed = self.freed()
        self.folder.tell(
            {"step": step, "loss": loss, "freed": freed, "seconds_a_step": round(seconds, 4)}
        )
        self.loss = loss
        self.text = self.measured(freed)

    def measured(self, freed: float) -> str:
        """Loss, best score and sparsity in words."""
        loss = "" if math.isnan(self.loss) else f"loss {self.loss:.4f}, "
        best = "" if self.best == -math.inf else f"best {100 * self.best:.2f} %, "
        return f"{loss}{best}freed {100 * freed:.1f} %"

    def say(self, text: str) -> None:
        """Tell the caller what the run is at."""
        self.tell(TrainingProgress(self.done, self.job.recipe.steps, text))

    def score(self, step: int) -> None:
        """Score the validation split; keep the best model that has its full sparsity."""
        found, recipe = self.record(step), self.job.recipe
        full = recipe.sparsity is None or recipe.sparsity_at(step) == 1
        if full and found > self.best:
            self.best = found
            self.save(self.folder.path / "best")

    def scored(self) -> list[dict[str, Any]]:
        """Lines of the log that hold scores."""
        return [record for record in self.folder.records() if "score" in record]

    def record(self, step: int) -> float:
        """Write the score of the validation split to the log, and return it."""
        job = self.job
        found = self.dev.score(self.state.params, self.gates(), job.task, job.dev, job.order)
        self.folder.tell(
            {"step": step, "epoch": step / self.order.per_epoch, "freed": self.freed(), **found}
        )
        return found["score"]

    def save(self, directory: Path) -> None:
        """Write the model as it is now."""
        params = jax.device_get(self.state.params)
        model = Model(self.job.config, params, self.gates())
        save_model(directory, model, source=self.job.source)

    def gates(self) -> dict[str, dict[str, np.ndarray]]:
        """Gates as they are now, {} without any."""
        return jax.device_get(self.trainer.gates(self.state.units))

    def freed(self) -> float:
        """Share of the gated weights under closed gates."""
        gates = self.gates()
        return freed_share(gates) if gates else 0.0

    def _on_devices(self, batch: Batch) -> Batch:
        return jax.device_put(batch, NamedSharding(self.mesh, PartitionSpec("data")))


def _outputs(
    task: Task, config: BertConfig, params: Any, labels: tuple[str, ...] | None
) -> tuple[BertConfig, tuple[int, ...], bool]:
    """Config with the task's outputs, their GLUE ids, and whether the classifier is kept."""
    names = task.labels or ("score",)
    fits = "classifier" in params["head"] and config.num_labels == task.num_labels
    if fits and (labels or named_order(task, config.labels) is not None):
        order, _ = label_order(task, config.labels, labels)
        kept = config if labels is None else dataclasses.replace(config, labels=labels)
        return kept, order, True
    order, _ = label_order(task, names, labels)  # the head that is there says nothing of the task
    if fits and task.labels:
        warnings.warn(
            f"the model's outputs are named {', '.join(config.labels)}, not {', '.join(names)}: a "
            "new classifier is drawn (--labels keeps the one that is there)",
            stacklevel=2,
        )
    return dataclasses.replace(config, labels=labels or names), order, False


def _with_head(config: BertConfig, params: Any, seed: int, keeps_head: bool) -> Any:
    """Parameters with a new pooler where there is none, and a new classifier unless it is kept."""
    if keeps_head:
        return params
    key = keys.training_key(keys.root_key(seed), "head", 0)
    new = jax.device_get(init_params(config, key))["head"]
    head = {"pooler": params["head"].get("pooler", new["pooler"]), "classifier": new["classifier"]}
    return {**params, "head": head}


def _check_gates(recipe: Recipe, params: Any, gates: Any) -> None:
    if recipe.sparsity is None:
        return
    shapes = gated_shapes(params, recipe.gates)
    weights_to_free(shapes, recipe.sparsity, recipe.scope)
    if gates is not None and set(gates) != set(shapes):
        raise ValueError(
            f"gates {','.join(recipe.gates)} are not those in the model's {FILE} "
            f"({', '.join(sorted(gates))}): gate the same matrices, or start from a dense model"
        )


def _check_batch(batch: int, devices: int) -> None:
    if batch % devices:
        more = -(-batch // devices) * devices
        raise ValueError(f"batch {batch} is no multiple of the {devices} devices: give {more}")


def _read_teacher(task: Task, teacher: str) -> tuple[BertConfig, Any, Any, tuple[int, ...]]:
    config, params, gates = load_model(convert.locate(teacher))
    if set(params["head"]) != {"pooler", "classifier"}:
        raise ValueError(f"{teacher} has no classifier: distil from one trained on {task.name}")
    try:
        order, warning = label_order(task, config.labels)
    except ValueError as error:
        why = str(error).partition(": give ")[0]
        raise ValueError(f"{teacher}: {why}: mend id2label in its config.json") from None
    if warning:
        warnings.warn(f"{teacher}: {warning.partition(' (')[0]}", stacklevel=2)
    return config, params, gates, order


def _shapes(job: Job) -> dict[str, tuple[int, ...]]:
    if job.recipe.sparsity is not None:
        return gated_shapes(job.params, job.recipe.gates)
    names = job.gates or {}
    return {n: job.params[SECTION[n]][n]["kernel"].shape for n in SECTION if n in names}


def _first_units(job: Job, shapes: Mapping[str, tuple[int, ...]]) -> Units:
    if not shapes:
        return {}
    given = job.gates or open_gates(shapes)
    return units_of({name: given[name] for name in shapes}, TIES[job.recipe.tie])


def _freed_at_start(job: Job, shapes: Mapping[str, tuple[int, ...]], scope: str) -> dict[str, int]:
    """Weights that the gates of the first model free, by budget."""
    if job.gates is None:
        return {"global": 0, **dict.fromkeys(shapes, 0)}
    freed = freed_weights(job.gates)
    return {"global": sum(int(f.sum()) for f in freed.values())} | {
        name: int(f.min()) for name, f in freed.items()
    }


def _targets(job: Job) -> np.ndarray:
    """Index of the right output of every training sentence, or its score."""
    if job.task.is_regression:
        return job.train.labels
    place = np.argsort(np.array(job.order)).astype(np.int32)
    return place[job.train.labels]
