"""The training loop: steps, scores, log, checkpoints and the trained folder."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.models.bert.folder import Model, save_model
from rerax.pruning.gates import freed_share
from rerax.train.batches import TrainingBatches, epoch_order
from rerax.train.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
from rerax.train.folder import TrainingFolder
from rerax.train.inputs import TrainingInputs
from rerax.train.pruning_schedule import PruningSchedule, find_gated_shapes, first_units
from rerax.train.score import Scorer
from rerax.train.step import StepSetup, TrainState, initial_state, train_step
from rerax.train.teacher import teacher_logits

LOG_STEPS = 20


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is; `text` says what it has reached."""

    done: int
    total: int
    text: str


def fine_tune(
    inputs: TrainingInputs,
    out: str | Path,
    *,
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Train a model; `out` is a Hugging Face folder at the end.

    Args:
        inputs: what `read_training_inputs` gave.
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
    _check_batch(inputs.recipe.batch, jax.local_device_count())
    folder = TrainingFolder(Path(out))
    folder.open(inputs.identity, resume)
    finished = [record for record in folder.read_log() if record.get("finished")]
    if finished:
        return finished[0]
    try:
        loop = TrainingLoop.make(inputs, folder, on_progress)
        loop.resume()
        return loop.run()
    except (KeyboardInterrupt, ValueError):
        folder.remove_if_useless()
        raise


@dataclass
class TrainingLoop:
    """A run in motion: `make` it, perhaps `resume` from a checkpoint, then `run`.

    Attributes:
        inputs: what is trained, on what.
        folder: where the run is kept.
        on_progress: told of progress.
        setup: what is static about a step.
        batches: the sentences of each step.
        scorer: scores the validation split.
        schedule: when gates close.
        mesh: the local devices.
        state: weights, gates, optimiser.
        best: best score so far at the full sparsity.
        done: steps done.
        loss: as last measured.
        status: loss, best score and sparsity as last measured, in words.
    """

    inputs: TrainingInputs
    folder: TrainingFolder
    on_progress: Callable[[TrainingProgress], None]
    setup: StepSetup
    batches: TrainingBatches
    scorer: Scorer
    schedule: PruningSchedule
    mesh: Mesh
    state: TrainState
    best: float = -math.inf
    done: int = 0
    loss: float = math.nan
    status: str = "training"

    @classmethod
    def make(
        cls,
        inputs: TrainingInputs,
        folder: TrainingFolder,
        on_progress: Callable[[TrainingProgress], None],
    ) -> "TrainingLoop":
        """Prepare a run at its first step; nothing is read or written."""
        recipe, model = inputs.recipe, inputs.model
        shapes = find_gated_shapes(recipe, model)
        setup = StepSetup(model.config, recipe, tuple(shapes.items()))
        root, tokens = keys.root_key(recipe.seed), inputs.train_tokens
        seen = np.concatenate(epoch_order(tokens, recipe.batch, root, 0))
        taught = teacher_logits(
            inputs.teacher,
            inputs.teacher_tokens,
            seen,
            inputs.order,
            lambda: loop.report("teacher answers"),
        )
        spec = None if recipe.bits is None else ChipSpec(recipe.encoding, recipe.bits)
        loop = cls(
            inputs,
            folder,
            on_progress,
            setup,
            TrainingBatches(
                tokens, _targets(inputs), taught, recipe.batch, root, model.config.pad_token_id
            ),
            Scorer(model.config, inputs.dev_tokens, spec),
            PruningSchedule.make(recipe, model),
            Mesh(np.array(jax.local_devices()), ("data",)),
            initial_state(setup, model.params, first_units(recipe, model)),
        )
        loop.replicate()
        return loop

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        saved = load_checkpoint(self.folder.path, self._checkpoint())
        if saved is not None:
            self.state, self.best = TrainState(**saved["state"]), float(saved["best"])
        self.folder.cut_log(int(self.state.step))
        self.replicate()

    def replicate(self) -> None:
        """Copy the state to every device."""
        self.state = jax.device_put(self.state, NamedSharding(self.mesh, PartitionSpec()))

    def run(self) -> dict[str, Any]:
        """Run the steps that are left and write the trained folder; return the last record."""
        recipe = self.inputs.recipe
        every = recipe.every or self.batches.per_epoch
        first, losses = int(self.state.step), []
        self.done = first
        if first == 0 and not self._scores():
            self.report("scoring")
            self._log_score(0)
        began = time.monotonic()
        for step in range(first + 1, recipe.steps + 1):
            self.report(self.status if step > first + 1 else "compiling")
            losses.append(self.step(step))
            jax.block_until_ready(losses[-2:-1])  # one step waits behind another, no more
            self.done = step
            if step % LOG_STEPS == 0 or step == recipe.steps:
                self._log_loss(step, losses, (time.monotonic() - began) / (step - first))
                losses = []
            if step % every == 0 or step == recipe.steps:
                self.report("scoring")
                self._score(step)
                if step < recipe.steps:
                    save_checkpoint(self.folder.path, step, self._checkpoint())
        return self._finish()

    def step(self, step: int) -> jax.Array:
        """Train one step, counted from 1: weights, then gates; return its loss."""
        batch = jax.device_put(
            self.batches.batch(step - 1), NamedSharding(self.mesh, PartitionSpec("data"))
        )
        self.state, loss = train_step(self.setup, self.state, batch, self.batches.root)
        self.state = self.schedule.adjust_gates(step, self.setup, self.state)
        return loss

    def report(self, text: str) -> None:
        """Tell the caller how far the run is, and what it does."""
        self.on_progress(TrainingProgress(self.done, self.inputs.recipe.steps, text))

    def _finish(self) -> dict[str, Any]:
        scores = self._scores()
        before = next((r["score"] for r in scores if r["step"] == 0), None)
        self._save(self.folder.path)
        record = {**scores[-1], "best": self.best, "before": before, "finished": True}
        self.folder.append_log(record)
        remove_checkpoints(self.folder.path)
        self.report(self._status(record["freed"]))
        return record

    def _checkpoint(self) -> dict[str, Any]:
        return {"state": self.state._asdict(), "best": np.float64(self.best)}

    def _log_loss(self, step: int, losses: list[jax.Array], seconds: float) -> None:
        self.loss = float(np.mean([float(loss) for loss in losses]))
        freed = self._freed_share()
        self.folder.append_log(
            {"step": step, "loss": self.loss, "freed": freed, "seconds_a_step": round(seconds, 4)}
        )
        self.status = self._status(freed)

    def _status(self, freed: float) -> str:
        loss = "" if math.isnan(self.loss) else f"loss {self.loss:.4f}, "
        best = "" if self.best == -math.inf else f"best {100 * self.best:.2f} %, "
        return f"{loss}{best}freed {100 * freed:.1f} %"

    def _score(self, step: int) -> None:
        score, recipe = self._log_score(step), self.inputs.recipe
        # A model on its way to the sparsity is no candidate: it would win for being less pruned.
        full = recipe.sparsity is None or recipe.ramp_at(step) == 1
        if full and score > self.best:
            self.best = score
            self._save(self.folder.path / "best")

    def _log_score(self, step: int) -> float:
        inputs = self.inputs
        found = self.scorer.score(
            self.state.params, self._gates(), inputs.task, inputs.dev, inputs.order
        )
        epoch = step / self.batches.per_epoch
        self.folder.append_log(
            {"step": step, "epoch": epoch, "freed": self._freed_share(), **found}
        )
        return found["score"]

    def _scores(self) -> list[dict[str, Any]]:
        return [record for record in self.folder.read_log() if "score" in record]

    def _save(self, directory: Path) -> None:
        params = jax.device_get(self.state.params)
        model = Model(self.inputs.model.config, params, self._gates())
        save_model(directory, model, source=self.inputs.source)

    def _gates(self) -> dict[str, dict[str, np.ndarray]]:
        return jax.device_get(self.setup.gates(self.state.units))

    def _freed_share(self) -> float:
        gates = self._gates()
        return freed_share(gates) if gates else 0.0


def _check_batch(batch: int, devices: int) -> None:
    if batch % devices:
        more = -(-batch // devices) * devices
        raise ValueError(f"batch {batch} is no multiple of the {devices} devices: give {more}")


def _targets(inputs: TrainingInputs) -> np.ndarray:
    """Give the index of the right output of every training sentence, or its score."""
    if inputs.task.is_regression:
        return inputs.train.labels
    output_of_label = np.argsort(np.array(inputs.order)).astype(np.int32)
    return output_of_label[inputs.train.labels]
