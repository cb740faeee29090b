"""Writing copies into a matrix's own words. NumPy, once per model."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int8

from rerax.crossbar.encoding import complement, encode
from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import StoredMatrix
from rerax.protection.msb.copy_spec import CopySpec, copied_cells, low_bits, served_columns
from rerax.protection.msb.placement import CopyPlacement, copy_cells, lay_out_copies, stack_copies
from rerax.protection.msb.swap import cell_address
from rerax.protection.msb.write_around import stack_writable, writable


def write_copies(
    codes: Int8[np.ndarray, "*L R C"],
    row: Bool[np.ndarray, "*L R"],
    column: Bool[np.ndarray, "*L C"],
    asked: CopySpec,
    spec: ChipSpec,
    rewritten: bool = False,
) -> StoredMatrix:
    """Encode words, write copies into freed cells and low bits, and say where these are.

    A copy is complemented as the bit that it is a copy of, and the first, third, .. copy of an
    alternating bit the other way.

    Args:
        codes: codes of the matrix, or of one matrix in every layer.
        row, column: whether each line is open.
        asked: what to copy; it must fit.
        spec: geometry.
        rewritten: whether single chips are to be written otherwise (`write_around`).
    """
    if codes.ndim == 3:
        layers = [
            write_copies(*one, asked, spec, rewritten)
            for one in zip(codes, row, column, strict=True)
        ]
        turned = [layer.complement for layer in layers]
        each = [layer.extra for layer in layers]
        return StoredMatrix(
            np.stack([layer.words for layer in layers]),
            stack_writable(each) if rewritten else stack_copies(each),
            None if turned[0] is None else np.stack(turned),
        )
    served = served_columns(asked, spec, row, column)
    low = low_bits(asked, int(column.sum()), served)
    words = encode(rounded_codes(codes, low, spec), spec)
    layout = lay_out_copies(row, column, asked, spec)
    _write_images(words, layout, row, asked, spec, 0)
    extra: Any = layout
    if rewritten:
        extra = writable(layout, row, column, asked, spec)
    if spec.polarity == "plain":
        return StoredMatrix(words, extra)
    own = complement(len(row), spec) & ~np.uint8((1 << low) - 1)
    complemented = np.broadcast_to(own, words.shape).copy()
    _write_images(complemented, layout, row, asked, spec, spec.alternating)
    return StoredMatrix(words, extra, complemented)


def rounded_codes(
    codes: Int8[np.ndarray, "*L R C"], low: int, spec: ChipSpec
) -> Int8[np.ndarray, "*L R C"]:
    """Round codes to the nearest whose words have `low` zero bits at the bottom, half to even.

    Codes beyond the largest such word saturate.
    """
    if low == 0:
        return codes
    step = 1 << low
    top = (1 << (spec.bits - 1)) - step
    bottom = (
        -top if spec.encoding in ("sign_magnitude", "differential") else -(1 << (spec.bits - 1))
    )
    nearest = np.rint(codes.astype(np.float64) / step) * step
    return np.clip(nearest, bottom, top).astype(np.int8)


def _write_images(
    words: np.ndarray,
    layout: CopyPlacement,
    row: np.ndarray,
    asked: CopySpec,
    spec: ChipSpec,
    turned: int,
) -> None:
    """Write copies; the bits of `turned` are complemented in the first, third, .. round."""
    if layout.freed is not None:
        _write_freed(words, layout, row, asked, spec, turned)
    if layout.low is not None:
        _write_low(words, layout, row, asked, spec, turned)


def _write_freed(
    words: np.ndarray,
    layout: CopyPlacement,
    row: np.ndarray,
    asked: CopySpec,
    spec: ChipSpec,
    turned: int,
) -> None:
    """Write the copies in freed cells, a round and a copied cell at a time."""
    assert layout.freed is not None
    at = copy_cells(layout, row, asked, spec)
    own = words[:, np.flatnonzero(row)][:, :, layout.freed.kept]
    for q, x in np.ndindex(at.shape[:2]):
        if at[q, x].size == 0 or at[q, x].flat[0] < 0:
            continue
        group, cell = divmod(copied_cells(asked, 0, spec)[x], spec.cells_per_group)
        image = own[group] ^ np.uint8(turned if q % 2 == 0 else 0)
        level = image >> (cell * spec.bits_per_cell) & ((1 << spec.bits_of_cell(cell)) - 1)
        to_row, to_slice, to_column = cell_address(at[q, x], spec, words.shape[-1])
        # Many cells of one word are written at once, so each bit plane has its own turn.
        for place in range(spec.cells_per_weight):
            here = to_slice == place
            group_, cell_ = divmod(place, spec.cells_per_group)
            mask = ((1 << spec.bits_of_cell(cell_)) - 1) << (cell_ * spec.bits_per_cell)
            at_word = (group_, to_row[here], to_column[here])
            words[at_word] = (words[at_word] & ~np.uint8(mask)) | (
                level[here] << np.uint8(cell_ * spec.bits_per_cell)
            )


def _write_low(
    words: np.ndarray,
    layout: CopyPlacement,
    row: np.ndarray,
    asked: CopySpec,
    spec: ChipSpec,
    turned: int,
) -> None:
    """Write the copies in low bits, which `rounded_codes` has left 0."""
    low = layout.low
    assert low is not None
    rows, columns = np.flatnonzero(row), np.flatnonzero(low.served)
    own = words[:, rows][:, :, columns].copy()
    numbers = [(q, p) for q in range(asked.rounds) for p in range(asked.bits_in(q))]
    for n, (q, p) in enumerate(numbers):
        image = own ^ np.uint8(turned if q % 2 == 0 else 0)
        bits = (image >> (spec.group_bits - 1 - p) & 1).astype(np.uint8)
        for plane in np.unique(low.bit[n][columns]):  # one host may serve in two planes
            here = low.bit[n][columns] == plane
            hosts = low.column[n][columns[here]]
            words[:, layout.rows[q][rows][:, None], hosts] |= bits[:, :, here] << np.uint8(plane)
