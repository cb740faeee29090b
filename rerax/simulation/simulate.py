"""Scores of faulty chips by any function of any model's parameters."""

import dataclasses
import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from rerax.campaign.block import Block, cut
from rerax.campaign.grid import several
from rerax.campaign.point import FIELDS
from rerax.campaign.store import TRIES, stuck
from rerax.campaign.workload import MOST_CHIPS
from rerax.crossbar.keys import chip, root_key
from rerax.crossbar.spec import SEMANTICS
from rerax.evaluate.engine import platform_name
from rerax.evaluate.scorer import Score, Scores, numbers_of, scorer
from rerax.faults import DEFAULT_SA1_SHARE, FAULTS, Measured
from rerax.faults.mask import Faults
from rerax.faults.read_out import Counts
from rerax.faults.sampling.rates import rate_table
from rerax.io import place
from rerax.models.stored import Leaf, StoredModel
from rerax.models.tree import read
from rerax.protection import PROTECTIONS
from rerax.sealed import digest
from rerax.simulation.folder import SimulationFolder
from rerax.values import as_integer, check_real, shown

if TYPE_CHECKING:
    AScore = Score
    AStored = StoredModel
    ARates = float | Sequence[float]
    AWhole = int
    AShare = Fraction | float
else:  # what is of another kind is refused below, in a line of our own
    AScore = AStored = ARates = AWhole = AShare = Any

