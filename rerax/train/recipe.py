"""What a training run does: every choice that its result depends on. No JAX here."""

import math
from dataclasses import dataclass, fields
from typing import Any

from rerax.crossbar.spec import ENCODINGS
from rerax.faults import fault_model
from rerax.glue.tasks import find_task
from rerax.models.bert.names import TIES, check_gateable
from rerax.values import is_integer, is_real, plain

DTYPES = ("float32", "bfloat16")
SCOPES = ("matrix", "global")
DISTIL_WEIGHT = 0.8
"""Of the teacher's answers in the loss, where there is a teacher."""


@dataclass(frozen=True)
class TaskDefaults:
    """Epochs, peak learning rate and sentences a step that suit a task."""

    epochs: float
    lr: float
    batch: int = 32


DEFAULTS = {
    "cola": TaskDefaults(5.0, 5e-5),
    "sst2": TaskDefaults(3.0, 5e-5),
    "mrpc": TaskDefaults(5.0, 5e-5),
    "stsb": TaskDefaults(5.0, 5e-5),
    "qqp": TaskDefaults(3.0, 5e-5),
    "mnli": TaskDefaults(3.0, 5e-5),
    "qnli": TaskDefaults(3.0, 5e-5),
    "rte": TaskDefaults(5.0, 5e-5),
    "wnli": TaskDefaults(5.0, 2e-5),
}
"""Source: Devlin et al., *BERT* (arXiv 1810.04805), appendix A.3, names 2 to 4 epochs, rates
2e-5, 3e-5 and 5e-5 and batches of 16 and 32 as good on all of GLUE. Of these the largest rate
and batch are taken, because small models are slow to move, and 5 epochs where a task has fewer
than 10,000 sentences."""
OWN = TaskDefaults(5.0, 5e-5)
"""Of tasks of one's own."""


