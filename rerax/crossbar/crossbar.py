"""One matrix on crossbars."""

import dataclasses
from typing import Any

import jax

from rerax.crossbar.array_id import ArrayId
from rerax.crossbar.masking import OpenLines


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Crossbar:
    """A matrix, or one matrix in every layer, as it lies on crossbars.

    Every array leads with the axes of layers [*L], so that an index takes out one layer.

    Attributes:
        words: [*L, G, R, C] uint8, stored words, as they lie in cells.
        scale: [*L, C] float32, a code's worth in each column.
        layer: [*L] uint32, number of each layer, which its key is made with.
        lines: open lines, of a matrix with closed ones; None: all are open.
        complement: [*L, 1 or G, R, 1 or C] uint8, bits of words that are stored complemented;
            None: none are (`ChipSpec.polarity`).
        extra: where its protection finds copies; None where it needs nothing.
        array: its identity.
        spare: [*L, G, S, C] uint8, words of its spare array, where they are others; else None.
    """

    words: Any  # no types of arrays: leaves of a tree may be anything, as axes of `vmap` are
    scale: Any
    layer: Any
    lines: OpenLines | None
    extra: Any
    array: ArrayId = dataclasses.field(metadata={"static": True})
    complement: Any = None
    spare: Any = None
