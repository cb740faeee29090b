"""Expected squared error of the codes that faulty cells read, with or without voting.

In closed form, from the odds of one cell. Faults of different cells are taken as independent: the
cells of a weight, and the images of a bit, lie on different bitlines, and images on different
wordlines and tiles as far as placement can have it. Broken wordlines are the exception: they hold
the cells of a weight alike (`Odds.by_wordline`), all of them or those of one tile (`line_parts`),
so there the states of whole words are listed.

Otherwise a table (`transition`) gives the probability of every word read for every word stored,
the Kronecker product of tables of single cells; mean and variance of the code read follow from it.
NumPy only.
"""

import functools
import itertools
from collections import Counter
from math import comb, gcd
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from rerax.crossbar.spec import ChipSpec
from rerax.faults import Odds

CODES = np.arange(-128, 128)
"""Codes in the order of the tables here."""


class Votes(NamedTuple):
    """How the bits of a group are voted.

    Attributes:
        depths: images of each bit, from the least significant up, the original included.
        whole_cells: copies are copies of whole cells, not of single bits.
        erasures: stuck cells known to the tester do not vote.
        low: low bits that were given up and read as 0.
        closest: where a chip's stuck cells are known, the nearest word of those that votes allow
            is written.
    """

    depths: tuple[int, ...]
    whole_cells: bool = True
    erasures: bool = False
    low: int = 0
    closest: bool = False


def no_copies(spec: ChipSpec) -> Votes:
    """Describe reading without copies: one image of each bit."""
    return Votes((1,) * spec.group_bits)


def squared_error(
    stored: np.ndarray, votes: Votes, chances: Odds, spec: ChipSpec
) -> Float[np.ndarray, "256"]:
    """Compute the expected squared error of each code, in units of the code squared.

    Words are stored as they are, whatever is stuck; rounding that makes room for copies counts.

    Args:
        stored: [256] the code whose word is stored for each of `CODES`.
        votes: how its bits are voted.
        chances: odds of a cell.
        spec: encoding and cells.

    Returns:
        E[(code read - code)^2] for each of `CODES`.
    """
    from rerax.crossbar.encoding import encode

    words = encode(stored.astype(np.int8)[:, None], spec)[:, :, 0]
    rows = range(1 if spec.polarity == "plain" else 2)  # an even one and an odd one
    each = [_error_in_row(row, words, votes, chances, spec) for row in rows]
    return np.asarray(np.mean(each, axis=0))


def _error_in_row(
    row: int, words: np.ndarray, votes: Votes, chances: Odds, spec: ChipSpec
) -> Float[np.ndarray, "256"]:
    """Compute the error of a weight in an even row (0) or an odd one (1)."""
    values = word_values(spec, votes.low)
    erasures = votes.erasures and chances.known
    turned = tuple(spec.inverted | (row + image) % 2 * spec.alternating for image in range(2))
    parts = line_parts(spec) if chances.by_wordline else ()
    if parts:
        chance, reads = _outcomes(spec.group_bits, votes.depths, chances, erasures, turned)
        error = np.zeros(256)
        for share, masks in parts:
            for p, here in zip(chance, reads, strict=True) if _is_cut(masks, spec) else [(1, 0)]:
                both = [here & ~mask | reads & mask for mask in masks]  # in the other tile, here
                read = sum(v[b[:, w]] for v, b, w in zip(values, both, words, strict=True))
                error += share * p * (chance @ (read - CODES) ** 2.0)
        return error
    transition = _transition(votes.depths, votes.whole_cells, chances, erasures, turned, spec)
    means = [(transition @ value)[word] for value, word in zip(values, words, strict=True)]
    squares = [(transition @ value**2)[word] for value, word in zip(values, words, strict=True)]
    spread = sum(square - mean**2 for square, mean in zip(squares, means, strict=True))
    return np.asarray((sum(means) - CODES) ** 2 + spread)


@functools.lru_cache(maxsize=64)
def line_parts(spec: ChipSpec) -> tuple[tuple[float, tuple[int, ...]], ...]:
    """List in how many ways a broken wordline can hold the cells of a weight.

    A line ends at the edge of its tile, which may lie between the cells of a weight. Shares are
    those of a matrix of many columns.

    Returns:
        For each way, the share of the weights, and of each group the bits that lie in the first
        one of two tiles: all bits where the weight lies in one. Empty where each cell is on a line
        segment of its own: in layout `separate` of matrices at least as wide as a tile, and in
        tiles narrower than a weight.
    """
    width, tile = spec.cells_per_weight, spec.tile[1]
    if spec.layout == "separate" or width > tile:
        return ()
    columns = tile // gcd(width, tile)
    first = Counter(min(width, tile - column * width % tile) for column in range(columns))
    found = []
    for cells, count in first.items():
        masks = [0] * spec.groups
        for group, cell in (divmod(k, spec.cells_per_group) for k in range(cells)):
            masks[group] |= ((1 << spec.bits_of_cell(cell)) - 1) << cell * spec.bits_per_cell
        found.append((count / columns, tuple(masks)))
    return tuple(found)


