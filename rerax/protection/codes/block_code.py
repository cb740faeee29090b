"""Linear block codes that a table of syndromes decodes. No JAX here."""

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16

from rerax.crossbar.spec import ChipSpec

LONGEST = {"hamming": 57, "secded": 64, "bch": 51, "golay": 12}
"""Data bits that a code word of each code may have here."""
CORRECTS = {"hamming": 1, "secded": 1, "bch": 2, "golay": 3}
MOST = {"hamming": 11, "secded": 64, "bch": 21, "golay": 12}
"""Data bits of a code word whose check bits lie apart from its weights."""
WORD = 8
"""Weights of a code word whose check bits lie in low bits, but for golay: 64 cells."""
_BCH = {10: 0x769, 12: 0x1539}  # generators of the (31, 21) and the (63, 51) code
_GOLAY = 0xC75  # x^11 + x^10 + x^6 + x^5 + x^4 + x^2 + 1


@dataclass(frozen=True)
class BlockCode:
    """A systematic code: data bits as they are, and check bits that are sums of them.

    Attributes:
        name: `hamming`, `secded` (Hsiao's odd-weight columns), `bch` (two errors) or `golay`.
        data: data bits k, at most `LONGEST`; the code is shortened to them.

    Raises:
        ValueError: more data bits.

    Example:
        >>> [BlockCode("bch", k).check for k in (20, 48)], BlockCode("golay", 12).check
        ([10, 12], 11)
    """

    name: str
    data: int

    def __post_init__(self) -> None:
        if not 1 <= self.data <= LONGEST[self.name]:
            raise ValueError(
                f"{self.data} bits are too many for a code word of {self.name}: give at most "
                f"{LONGEST[self.name]}"
            )

    @property
    def check(self) -> int:
        """Check bits r."""
        if self.name == "golay":
            return 11
        if self.name == "bch":
            return 10 if self.data <= 21 else 12
        if self.name == "hamming":
            return next(r for r in range(2, 9) if (1 << r) - r - 1 >= self.data)
        return next(r for r in range(3, 9) if (1 << (r - 1)) - r >= self.data)

    @property
    def corrects(self) -> int:
        """Wrong bits t of a code word that are always put right."""
        return CORRECTS[self.name]

    @functools.cached_property
    def columns(self) -> tuple[int, ...]:
        """Check bits that each data bit is part of, as a word; check bit j alone is 1 << j."""
        r = self.check
        if self.name in ("bch", "golay"):
            generator = _GOLAY if self.name == "golay" else _BCH[r]
            return tuple(_remainder(1 << (r + i), generator) for i in range(self.data))
        odd = self.name == "secded"
        words = (n for n in range(1 << r) if n.bit_count() > 1 and (n.bit_count() % 2 or not odd))
        return tuple(itertools.islice(words, self.data))

    @functools.cached_property
    def fixes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each syndrome says is wrong.

        Returns:
            [2^r] uint64 data bits and [2^r] uint16 check bits that are wrong, none where too many
            are, and [2^r] bool whether it can be put right.
        """
        data, check = np.zeros(1 << self.check, np.uint64), np.zeros(1 << self.check, np.uint16)
        known = np.zeros(1 << self.check, bool)
        single = [*self.columns, *(1 << j for j in range(self.check))]
        for weight in range(self.corrects + 1):
            for places in itertools.combinations(range(len(single)), weight):
                syndrome = functools.reduce(lambda s, i: s ^ single[i], places, 0)
                wrong = sum(1 << i for i in places)
                data[syndrome] = wrong & ((1 << self.data) - 1)
                check[syndrome], known[syndrome] = wrong >> self.data, True
        return data, check, known


@dataclass(frozen=True)
class CheckSpec:
    """Which bits of a weight a code protects, and who holds the check bits.

    Attributes:
        name: the code.
        bits: top bits of each group that are protected.
        into: `pruned`, `lsb` or `spare`.
    """

    name: str
    bits: int
    into: str

    @property
    def weights(self) -> int:
        """Weights w of a code word."""
        return WORD if self.into == "lsb" and self.name != "golay" else MOST[self.name] // self.bits

    @functools.cached_property
    def code(self) -> BlockCode:
        """The code of a code word."""
        return BlockCode(self.name, self.bits * self.weights)

    @property
    def low(self) -> int:
        """Low bits of every weight that check bits take the place of."""
        return -(-self.code.check // self.weights) if self.into == "lsb" else 0


def checks_of(
    words: UInt8[Any, "G w B C"], asked: CheckSpec, spec: ChipSpec
) -> UInt16[Any, "G B C"]:
    """Compute the check bits of code words, the first one lowest: of NumPy's arrays or of JAX's.

    Args:
        words: words of the members.
        asked: which of their bits are protected.
        spec: their width.
    """
    columns, bits = asked.code.columns, asked.bits
    total = (words[:, 0] & 0).astype(np.uint16)
    for i in range(asked.weights):
        for p in range(bits):
            bit = (words[:, i] >> np.uint8(spec.group_bits - 1 - p)) & np.uint8(1)
            total = total ^ (bit.astype(np.uint16) * np.uint16(columns[i * bits + p]))
    return total


def _remainder(word: int, generator: int) -> int:
    """Divide a polynomial over GF(2) and return the remainder."""
    while word.bit_length() >= generator.bit_length():
        word ^= generator << (word.bit_length() - generator.bit_length())
    return word
