"""What a campaign evaluates: a model on a task's examples, and how much of it. No JAX here."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rerax.campaign.grid import spread, with_realised_rates
from rerax.campaign.manifest import known_request
from rerax.campaign.point import Point
from rerax.glue import data as glue
from rerax.glue.label_order import check_override, label_order, warn_of_f1
from rerax.glue.selection import Selection
from rerax.glue.tasks import Task, find_task
from rerax.glue.tokenizer_fit import check_fit
from rerax.io import Place
from rerax.models.bert import convert
from rerax.models.bert.config import BertConfig
from rerax.models.bert.folder import files_hash, load_model
from rerax.models.bert.names import matrix_named
from rerax.pruning.gates import gated_matrices, with_zeros
from rerax.values import check_integer, rate_text

MOST_CHIPS = 10_000_000
"""Of a point: more would not be listed in good time."""
TOKENS_A_WORD = 1.3


@dataclass(frozen=True)
class Inputs:
    """What an evaluation computes with.

    Attributes:
        config: the model's shape.
        params: its float parameters (`rerax.models.bert.model`), zero under closed gates.
        examples: the tokenised split.
        gates: closed rows and columns, if any (`rerax.pruning.gates`).
    """

    config: BertConfig
    params: Any
    examples: glue.Examples
    gates: Any = None


@dataclass(frozen=True)
class Workload:
    """One model on one task: identity at once, content only when there is work.

    Attributes:
        task, model: names; together they are the pair that a folder knows.
        model_hash, data_hash: identity of weights and examples.
        order: GLUE label id of each output.
        labels: the split's labels.
        parts: (name, examples) of the split's parts.
        config: the model's shape.
        load: gives the inputs; raises ValueError where they are bad.
        requests: data hash by what was asked of the hub, empty for data in a folder.
        words: words of the examples, for a forecast of the work; 0 where nobody has counted.
        fetch: gives the workload with its examples where only their hash is known yet, as a folder
            keeps it, so that labels and parts are still empty.
        source: where model and examples were read, as `read_workload` takes it; no
            identity.
        gated: matrices that have gates; None where that is only known once they are loaded.
        order_given: whether the user said the order, so that no answers can call it in question.
    """

    task: str
    model: str
    model_hash: str
    data_hash: str
    order: tuple[int, ...]
    labels: np.ndarray
    parts: tuple[tuple[str, int], ...]
    config: BertConfig
    load: Callable[[], Inputs]
    source: Mapping[str, Any] | None = None
    requests: Mapping[str, str] = field(default_factory=dict)
    words: int = 0
    fetch: "Callable[[], Workload] | None" = None
    gated: tuple[str, ...] | None = None
    order_given: bool = False

    @property
    def name(self) -> str:
        """Task and model name, by which a folder knows the workload."""
        return f"{self.task}/{self.model}"

    @property
    def labelled_task(self) -> Task:
        """The task, with the labels that the model's outputs are called by."""
        named = (self.source or {}).get("labels") or self.config.labels
        return find_task(self.task).with_labels(named)

    @property
    def tokens(self) -> float:
        """Estimate of the tokens of all examples."""
        return TOKENS_A_WORD * self.words + 2 * len(self.labels)

    def complete(self) -> "Workload":
        """Fetch the examples where only their hash is known yet.

        Raises:
            ValueError: they are no longer what the folder's rows were computed on.
        """
        if self.fetch is None:
            return self
        whole = self.fetch()
        if whole.data_hash != self.data_hash:
            raise ValueError(
                f"the hub's examples of {self.task} have changed (data_hash "
                f"{self.data_hash[:12]}.. then and {whole.data_hash[:12]}.. now): give the old "
                "ones with --data DIR, or another --out"
            )
        return whole

    def pair(self, input_bits: int | None) -> dict[str, Any]:
        """List what a folder fixes for this task and model name."""
        return {
            "model_hash": self.model_hash,
            "data_hash": self.data_hash,
            "labels": list(self.order),
            "input_bits": input_bits,
        }


@dataclass(frozen=True)
class Settings:
    """How much to run and how; none of it changes a row, but for `lanes` its platform.

    Attributes:
        chips: chips of every point, from chip 0 on.
        seed: the campaign's seed.
        chunk: chips a dispatch; None lets memory and pace decide.
        lanes: width of the `vmap` over chips; None takes the backend's.
        reuse: start chips at their first faulty layer, from the clean chip's activations.
        all_cores: make a CPU device of each core, where JAX has not started
            (`evaluate.devices`).
        command: the command line that asked, if one did; kept in the provenance.
    """

    chips: int = 64
    seed: int = 0
    chunk: int | None = None
    lanes: int | None = None
    reuse: bool = True
    all_cores: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("chips", "chunk", "lanes"):
            value = getattr(self, name)
            if value is not None:
                check_integer(name, value)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} is too few: give at least 1")
            if value is not None and value > MOST_CHIPS:
                raise ValueError(f"{name} {value} is too many: give at most {MOST_CHIPS}")
        check_integer("seed", self.seed)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed {self.seed} is outside 0..4294967295: give one in the range")


