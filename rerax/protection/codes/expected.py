"""Expected squared error of what codes read, in closed form. NumPy only.

Code words whose weights share a bitline within a tile are not for faults that hold a whole line
(`placement.share_bitlines`). Exact but for what a decoder adds to a code word of too many wrong
bits: there a syndrome is taken to be any of all equally likely, and the bits that it names to be
spread over those that were right.
"""

import numpy as np
from jaxtyping import Float

from rerax.crossbar.encoding import encode
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Odds
from rerax.protection.codes.block_code import CheckSpec
from rerax.protection.expected_error import (
    CODES,
    on_broken_wordlines,
    transition,
    word_values,
)
from rerax.protection.msb.write import rounded_codes


def decoded_error(
    asked: CheckSpec, share: np.ndarray, chances: Odds, spec: ChipSpec
) -> Float[np.ndarray, "256"]:
    """Compute the expected squared error of each code, in units of the code squared.

    Args:
        asked: what is protected.
        share: [256] share of each code among the weights of its code words.
        chances: odds of a cell.
        spec: encoding and cells.

    Raises:
        TypeError: two groups on broken wordlines.
    """
    if chances.by_wordline and spec.groups > 1:  # both groups fail together, and their code words
        raise TypeError(
            "the expected error of codes in two groups on broken wordlines is not known: give "
            "another encoding or fault"
        )
    top = (1 << (spec.bits - 1)) - 1
    codes = np.clip(CODES, -top, top).astype(np.int8)[:, None]
    words = encode(rounded_codes(codes, asked.low, spec), spec)[:, :, 0]
    turned = {spec.inverted, spec.inverted | spec.alternating}  # in even rows and in odd ones
    rows = [_states(bits, chances, spec) for bits in turned]
    own = []
    for group, word in enumerate(words):
        mine = [[(chance, tables[group]) for chance, tables in states] for states in rows]
        own.append(_Group(asked, word, share, mine, chances, spec))
    error = np.zeros(256)
    for states in rows:
        values = word_values(spec, asked.low)
        for chance, tables in states:
            moments = [
                one.moments(table, value)
                for one, table, value in zip(own, tables, values, strict=True)
            ]
            mean = sum(first for first, _ in moments)
            spread = sum(second - first**2 for first, second in moments)
            error += chance * ((mean - CODES) ** 2 + spread) / len(rows)
    return error


def _states(turned: int, chances: Odds, spec: ChipSpec) -> list[tuple[float, list[np.ndarray]]]:
    """List what the cells of a weight can be.

    Returns:
        For each case its probability, and for each group [w, w] the probability of every word read
        for every word stored.
    """
    each = on_broken_wordlines(turned, chances, spec) if chances.by_wordline else []
    if not each:
        return [(1.0, [transition(turned, chances, spec)] * spec.groups)]
    whole = np.eye(1 << spec.group_bits)
    return [(chance, [whole[read] for read in reads]) for chance, reads in each]


class _Group:
    """One group of the weights of a code word, and what the others of it do."""

    def __init__(
        self,
        asked: CheckSpec,
        words: np.ndarray,
        share: np.ndarray,
        rows: list[list[tuple[float, np.ndarray]]],
        chances: Odds,
        spec: ChipSpec,
    ) -> None:
        self.words, self.bits, self.low = words, asked.bits, spec.group_bits - asked.bits
        code, whole = asked.code, np.arange(1 << spec.group_bits)
        self.wrong = (whole[:, None] ^ whole[None, :]) >> self.low  # protected bits
        self.number = np.bitwise_count(self.wrong).astype(int)
        of_word = np.bincount(words, share, len(whole))
        table = np.mean([np.sum([p * t for p, t in states], axis=0) for states in rows], axis=0)
        found = np.bincount(self.number.ravel(), (of_word[:, None] * table).ravel(), self.bits + 1)
        stuck = (chances.at_0 + chances.at_1) / 2 + chances.flip
        rest = np.ones(1)
        for part in [found] * (asked.weights - 1) + [np.array([1 - stuck, stuck])] * code.check:
            rest = np.convolve(rest, part)
        self.rest = np.concatenate([rest, np.zeros(self.bits + code.corrects + 2)])
        data, checks, known = code.fixes
        size = np.bitwise_count(data) + np.bitwise_count(checks)
        n, t = code.data + code.check, code.corrects
        odd_only = asked.name == "secded"
        possible = (1 << (code.check - (1 if odd_only else 0))) - (0 if odd_only else 1)
        self.miscorrects = (known.sum() - 1) / possible
        self.adds = size[known].sum() / (known.sum() - 1) / (n - t - 1)
        self.too_many, self.odd_only = t, odd_only

    def moments(self, table: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute mean and mean square of what a group of each code adds to the code read."""
        top = np.arange(len(value)) >> self.low << self.low
        fails, adds = self._chances()
        found = []
        for v in (value, value**2):
            spread = np.stack([self._spread(v, wrong) for wrong in range(1 << self.bits)])
            read = np.arange(len(v))
            right = v[top[:, None] | (read & ~top)[None, :]]
            failed = fails[self.number] - adds[self.number]
            added = adds[self.number] * spread[self.wrong, read[None, :]]
            each = (1 - fails[self.number]) * right + failed * v[None, :] + added
            found.append((table * each).sum(1)[self.words])
        return found[0], found[1]

    def _chances(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute, by own wrong bits, P(too many wrong) and P(the decoder adds some then)."""
        own = np.arange(self.bits + 1)
        total = own[:, None] + np.arange(len(self.rest))[None, :]
        many = (total > self.too_many) * self.rest[None, :]
        counted = many * (total % 2) if self.odd_only else many
        return many.sum(1), self.miscorrects * counted.sum(1)

    def _spread(self, value: np.ndarray, wrong: int) -> np.ndarray:
        """Average the value of each word over what a failing decoder turns of its right bits."""
        words = np.arange(len(value))
        for bit in range(self.bits):
            if not wrong >> bit & 1:
                turned = value[words ^ (1 << (self.low + bit))]
                value = (1 - self.adds) * value + self.adds * turned
        return value
