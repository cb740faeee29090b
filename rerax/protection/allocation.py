"""A protection of its own for every matrix (an allocation), and plans, which become one. No JAX."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int8

from rerax.crossbar.spec import ChipSpec
from rerax.io import at_home
from rerax.protection.base import (
    KNOWLEDGE,
    GatedLines,
    Protection,
    StoredMatrix,
    protection,
    register_protection,
)
from rerax.protection.cost import Ledger
from rerax.protection.unprotected import Unprotected

PREFIX = "allocation:"


@dataclass(frozen=True)
class Allocation(Protection):
    """A protection of its own for every matrix; a matrix that is not named is left alone.

    Attributes:
        chosen: (matrix, its protection), sorted.

    Raises:
        ValueError: a protection that spans matrices or arrays.
    """

    chosen: tuple[tuple[str, Protection], ...]

    def __post_init__(self) -> None:
        for matrix, scheme in self.chosen:
            if scheme.spare_arrays or isinstance(scheme, Allocation | Plan):
                raise ValueError(
                    f"{matrix}={scheme.text} is not for one matrix: use a scheme "
                    "without further arrays"
                )

    @classmethod
    def make(cls, chosen: Mapping[str, str | Protection]) -> "Allocation":
        """Make one from a table of protections or their names; those left alone drop out."""
        for matrix, name in chosen.items():  # nested ones would never end
            if isinstance(name, str) and name.partition(":")[0] in ("allocation", "plan"):
                raise ValueError(
                    f"{matrix}={name} is not for one matrix: use a scheme without further arrays"
                )
        made = {matrix: protection(name) for matrix, name in chosen.items()}
        return cls(tuple(sorted(
            ((m, scheme) for m, scheme in made.items() if scheme != Unprotected()),
            key=lambda pair: pair[0],
        )))  # fmt: skip

    @property
    def text(self) -> str:
        """The one way to write it, understood by `protection`."""
        return PREFIX + "/".join(f"{matrix}={scheme.text}" for matrix, scheme in self.chosen)

    @property
    def named_matrices(self) -> tuple[str, ...]:
        """Those with a protection of their own."""
        return tuple(matrix for matrix, _ in self.chosen)

    def of(self, matrix: str) -> Protection:
        """Look up the protection of one matrix."""
        return dict(self.chosen).get(matrix, Unprotected())

    @property
    def knows(self) -> str:  # type: ignore[override]
        """The most that one of them does."""
        return max(
            (scheme.knows for _, scheme in self.chosen), key=KNOWLEDGE.index, default="nothing"
        )

    def check(self, spec: ChipSpec) -> None:
        """Refuse what the protection of any matrix refuses."""
        for _, scheme in self.chosen:
            scheme.check(spec)

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: GatedLines, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Lay out the matrix as its own protection does."""
        return self.of(matrix).store(codes, lines, spec, matrix)

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Recover words as the matrix's own protection does."""
        return self.of(matrix).recover(arrays, extra, spec, matrix)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count cells and reads as the matrix's own protection does."""
        return self.of(matrix).ledger(row, column, gated, spec, matrix)


@dataclass(frozen=True)
class Plan(Protection):
    """A plan: stands for an allocation that depends on the model, and is found before a sweep.

    Attributes:
        file: saved allocation to read; "": the planner is to find the best for the model.
        erasures: cells known to be stuck are not to vote.
    """

    file: str = ""
    erasures: bool = False

    @property
    def text(self) -> str:
        """`plan`, `plan:erasures` or `plan:FILE`."""
        return "plan" + (f":{self.file}" if self.file else ":erasures" * self.erasures)

    @property
    def knows(self) -> str:  # type: ignore[override]
        """Which cells are stuck, with erasures; of a file, what its allocation knows."""
        if self.file:
            try:
                return self.read().knows
            except ValueError:  # it is told of where the plan is resolved
                return "nothing"
        return "map at reading" if self.erasures else "nothing"

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: GatedLines, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Refuse it.

        Raises:
            ValueError: a plan has to be resolved first.
        """
        raise ValueError(
            f"protection {self.text} depends on the model, and sweeps find it for a BERT: for "
            "another model give one such as msb:2x3:lsb"
        )

    def read(self) -> Allocation:
        """Read the allocation from its file, which `rerax plan --json` wrote, or one like it.

        Raises:
            ValueError: no such file, not JSON, or no allocation in it.
        """
        try:
            content = json.loads(at_home(self.file).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{self.file} is no saved plan ({error}): write one with rerax plan --json FILE"
            ) from None
        chosen = content.get("allocation") if isinstance(content, dict) else None
        if not isinstance(chosen, dict) or not all(isinstance(v, str) for v in chosen.values()):
            raise ValueError(
                f"{self.file} holds no allocation: write one with rerax plan --json FILE"
            )
        return Allocation.make(chosen)


def check_misread(spec: ChipSpec) -> None:
    """Refuse cells that are sensed wrongly, which no plan counts.

    Raises:
        ValueError: they are.
    """
    if spec.misread:
        raise ValueError(
            f"misread {spec.misread:g} is not planned for: plan with misread 0, and sweep the "
            "protection that is found"
        )


def without_planner(scheme: Protection) -> Protection:
    """Read a plan from its file, where nothing is there to find one; others stay as they are.

    Raises:
        ValueError: a plan without a file, or a bad file.
    """
    if not isinstance(scheme, Plan):
        return scheme
    if not scheme.file:
        raise ValueError(
            f"protection {scheme.text} is found by rerax sweep and rerax plan only: give plan:FILE "
            "from rerax plan --json FILE, or one such as msb:2x3:lsb"
        )
    return scheme.read()


def _allocation(parts: list[str]) -> Protection:
    text = ":".join(parts)
    chosen, before = {}, ""
    for item in filter(None, text.split("/")):
        name, equals, scheme = (before + item).partition("=")
        before = "" if equals else f"{name}/"  # names may be paths
        if equals:
            chosen[name] = scheme
    if before or "" in chosen:
        raise ValueError(f"allocation {text!r} is not understood: use MATRIX=PROTECTION/...")
    return Allocation.make(chosen)


def _plan(parts: list[str]) -> Protection:
    if parts in ([], ["erasures"]):
        return Plan(erasures=bool(parts))
    return Plan(":".join(parts))


register_protection("allocation", _allocation, "")  # what a plan becomes; nobody writes it
register_protection("plan", _plan, "plan, plan:FILE")