@dataclass(frozen=True)
class Progress:
    """How far a run is: chips done, to do in all (0: not known), the point, what takes long."""

    done: int
    total: int
    point: Point
    what: str = ""

    @property
    def text(self) -> str:
        """The point in words."""
        at = self.point
        where = "" if at.faulty is None else f" in {at.faulty.text}"
        what = f"{self.what}, " if self.what else ""
        return f"{what}{at.task} {at.encoding} {at.fault.text}{where} rate {rate_text(at.rate)}"


def unprotected_text(protections: Sequence[str], matrices: Sequence[str]) -> str:
    """Say which matrices some protections leave alone, having no gates."""
    who, names = ", ".join(protections), ", ".join(matrices)
    leave = "leaves" if len(protections) == 1 else "leave"
    closest = all(name.endswith(":closest") for name in protections)
    how = "with nearest values alone" if closest else "unprotected"
    return f"{who} {leave} {names} {how}: without gates they have no freed cells"


def read_workload(
    model: str,
    task: str,
    name: str,
    *,
    out: Place | None = None,
    **selection: Any,
) -> Workload:
    """Identify a model and a split by their files; weights and tokens are loaded when needed.

    Args:
        model: Hugging Face folder or hub id.
        task: name of a GLUE task, or NAME:METRIC of one of one's own.
        name: what to call the model.
        out: the campaign folder; where it keeps the hash of these examples of the hub, they are
            not fetched before they are needed.
        selection: `data`, `split` and the other fields of `glue.selection.Selection`.

    Raises:
        ValueError: bad model folder or data: the value, the rule, the fix.
    """
    chosen = Selection(**selection)
    what = chosen.task(task)
    if what.is_glue:
        check_override(what, chosen.labels)
    directory = convert.locate(model)
    config = convert.read_config(directory)
    what = what.with_labels(chosen.labels or config.labels)
    warn_of_f1(what, f"{task} of {name}")
    order, warning = label_order(what, config.labels, chosen.labels)
    if warning:
        warnings.warn(warning, stacklevel=2)
    max_length = chosen.length(config.positions)
    chosen = replace(chosen, max_length=max_length)
    model_hash = files_hash(directory)
    request = chosen.request(what)
    on_hub = not Path(chosen.data).exists()
    kept = known_request(out, request) if on_hub else None

    def with_examples() -> Workload:
        examples = glue.read_split(what, chosen.data, chosen.split, chosen.max_examples)

        def load() -> Inputs:
            loaded, params, gates = load_model(directory)
            if set(params["head"]) != {"pooler", "classifier"}:
                raise ValueError(
                    f"{directory} has no classifier: give a model fine-tuned on {task}"
                )
            tokenizer = glue.load_tokenizer(directory)
            check_fit(directory, tokenizer, loaded)
            tokens = glue.tokenise(
                examples,
                tokenizer,
                max_length=max_length,
                positions=loaded.positions,
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

    bare = Workload(
        task=task,
        model=name,
        model_hash=model_hash,
        data_hash=kept or "",
        order=order,
        order_given=chosen.labels is not None,
        labels=np.zeros(0),
        parts=(),
        config=config,
        gated=tuple(map(matrix_named, gated_matrices(directory))),
        load=lambda: with_examples().load(),
        source={"model": model, **asdict(chosen)},
    )
    return with_examples() if kept is None else replace(bare, fetch=with_examples)


def workloads_of(
    points: Sequence[Point],
    models: Mapping[str, str],
    scopes: Sequence[str | None] = (None,),
    **options: Any,
) -> list[tuple[Workload, Sequence[Point]]]:
    """Identify the workloads of some points, in the order in which they first appear.

    Args:
        points: the points.
        models: folder or hub id of each model, by name.
        scopes: where faults act (`grid.spread`).
        options: see `read_workload`.

    Raises:
        ValueError: a bad model or data set.
    """
    pairs: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        pairs.setdefault((point.task, point.model), []).append(point)
    parts: list[tuple[Workload, Sequence[Point]]] = []
    for (task, model), own in pairs.items():
        workload = read_workload(models[model], task, model, **options)
        realised = with_realised_rates(own, workload.config)
        layers = workload.config.layers
        parts.append(
            (workload, realised if scopes == (None,) else spread(realised, scopes, layers))
        )
    return parts
