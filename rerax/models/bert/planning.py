"""Plans for a whole model: what the planner asks of it, and what a protection takes in it."""

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rerax._types import Params
from rerax.crossbar.quantise import quantise
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Odds
from rerax.io import write_new_json
from rerax.models.bert.config import BertConfig
from rerax.models.bert.crossbars import weights_of
from rerax.models.bert.names import MATRICES
from rerax.models.bert.sensitivity import input_power, read_sensitivity, sensitivity
from rerax.models.stored import open_rows_and_columns
from rerax.protection import (
    Allocation,
    FaultAware,
    Ledger,
    Misses,
    Protection,
    Unprotected,
    check_named,
    left_bare,
)
from rerax.protection.planner import MatrixProfile, allocate, damage
from rerax.pruning.gates import Gates, open_cells, with_zeros


@dataclass(frozen=True)
class ModelProfile:
    """What the planner has to know of a model.

    Attributes:
        params: its float parameters (`rerax.models.bert.model`).
        config: its shape.
        gates: closed rows and columns, if any.
        weights_file: .npz file of sensitivities (`sensitivity`); None takes the default.
    """

    params: Params
    config: BertConfig
    gates: Gates | None = None
    weights_file: str | None = None

    @functools.cached_property
    def powers(self) -> Mapping[str, np.ndarray]:
        """Mean square of each matrix's inputs in a clean pass, the same for every spec."""
        return input_power(with_zeros(self.params, self.gates or {}), self.config)

    def matrices(self, spec: ChipSpec, groups: tuple[str, ...]) -> dict[str, MatrixProfile]:
        """Compute codes, open lines and sensitivity of every matrix on crossbars.

        Raises:
            ValueError: a bad file of sensitivities, an unknown group.
        """
        weights = weights_of(self.params, groups)
        gates = self.gates or {}
        codes, scales = {}, {}
        for name, weight in weights.items():
            gate = gates.get(name)
            kept = None if gate is None else open_cells(gate["row"], gate["column"])
            codes[name], scales[name] = quantise(np.asarray(weight), spec.bits, kept)
        if self.weights_file is None:
            rows = {name: weight.shape[-2] for name, weight in weights.items()}
            harm = sensitivity(scales, self.powers, rows)
        else:
            harm = read_sensitivity(self.weights_file, scales)
        return {
            name: MatrixProfile(
                code.reshape(-1, *code.shape[-2:]),
                *open_rows_and_columns(code.shape, gates.get(name)),
                name in gates,
                harm[name].reshape(-1, code.shape[-1]),
            )
            for name, code in codes.items()
        }

    def allocate(
        self, spec: ChipSpec, groups: tuple[str, ...], chances: Odds, erasures: bool = False
    ) -> Allocation:
        """Choose the allocation of least expected damage (`protection.planner.allocate`)."""
        return allocate(self.matrices(spec, groups), chances, spec, erasures)


class Account(NamedTuple):
    """What a protection does in one matrix, its layers added up.

    Attributes:
        protection: name of what protects it.
        ledger: its cells and reads.
        misses: voted bits whose images are not kept apart.
        plain, protected: expected damage without protection, and with it; NaN for a protection
            whose arithmetic is not known.
    """

    protection: str
    ledger: Ledger
    misses: Misses
    plain: float
    protected: float


def account(
    scheme: Protection, matrices: Mapping[str, MatrixProfile], chances: Odds, spec: ChipSpec
) -> dict[str, Account]:
    """Account for a protection: what it stores in every matrix, and the damage that it saves.

    Args:
        scheme: the protection.
        matrices: the model (`ModelProfile.matrices`).
        chances: odds of a cell at the design rate.
        spec: geometry.

    Raises:
        ValueError: an unknown protection, a matrix without room for it, or none with the gates
            that it needs.
    """
    check_named(scheme, MATRICES)
    left_bare(scheme, {matrix: known.gated for matrix, known in matrices.items()})  # raises
    books = {}
    for matrix, known in matrices.items():
        ledger, misses, own = Ledger(), Misses(), _acting(scheme, matrix, known)
        for row, column in zip(known.row, known.column, strict=True):
            ledger += own.ledger(row, column, known.gated, spec, matrix)
            misses += own.misses(row, column, spec)
        books[matrix] = (own.text, ledger, misses)
    plain = expected_damage(Unprotected(), matrices, chances, spec)
    protected = expected_damage(scheme, matrices, chances, spec)
    return {
        matrix: Account(*book, plain[matrix], protected[matrix]) for matrix, book in books.items()
    }


def expected_damage(
    scheme: Protection, matrices: Mapping[str, MatrixProfile], chances: Odds, spec: ChipSpec
) -> dict[str, float]:
    """Compute the damage expected in every matrix, without laying anything out.

    Args:
        scheme: the protection.
        matrices: the model (`ModelProfile.matrices`).
        chances: odds of a cell.
        spec: geometry.

    Returns:
        Damage (`protection.planner.damage`); NaN for a protection whose arithmetic is not known.
    """
    found = {}
    for matrix, known in matrices.items():
        try:
            found[matrix] = damage(_acting(scheme, matrix, known), known, chances, spec)
        except TypeError:
            found[matrix] = float("nan")
    return found


def _acting(scheme: Protection, matrix: str, known: MatrixProfile) -> Protection:
    """Find what protects a matrix: without the gates that its protection needs, nothing, or
    nearest values alone."""
    own = scheme.of(matrix)
    if known.gated or not own.needs_gates:
        return own
    return FaultAware() if getattr(own, "closest", False) else Unprotected()


def total(accounts: Mapping[str, Account]) -> Account:
    """Add up the accounts of all matrices."""
    ledger, misses, plain, protected = Ledger(), Misses(), 0.0, 0.0
    for one in accounts.values():
        ledger += one.ledger
        misses += one.misses
        plain += one.plain
        protected += one.protected
    return Account("", ledger, misses, plain, protected)


def save_plan(path: Path, accounts: Mapping[str, Account], design: Mapping[str, Any]) -> None:
    """Write accounts as JSON; `--protection plan:FILE` takes what they say is stored where.

    Args:
        path: the file.
        accounts: of every matrix (`account`).
        design: what was asked, for the reader.
    """
    chosen = {matrix: one.protection for matrix, one in accounts.items()}
    table = {
        matrix: {
            "protection": one.protection,
            **asdict(one.ledger),
            "misses": asdict(one.misses),
            "damage": None if isnan(one.protected) else one.protected,
            "damage_unprotected": None if isnan(one.plain) else one.plain,
        }
        for matrix, one in accounts.items()
    }
    content = {"allocation": chosen, "design": dict(design), "matrices": table}
    write_new_json(path, content)
