"""Tables of examples in files: Parquet, CSV, TSV and JSON lines. No JAX here."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

FORMATS = (".parquet", ".csv", ".tsv", ".jsonl")
HOW_TO_QUOTE = (
    "double the quotes of values that begin with one, and put such values in quotes, or write "
    "JSON lines"
)


def read_table(file: Path) -> pa.Table:
    """Read a table, of a CSV or TSV every column as text, empty entries as null.

    Raises:
        ValueError: no file of a known kind, or one that cannot be read.
    """
    kind = file.suffix.lower()
    if kind not in FORMATS:
        raise ValueError(f"{file} is of another kind: give one of {', '.join(FORMATS)}")
    try:
        if kind == ".parquet":
            table = pa.parquet.read_table(file)
        elif kind == ".jsonl":
            table = _read_json(file)
        else:
            table = _read_text(file, "," if kind == ".csv" else "\t")
        table.validate(full=True)  # text that is no UTF-8 too
        return table
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"{file} is no readable {kind[1:]} ({line}): mend it") from None


def _read_text(file: Path, delimiter: str) -> pa.Table:
    how = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    _check_quotes(file, delimiter)
    with file.open("rb") as stream:
        names = pa.csv.open_csv(stream, parse_options=how).schema.names
    kinds = dict.fromkeys(names, pa.string())
    convert = pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=True, null_values=[""])
    table = pa.csv.read_csv(file, parse_options=how, convert_options=convert)
    if delimiter == "\t":
        _check_tabs(table, f"{file}: ")
    return table


def _check_quotes(file: Path, delimiter: str) -> None:
    """Refuse a file in which a quote is never closed, or text stands behind one that is.

    Arrow reads on to the end of the file, and takes all of it for one value.

    Raises:
        ValueError: the line up to which the row was read.
    """
    most, line = csv.field_size_limit(2**31 - 1), 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, delimiter=delimiter, strict=True)
            for _ in rows:
                line = rows.line_num + 1
    except csv.Error:
        raise ValueError(
            f"{file}: the row from line {line} on has a quote that is never closed, or text behind "
            f"one that is: {HOW_TO_QUOTE}"
        ) from None
    finally:
        csv.field_size_limit(most)


def _check_tabs(table: pa.Table, where: str) -> None:
    """Refuse a TSV in which a quote that was none of CSV's has swallowed tabs and lines.

    Raises:
        ValueError: a value holds a tab.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        for row, value in enumerate(column.to_pylist()):
            if value is not None and "\t" in value:
                raise ValueError(
                    f"{where}row {row + 1} has a tab within {name}, perhaps behind a quote that is "
                    f"never closed: {HOW_TO_QUOTE}"
                )


def _read_json(file: Path) -> pa.Table:
    """Read JSON lines; texts that Arrow takes for dates stay texts."""
    table = pa.json.read_json(file)
    dates = [(one.name, pa.string()) for one in table.schema if pa.types.is_temporal(one.type)]
    if not dates:
        return table
    return pa.json.read_json(
        file, parse_options=pa.json.ParseOptions(explicit_schema=pa.schema(dates))
    )


def find_files(data: Path, split: str) -> list[Path]:
    """List the files of a split: the file itself, or those of a folder that are called so.

    Raises:
        ValueError: none, or of several kinds; says what there is.
    """
    if data.is_file():
        return [data]
    found = {
        kind: files
        for kind in FORMATS
        if (files := sorted(data.glob(f"{split}{kind}")) or sorted(data.glob(f"{split}-*{kind}")))
    }
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        both = ", ".join(files[0].name for files in found.values())
        raise ValueError(f"{data} has {both} of split {split}: leave one of them, or give the file")
    here = sorted(p.name for p in data.iterdir() if p.suffix.lower() in FORMATS)
    raise ValueError(
        f"{data} has no {split}.csv, .tsv, .jsonl or .parquet, but {', '.join(here) or 'none'}: "
        "give --split as they are called, or the file itself"
    )


def without_categories(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take a column's values where it holds categories."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def is_text(kind: pa.DataType) -> bool:
    """Whether a column is text, however Arrow holds it."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_one(kind) for is_one in kinds)