_BEFORE = (
    *(("name", pa.string()), ("version", pa.string()), ("tree_hash", pa.string())),
    *(("encoding", pa.string()), ("bits", pa.int32()), ("bits_per_cell", pa.int32())),
    *(("layout", pa.string()), ("tile", pa.string()), ("protection", pa.string())),
    *(("fault", pa.string()), ("rate", pa.float64()), ("sa1_share", pa.float64())),
    *(("seed", pa.int64()), ("chip", pa.int64())),
)
_UNTRACED = (
    jax.errors.ConcretizationTypeError,  # float(), if
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_NAMELESS = ("<lambda>", "<locals>", " object at 0x")
"""What stands in the text of a structure that holds a thing which its text does not tell."""
_BEHIND = (
    *((name, pa.int64()) for name in Counts._fields),
    *(("cells", pa.int64()), ("platform", pa.string()), ("point_hash", pa.string())),
)


def simulate(
    score: AScore,
    stored: AStored,
    *,
    rates: ARates,
    chips: AWhole = 64,
    seed: AWhole = 0,
    sa1_share: AShare = DEFAULT_SA1_SHARE,
    name: str | None = None,
    version: str | None = None,
    out: str | Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> pa.Table:
    """Score thousands of faulty chips of any model by a function of its parameters.

        stored = rerax.program(params, rerax.Hardware(), lambda path, _: path.endswith("kernel"))
        rows = rerax.simulate(accuracy, stored, rates=[0, 1e-3, 1e-2], chips=64)

    One program is compiled for all rates and chips. A chip's row does not depend on which other
    chips and rates are asked for. `rerax.summarise(rows["score"])` gives mean, standard error and
    interval of some chips' scores.

    Args:
        score: traced by JAX: gives a number, or a dictionary of numbers, for a tree of parameters
            with faulty weights. What else it needs, data for one, it may close over; it is read
            when `simulate` begins.
        stored: the model on crossbars (`program`).
        rates: one fault rate or several, each once.
        chips: chips of each rate, from number 0 on.
        seed: of all chips.
        sa1_share: share of SA1 among stuck cells.
        name, version: of the score, for rows in a folder: raise the version when it changes.
        out: folder to fill or grow, resumed where it was left; None keeps the rows in memory.
        on_progress: told of chips done and of all, after every block of 32.

    Returns:
        One row per chip and rate: settings, `rate`, `chip`, the score's numbers (`score` where it
        gives one), faulty cells by kind, `cells` (spare arrays included, in both), `platform`.

    Raises:
        ValueError: bad input, or a folder of something else: the value, the rule, the fix.
    """
    if not isinstance(stored, StoredModel):
        raise ValueError(f"stored is of type {type(stored).__name__}: give what rerax.program did")
    if not callable(score):
        raise ValueError(f"score is {shown(score)}: give a function of the parameters")
    chips = as_integer("chips", chips)
    if not 1 <= chips <= MOST_CHIPS:
        raise ValueError(f"chips {chips} is outside 1..{MOST_CHIPS}: give one in the range")
    root_key(seed)  # raises
    seed = as_integer("seed", seed)
    asked = several("rates", rates)
    for rate in asked:
        check_real("rate", rate)
    hardware, fault = stored.hardware, stored.hardware.fault
    if isinstance(fault, Measured):
        raise ValueError(
            f"{fault.text} brings its own chips and rate: read them one by one, rerax.read(stored, "
            "rerax.chip(seed, number), 1.0)"
        )
    if not fault.has_polarity and sa1_share != DEFAULT_SA1_SHARE:
        raise ValueError(
            f"sa1_share {sa1_share} with faults of {type(fault).__name__}: leave it out, it means "
            "nothing to such faults"
        )
    of = functools.partial(rate_table, sa1_share=sa1_share, fault=fault, tested=hardware.tested)
    points = {float(rate) + 0.0: of(float(rate)) for rate in asked}
    for what, text in (("name", name), ("version", version)):
        if out is not None and not (isinstance(text, str) and text):
            raise ValueError(
                f"{what} is {text!r}: give a text, since rows in a folder say what scored them"
            )
    if out is not None:
        FAULTS.check_registered(fault)
        PROTECTIONS.check_registered(hardware.protection)
    names = _names(score, stored)
    spec = hardware.spec
    told = {"polarity": spec.polarity, "tested": hardware.tested, "misread": spec.misread}
    later = {column: FIELDS[column].write(value) for column, value in told.items()}
    later = {column: value for column, value in later.items() if value is not None}
    kinds = ((column, pa.type_for_alias(FIELDS[column].column)) for column in later)
    before = (*_BEFORE, *kinds)
    schema = pa.schema([*before, *((n, pa.float64()) for n in names), *_BEHIND])
    try:
        tree_hash = hash_of(stored)
    except ValueError:
        if out is not None:
            raise
        tree_hash = None
    stored = jax.device_put(stored)
    scores = scorer(score, stored)
    cells = stored.cells + stored.spare_cells
    share = float(Fraction(str(sa1_share))) if fault.has_polarity else None
    common = {
        "name": name,
        "version": version,
        "tree_hash": tree_hash,
        "encoding": spec.encoding,
        "bits": spec.bits,
        "bits_per_cell": spec.bits_per_cell,
        "layout": spec.layout,
        **later,
        "tile": FIELDS["tile"].write(spec.tile),
        "protection": _text(hardware.protection, "text"),
        "fault": _text(fault, "name"),
        "sa1_share": share,
        "seed": seed,
    }
    folder = None
    if out is not None and name is not None and version is not None:
        folder = SimulationFolder.open(place(out), name, version, seed, schema)
    tables, done, total = [], 0, chips * len(points)
    for rate, table in points.items():
        own = {**common, "rate": rate}
        identity = digest({**own, "semantics": SEMANTICS})
        own |= {"point_hash": identity, "cells": cells, "platform": platform_name()}

        def rows_of(block: Block, own: Any = own, table: Any = table, rate: float = rate) -> Any:
            numbers = range(block.first, block.last + 1)
            wrong = rate or spec.misread  # without either every chip is the same
            asked = numbers if wrong else range(1)
            parts = list(scores(seed, asked, Faults(table)))
            return _rows(schema, own, numbers, parts)

        if folder is None:
            for block in cut(identity[:16], range(chips)):
                tables.append(rows_of(block))
                done += block.chips
                on_progress(done, total)
            continue
        for _ in range(TRIES):
            todo = folder.missing(identity, chips)
            for block in todo:
                folder.write(block, rows_of(block))
                on_progress(min(total, done + block.last + 1), total)
            found = folder.read(identity, chips)
            if found is not None:
                break
        else:
            raise stuck(folder.path)
        done += chips
        tables.append(found)
    return pa.concat_tables(tables)


def _names(score: Score, stored: StoredModel) -> list[str]:
    """List the names of the score's numbers.

    Raises:
        ValueError: it gives something else than numbers, or a name that a column has already.
    """

    hardware = stored.hardware
    none = rate_table(0.0, fault=hardware.fault, tested=hardware.tested)
    words = {path: crossbar.words for path, crossbar in stored.crossbars.items()}
    try:
        traced, shapes = jax.make_jaxpr(
            lambda words, s: numbers_of(score(read(_with_words(s, words), chip(0, 0), none))),
            return_shape=True,
        )(words, stored)
    except _UNTRACED as error:
        raise ValueError(
            f"the score needs to know a number while it is compiled ({type(error).__name__}): use "
            "jax.numpy, and no float(), if or NumPy, on what follows from the parameters"
        ) from error
    names = list(shapes)
    later = (column for column, field in FIELDS.items() if field.later)
    taken = {*later, *(column for column, _ in (*_BEFORE, *_BEHIND))}
    for name in names:
        if name in taken:
            raise ValueError(f"the score gives {name!r}, which is a column of its own: rename it")
    if not _depends(traced.jaxpr, len(words)):
        raise ValueError(
            "the score does not depend on the weights on crossbars, so all chips would be alike: "
            "let it use the parameters that it is given"
        )
    return sorted(names)


def _with_words(stored: StoredModel, words: Mapping[str, Any]) -> StoredModel:
    crossbars = {
        path: dataclasses.replace(crossbar, words=words[path])
        for path, crossbar in stored.crossbars.items()
    }
    return dataclasses.replace(stored, crossbars=crossbars)


def _depends(program: Any, first: int) -> bool:
    """Tell whether some result of a traced program follows from some of its first arguments."""
    follows = set(program.invars[:first])
    for step in program.eqns:
        if any(not hasattr(v, "val") and v in follows for v in step.invars):
            follows.update(step.outvars)
    return any(not hasattr(v, "val") and v in follows for v in program.outvars)


def _text(thing: Any, how: str) -> str | None:
    """Name a fault model or protection; rows in memory do without."""
    try:
        return getattr(thing, how)
    except ValueError:
        return None


def _rows(schema: pa.Schema, own: dict[str, Any], chips: range, parts: list[Scores]) -> pa.Table:
    columns: dict[str, Any] = {**own, "chip": np.array(chips)}
    for name in parts[0].numbers:
        columns[name] = np.concatenate([part.numbers[name] for part in parts]).astype(np.float64)
    for i, name in enumerate(Counts._fields):
        columns[name] = np.concatenate([part.counts[i] for part in parts])
    arrays = []
    for field in schema:
        value = columns[field.name]
        if not isinstance(value, np.ndarray):
            value = [value] * len(chips)
        elif len(value) != len(chips):
            value = np.repeat(value, len(chips))
        arrays.append(pa.array(value, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def hash_of(stored: StoredModel) -> str:
    """Hash all that a model on crossbars holds, and where it lies (SHA-256).

    Raises:
        ValueError: a leaf that is no array, number or text, and no function with a name; or such
            a thing in the tree's structure.
    """
    hasher, structure = hashlib.sha256(), str(stored.structure)
    nameless = next((mark for mark in _NAMELESS if mark in structure), None)
    if nameless is not None:  # two of them would hash alike
        raise ValueError(
            f"the tree's structure holds something without a name ({nameless.strip()}), which rows "
            "in a folder cannot tell from another: let it hold numbers, texts and functions of "
            "modules, or leave out out"
        )
    hasher.update(_ADDRESS.sub("", structure).encode())
    for name in _functions_in(stored.structure):  # whose text has no module
        hasher.update(f"{name}\n".encode())
    for leaf, kept in zip(stored.leaves, stored.rest, strict=True):
        own = stored.crossbars[leaf.path] if leaf.axes else None
        what = "outside" if own is None else str(own.array.numbers)
        constant = "" if own is not None or kept is not None else _constant_text(leaf)
        hasher.update(f"{leaf[:-1]}|{what}|{constant}\n".encode())
        for array in map(_as_array, jax.device_get(jax.tree.leaves(own or kept))):
            hasher.update(f"{array.dtype.str}{array.shape}".encode())
            hasher.update(np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()


def _functions_in(structure: Any) -> list[str]:
    """Name the functions in the nodes of a tree, such as static fields, with their modules."""
    data = structure.node_data()
    found, todo = [], [] if data is None else [data[1]]
    while todo:
        one = todo.pop()
        if isinstance(one, tuple | list):
            todo += one
        elif isinstance(one, dict):
            todo += one.values()
        elif isinstance(one, functools.partial):
            todo += [one.func, one.args, one.keywords]
        elif inspect.isfunction(inner := inspect.unwrap(one) if callable(one) else one):
            found.append(f"{inner.__module__}.{inner.__qualname__}")
    return found + [name for child in structure.children() for name in _functions_in(child)]


def _as_array(leaf: Any) -> np.ndarray:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _constant_text(leaf: Leaf) -> str:
    """Write a leaf that is no array as the same text in every process."""
    value = leaf.constant
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return f"{type(value).__name__} {value!r}"
    name = getattr(value, "__qualname__", "<")
    if "<" not in name:
        return f"{value.__module__}.{name}"
    raise ValueError(
        f"{leaf.path} is {shown(value)}, which rows in a folder cannot name: let the tree hold "
        "arrays, numbers, texts and functions of modules, or leave out out"
    )