@dataclass(frozen=True)
class Recipe:
    """Choices of one training run; with equal data, equal ones give equal weights on one platform.

    Attributes:
        task: name of the task.
        steps: optimiser steps in all.
        lr: peak learning rate of the weights (AdamW).
        batch: sentences a step, over all devices.
        seed: of the new head, the order of sentences and dropout.
        dtype: `float32`, or `bfloat16` for matrix products with float32 sums.
        warmup: share of the steps in which the learning rate rises, from 0; it then falls to 0.
        weight_decay: of kernels and tables; biases and norms have none.
        clip: largest norm of the weights' gradient.
        sparsity: share of the gated weights to free, in [0, 1); None leaves gates as they are.
        scope: `matrix`: each gated matrix frees that share; `global`: all together.
        gates: which matrices are gated: encoder, pooler, classifier.
        tie: `none`, `ffn` or `all` (`models.bert.names.TIES`).
        gate_lr: learning rate of the gates (Adam), in ranks of (0, 1).
        observe: share of the steps before the first line is closed; they measure importance.
        ramp: share of the steps at which the sparsity is reached.
        settle: share of the steps from which gates stand still.
        distil: weight of the teacher's answers in the loss, 0 without a teacher.
        temperature: softens the answers of teacher and student.
        bits: code width of the quantisation-aware forward; None trains in float.
        encoding: of the chip that the quantised model is scored as.
        faults: fault model of the chips whose weights the steps see, another chip at each; needs
            `bits` and `rate`. None: none. The model is scored without.
        rate: their fault rate.
        clip_weights: largest magnitude of a weight on crossbars, kept after every step.
        every: steps between scores and checkpoints; 0 means once an epoch.

    Raises:
        ValueError: a field outside its range.
    """

    task: str
    steps: int
    lr: float = 5e-5
    batch: int = 32
    seed: int = 0
    dtype: str = "float32"
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    sparsity: float | None = None
    scope: str = "matrix"
    gates: tuple[str, ...] = ("encoder",)
    tie: str = "all"
    gate_lr: float = 3e-3
    observe: float = 0.1
    ramp: float = 0.5
    settle: float = 0.75
    distil: float = 0.0
    temperature: float = 2.0
    bits: int | None = None
    encoding: str = "offset"
    faults: str | None = None
    rate: float | None = None
    clip_weights: float | None = None
    every: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):  # other libraries' numbers and lists, as JSON and JAX take them
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))
        for name, least in (("steps", 1), ("batch", 1), ("every", 0)):
            value = getattr(self, name)
            _check(name, value, is_integer(value) and value >= least, f"at least {least}")
        good = is_integer(self.seed) and 0 <= self.seed < 2**32
        _check("seed", self.seed, good, "a whole number from 0 to 4294967295")
        for name in ("lr", "clip", "temperature"):
            value = getattr(self, name)
            _check(name, value, is_real(value) and 0 < value < math.inf, "a number above 0")
        for name in ("warmup", "distil", "observe", "ramp", "settle"):
            value = getattr(self, name)
            _check(name, value, is_real(value) and 0 <= value <= 1, "a share from 0 to 1")
        if self.sparsity is not None:
            good = is_real(self.sparsity) and 0 <= self.sparsity < 1
            _check("sparsity", self.sparsity, good, "a share in [0, 1)")
        if self.bits is not None:
            _check("bits", self.bits, is_integer(self.bits) and 2 <= self.bits <= 8, "2 to 8")
        for name, known in (
            ("dtype", DTYPES),
            ("scope", SCOPES),
            ("tie", tuple(TIES)),
            ("encoding", ENCODINGS),
        ):
            value = getattr(self, name)
            _check(name, value, value in known, f"one of {', '.join(known)}")
        check_gateable(self.gates)
        self._check_faults()
        if not self.observe <= self.ramp <= self.settle:
            raise ValueError(
                f"observe {self.observe:g}, ramp {self.ramp:g}, settle {self.settle:g} are out of "
                "order: give them so that none comes before the one named first"
            )
        if self.sparsity is not None and self.settle_step > self.steps:
            raise ValueError(
                f"observe {self.observe:g} leaves none of {self.steps} steps to close gates in: "
                "give less"
            )

    def _check_faults(self) -> None:
        if (self.faults is None) != (self.rate is None):
            raise ValueError(
                f"faults {self.faults!r} and rate {self.rate!r}: give both, such as uniform and "
                "0.01, or neither"
            )
        if self.clip_weights is not None:
            good = is_real(self.clip_weights) and 0 < self.clip_weights < math.inf
            _check("clip_weights", self.clip_weights, good, "a number above 0")
        if self.faults is None:
            return
        good = is_real(self.rate) and 0 <= self.rate < 0.5
        _check("rate", self.rate, good, "a rate in [0, 0.5)")
        if str(self.faults).startswith("map:"):
            raise ValueError(
                f"faults {self.faults}: measured chips are few, and training needs another chip "
                "at every step: give uniform, say"
            )
        fault_model(self.faults)  # raises
        if self.bits is None:
            raise ValueError(f"faults {self.faults} without codes: give bits, such as 8")

    def to_json(self) -> dict[str, Any]:
        """Give the fields as plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "gates": list(self.gates)}

    @property
    def observe_steps(self) -> int:
        """Count the steps in which all gates are open and only importance is measured."""
        return round(self.observe * self.steps)

    def ramp_at(self, step: int) -> float:
        """Compute the share of the way to the full sparsity after `step` steps.

        A cubic rise, steep at first (Zhu and Gupta, *To prune, or not to prune*, 2017, eq. 1).
        """
        span = max(1, round(self.ramp * self.steps) - self.observe_steps)
        passed = min(1.0, max(0.0, (step - self.observe_steps) / span))
        return 1 - (1 - passed) ** 3

    def closes_gates(self, step: int) -> bool:
        """Say whether gates are closed anew after a step, counted from 1."""
        return self.sparsity is not None and self.observe_steps < step <= self.settle_step

    @property
    def settle_step(self) -> int:
        """Count the steps after which gates stand still; they close behind one at least."""
        shares = (self.settle, self.ramp)
        return max(*(round(share * self.steps) for share in shares), self.observe_steps + 1)


def make_recipe(
    task: str,
    examples: int,
    epochs: float | None = None,
    steps: int | None = None,
    lr: float | None = None,
    batch: int | None = None,
    teacher: bool = False,
    **choices: Any,
) -> Recipe:
    """Make a recipe, with the task's own schedule wherever none is given.

    Args:
        task: name of the task.
        examples: training sentences.
        epochs: passes over them.
        steps: in place of epochs.
        lr, batch: as in `Recipe`.
        teacher: whether there is one to distil from; sets `distil`.
        choices: other fields of `Recipe`.

    Raises:
        ValueError: an unknown task, a choice outside its range, or both epochs and steps.
    """
    usual = DEFAULTS.get(find_task(task).name, OWN)
    batch, steps, epochs = (_plain(value) for value in (batch, steps, epochs))
    batch = usual.batch if batch is None else batch
    _check("batch", batch, is_integer(batch) and batch >= 1, "at least 1")
    if epochs is not None and steps is not None:
        raise ValueError(f"epochs {epochs:g} and steps {steps} are both given: give one of them")
    if steps is None:
        passes = usual.epochs if epochs is None else epochs
        _check("epochs", passes, is_real(passes) and 0 < passes < math.inf, "a number above 0")
        steps = max(1, math.ceil(passes * steps_per_epoch(examples, batch)))
    given = {"distil": DISTIL_WEIGHT if teacher else 0.0} | choices
    return Recipe(task, steps, usual.lr if lr is None else lr, batch, **given)


def steps_per_epoch(examples: int, batch: int) -> int:
    """Count the steps in one pass over the data, the last one perhaps not full."""
    return -(-examples // batch)


def first_difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Name the first field in which two runs differ, in words; None if they do not."""
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            return f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
    return None


def _plain(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, list):
        return tuple(value)
    return float(value) if is_real(value) and not is_integer(value) else value


def _check(name: str, value: Any, good: bool, rule: str) -> None:
    if not good:
        raise ValueError(f"{name} {value!r}: give {rule}")
