"""The part of a run that computes: from blocks to rows. Imported once there is work."""

import threading
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from rerax.campaign.block import Block
from rerax.campaign.chip_rows import in_half_precision, repeat, rows_table
from rerax.campaign.estimates import DIFFERENCE, estimated_scores
from rerax.campaign.ledgers import metadata_bits, reads_and_bare_matrices
from rerax.campaign.origin import when_and_where
from rerax.campaign.point import Point
from rerax.campaign.sample_table import SampleTable
from rerax.campaign.workload import Inputs, Progress, Settings, Workload, unprotected_text
from rerax.evaluate import engine, prefix_cache
from rerax.evaluate.sampled import SampledEvaluator
from rerax.faults import DEFAULT_SA1_SHARE, Measured
from rerax.faults.mask import FaultMask, Faults
from rerax.faults.read_out import Counts
from rerax.faults.sampling.rates import RateTable, rate_table
from rerax.glue.checks import check_tokens
from rerax.glue.label_order import check_answers
from rerax.glue.metrics import correct_bits, predictions_of, scores
from rerax.io import at_home
from rerax.models.bert import crossbars
from rerax.protection import Unprotected
from rerax.sealed import digest


@dataclass(frozen=True)
class Worker:
    """A loaded workload on the device, ready to evaluate any of its points.

    Attributes:
        workload: identity of model and task.
        settings: chips, seed, pace.
        inputs: the loaded model and examples.
        batches: the examples in fixed shapes.
        platform: on what the scores are computed; scores are bit-equal within one.
        device: where it computes; None: where JAX does by default.
        programmed: the last model laid out, by what decides it.
        kept: the clean streams of that model that chips started from last.
        floats: float scores by hash, of the pass that the labels were checked by.
        maps: files of measured chips, by what names them in rows.
        bare: matrices that each protection leaves unprotected, having no gates.
        reads: cells sensed for a kept weight, by what decides how it is stored.
        making: locks of the reference scores that the workers of all devices share, by hash.
        tables: by which chips draw examples, by what points say of them.
        answered: the clean chip's logits in the rows of a table, by hash.
    """

    workload: Workload
    settings: Settings
    inputs: Inputs
    batches: Any
    platform: str
    device: jax.Device | None = None
    programmed: dict[Any, Any] = field(default_factory=dict)
    kept: dict[Any, prefix_cache.PrefixCache | None] = field(default_factory=dict)
    floats: dict[str, float] = field(default_factory=dict)
    maps: dict[str, str] = field(default_factory=dict)
    bare: dict[str, list[str]] = field(default_factory=dict)
    reads: list[dict[str, Any]] = field(default_factory=list)
    making: dict[str, threading.Lock] = field(default_factory=dict)
    tables: Mapping[str, SampleTable] = field(default_factory=dict)
    answered: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        workload: Workload,
        settings: Settings,
        points: Sequence[Point],
        tables: Iterable[SampleTable] = (),
    ) -> "Worker":
        """Load and check the inputs.

        Raises:
            ValueError: bad weights or examples, an unknown fault model or protection, a matrix
                without room for it, no matrix with the gates that it needs, or examples drawn by
                a table that is not among those given.
        """
        by_text = {table.text: table for table in tables}
        for point in points:
            if point.sampled is not None and point.sampled not in by_text:
                raise ValueError(
                    f"examples are drawn by {point.sampled}, a table that is not at hand: ask for "
                    "--examples-per-chip"
                )
        for point in points:
            if point.faulty is not None:
                layers = workload.config.layers
                point.faulty.check(point.matrices, point.spec, layers)  # raises
        inputs = workload.load()
        reads, bare = reads_and_bare_matrices(points, inputs)  # raises
        for name, matrices in bare.items():
            warnings.warn(unprotected_text([name], matrices), stacklevel=2)
        check_tokens(inputs.examples, inputs.config)
        outputs = inputs.config.num_labels
        if len(workload.order) != outputs:
            raise ValueError(
                f"the model has {outputs} outputs, {workload.task} needs {len(workload.order)}: "
                f"give a model fine-tuned on {workload.task}"
            )
        return cls(
            workload,
            settings,
            inputs,
            engine.batches_of(inputs.config, inputs.examples),
            engine.platform_name(settings.lanes),
            maps={
                p.fault.name: str(at_home(p.fault.path).absolute())
                for p in points
                if isinstance(p.fault, Measured)
            },
            bare=bare,
            reads=reads,
            tables=by_text,
        )

    def on_each_device(self) -> "list[Worker]":
        """Make a worker for each device of this process, or for the one that the user has chosen.

        Each runs the very executable that a single device would: that is why the bits agree.
        """
        devices = jax.local_devices()
        chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
        if len(devices) == 1 or chosen is not None:
            return [self]
        return [replace(self, device=device, programmed={}, kept={}) for device in devices]

    @property
    def lanes(self) -> int:
        """Chips that a device evaluates side by side."""
        backend = jax.default_backend()
        return self.settings.lanes or engine.lane_width(self.inputs.config, backend)

    def provenance(self) -> dict[str, Any]:
        """Say when, where and with which versions this run is made; never hashed."""
        pair = self.workload.name
        return {
            **when_and_where(),
            "platform": self.platform,
            "devices": jax.device_count(),
            "sources": {pair: self.workload.source},
            "maps": self.maps,
            "unprotected": {pair: self.bare} if self.bare else {},
            "reads": self.reads,
            **({"command": self.settings.command} if self.settings.command else {}),
        }

    def rows(
        self, point: Point, block: Block, known: dict[str, float]
    ) -> Generator[Progress, None, pa.Table]:
        """Evaluate some chips of a point.

        Args:
            point: the point.
            block: which of its chips.
            known: reference scores by hash; those made here are added.

        Yields:
            The chips of each dispatch, and before them what takes long.

        Returns:
            Their rows.
        """
        if _model_of(point) not in self.programmed:
            yield Progress(0, block.chips, point, "compiling")
        floating = self.float_score(point, known)
        clean = self.clean_score(point, known)  # last: mostly laid out as the point itself is
        chips = range(block.first, block.last + 1)
        if point.is_clean:  # every chip of such a point is the same chip
            facts = self.facts(point, range(1))
            facts = {name: repeat(value, block.chips) for name, value in facts.items()}
            yield Progress(block.chips, block.chips, point)
        elif point.sampled is not None:
            sampled = []
            for drawn in self.sampled(point).outcomes(
                self.settings.seed, chips, self.faults_at(point)
            ):
                sampled.append(drawn)
                yield Progress(len(drawn.logits), block.chips, point)
            table = self.tables[point.sampled]
            facts = {
                **estimated_scores(self.workload, table, self.clean_right(point), sampled),
                **self._about(point, [o.counts for o in sampled]),
            }
        else:
            outcomes = []
            for outcome in self.outcomes(point, chips):
                outcomes.append(outcome)
                yield Progress(len(outcome.logits), block.chips, point)
            facts = self._facts(point, outcomes)
        facts |= {"clean_score": clean, "float_score": floating, "platform": self.platform}
        return rows_table(point, self.workload, self.settings.seed, facts, block)

    def clean_score(self, point: Point, known: dict[str, float]) -> float:
        """Compute the score of the point's chip without faults, once; `known` is filled in."""
        key = digest({"clean": point.clean_hash, **self._pair(point)})
        if point.sampled is not None and key not in known:
            known[key] = float(self.scored(self.clean_logits(point))["score"][0])
        return self._made_once(key, known, point.clean)

    def _made_once(self, key: str, known: dict[str, float], point: Point) -> float:
        """Get a reference score, computed by whichever device needs it first; the others wait.

        That one compiles alone as well, so that first rows come as soon as from a single device.
        """
        with self.making.setdefault(key, threading.Lock()):
            if key not in known:
                known[key] = float(self.facts(point, range(1))["score"][0])
        return known[key]

    def check_labels(self, point: Point, known: Mapping[str, float]) -> None:
        """Look at the float model's answers, unless its score is known or the user said the order.

        Raises:
            ValueError: they tell of permuted labels (`label_order.check_answers`).
        """
        workload = self.workload
        if workload.order_given or self._float_key(point) in known:
            return
        logits = np.concatenate([o.logits for o in self.outcomes(plain_point(point), range(1))])
        task = workload.labelled_task
        (answers,) = predictions_of(task, logits, workload.order)
        warning = check_answers(task, workload.order, answers, workload.labels)
        if warning:
            warnings.warn(warning, stacklevel=2)
        self.floats[self._float_key(point)] = float(self.scored(logits)["score"][0])

    def _float_key(self, point: Point) -> str:
        return digest({"float": [point.task, point.model], **self._pair(point)})

    def float_score(self, point: Point, known: dict[str, float]) -> float:
        """Get the float model's score; what is made is added to those known."""
        key = self._float_key(point)
        if key not in known and key in self.floats:
            known[key] = self.floats[key]
        return self._made_once(key, known, plain_point(point))

    def _pair(self, point: Point) -> dict[str, Any]:
        return self.workload.pair(point.input_bits)

    def facts(self, point: Point, chips: range) -> dict[str, Any]:
        """Evaluate some chips of a point, and give the columns of what came out."""
        return self._facts(point, list(self.outcomes(point, chips)))

    def _facts(self, point: Point, outcomes: Sequence[engine.Outcome]) -> dict[str, Any]:
        scored = self.scored(np.concatenate([o.logits for o in outcomes]))
        if point.sampled is not None:  # the clean chip, which answers all
            scored |= {"correct": None, "estimator": DIFFERENCE}
            scored["examples_drawn"] = len(self.workload.labels)
        return {**scored, **self._about(point, [o.counts for o in outcomes])}

    def clean_right(self, point: Point) -> np.ndarray:
        """Find which examples the clean chip gets right, in the rows that chips draw from."""
        return self.right(self.clean_logits(point))[0]

    def clean_logits(self, point: Point) -> np.ndarray:
        """Compute the clean chip's logits on all examples, [1, E, N], in those rows, once."""
        key = digest([point.clean_hash, self._pair(point)])
        with self.making.setdefault(key, threading.Lock()):
            if key not in self.answered:
                self.answered[key] = self.logits(point.clean, range(1))
        return self.answered[key]

    def logits(self, point: Point, chips: range) -> np.ndarray:
        """Compute the logits of some chips on all examples, [chips, E, N]."""
        return np.concatenate([outcome.logits for outcome in self.outcomes(point, chips)])

    def right(self, logits: np.ndarray) -> np.ndarray:
        """Decide which examples are answered right, [chips, E]."""
        workload = self.workload
        return predictions_of(workload.labelled_task, logits, workload.order) == workload.labels

    def _about(self, point: Point, counts_of: Sequence[Counts]) -> dict[str, Any]:
        """Give the columns of faulty cells and of what the point stores."""
        counts = Counts(*map(np.concatenate, zip(*counts_of, strict=True)))
        stored = self.prepared(point).stored
        return {
            **counts._asdict(),
            "cells": stored.cells + stored.spare_cells,
            "cells_dense": stored.cells,
            "sparsity": crossbars.sparsity(self.inputs.params, point.matrices, self.inputs.gates),
            "knows": point.protection.knows,
            "metadata_bits": metadata_bits(point, self.inputs),
        }

    def outcomes(self, point: Point, chips: range) -> Iterator[engine.Outcome]:
        """Evaluate some chips, and yield the answers and faulty cells of each dispatch."""
        if point.sampled is not None:
            return self.sampled(point).clean.outcomes(
                self.settings.seed, chips, self.faults_at(point)
            )
        mask, prefixes = self._restricted(point)
        faults = Faults(rates_of(point), mask)
        return self.whole(point).outcomes(self.settings.seed, chips, faults, prefixes)

    def faults_at(self, point: Point) -> Faults:
        """Make the faults of a point's chips."""
        scope, layers = point.faulty, self.inputs.config.layers
        mask = None if scope is None else crossbars.fault_mask(scope, point.matrices, layers)
        return Faults(rates_of(point), mask)

    def whole(self, point: Point) -> engine.Evaluator:
        """Prepare a point whose chips answer all examples."""
        found = self.prepared(point)
        assert isinstance(found, engine.Evaluator)
        return found

    def sampled(self, point: Point) -> SampledEvaluator:
        """Prepare a point whose chips draw their examples."""
        found = self.prepared(point)
        assert isinstance(found, SampledEvaluator)
        return found

    def scored(self, logits: np.ndarray) -> dict[str, Any]:
        """Score chips by their logits on all examples, [chips, E, N], as columns of rows."""
        task, labels = self.workload.labelled_task, self.workload.labels
        answers = predictions_of(task, logits, self.workload.order)
        scored: dict[str, Any] = dict(scores(task, answers, labels, self.workload.parts))
        if task.is_regression:
            return {**scored, "correct": None, "prediction": list(in_half_precision(answers))}
        return {**scored, "correct": correct_bits(answers, labels), "prediction": None}

    def _restricted(
        self, point: Point
    ) -> tuple[FaultMask | None, tuple[engine.CleanPrefix, ...] | None]:
        """Find where the point's faults act, and the clean streams from which its chips start."""
        scope, layers = point.faulty, self.inputs.config.layers
        if scope is None:
            return None, None
        mask = crossbars.fault_mask(scope, point.matrices, layers)
        first = scope.first_layer(point.matrices, layers)
        if first is None or not self.settings.reuse:
            return mask, None
        evaluator = self.whole(point)
        kept = prefix_cache.clean_prefixes(evaluator, first, mask, self.kept.get("last"))
        self.kept["last"] = kept
        return mask, None if kept is None else kept.prefixes

    def prepared(self, point: Point) -> engine.Evaluator | SampledEvaluator:
        """Put model and examples on the device as a point has them; the last are kept."""
        key = _model_of(point)
        if key not in self.programmed:
            self.programmed.clear()
            self.kept.clear()
            inputs = self.inputs
            network = engine.Network(inputs.config, point.dtype, self.lanes)
            stored = crossbars.program_bert(
                inputs.params, point.hardware, point.matrices, inputs.gates
            )
            how = (self.settings.chunk, self.device)
            if point.sampled is None:
                made: Any = engine.Evaluator.make(network, stored, self.batches, *how)
            else:
                table = self.tables[point.sampled]
                table.check_fits([len(ids) for ids in inputs.examples.ids])
                rows = (table.rows, table.chances)
                made = SampledEvaluator.make(network, stored, inputs.examples, *rows, *how)
            self.programmed[key] = made
        return self.programmed[key]


def rates_of(point: Point) -> RateTable:
    """Make the sampler's table of a point's rate and share."""
    share = DEFAULT_SA1_SHARE if point.sa1_share is None else point.sa1_share
    return rate_table(point.rate, share, point.fault, point.tested)


def _model_of(point: Point) -> Point:
    """Name how a point's model is laid out: the point without its faults."""
    return replace(point, rate=0.0, sa1_share=None, faulty=None)


def plain_point(point: Point) -> Point:
    """Make the point whose model has no codes and no faults."""
    fault_free = replace(point.clean, faulty=None, protection=Unprotected(), sampled=None)
    return replace(fault_free, dtype="float32", matrices=(), bits=8)