def _is_cut(masks: tuple[int, ...], spec: ChipSpec) -> bool:
    """Tell whether the edge of a tile lies between the cells of the weight."""
    return any(mask != (1 << spec.group_bits) - 1 for mask in masks)


class Settled(NamedTuple):
    """Bits whose vote stuck cells decide, whatever is written: all cases with their probabilities.

    Attributes:
        chance: [n] probability of each case.
        bits: [n, G] the bits of each group's word that are decided (settled).
        held: [n, G] the values that they are settled at.
    """

    chance: np.ndarray
    bits: np.ndarray
    held: np.ndarray


MOST_LISTED = 9
"""Images whose states are listed, 3 of each; of more, only bits in cells of their own are known."""
MOST_SETTLED = 3
"""Of a weight of two groups, cases of at most so many settled cells are listed."""
LEFT_OUT = 1e-3
"""The most that the probability of all other cases may be."""


def settled_bits(votes: Votes, row: int, chances: Odds, spec: ChipSpec) -> Settled:
    """List the bits of a weight, in an even or odd row, that stuck cells may settle.

    Args:
        votes: how its bits are voted; copies are of whole cells, or cells of one bit.
        row: 0 or 1.
        chances: odds of a cell whose stuck cells are known.
        spec: cells and polarity.

    Raises:
        TypeError: two groups, and more than `MOST_SETTLED` settled cells are too common.
    """
    turned = tuple(spec.inverted | (row + image) % 2 * spec.alternating for image in range(2))
    if chances.by_wordline and line_parts(spec):
        states = _settled_together(range(spec.group_bits), votes.depths, votes, chances, turned)
        cases = [
            (share * p * q, [[x & m | y & ~m for m in masks] for x, y in ((here, there), (h, t))])
            for share, masks in line_parts(spec)
            for q, there, t in (states if _is_cut(masks, spec) else [(1.0, 0, 0)])
            for p, here, h in states
        ]
        both = np.array([case for _, case in cases], np.uint8)
        return Settled(np.array([p for p, _ in cases]), both[:, 0], both[:, 1])
    edges = [spec.bits_per_cell * cell for cell in range(spec.cells_per_group)]
    ends = [*edges[1:], spec.group_bits]
    whole = [(range(a, b), votes.depths[a:b]) for a, b in zip(edges, ends, strict=True)]
    parts = [_settled_together(bits, depths, votes, chances, turned) for bits, depths in whole]
    chance, count = np.ones(1), np.zeros(1, int)
    bits, held = np.zeros((2, 1, spec.groups), np.uint8)
    for group, part in itertools.product(range(spec.groups), parts):
        own, here, reads = (np.array(column) for column in zip(*part, strict=True))
        mine = np.arange(spec.groups) == group
        chance = (chance[:, None] * own).ravel()
        count = (count[:, None] + (here > 0)).ravel()
        bits, held = (
            (old[:, None] | (new[:, None] * mine).astype(np.uint8)).reshape(-1, spec.groups)
            for old, new in ((bits, here), (held, reads))
        )
        few = count <= (MOST_SETTLED if spec.groups > 1 else len(parts))
        chance, count, bits, held = chance[few], count[few], bits[few], held[few]
    if chance.sum() < 1 - LEFT_OUT:
        raise TypeError(
            f"more than {MOST_SETTLED} of a weight's cells are stuck too often for the expected "
            "error of the nearest word in two groups: give a lower rate"
        )
    return Settled(chance, bits, held)


