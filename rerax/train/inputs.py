"""What a training run reads: model, teacher and sentences, all checked before anything is written.

A classifier is kept where the names of its outputs say what they mean; otherwise it is drawn anew.
"""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rerax.crossbar import keys
from rerax.glue import data as glue
from rerax.glue.checks import check_segments, check_tokens
from rerax.glue.label_order import label_order, named_order, warn_of_f1
from rerax.glue.selection import Selection
from rerax.glue.tasks import Task, plain_name
from rerax.glue.tokenizer_fit import PROBE, check_fit
from rerax.models.bert import convert
from rerax.models.bert.config import BertConfig
from rerax.models.bert.folder import Model, files_hash, load_model
from rerax.models.bert.model import init_params
from rerax.models.bert.names import TIES, gated_shapes
from rerax.pruning.budget import weights_to_free
from rerax.pruning.gates import FILE
from rerax.train.recipe import Recipe


@dataclass(frozen=True)
class TrainingInputs:
    """All that a training run reads.

    Attributes:
        recipe: the run's choices.
        task: the task.
        model: where training starts, with the task's labels; gates are those of its folder.
        order: GLUE label id of each output.
        train, dev: the splits.
        train_tokens, dev_tokens: the same, tokenised.
        teacher_tokens: the training split as the teacher reads it, with its own segment ids.
        source: folder whose tokenizer goes with the trained model.
        teacher: model to imitate, and GLUE label id of each of its outputs, if any.
        identity: all that decides the result, for a resumed run to compare.
    """

    recipe: Recipe
    task: Task
    model: Model
    order: tuple[int, ...]
    train: glue.Split
    dev: glue.Split
    train_tokens: glue.Examples
    dev_tokens: glue.Examples
    teacher_tokens: glue.Examples
    source: Path
    teacher: tuple[Model, tuple[int, ...]] | None
    identity: Mapping[str, Any]


def read_training_inputs(
    recipe: Callable[[int], Recipe],
    model: str,
    task: str,
    *,
    split: str = "train",
    teacher: str | None = None,
    **selection: Any,
) -> TrainingInputs:
    """Read and check model, teacher and sentences.

    Args:
        recipe: gives the recipe for a number of training sentences.
        model: Hugging Face folder or hub id to start from, with or without a classifier.
        task: name of a GLUE task, or NAME:METRIC of one of one's own.
        split: split to learn from; the task's validation split gives the scores.
        teacher: folder or hub id of the model to distil from.
        selection: `data`, `max_examples` and the other fields of `glue.selection.Selection`, of
            the training sentences.

    Raises:
        ValueError: bad model, data or choice: the value, the rule, the fix.
    """
    asked = Selection(split=split, **selection)
    what = asked.task(task)
    if Path(asked.data).is_file():
        raise ValueError(
            f"data {asked.data} is one file: give a folder with {split}.csv to learn from and "
            "validation.csv for the scores"
        )
    directory = convert.locate(model)
    if not what.is_glue and not what.is_regression:
        what = what.with_labels(asked.labels or _own_labels(what, asked, directory))
    max_length = asked.length(convert.read_config(directory).positions)
    train = glue.read_split(what, asked.data, asked.split, asked.max_examples)
    dev = glue.read_split(what, asked.data, "validation")
    chosen = recipe(len(train.labels))
    if (teacher is None) != (chosen.distil == 0):
        raise ValueError(
            f"distil {chosen.distil:g} {'without' if teacher is None else 'with'} a teacher: give "
            "a weight above 0 and a teacher, or 0 and none"
        )
    config, params, gates = load_model(directory)
    config, order, keeps_classifier = _outputs(what, config, params, asked.labels)
    if not keeps_classifier:
        params = _with_new_classifier(config, params, chosen.seed)
    _check_gates(chosen, params, gates)
    tokenizer = glue.load_tokenizer(directory)
    check_fit(directory, tokenizer, config)

    taught_by = None if teacher is None else _read_teacher(what, teacher)

    def tokens(split: glue.Split, by: Any = tokenizer) -> glue.Examples:
        return glue.tokenise(
            split,
            by,
            max_length=max_length,
            positions=config.positions,
            vocab_size=config.vocab_size,
        )

    train_tokens, dev_tokens = tokens(train), tokens(dev)
    for examples in (train_tokens, dev_tokens):
        check_segments(examples, config)
    teacher_tokens = train_tokens
    if teacher is not None and taught_by is not None:
        check_fit(directory, tokenizer, taught_by[0].config, teacher)
        if glue.has_tokenizer(convert.locate(teacher)):
            its = _tokenizer_of(teacher, tokenizer)
            if its.model_input_names != tokenizer.model_input_names:
                teacher_tokens = tokens(train, its)
        _check_tokens(teacher, taught_by[0].config, teacher_tokens)
    warn_of_f1(what, task)
    identity = {
        **chosen.to_json(),
        "model": files_hash(directory),
        "labels": list(order) if what.is_glue else list(what.labels),
        "train data": train.digest(max_length),
        "validation data": dev.digest(max_length),
        "teacher": None if teacher is None else files_hash(convert.locate(teacher)),
    }
    return TrainingInputs(
        chosen, what, Model(config, params, gates), order, train, dev, train_tokens,
        dev_tokens, teacher_tokens, directory, taught_by, identity,
    )  # fmt: skip


