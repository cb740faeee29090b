"""What a crossbar looks like: encoding, bits, cells, tiles, addresses. No JAX here."""

from dataclasses import dataclass
from typing import Any

from rerax.values import check_integer, check_real, is_integer, is_whole

SEMANTICS = 1
"""Raised whenever stuck cells, words or codes of an existing campaign would change."""

ENCODINGS = ("offset", "twos_complement", "sign_magnitude", "differential")
LAYOUTS = ("interleaved", "separate")
BITS_PER_CELL = (1, 2, 4)
LONGEST_LINE = 1 << 16
"""Cells; above it a tile is a slip."""
POLARITIES = ("plain", "alternate", "inverted")


def check_bits(bits: int) -> None:
    """Refuse a width of codes that there is not."""
    check_integer("bits", bits)
    if not 2 <= bits <= 8:
        raise ValueError(f"bits {bits!r} is outside 2..8: give a whole number from 2 to 8")


@dataclass(frozen=True)
class ChipSpec:
    """How a b-bit code is laid into the cells of a crossbar.

    A weight is one group of `bits` bits (`differential`: a plus and a minus group of
    `bits` - 1 each). A group of n bits takes ceil(n / bits_per_cell) cells, filled from the
    least significant bit; the top cell may hold fewer bits than the others.

    Attributes:
        encoding: `offset`, `twos_complement`, `sign_magnitude` or `differential`.
        bits: width b of a code in bits, 2 to 8.
        bits_per_cell: bits c that one cell holds as one of 2^c levels: 1, 2 or 4.
        tile: wordlines and bitlines of one crossbar. Edge tiles are cut, never padded.
        layout: `interleaved` (bitline = column * S + slice) or `separate`
            (bitline = slice * columns + column), S cells a weight.
        polarity: `plain`: bits are stored as they are; `alternate`: complemented in odd rows, so
            that the mean error of stuck cells of one polarity cancels; `inverted`: some bits
            complemented in every row, the others in odd ones, for chips on which SA1 is commoner
            and encodings whose bits are mostly 0 (sign-magnitude: all bits but the sign;
            differential: all). Held as the bits themselves, `inverted:0x7f`, which may be given.
        misread: how uncertain the level is that is sensed of a cell, stuck or not: standard
            deviation of Gaussian noise, in distances between adjacent levels, 0 to 1. The nearest
            level there is is read. Drawn once a chip, so that all sentences meet the same errors;
            what is misread at some noise is at any larger one as well.

    Raises:
        ValueError: a field outside its range.

    Example:
        >>> ChipSpec(encoding="differential", bits=8, bits_per_cell=2).cells_per_weight
        8
    """

    encoding: str = "offset"
    bits: int = 8
    bits_per_cell: int = 1
    tile: tuple[int, int] = (128, 128)
    layout: str = "interleaved"
    polarity: str = "plain"
    misread: float = 0.0

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"unknown encoding {self.encoding!r}: use one of {_list(ENCODINGS)}")
        check_bits(self.bits)
        if not is_integer(self.bits_per_cell) or self.bits_per_cell not in BITS_PER_CELL:
            raise ValueError(
                f"bits per cell {self.bits_per_cell!r} is not supported: use 1, 2 or 4"
            )
        if self.layout not in LAYOUTS:
            raise ValueError(f"unknown layout {self.layout!r}: use one of {_list(LAYOUTS)}")
        sizes = self.tile if isinstance(self.tile, tuple) else ()
        if len(sizes) != 2 or any(not is_integer(n) or n < 1 for n in sizes):
            raise ValueError(
                f"tile {self.tile!r} is not a size: give wordlines x bitlines, each >= 1"
            )
        if max(sizes) > LONGEST_LINE:
            raise ValueError(
                f"tile {sizes[0]}x{sizes[1]} is larger than any crossbar: give at most "
                f"{LONGEST_LINE} wordlines and bitlines"
            )
        object.__setattr__(self, "polarity", self._resolved())
        check_real("misread", self.misread)
        if not 0 <= self.misread <= 1:  # also catches NaN
            raise ValueError(
                f"misread {self.misread} is outside [0, 1]: give the standard deviation of a "
                "sensed level, in distances between adjacent levels"
            )
        object.__setattr__(self, "misread", float(self.misread) + 0.0)

    def _resolved(self) -> str:
        """Spell out the bits of an `inverted` polarity."""
        kind, colon, given = str(self.polarity).partition(":")
        if kind not in POLARITIES or (colon and kind != "inverted"):
            raise ValueError(
                f"unknown polarity {self.polarity!r}: use one of {_list(POLARITIES)}, or the bits "
                "that are inverted in every row, inverted:0x7f"
            )
        if kind != "inverted":
            return kind
        whole = (1 << self.group_bits) - 1
        if not colon:
            sparse = {"sign_magnitude": whole >> 1, "differential": whole}
            if self.encoding not in sparse:
                raise ValueError(
                    f"polarity inverted is of no use to {self.encoding}, whose bits are 1 as often "
                    "as 0: use alternate, or give the bits, inverted:0x40"
                )
            return f"inverted:{sparse[self.encoding]:#04x}"
        try:
            bits = int(given, 0) if given.isascii() and "_" not in given else 0
        except ValueError:
            bits = 0
        if not 1 <= bits <= whole:
            raise ValueError(
                f"bits {given!r} of polarity inverted are outside 0x01..{whole:#04x}: give a word "
                "with those bits set"
            )
        return f"inverted:{bits:#04x}"

    @property
    def inverted(self) -> int:
        """Bits of a word that are stored complemented in every row."""
        return int(self.polarity.partition(":")[2] or "0", 0)

    @property
    def alternating(self) -> int:
        """Bits of a word that are stored complemented in odd rows, and in odd images of a bit."""
        whole = (1 << self.group_bits) - 1
        return 0 if self.polarity == "plain" else whole & ~self.inverted

    @property
    def groups(self) -> int:
        """Groups a weight: 2 for `differential`, else 1."""
        return 2 if self.encoding == "differential" else 1

    @property
    def group_bits(self) -> int:
        """Bits of one group."""
        return self.bits - 1 if self.encoding == "differential" else self.bits

    @property
    def cells_per_group(self) -> int:
        """Cells of one group, ceil(group_bits / bits_per_cell)."""
        return -(-self.group_bits // self.bits_per_cell)

    @property
    def cells_per_weight(self) -> int:
        """Cells (slices) S of one weight."""
        return self.groups * self.cells_per_group

    def bits_of_cell(self, cell: int) -> int:
        """Count the bits that cell `cell` (0 = least significant) of a group holds."""
        return min(self.bits_per_cell, self.group_bits - cell * self.bits_per_cell)

    def bitlines(self, columns: int) -> int:
        """Count the bitlines that a matrix of `columns` columns occupies."""
        return columns * self.cells_per_weight

    def cells(self, rows: int, columns: int) -> int:
        """Count the physical cells of a rows x columns matrix."""
        return rows * self.bitlines(columns)

    def bitline(self, column: Any, slice_: Any, columns: int) -> Any:
        """Find the bitline of a slice (0..S-1, plus group first) of `column`. Arrays welcome."""
        if self.layout == "interleaved":
            return column * self.cells_per_weight + slice_
        return slice_ * columns + column

    def locate(self, bitline: Any, columns: int) -> tuple[Any, Any]:
        """Find the column and slice at a bitline: the inverse of `bitline`. Arrays welcome."""
        if self.layout == "interleaved":
            return bitline // self.cells_per_weight, bitline % self.cells_per_weight
        return bitline % columns, bitline // columns

    def tiles(self, rows: int, columns: int) -> tuple[int, int]:
        """Count the tiles of a matrix's array, downwards and across."""
        return -(-rows // self.tile[0]), -(-self.bitlines(columns) // self.tile[1])

    def column_blocks(self, columns: int) -> list[int]:
        """Number the blocks of columns whose weights have their first cells on one tile."""
        tiles = [self.bitline(column, 0, columns) // self.tile[1] for column in range(columns)]
        numbers = {tile: number for number, tile in enumerate(dict.fromkeys(tiles))}
        return [numbers[tile] for tile in tiles]

    @property
    def block_columns(self) -> int:
        """Count the columns of the widest block that `column_blocks` can number."""
        wide = self.tile[1]
        return -(-wide // self.cells_per_weight) if self.layout == "interleaved" else wide

    def tile_of(self, wordline: Any, bitline: Any) -> tuple[Any, Any]:
        """Find the tile row and tile column of a physical address. Arrays welcome."""
        return wordline // self.tile[0], bitline // self.tile[1]


def parse_tile(text: str | tuple[int, int]) -> tuple[int, int]:
    """Read a tile size such as `128x128` (wordlines x bitlines), or take it as a pair.

    Raises:
        ValueError: not two whole numbers of at least 1 joined by an x.
    """
    if not isinstance(text, str):
        return ChipSpec(tile=tuple(text) if isinstance(text, list) else text).tile
    rows, _, columns = (part.strip() for part in text.lower().partition("x"))
    if not (is_whole(rows) and is_whole(columns)):
        raise ValueError(f"tile {text!r} is not a size: give wordlines x bitlines such as 128x128")
    return int(rows), int(columns)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)