def _settled_together(
    bits: range, depths: tuple[int, ...], votes: Votes, chances: Odds, turned: tuple[int, ...]
) -> list[tuple[float, int, int]]:
    """List probability, settled bits and values of bits whose images stick together."""
    _check_images(depths)
    each = (1 - chances.at_0 - chances.at_1, chances.at_0, chances.at_1)
    found: dict[tuple[int, int], float] = {}
    for states in itertools.product(range(3), repeat=max(depths)):
        settled = held = 0
        for bit, depth in zip(bits, depths, strict=True):
            images = [
                (s == 2) ^ (turned[q % 2] >> bit & 1) if s else None
                for q, s in enumerate(states[:depth])
            ]
            value = _settled_at(images, votes.erasures)
            settled |= (value is not None) << bit
            held |= (value or 0) << bit
        key = settled, held
        found[key] = found.get(key, 0.0) + float(np.prod([each[s] for s in states]))
    return [(chance, *key) for key, chance in found.items() if chance > 0]


def _settled_at(images: list[int | None], erasures: bool) -> int | None:
    """Find what a vote of images, stuck or not (None), gives whatever is written, if anything."""
    if erasures:
        return None if None in images else images[0]
    needed = (len(images) + 1) // 2
    return next((value for value in (0, 1) if images.count(value) >= needed), None)


def word_values(spec: ChipSpec, low: int) -> list[np.ndarray]:
    """Tabulate what each group's word adds to the code, [2^group_bits] for each group."""
    word = np.arange(1 << spec.group_bits) & ~((1 << low) - 1)
    half = 1 << (spec.bits - 1)
    value = {
        "offset": word - half,
        "twos_complement": np.where(word < half, word, word - 2 * half),
        "sign_magnitude": np.where(word < half, word, half - word),
        "differential": word,
    }[spec.encoding].astype(np.float64)
    return [value, -value][: spec.groups]


def transition(turned: int, chances: Odds, spec: ChipSpec) -> Float[np.ndarray, "w w"]:
    """Tabulate the probability of every word read, given every word stored, without copies.

    Args:
        turned: bits that are stored complemented.
        chances: odds of a cell, each on its own.
        spec: encoding and cells.
    """
    return _transition((1,) * spec.group_bits, True, chances, False, (turned, turned), spec)


def on_broken_wordlines(
    turned: int, chances: Odds, spec: ChipSpec
) -> list[tuple[float, list[np.ndarray]]]:
    """List what a weight on broken wordlines can be, without copies.

    Args:
        turned: bits that are stored complemented.
        chances: odds of a cell, `by_wordline`.
        spec: encoding and cells.

    Returns:
        For each case its probability, and for each group what every word of it reads; empty where
        cells are independent (`line_parts`).
    """
    words = spec.group_bits
    own = list(zip(*_outcomes(words, (1,) * words, chances, False, (turned, turned)), strict=True))
    return [
        (share * p * q, [here & mask | there & ~mask for mask in masks])
        for share, masks in line_parts(spec)
        for q, there in (own if _is_cut(masks, spec) else [(1.0, own[0][1])])
        for p, here in own
    ]


@functools.lru_cache(maxsize=4096)
def _transition(
    depths: tuple[int, ...],
    whole_cells: bool,
    chances: Odds,
    erasures: bool,
    turned: tuple[int, int],
    spec: ChipSpec,
) -> Float[np.ndarray, "w w"]:
    """Tabulate the probability of every word read, given every word stored.

    `turned` are the bits complemented in even images, the original among them, and in odd ones.
    Cells fail independently, so the table is the Kronecker product of the cells' own.
    """
    whole = np.ones((1, 1))
    for cell in range(spec.cells_per_group):
        first = cell * spec.bits_per_cell
        mine = depths[first : first + spec.bits_of_cell(cell)]
        level = (1 << len(mine)) - 1
        even, odd = (mask >> first & level for mask in turned)
        whole = np.kron(_cell_transition(mine, whole_cells, chances, erasures, (even, odd)), whole)
    return whole


@functools.lru_cache(maxsize=4096)
def _cell_transition(
    depths: tuple[int, ...],
    whole_cells: bool,
    chances: Odds,
    erasures: bool,
    turned: tuple[int, int],
) -> Float[np.ndarray, "l l"]:
    """Tabulate the probability of every level read, given every level stored, of one cell."""
    if chances.flip:
        bits = [_symmetric(_majority_wrong(depth, chances.flip)) for depth in depths]
        return functools.reduce(lambda low, high: np.kron(high, low), bits)
    if whole_cells and not (len(depths) == 1 and depths[0] > MOST_LISTED):
        chance, reads = _outcomes(len(depths), depths, chances, erasures, turned)
        table = np.zeros((1 << len(depths),) * 2)
        for p, read in zip(chance, reads, strict=True):
            table[np.arange(len(read)), read] += p
        return table
    healthy = 1 - chances.at_0 - chances.at_1
    table = np.zeros((1 << len(depths),) * 2)
    for own, p in ((None, healthy), (0, chances.at_0), (1, chances.at_1)):
        bits = [
            _voted_bit(own, depth, chances, erasures, tuple(mask >> k & 1 for mask in turned))
            for k, depth in enumerate(depths)
        ]
        table += p * functools.reduce(lambda low, high: np.kron(high, low), bits)
    return table


