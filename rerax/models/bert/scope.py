"""Where faults act: chosen layers, matrices or bit planes of a chip. No JAX here.

A scope moves no fault: a chip has the stuck cells that it has, and those outside the scope read
what was written. It is text of up to three parts, `layers=0+3;matrices=query+key;bits=7`; a part
that is left out restricts nothing.

*Layers* are the encoder's, from 0; with them, faults act in the encoder's matrices alone. *Bits*
are the stored bits of a word, 0 the least significant: of `differential`, of both groups; of a
cell with several bits, those that it holds, so that a stuck cell may act by some of its bits and
not by others. What a bit is used for does not matter: a copy that lies in bit 0 of another
weight is part of plane 0. Spare arrays are restricted as the array that they belong to.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.models.bert.names import GROUPS, MATRICES, matrices_of

EACH, ALL = "each", "all"
_PARTS = ("layers", "matrices", "bits")


@dataclass(frozen=True)
class Scope:
    """Places where faults act; None: no restriction of that kind.

    Attributes:
        layers: encoder layers, ascending.
        matrices: names in the order of `names.MATRICES`.
        bits: stored bits of a word, ascending, 0 the least significant.
    """

    layers: tuple[int, ...] | None = None
    matrices: tuple[str, ...] | None = None
    bits: tuple[int, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """Read a scope; a group of matrices stands for its matrices.

        Raises:
            ValueError: unknown part or matrix, or what is no number.

        Example:
            >>> Scope.parse("bits=7; layers=3+0").text
            'layers=0+3;bits=7'
        """
        parts = _read_parts(text)
        return cls(
            _read_numbers("layers", parts["layers"]) if "layers" in parts else None,
            _read_matrices(parts["matrices"]) if "matrices" in parts else None,
            _read_numbers("bits", parts["bits"]) if "bits" in parts else None,
        )

    @property
    def text(self) -> str:
        """The one way to write it."""
        parts = [(name, getattr(self, name)) for name in _PARTS]
        return ";".join(f"{name}={'+'.join(map(str, p))}" for name, p in parts if p is not None)

    def check(self, groups: Iterable[str], spec: ChipSpec, layers: int | None = None) -> None:
        """Refuse places that a chip does not have.

        Args:
            groups: groups of matrices on crossbars.
            spec: the crossbar.
            layers: layers of the model, where they are known.

        Raises:
            ValueError: a place that is not there.
        """
        here = matrices_of(groups)
        for name in self.matrices or ():
            if name not in here:
                raise ValueError(
                    f"faulty matrix {name} is not on crossbars: use some of {', '.join(here)}"
                )
            if self.layers is not None and name not in GROUPS["encoder"]:
                raise ValueError(f"faulty matrix {name} is in no layer: leave out the layers")
        if not self.names(groups):
            raise ValueError(
                f"faulty {self.text}: no matrix of the encoder is on crossbars: add encoder"
            )
        for what, given, n in (("bit", self.bits, spec.group_bits), ("layer", self.layers, layers)):
            if given and n is not None and given[-1] >= n:
                raise ValueError(
                    f"faulty {what} {given[-1]} is outside 0..{n - 1}: give one in the range"
                )

    def names(self, groups: Iterable[str]) -> tuple[str, ...]:
        """List the matrices on crossbars in which faults act."""
        here = matrices_of(groups)
        if self.layers is not None:
            here = tuple(name for name in here if name in GROUPS["encoder"])
        return here if self.matrices is None else tuple(n for n in here if n in self.matrices)

    def arrays(self, groups: Iterable[str], layers: int) -> dict[str, np.ndarray]:
        """Whether faults act in each layer of each matrix on crossbars, bool [L] or [1]."""
        acting, every = self.names(groups), np.arange(layers)
        inside = every >= 0 if self.layers is None else np.isin(every, self.layers)
        return {
            name: (name in acting) & (inside if name in GROUPS["encoder"] else np.ones(1, bool))
            for name in matrices_of(groups)
        }

    def first_layer(self, groups: Iterable[str], layers: int) -> int | None:
        """Find the layer up to which a chip computes what the clean chip computes.

        `layers` where the encoder has no faults at all, None where the embeddings have some.
        """
        names = self.names(groups)
        if any(name in GROUPS["embeddings"] for name in names):
            return None
        if not any(name in GROUPS["encoder"] for name in names):
            return layers
        return min(self.layers) if self.layers else 0

    @property
    def planes(self) -> int | None:
        """A word with the chosen bits set; None: all bits."""
        return None if self.bits is None else sum(1 << bit for bit in self.bits)


def combine(layers: str | None, matrices: str | None, bits: str | None) -> list[str | None]:
    """Combine comma lists of layers, matrices and bits into scopes to spread.

    Args:
        layers, matrices, bits: entries to take one after the other; `0+3` is one entry, `each`
            stands for every single one, `all` for no restriction; None likewise.

    Returns:
        All combinations, as `places` takes them.

    Example:
        >>> combine("0,1+2", None, "all,7")
        ['layers=0', 'layers=0;bits=7', 'layers=1+2', 'layers=1+2;bits=7']
    """
    options = [
        [None if item.strip() == ALL else f"{name}={item.strip()}" for item in text.split(",")]
        if text is not None
        else [None]
        for name, text in zip(_PARTS, (layers, matrices, bits), strict=True)
    ]
    chosen = itertools.product(*options)
    return [";".join(filter(None, parts)) or None for parts in chosen]


def places(
    text: "str | Scope | None", groups: Sequence[str], spec: ChipSpec, layers: int
) -> "list[Scope | None]":
    """List the scopes that a text means, `each` spelt out.

    With layers, `each` matrix is each of the encoder's.

    Args:
        text: a scope, perhaps with `each` or `all`; None for everywhere.
        groups: groups of matrices on crossbars.
        spec: the crossbar.
        layers: layers of the model.

    Raises:
        ValueError: see `Scope.parse` and `Scope.check`.
    """
    if text is None:
        return [None]
    if isinstance(text, Scope):
        text.check(groups, spec, layers)
        return [text]
    parts = {name: values for name, values in _read_parts(text).items() if values != [ALL]}
    if not parts:
        return [None]
    every = {
        "layers": map(str, range(layers)),
        "matrices": Scope(layers=(0,) if "layers" in parts else None).names(groups),
        "bits": map(str, range(spec.group_bits)),
    }
    options = [
        [f"{name}={value}" for value in (every[name] if values == [EACH] else ["+".join(values)])]
        for name, values in parts.items()
    ]
    scopes = [Scope.parse(";".join(chosen)) for chosen in itertools.product(*options)]
    if not scopes:
        raise ValueError(f"faulty {text} names nothing that is on crossbars: put more on them")
    for scope in scopes:
        scope.check(groups, spec, layers)
    return list(scopes)


def _read_parts(text: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, sign, values = (piece.strip() for piece in part.partition("="))
        if name not in _PARTS or not sign or name in parts:
            raise ValueError(
                f"faulty {text!r} is not understood: give parts such as "
                "layers=0+3;matrices=query;bits=7"
            )
        parts[name] = [value.strip() for value in values.split("+")]
    return parts


def _read_numbers(what: str, values: list[str]) -> tuple[int, ...]:
    for value in values:
        if not (value.isascii() and value.isdecimal() and len(value) < 7):
            raise ValueError(
                f"faulty {what} {value!r} is not a whole number: give one such as 0, or several "
                "joined by + (a sweep takes each and all as well)"
            )
    return tuple(sorted({int(value) for value in values}))


def _read_matrices(values: list[str]) -> tuple[str, ...]:
    for value in values:
        if value not in MATRICES and value not in GROUPS:
            raise ValueError(
                f"unknown faulty matrix {value!r}: use some of {', '.join(MATRICES)}, or encoder "
                "or embeddings for all of theirs"
            )
    chosen = {name for value in values for name in GROUPS.get(value, (value,))}
    return tuple(name for name in MATRICES if name in chosen)