def _own_labels(task: Task, asked: Selection, directory: Path) -> tuple[str, ...]:
    """List the labels of a task of one's own, in the order of the model where it has them all."""
    found = glue.own_labels(task, asked.data, asked.split)
    held = convert.read_config(directory).labels
    return held if sorted(map(plain_name, held)) == sorted(map(plain_name, found)) else found


def _outputs(
    task: Task, config: BertConfig, params: Any, labels: tuple[str, ...] | None
) -> tuple[BertConfig, tuple[int, ...], bool]:
    """Name the outputs: config with their names, their GLUE ids, whether the classifier is kept."""
    names = task.labels or ("score",)
    fits = {"pooler", "classifier"} <= set(params["head"]) and config.num_labels == task.num_labels
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


def _with_new_classifier(config: BertConfig, params: Any, seed: int) -> Any:
    """Draw a new classifier, and a new pooler where there is none."""
    key = keys.training_key(keys.root_key(seed), "head", 0)
    new = jax.device_get(init_params(config, key))["head"]
    head = {"pooler": params["head"].get("pooler", new["pooler"]), "classifier": new["classifier"]}
    return {**params, "head": head}


def _check_gates(recipe: Recipe, params: Any, gates: Any) -> None:
    if recipe.sparsity is None:
        return
    for sides in TIES[recipe.tie].values() if gates is not None else ():
        tied = [np.asarray(gates[matrix][side]) for matrix, side in sides if matrix in gates]
        if any(not np.array_equal(tied[0], other) for other in tied[1:]):
            raise ValueError(
                f"tie {recipe.tie} makes one of the gates of {' and '.join(m for m, _ in sides)}, "
                f"which differ in the model's {FILE}: give the tie that it was pruned with"
            )
    shapes = gated_shapes(params, recipe.gates)
    weights_to_free(shapes, recipe.sparsity, recipe.scope)  # raises where it is out of reach
    if gates is not None and set(gates) != set(shapes):
        raise ValueError(
            f"gates {','.join(recipe.gates)} are not those in the model's {FILE} "
            f"({', '.join(sorted(gates))}): gate the same matrices, or start from a dense model"
        )


_FIX = "distil from a model that has the student's tokenizer"


def _tokenizer_of(teacher: str, tokenizer: Any) -> Any:
    """Load the teacher's tokenizer, which must read as the student's does.

    Raises:
        ValueError: another vocabulary, or other tokens.
    """
    its = glue.load_tokenizer(convert.locate(teacher))
    read = [(one.get_vocab(), one(PROBE).input_ids) for one in (tokenizer, its)]
    if read[0] != read[1]:
        raise ValueError(f"{teacher} has another tokenizer than the student: {_FIX}")
    return its


def _check_tokens(teacher: str, config: BertConfig, examples: glue.Examples) -> None:
    """Refuse a teacher that has no embedding for some token.

    Raises:
        ValueError: which.
    """
    try:
        check_tokens(examples, config, "the teacher")
    except ValueError as error:
        raise ValueError(f"{teacher}: {str(error).rpartition(': ')[0]}: {_FIX}") from None


def _read_teacher(task: Task, teacher: str) -> tuple[Model, tuple[int, ...]]:
    model = load_model(convert.locate(teacher))
    if set(model.params["head"]) != {"pooler", "classifier"}:
        raise ValueError(f"{teacher} has no classifier: distil from one trained on {task.name}")
    try:
        order, warning = label_order(task, model.config.labels)
    except ValueError as error:
        why = str(error).partition(": give ")[0]
        raise ValueError(f"{teacher}: {why}: mend id2label in its config.json") from None
    if warning:
        warnings.warn(f"{teacher}: {warning.partition(' (')[0]}", stacklevel=2)
    return model, order
