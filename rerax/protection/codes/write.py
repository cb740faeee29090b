"""Writing check bits into a matrix's own words or a spare array. NumPy, once per model."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int8, UInt8, UInt16

from rerax.crossbar.encoding import complement, encode
from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import StoredMatrix
from rerax.protection.bit_addresses import hosts_of, set_bits, stack_hosts
from rerax.protection.codes.block_code import CheckSpec, checks_of
from rerax.protection.codes.placement import NOWHERE, lay_out_checks, stack_checks
from rerax.protection.codes.room import spare_rows
from rerax.protection.msb.write import rounded_codes


def write_checks(
    codes: Int8[np.ndarray, "*L R C"],
    row: Bool[np.ndarray, "*L R"],
    column: Bool[np.ndarray, "*L C"],
    asked: CheckSpec,
    spec: ChipSpec,
    rewritten: bool = False,
) -> StoredMatrix:
    """Lay out words with their check bits, where they are, and the bits complemented.

    Check bits are those of the plain words; every other one is complemented where a polarity
    alternates (in a further array those of odd rows).

    Args:
        codes: codes of the matrix, or of one matrix in every layer.
        row, column: whether each line is open.
        asked: what is protected; its check bits must fit.
        spec: geometry.
        rewritten: whether single chips are to be written otherwise (`read.write_around`).

    Returns:
        Its `extra` is the placement; where chips are rewritten, with the words that hold check bits
        (`bit_addresses.Hosts`).
    """
    *layers, rows, columns = codes.shape
    each = [
        _write_layer(*one, asked, spec)
        for one in zip(
            codes.reshape(-1, rows, columns),
            row.reshape(-1, rows),
            column.reshape(-1, columns),
            strict=True,
        )
    ]
    layouts = stack_checks([stored.extra for stored in each])

    def whole(arrays: list[np.ndarray | None]) -> np.ndarray | None:
        found = [array for array in arrays if array is not None]
        return np.stack(found).reshape(*layers, *found[0].shape) if found else None

    def in_layers(parts: Any) -> Any:
        return type(parts)(*(part.reshape(*layers, *part.shape[1:]) for part in parts))

    words = whole([stored.words for stored in each])
    assert words is not None
    extra = in_layers(layouts)
    if rewritten:
        shape = (spec.groups, rows, columns)
        extra = extra, in_layers(stack_hosts([hosts_of(at, shape) for at in layouts.at]))
    turned, spare = ([getattr(s, name) for s in each] for name in ("complement", "spare"))
    return StoredMatrix(words, extra, whole(turned), whole(spare))


def _write_layer(
    codes: np.ndarray, row: np.ndarray, column: np.ndarray, asked: CheckSpec, spec: ChipSpec
) -> StoredMatrix:
    """Encode one layer, and set its check bits in its own words or in a spare array's."""
    words = encode(rounded_codes(codes, asked.low, spec), spec)
    layout = lay_out_checks(row, column, asked, spec)
    checks = check_words(words, layout.rows, asked, spec)
    number = np.arange(len(layout.at))
    bits = checks >> number[:, None, None, None] & 1
    if asked.into == "spare":
        height = spare_rows(row.size, asked, spec)
        spare = np.zeros((spec.groups, height, column.size), np.uint8)
        set_bits(spare, layout.at, bits)
        return StoredMatrix(words, layout, None, spare)
    set_bits(words, layout.at, bits)
    if spec.polarity == "plain":
        return StoredMatrix(words, layout)
    turned = np.broadcast_to(complement(row.size, spec), words.shape).copy()
    set_bits(turned, layout.at, number % 2)
    return StoredMatrix(words, layout, turned)


def check_words(
    words: UInt8[np.ndarray, "G R C"], rows: np.ndarray, asked: CheckSpec, spec: ChipSpec
) -> UInt16[np.ndarray, "G B C"]:
    """Compute the check bits of every code word, the first one lowest."""
    known = (rows < NOWHERE)[None, :, :, None]
    members = words[:, np.minimum(rows, words.shape[1] - 1)]
    return np.asarray(checks_of(np.where(known, members, np.uint8(0)), asked, spec))
