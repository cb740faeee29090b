"""What a campaign is about, and the rows that it yields. No JAX here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rerax.campaign import store
from rerax.campaign.point import Point
from rerax.campaign.store import Block
from rerax.glue.tasks import METRICS
from rerax.values import check_integer, rate_text

if TYPE_CHECKING:
    from rerax.glue.data import Examples
    from rerax.models.bert.config import BertConfig


MOST_CHIPS = 10_000_000
"""Of a point: more would not be listed in good time."""


@dataclass(frozen=True)
class Inputs:
    """What an evaluation computes with.

    Attributes:
        config: the model's shape.
        params: its float parameters (`rerax.models.bert.model`), zero under closed gates.
        examples: the tokenised split.
        gates: closed rows and columns, if any (`rerax.pruning.gates`).
    """

    config: "BertConfig"
    params: Any
    examples: "Examples"
    gates: Any = None


@dataclass(frozen=True)
class Subject:
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
        fetch: gives the subject with its examples where only their hash is known yet, as a folder
            keeps it, so that labels and parts are still empty.
        source: where model and examples were read, as `source.read_subject` takes it; no
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
    config: "BertConfig"
    load: Callable[[], Inputs]
    source: Mapping[str, Any] | None = None
    requests: Mapping[str, str] = field(default_factory=dict)
    words: int = 0
    fetch: "Callable[[], Subject] | None" = None
    gated: tuple[str, ...] | None = None
    order_given: bool = False

    def complete(self) -> "Subject":
        """The subject with its examples.

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
        """What a folder fixes for this task and model name."""
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
            (`devices.one_device_a_core`).
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
    """How far a run is: chips done, to do in all, the point at work, and what takes long there."""

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


def unprotected_text(protection: str, matrices: Sequence[str]) -> str:
    """What a reader must know of matrices without gates under a protection that needs them."""
    names = ", ".join(matrices)
    return f"{protection} leaves {names} unprotected: without gates they have no freed cells"


def rows_table(
    point: Point, subject: Subject, settings: Settings, facts: Mapping[str, Any], block: Block
) -> pa.Table:
    """Rows of one block: the point's identity, the chips' outcomes, what is common to them.

    Args:
        point: the point.
        subject: its model and task.
        settings: for the seed.
        facts: columns of outcomes: arrays or lists with an entry for each chip, or one value.
        block: which chips.
    """
    n = block.chips
    columns: dict[str, Any] = {
        **point.columns(),
        "sa1_share": None if point.sa1_share is None else float(point.sa1_share),
        "seed": settings.seed,
        "chip": np.arange(block.first, block.last + 1),
        "examples": len(subject.labels),
        "point_hash": point.hash,
        "model_hash": subject.model_hash,
        "data_hash": subject.data_hash,
        **dict.fromkeys(METRICS),
        **facts,
    }
    arrays = []
    for column in store.SCHEMA:
        value = columns[column.name]
        repeated = value if isinstance(value, list | np.ndarray) else [value] * n
        arrays.append(pa.array(repeated, column.type, from_pandas=True))
    return pa.Table.from_arrays(arrays, schema=store.SCHEMA)
