"""Copies in low bits of other weights of the same matrix. NumPy, once per model."""

from typing import NamedTuple

import numpy as np

from rerax.protection.msb.copy_spec import CopySpec, low_bits
from rerax.protection.msb.freed_cells import AnyArray


class Low(NamedTuple):
    """How low bits of other weights hold the copies of the columns that freed cells do not serve.

    Attributes:
        column: [N, C] host column of each copy of a bit (round by round, top bit first).
        bit: [N, C] which low bit of the host holds it.
        served: [C] 1 where low bits pay for a column's copies.
        mask: [1] the low bits given up, as a word.
    """

    column: AnyArray
    bit: AnyArray
    served: AnyArray
    mask: AnyArray


def place_in_low(open_columns: np.ndarray, served: int, asked: CopySpec, columns: int) -> Low:
    """Place copies in low bits, one after another through the open columns, plane by plane."""
    c, rest = len(open_columns), len(open_columns) - served
    given = low_bits(asked, c, served)
    numbers = [(q, p) for q in range(asked.rounds) for p in range(asked.bits_in(q))]
    x = np.arange(len(numbers))[:, None] * rest + np.arange(rest)[None, :]
    plane = x // max(c, 1)
    host = (x + _shifts(x, plane, numbers, served, c)[plane]) % max(c, 1)
    column = np.zeros((len(numbers), columns), np.int64)
    bit = np.zeros((len(numbers), columns), np.int64)
    column[:, open_columns[served:]] = open_columns[host]
    bit[:, open_columns[served:]] = plane
    pays = np.zeros(columns, np.int64)
    pays[open_columns[served:]] = 1
    return Low(column, bit, pays, np.array([(1 << given) - 1]))


def _shifts(
    x: np.ndarray, plane: np.ndarray, numbers: list[tuple[int, int]], served: int, c: int
) -> np.ndarray:
    """Choose by how many columns each plane of low bits is turned, so that images keep apart.

    Plane by plane, the first turn from an equal part of the matrix on that leaves fewest copies
    in the column of another image of their bit.
    """
    planes = int(plane.max(initial=-1)) + 1
    turns = np.zeros(max(planes, 1), np.int64)
    rounds = max(q for q, _ in numbers) + 1
    own = np.arange(served, c)
    for s in range(planes):
        here, fewest = plane == s, None
        first = (numbers[int(np.argmax(here.any(axis=1)))][0] + 1) * (c // (rounds + 1))
        for turn in [(first + i) % c for i in range(c)]:
            host = np.where(plane <= s, (x + np.where(here, turn, turns[plane])) % c, -1)
            clashes = int(((host == own) & here).sum())
            for n, (q, p) in enumerate(numbers):
                for other, (q2, p2) in enumerate(numbers):
                    if p == p2 and q2 < q:
                        clashes += int(((host[n] == host[other]) & (host[n] >= 0)).sum())
            if fewest is None or clashes < fewest:
                fewest, turns[s] = clashes, turn
            if clashes == 0:
                break
    return turns
