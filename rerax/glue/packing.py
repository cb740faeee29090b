"""Sentences side by side in rows of a few widths, in batches of one shape a width."""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from rerax.glue.data import Examples

WIDTHS = (32, 64, 128, 256, 512)
"""Tokens T of a row. Attention takes T operations a token and feature, padding all of them."""
SHORT = 64
"""Sentences up to so long share rows of this width, or narrower ones where all of them fit."""
BATCH_TOKENS = 512
"""Tokens of a batch on a CPU: what lies between two products then stays in a core's cache."""


@dataclass(frozen=True)
class Bucket:
    """Batches of rows of one width T.

    Attributes:
        ids, types: [n, B, T] token and segment ids, padded.
        positions: [n, B, T] place of each token in its own sentence, 0 in padding.
        sentence: [n, B, T] which sentence of the row a token belongs to, from 1; 0 in padding.
        first: [n, S] where the batch's sentences begin, among its B * T tokens; 0 in spare places.
        index: [n, S] place of the sentences in their split, -1 in spare places.
    """

    ids: Int32[np.ndarray, "n B T"]
    types: Int32[np.ndarray, "n B T"]
    positions: Int32[np.ndarray, "n B T"]
    sentence: Int32[np.ndarray, "n B T"]
    first: Int32[np.ndarray, "n S"]
    index: Int32[np.ndarray, "n S"]


@dataclass(frozen=True)
class Batches:
    """A split in batches of one fixed shape for each width."""

    buckets: tuple[Bucket, ...]
    examples: int

    @property
    def tokens(self) -> int:
        """Tokens computed, padding included."""
        return sum(bucket.ids.size for bucket in self.buckets)

    @property
    def real_tokens(self) -> int:
        """Tokens of the sentences themselves."""
        return sum(int((bucket.sentence > 0).sum()) for bucket in self.buckets)


def make_batches(
    examples: Examples,
    pad_token_id: int = 0,
    tokens: int = BATCH_TOKENS,
    order: Iterable[int] | None = None,
) -> Batches:
    """Pack examples into rows, each into the fullest row that still has room for it.

    A new row is as wide as the least of `WIDTHS` that holds the example, at least `SHORT`, and
    comes with the others of its batch: `tokens` // T rows, the last ones perhaps empty. Shapes and
    neighbours depend on the examples alone, never on memory, chips or devices.

    Args:
        examples: the tokenised split.
        pad_token_id: fills up rows.
        tokens: of a batch.
        order: in which they are packed; None: longest first, which leaves least padding.
    """
    rows = pack_rows([len(row) for row in examples.ids], tokens, order)
    return batches_of_rows(examples, rows, pad_token_id, tokens)


def pack_rows(
    sizes: Sequence[int], tokens: int, order: Iterable[int] | None = None
) -> dict[int, list[list[int]]]:
    """Choose which examples share a row, by `make_batches`' rules: {width: rows}.

    Args:
        sizes: tokens of each example.
        tokens, order: as for `make_batches`.
    """
    if order is None:
        order = np.argsort([-size for size in sizes], kind="stable").tolist()
    width = _widths(max(sizes))
    rows: dict[int, list[list[int]]] = {}
    room: list[tuple[int, int, int]] = []  # (free tokens, width, row), ascending
    for i in order:
        size = sizes[i]
        place = bisect.bisect_left(room, (size, 0, 0))
        if place == len(room):
            wide = width[size]
            held = rows.setdefault(wide, [])
            more = range(len(held), len(held) + max(1, tokens // wide))
            held += [[] for _ in more]
            room.extend((wide, wide, row) for row in more)
            room.sort()
            place = bisect.bisect_left(room, (size, 0, 0))
        free, wide, row = room.pop(place)
        rows[wide][row].append(int(i))
        if free > size:
            bisect.insort(room, (free - size, wide, row))
    return rows


def batches_of_rows(
    examples: Examples, rows: Mapping[int, list[list[int]]], pad_token_id: int, tokens: int
) -> Batches:
    """Batch rows of examples: {width: rows, as many as fill whole batches}."""
    return Batches(
        tuple(
            bucket_of(examples, wide, max(1, tokens // wide), rows[wide], pad_token_id)
            for wide in sorted(rows)
        ),
        len(examples),
    )


def _widths(longest: int) -> list[int]:
    """List the width of a new row for each size of an example."""
    least = min(SHORT, next((w for w in WIDTHS if w >= longest), SHORT))
    return [next((w for w in WIDTHS if w >= max(n, least)), longest) for n in range(longest + 1)]


def bucket_of(
    examples: Examples, width: int, height: int, rows: list[list[int]], pad_token_id: int
) -> Bucket:
    """Lay rows of a width out in batches of so many."""
    n = len(rows) // height
    most = max(sum(map(len, rows[b * height : (b + 1) * height])) for b in range(n))
    shape = (n, height, width)
    ids = np.full(shape, pad_token_id, np.int32)
    types, positions, sentence = (np.zeros(shape, np.int32) for _ in range(3))
    first, index = np.zeros((n, most), np.int32), np.full((n, most), -1, np.int32)
    for b in range(n):
        count = 0
        for r, held in enumerate(rows[b * height : (b + 1) * height]):
            start = 0
            for k, i in enumerate(held):
                stop = start + len(examples.ids[i])
                ids[b, r, start:stop] = examples.ids[i]
                types[b, r, start:stop] = examples.types[i]
                positions[b, r, start:stop] = np.arange(stop - start)
                sentence[b, r, start:stop] = k + 1
                first[b, count], index[b, count] = r * width + start, i
                start, count = stop, count + 1
    return Bucket(ids, types, positions, sentence, first, index)