def _symmetric(wrong: float) -> np.ndarray:
    return np.array([[1 - wrong, wrong], [wrong, 1 - wrong]])


def _voted_bit(
    own: int | None, depth: int, chances: Odds, erasures: bool, turned: tuple[int, ...]
) -> np.ndarray:
    """Tabulate P(read | stored) of a bit whose own cell is healthy (None) or stuck at 0 or 1."""
    table = np.zeros((2, 2))
    for stored in (0, 1):
        mine_wrong = own is not None and own ^ turned[0] != stored
        if erasures:  # only stuck cells are wrong, and they vote only when all of them are
            stuck = chances.at_0 + chances.at_1
            wrong = stuck ** (depth - 1) if mine_wrong else 0.0
        else:
            even, odd = (chances.at_0 if stored ^ t else chances.at_1 for t in turned)
            needed = depth // 2 + 1 - mine_wrong * (1 if depth % 2 else 2)  # it decides a tie
            wrong = _at_least_of_both(needed, (depth - 1) // 2, even, depth // 2, odd)
        table[stored, stored], table[stored, 1 - stored] = 1 - wrong, wrong
    return table


def _majority_wrong(depth: int, p: float) -> float:
    """Compute P(majority wrong) of images that are wrong independently; a tie is the original's."""
    if depth % 2:
        return _at_least((depth + 1) // 2, depth, p)
    right, wrong = depth // 2 + 1, depth // 2 - 1  # further ones, if the original is so
    return p * _at_least(wrong, depth - 1, p) + (1 - p) * _at_least(right, depth - 1, p)


def _at_least_of_both(k: int, n: int, p: float, m: int, q: float) -> float:
    """Compute P(at least k) of n events of probability p and m of probability q."""
    if p == q:
        return _at_least(k, n + m, p)
    return sum(
        comb(m, i) * q**i * (1 - q) ** (m - i) * _at_least(k - i, n, p) for i in range(m + 1)
    )


def _at_least(k: int, n: int, p: float) -> float:
    """Compute P(at least k of n) for independent events of probability p."""
    ways = range(max(k, 0), n + 1)
    return float(sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in ways))


@functools.lru_cache(maxsize=4096)
def _outcomes(
    bits: int, depths: tuple[int, ...], chances: Odds, erasures: bool, turned: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """List what a cell and its copies can be: probabilities [n], and levels voted [n, 2^bits].

    Each image as a whole is healthy, stuck at 0 or stuck at its highest level.
    """
    _check_images(depths)
    images, top = max(depths), (1 << bits) - 1
    level = np.arange(1 << bits)
    each = (1 - chances.at_0 - chances.at_1, chances.at_0, chances.at_1)
    show = [
        np.stack([level, np.full_like(level, mask), level * 0 + (top ^ mask)]) for mask in turned
    ]
    chance, reads = [], []
    for state in itertools.product(range(3), repeat=images):
        p = float(np.prod([each[s] for s in state]))
        if p == 0:
            continue
        read = np.zeros_like(level)
        for bit, depth in enumerate(depths):
            seen = [show[image % 2][s] >> bit & 1 for image, s in enumerate(state[:depth])]
            read |= _vote(state[:depth], seen, erasures) << bit
        chance.append(p)
        reads.append(read)
    different, which = np.unique(np.stack(reads), axis=0, return_inverse=True)
    return np.bincount(which.ravel(), chance), different  # few: most states are voted alike


def _check_images(depths: tuple[int, ...]) -> None:
    if max(depths) > MOST_LISTED:
        raise TypeError(
            f"the states of {max(depths)} images are too many to list: give {MOST_LISTED} at most"
        )


def _vote(state: tuple[int, ...], seen: list[np.ndarray], erasures: bool) -> np.ndarray:
    voters = [bit for s, bit in zip(state, seen, strict=True) if not (erasures and s)]
    if not voters:  # the original as read
        return np.asarray(seen[0])
    twice = np.asarray(2 * sum(voters))
    return np.where(twice == len(voters), seen[0], twice > len(voters)).astype(np.int64)
