"""A subject from files: a Hugging Face folder and a GLUE split. No JAX here."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from rerax.campaign.manifest import known_request
from rerax.campaign.subject import Inputs, Subject
from rerax.glue import data as glue
from rerax.glue.label_order import check_override, label_order
from rerax.glue.tasks import find_task
from rerax.io import Place
from rerax.models.bert import convert
from rerax.models.bert.folder import files_hash, load_model
from rerax.pruning.gates import gated_matrices, with_zeros


def read_subject(
    model: str,
    task: str,
    name: str,
    *,
    data: str = glue.HUB,
    split: str = "validation",
    max_examples: int | None = None,
    max_length: int | None = None,
    labels: tuple[str, ...] | None = None,
    out: Place | None = None,
) -> Subject:
    """Identify a model and a split by their files; weights and tokens are loaded when needed.

    Args:
        model: Hugging Face folder or hub id.
        task: GLUE task.
        name: what to call the model.
        data: folder with <task>/<split>.parquet, or hub id.
        split: name of the split.
        max_examples: use only the first so many.
        max_length: most tokens of an example; by default as `glue.data.length_limit` says.
        labels: names of the outputs in order, where config.json has others.
        out: the campaign folder; where it keeps the hash of these examples of the hub, they are
            not fetched before they are needed.

    Raises:
        ValueError: bad model folder or data: the value, the rule, the fix.
    """
    what = find_task(task)
    check_override(what, labels)
    glue.check_request(split, max_examples, max_length)
    directory = convert.locate(model)
    config = convert.read_config(directory)
    order, warning = label_order(what, config.labels, labels)
    if warning:
        warnings.warn(warning, stacklevel=2)
    max_length = glue.length_limit(max_length, config.max_position_embeddings)
    model_hash = files_hash(directory)
    request = f"{data} {task} {split} max-examples={max_examples} max-length={max_length}"
    on_hub = not Path(data).is_dir()
    kept = known_request(out, request) if on_hub else None

    def with_examples() -> Subject:
        examples = glue.read_split(what, data, split, max_examples)

        def load() -> Inputs:
            loaded, params, gates = load_model(directory)
            if set(params["head"]) != {"pooler", "classifier"}:
                raise ValueError(
                    f"{directory} has no classifier: give a model fine-tuned on {task}"
                )
            tokens = glue.tokenise(
                examples,
                glue.load_tokenizer(directory),
                max_length=max_length,
                positions=loaded.max_position_embeddings,
                vocab_size=loaded.vocab_size,
            )
            return Inputs(loaded, with_zeros(params, gates or {}), tokens, gates)

        data_hash = examples.digest(max_length)
        requests = {request: data_hash} if on_hub else {}
        return replace(
            bare,
            data_hash=data_hash,
            labels=examples.labels,
            parts=examples.parts,
            load=load,
            requests=requests,
            words=examples.words,
        )

    bare = Subject(
        task=task,
        model=name,
        model_hash=model_hash,
        data_hash=kept or "",
        order=order,
        order_given=labels is not None,
        labels=np.zeros(0),
        parts=(),
        config=config,
        gated=gated_matrices(directory),
        load=lambda: with_examples().load(),
        source={
            "model": model,
            "data": str(data),
            "split": split,
            "max_examples": max_examples,
            "max_length": max_length,
            "labels": None if labels is None else list(labels),
        },
    )
    return with_examples() if kept is None else replace(bare, fetch=with_examples)
