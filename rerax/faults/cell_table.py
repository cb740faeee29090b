"""Tables of cells as testers write them, CSV or Parquet, with checked columns. No JAX here."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from rerax.io import at_home, read_bytes, whole_file
from rerax.values import printable, shown

NAMES = ("matrix", "array")
"""Columns that hold names, which are text even where they look like numbers."""
SUFFIXES = (".csv", ".parquet")
_PARQUET = b"PAR1"
_WHOLE = r"^\s*-?[0-9]{1,18}\s*$"
_REAL = r"^\s*[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]+)?\s*$"


@dataclass(frozen=True, eq=False)
class CellTable:
    """The content of a file.

    Attributes:
        path: the file.
        digest: SHA-256 of its bytes.
        columns: what is in it.
        content: its bytes, where it is CSV, to say what stands in a bad field.
    """

    path: str
    digest: str
    columns: pa.Table
    content: bytes | None = None

    def __len__(self) -> int:
        return len(self.columns)

    def check(self, names: Collection[str], fix: str = "") -> None:
        """Refuse a table without rows, or in which one of some columns is missing or has gaps.

        Args:
            names: of the columns.
            fix: what to do about a missing one, beside giving them all.

        Raises:
            ValueError: which, and which columns there are.
        """
        there = self.columns.column_names
        for name in names:
            if name not in there:
                raise ValueError(
                    f"{self.path} has no column {name}, only {printable(', '.join(there))}: give "
                    f"{', '.join(names)}, and in CSV a comma between them{fix}"
                )
            if there.count(name) > 1:
                raise ValueError(f"{self.path} has two columns {name}: leave one of them out")
        if not len(self):
            raise ValueError(f"{self.path} has no rows, and so no chips: give a row for each cell")
        for name in names:
            if self.columns[name].null_count:
                row = pc.index(pc.is_null(self.columns[name]), True).as_py() + 1
                raise ValueError(
                    f"{self.path} has an empty {name} in row {row}: give every cell its whole "
                    "address"
                )

    def whole(self, name: str, highest: int) -> np.ndarray:
        """Read a column of whole numbers from 0 to `highest`, as int64.

        Raises:
            ValueError: something else in it.
        """
        column = self.columns[name]
        if not pa.types.is_integer(column.type):
            raise ValueError(
                f"{self.path}: {name} is {self._bad(name, _WHOLE)}: give whole numbers"
            )
        values = column.to_numpy()
        bad = values[(values < 0) | (values > highest)]
        if bad.size:
            raise ValueError(
                f"{self.path}: {name} {bad[0]} is outside 0..{highest}: give one in the range"
            )
        return values.astype(np.int64)

    def real(self, name: str) -> np.ndarray:
        """Read a column of finite numbers, as float64 or in the column's own floating type.

        Raises:
            ValueError: something else in it.
        """
        column = self.columns[name]
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise ValueError(f"{self.path}: {name} is {self._bad(name, _REAL)}: give numbers")
        values = column.to_numpy()
        values = values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(
                f"{self.path}: {name} is {values[bad[0]]} in row {bad[0] + 1}: give finite numbers"
            )
        return values

    def names(self, name: str) -> tuple[tuple[str, ...], np.ndarray]:
        """Read a column of names: those that occur, sorted, and the place among them of each row.

        Raises:
            ValueError: something that is no text.
        """
        column = self.columns[name]
        try:
            text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        except pa.ArrowException:
            raise ValueError(f"{self.path}: {name} is {column.type}: give names") from None
        coded = text.combine_chunks().dictionary_encode()
        found = coded.dictionary.to_pylist()
        order = sorted(range(len(found)), key=found.__getitem__)
        place = np.empty(len(found), np.int64)
        place[order] = np.arange(len(found))
        return tuple(found[i] for i in order), place[coded.indices.to_numpy()]

    def _bad(self, name: str, form: str) -> str:
        """Say what stands in a column in place of numbers: a field of CSV, a type of Parquet."""
        if self.content is None:
            return str(self.columns[name].type)
        text = _read_csv(self.content, {name: pa.string()})[name]
        wrong = pc.invert(pc.match_substring_regex(text, form))
        row = max(0, pc.index(wrong, True).as_py())
        return f"{shown(text[row].as_py())} in row {row + 1}"


def read_table(path: str) -> CellTable:
    """Read a file of cells, CSV or Parquet by its content and name.

    Raises:
        ValueError: no such file, an empty or a garbled one, or one of another kind.
        StorageError: it could not be read.
    """
    file = at_home(path)
    if not file.is_file():
        raise ValueError(f"{path} is no file: give a CSV or Parquet file of cells")
    content = read_bytes(file)
    if not content.strip():
        raise ValueError(f"{path} is empty: give the names of the columns and a row for each cell")
    csv = not content.startswith(_PARQUET)
    if csv and file.suffix.lower() != ".csv":
        raise ValueError(
            f"{path} is not a Parquet file, and not called .csv: write the map with pyarrow, or "
            "as CSV"
        )
    try:
        table = _read_csv(content, {}) if csv else pq.read_table(pa.BufferReader(content))
        columns = table.rename_columns([name.strip() for name in table.column_names])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = printable(" ".join(str(error).split()))[:200]
        kind = "CSV" if csv else "Parquet"
        raise ValueError(f"{path} is no readable {kind} file ({why}): write it anew") from None
    digest = hashlib.sha256(content).hexdigest()
    return CellTable(path, digest, columns, content if csv else None)


def _read_csv(content: bytes, types: dict[str, Any]) -> pa.Table:
    """Read the bytes of a CSV file; columns not in `types`, but for names, are inferred."""
    wanted = {**dict.fromkeys(NAMES, pa.string()), **types}
    there = pacsv.open_csv(pa.BufferReader(content)).schema.names  # maybe with blanks around
    convert = pacsv.ConvertOptions(
        column_types={raw: wanted[raw.strip()] for raw in there if raw.strip() in wanted},
        null_values=["", "NA", "N/A", "NaN", "nan", "null", "NULL"],
        strings_can_be_null=True,
    )
    table = pacsv.read_csv(pa.BufferReader(content), convert_options=convert)
    return table.rename_columns([name.strip() for name in table.column_names])


def check_suffix(path: Path) -> None:
    """Refuse to write a table under a name that says neither CSV nor Parquet.

    Raises:
        ValueError: it does not.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} ends in neither .csv nor .parquet: give a name that does")


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as CSV or Parquet, by the file's name, whole or not at all.

    Raises:
        ValueError: a name that says neither.
        StorageError: the file system refused.
    """
    check_suffix(path)
    with whole_file(path) as out:
        if path.suffix.lower() == ".csv":
            pacsv.write_csv(table, out)
        else:
            pq.write_table(table, out)
