"""The columns of a campaign's rows, and rows in more or fewer of them. No JAX here."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from rerax.campaign.point import FIELDS

_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()
_POINT = {name: pa.type_for_alias(field.column) for name, field in FIELDS.items()}
_LAST = ("rate", "sa1_share", "faulty", "polarity", "tested", "misread", "sampled")
"""Columns of a point that stand elsewhere."""
SCHEMA = pa.schema(
    [
        *((name, kind) for name, kind in _POINT.items() if name not in _LAST),
        *((name, _POINT[name]) for name in ("rate", "sa1_share")),
        ("seed", _WHOLE),
        ("chip", _WHOLE),
        ("score", _REAL),
        ("accuracy", _REAL),
        ("f1", _REAL),
        ("matthews", _REAL),
        ("pearson", _REAL),
        ("spearman", _REAL),
        ("accuracy_mismatched", _REAL),
        ("degenerate", pa.bool_()),
        ("float_score", _REAL),
        ("clean_score", _REAL),
        ("examples", _WHOLE),
        ("cells", _WHOLE),
        ("cells_dense", _WHOLE),
        ("stuck_at_0", _WHOLE),
        ("stuck_at_1", _WHOLE),
        ("stuck_other", _WHOLE),
        ("shorted", _WHOLE),
        ("flipped", _WHOLE),
        ("sparsity", _REAL),
        ("faulty", _POINT["faulty"]),
        ("correct", pa.binary()),
        ("prediction", pa.list_(pa.float16())),
        ("platform", _TEXT),
        ("point_hash", _TEXT),
        ("model_hash", _TEXT),
        ("data_hash", _TEXT),
        ("knows", _TEXT),
        ("metadata_bits", _WHOLE),
        ("polarity", _POINT["polarity"]),
        ("tested", _POINT["tested"]),
        ("macro_f1", _REAL),
        ("misread", _POINT["misread"]),
        ("sampled", _POINT["sampled"]),
        ("estimator", _TEXT),
        ("examples_drawn", _WHOLE),
    ]
)
"""The schema of all rows. Columns are only ever added to it, each of them nullable."""
FIRST_COLUMNS = tuple(SCHEMA.names[:42])
"""Columns of a folder whose manifest does not name them."""
IDENTITY = (
    *("task", "model", "rate", "seed", "chip", "score", "float_score", "clean_score"),
    *("platform", "point_hash"),
)
"""Columns that every block has, null for no chip."""

_IMPLIED = "knows"
"""What a row's protection implies, so that a folder can do without it."""
_ADDED = {"knows", "metadata_bits"}
"""Columns that every row has a value for, but for those of folders begun before them."""
_MAY_DIFFER = {"platform", "float_score", "clean_score"}
_SCORES = {
    "score",
    "accuracy",
    "f1",
    "macro_f1",
    "matthews",
    "pearson",
    "spearman",
    "accuracy_mismatched",
    "degenerate",
    "correct",
    "prediction",
}


def has_known_columns(schema: pa.Schema) -> bool:
    """Tell whether the columns are some of `SCHEMA`'s, as those of an older folder are."""
    if schema.equals(SCHEMA):
        return True
    known = all(
        field.name in SCHEMA.names and field.type.equals(SCHEMA.field(field.name).type)
        for field in schema
    )
    once = len(set(schema.names)) == len(schema.names)
    return known and once and set(IDENTITY) <= set(schema.names)


def widen(rows: pa.Table) -> pa.Table:
    """Add the columns of `SCHEMA` that a folder does not have, as nulls."""
    if rows.schema.equals(SCHEMA):
        return pa.Table.from_arrays(rows.columns, schema=SCHEMA)  # without the file's metadata
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def narrow(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Keep the columns of a folder.

    Raises:
        ValueError: the folder has no column for something that they say. It can do without what
            the protection implies, and without a count of metadata bits that is 0.
    """
    told = [name for name in rows.column_names if rows[name].null_count < len(rows)]
    if "metadata_bits" in told and not pc.sum(rows["metadata_bits"]).as_py():
        told.remove("metadata_bits")
    check_room(schema, told)
    return rows.select(schema.names).cast(schema)


def check_room(schema: pa.Schema, needed: Iterable[str]) -> None:
    """Refuse rows that say what a folder has no column for.

    Args:
        schema: the folder's columns.
        needed: names of columns that the rows fill.

    Raises:
        ValueError: one is missing.
    """
    for name in needed:
        if name not in schema.names and name != _IMPLIED:
            raise ValueError(
                f"the folder was begun without the column {name}, which these rows need: give a "
                "new --out, and bring both together with rerax merge"
            )


def compare_rows(here: str, rows: pa.Table, there: str, others: pa.Table) -> None:
    """Refuse two blocks that say different things about a chip of both.

    Args:
        here, there: names of the two, for the error.
        rows, others: their rows.

    Raises:
        ValueError: identity or cell counts differ, or scores do on one platform.
    """
    if rows.equals(others):  # most are, and this is quick
        return
    theirs = {row["chip"]: row for row in others.to_pylist()}
    for mine in rows.to_pylist():
        row = theirs.get(mine["chip"], mine)
        skip = _MAY_DIFFER | (_SCORES if row["platform"] != mine["platform"] else set())
        skip = skip | {name for name in _ADDED if row[name] is None or mine[name] is None}
        # repr, since a prediction may be NaN and NaN equals nothing
        wrong = [n for n in mine if n not in skip and repr(row[n]) != repr(mine[n])]
        if wrong:
            raise ValueError(
                f"{here}: chip {mine['chip']} disagrees with {there} in {', '.join(wrong)}: "
                "remove the wrong one"
            )
