"""What a folder fixes for all its rows, and what is kept beside them. No JAX here.

`_campaign.json` has seed, `SEMANTICS`, the columns of the rows and, for each pair of task and model
name, the hashes of model and data; `_references.json` the float and clean scores; `_plans.json` the
allocations found; `_sampling.json` with which chance chips draw examples; `_provenance.jsonl` the
runs. Each JSON file holds a hash of itself (`sha256`),
from format 2 on.
"""

import contextlib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from rerax.campaign.schema import FIRST_COLUMNS, IDENTITY, SCHEMA, check_room
from rerax.crossbar.spec import SEMANTICS
from rerax.io import (
    Place,
    append_line,
    is_empty,
    locked,
    make_folder,
    read_json,
    read_lines,
    remove_leftovers,
)
from rerax.sealed import Damaged, read_sealed_json, write_sealed_json

FORMAT = 2
"""Of the manifest and the files beside it; 1 had no hashes and did not name the columns."""
MANIFEST, REFERENCES, PROVENANCE = "_campaign.json", "_references.json", "_provenance.jsonl"
PLANS, SAMPLES = "_plans.json", "_sampling.json"


@dataclass(frozen=True)
class Fixed:
    """What a campaign folder fixes for all its rows.

    Attributes:
        seed: the campaign's seed; None where there is no manifest to say it.
        pairs: for each "task/model", hashes of model and data; None likewise.
        schema: the columns that the folder was begun with.
    """

    seed: int | None = None
    pairs: Mapping[str, Mapping[str, Any]] | None = None
    schema: pa.Schema = SCHEMA


def check_folder(
    path: Place, seed: int, semantics: int, pairs: Mapping[str, Any], needed: Iterable[str] = ()
) -> None:
    """Refuse an output folder that is not this campaign's. Writes nothing.

    Args:
        path: the folder, which need not exist.
        seed: the campaign's seed.
        semantics: `spec.SEMANTICS` of this program.
        pairs: {"task/model name": its model hash, data hash, label order and input bits}.
        needed: columns that the rows fill.

    Raises:
        ValueError: a folder with other content, of another campaign (the fields that differ), or
            of an earlier version that lacks a column.
    """
    check_target(path)
    if not path.exists() or (path.is_dir() and is_empty(path)):
        return
    if not path.is_dir() or not (path / MANIFEST).is_file():
        raise ValueError(f"{path} is there and is no campaign folder: give a new --out")
    unlike = differences(read_manifest(path), new_manifest(seed, semantics, pairs))
    if unlike:
        raise ValueError(
            f"{path} holds another campaign ({'; '.join(unlike)}): give another --out or --name"
        )
    check_room(fixed_by(path).schema, needed)


def new_manifest(seed: int, semantics: int, pairs: Mapping[str, Any]) -> dict[str, Any]:
    """Make the manifest of a campaign that begins."""
    return {
        "format": FORMAT,
        "seed": seed,
        "semantics": semantics,
        "columns": SCHEMA.names,
        "pairs": dict(pairs),
    }


def read_manifest(path: Place) -> dict[str, Any]:
    """Read the manifest of a campaign folder.

    Raises:
        ValueError: it is no campaign folder, its manifest is damaged or edited, or a newer version
            has written it.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise ValueError(f"{path} is no campaign folder: give one that rerax sweep has written")
    found = read_json(file)
    for field, newest in (("format", FORMAT), ("semantics", SEMANTICS)):
        if _fits(found.get(field), int) and found[field] > newest:
            raise ValueError(
                f"{file} has {field} {found[field]}, this version knows {newest} at most: use the "
                "version that wrote it, or a newer one"
            )
    with contextlib.suppress(Damaged):
        content = read_sealed_json(file, required=found.get("format") != 1)
        columns = content.get("columns", list(FIRST_COLUMNS))
        if (
            _fits(content, _MANIFEST)
            and content["format"] in range(1, FORMAT + 1)
            and len(set(columns)) == len(columns)
            and set(IDENTITY) <= set(columns) <= set(SCHEMA.names)
        ):
            return content
    raise ValueError(
        f"{file} is damaged or was edited: restore it (the rows are not concerned), or give "
        "another folder"
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_positive(value: Any) -> bool:
    return _is_number(value) and float(str(value)) > 0


_PAIR = {"model_hash?": str, "data_hash?": str, "labels?": [int], "input_bits?": (int, None)}
_MANIFEST = {
    "format": int,
    "seed": _is_count,
    "semantics": _is_count,
    "pairs": {str: _PAIR},
    "columns?": [str],
    "requests?": {str: str},
}
_SOURCE = {
    "model?": str,
    "data?": str,
    "split?": str,
    "labels?": ([str], None),
    "max_examples?": (int, None),
    "max_length?": (int, None),
}
_RUN: Mapping[str, Any] = {
    "sources": {str: (_SOURCE, None)},
    "unprotected": {str: {str: [str]}},
    "maps": {str: str},
    "versions": {str: str},
    "command": str,
    "reads": [{"reads": _is_number}],
    "stopping": {"until_se": _is_positive, "max_chips": _is_positive},
    "chips": _is_amount,
    "seconds": _is_amount,
}
"""What a line about a run may say under these names."""


_TABLE = {
    "size": int,
    "rows": {str: [[int]]},
    "chances": {str: [int]},
    "margins": [float],
    "flips": [int],
    "pilots": {str: (int, float, str)},
}


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a value of a JSON file is of the kind that its readers take.

    Args:
        value: the value.
        kind: a type or predicate; None; a tuple of kinds, of which one fits; [kind of entries];
            {str: kind of all values}, or {name: kind} with `?` behind what may be missing.
    """
    if isinstance(kind, tuple):
        return any(_fits(value, one) for one in kind)
    if isinstance(kind, list):
        return type(value) is list and all(_fits(entry, kind[0]) for entry in value)
    if isinstance(kind, Mapping):
        if type(value) is not dict:
            return False
        if str in kind:
            return all(_fits(entry, kind[str]) for entry in value.values())
        return all(
            _fits(value[key], one) if (key := name.rstrip("?")) in value else name != key
            for name, one in kind.items()
        )
    if kind is None or isinstance(kind, type):
        return value is None if kind is None else type(value) is kind
    return kind(value)


def fixed_by(path: Place) -> Fixed:
    """Read what a folder fixes for its rows; nothing where it has no manifest.

    Raises:
        ValueError: see `read_manifest`.
    """
    if not (path / MANIFEST).is_file():
        return Fixed()
    found = read_manifest(path)
    columns = found.get("columns", FIRST_COLUMNS)
    return Fixed(found["seed"], found["pairs"], pa.schema([SCHEMA.field(c) for c in columns]))


def check_target(file: Any) -> None:
    """Refuse to write where readers of a campaign's rows would find it.

    Args:
        file: a file or folder that is to be written.

    Raises:
        ValueError: it lies in a campaign folder, under no name that begins with `_`.
    """
    file = file.absolute() if isinstance(file, Path) else file
    hidden = False
    for inner, folder in zip([file, *file.parents], file.parents, strict=False):
        hidden = hidden or inner.name.startswith(("_", "."))
        if not hidden and (folder / MANIFEST).is_file():
            raise ValueError(
                f"{file} would lie among the rows of the campaign {folder}, and break their "
                f"readers: write it elsewhere, or under a name such as _{inner.name}"
            )


def check_file(file: Path) -> None:
    """Refuse to write a file where a folder is, or where `check_target` refuses it.

    Raises:
        ValueError: which.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder: give a file")
    check_target(file)


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], there: str = "there", here: str = "now"
) -> list[str]:
    """List what keeps two manifests from being of one campaign; pairs of only one are growth.

    Args:
        one, other: the manifests.
        there, here: words for the two.
    """
    unlike = [
        f"{field} is {one.get(field)} {there} and {other[field]} {here}"
        for field in ("seed", "semantics")
        if one.get(field) != other[field]
    ]
    known = one.get("pairs", {})
    for pair in sorted(other["pairs"].keys() & known.keys()):
        unlike += [
            f"{field} of {pair} is {_short(known[pair].get(field))} {there} and "
            f"{_short(value)} {here}"
            for field, value in other["pairs"][pair].items()
            if known[pair].get(field) != value
        ]
    return unlike


def open_folder(
    path: Place,
    seed: int,
    semantics: int,
    pairs: Mapping[str, Any],
    requests: Mapping[str, str] | None = None,
) -> None:
    """Make the folder, or add new pairs to its manifest.

    Args:
        path, seed, semantics, pairs: see `check_folder`.
        requests: data hashes of examples that were asked for by a hub id, by what was asked, so
            that the next run knows them without the hub.

    Raises:
        ValueError: see `check_folder`.
    """
    check_folder(path, seed, semantics, pairs)
    make_folder(path)
    remove_leftovers(path)
    with locked(path):
        old = read_manifest(path) if (path / MANIFEST).is_file() else {}
        new = {
            "columns": list(FIRST_COLUMNS) if old else SCHEMA.names,
            **old,
            "format": FORMAT,
            "seed": seed,
            "semantics": semantics,
            "pairs": {**old.get("pairs", {}), **pairs},
        }
        if requests:
            new["requests"] = {**old.get("requests", {}), **requests}
        unlike = differences(old, new) if old else []
        if unlike:  # another process was quicker, with another campaign
            raise ValueError(f"{path} holds another campaign ({'; '.join(unlike)}): give new --out")
        if new != old:
            write_manifest(path, new)


def write_manifest(path: Place, manifest: Mapping[str, Any]) -> None:
    """Write a whole manifest, in the newest format.

    In a folder of format 1 the files beside it get their hashes before it says so.
    """
    if (path / MANIFEST).is_file() and read_manifest(path)["format"] == 1:
        for name in (REFERENCES, PLANS):
            if (path / name).is_file():
                write_sealed_json(path / name, _read_beside(path, name))
    write_sealed_json(path / MANIFEST, {**manifest, "format": FORMAT})


def known_request(path: Place | None, request: str) -> str | None:
    """Read the data hash that a folder keeps for examples asked for by a hub id."""
    if path is None or not (path / MANIFEST).is_file():
        return None
    return read_manifest(path).get("requests", {}).get(request)


def _read_beside(path: Place, name: str) -> dict[str, Any]:
    """Read a JSON file beside the rows; a damaged one counts as empty, so that it is made anew."""
    file = path / name
    if not file.is_file():
        return {}
    required = (path / MANIFEST).is_file() and read_manifest(path)["format"] != 1
    try:
        return read_sealed_json(file, required)
    except ValueError:
        warnings.warn(
            f"{file} is damaged or was edited: what it kept is computed again", stacklevel=1
        )
        return {}


def read_references(path: Place) -> dict[str, dict[str, float]]:
    """Read the float and clean scores kept so far, {platform: {hash: score}}."""
    kept = _read_beside(path, REFERENCES)
    return {
        platform: {key: float(score) for key, score in scores.items() if _is_number(score)}
        for platform, scores in kept.items()
        if isinstance(scores, dict)
    }


def write_references(path: Place, references: Mapping[str, Any]) -> None:
    """Keep further reference scores; those that are kept already stay as they are."""
    with locked(path):
        kept: dict[str, Any] = read_references(path)
        for platform, scores in references.items():
            kept[platform] = {**scores, **kept.get(platform, {})}
        write_sealed_json(path / REFERENCES, kept)


def read_plans(path: Place) -> dict[str, str]:
    """Read the allocations found so far, {hash of what was asked: allocation}."""
    kept = _read_beside(path, PLANS)
    return {asked: found for asked, found in kept.items() if type(found) is str}


def add_plans(path: Place, plans: Mapping[str, str]) -> None:
    """Keep allocations for the next run."""
    if not plans:
        return
    with locked(path):
        known = read_plans(path)
        if plans.keys() - known.keys():
            write_sealed_json(path / PLANS, {**known, **plans})


def read_samples(path: Place) -> dict[str, dict[str, Any]]:
    """Read the tables of chances found so far, {"task/model": {examples a chip: table}}."""
    kept = _read_beside(path, SAMPLES)
    return {pair: tables for pair, tables in kept.items() if _fits(tables, {str: _TABLE})}


def add_samples(path: Place, tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep tables of chances for the next run.

    Raises:
        ValueError: the folder has another table for the same.
    """
    if not tables:
        return
    with locked(path):
        known = read_samples(path)
        check_samples(known, tables, str(path), "now")
        merged = {pair: {**known.get(pair, {}), **own} for pair, own in tables.items()}
        if {**known, **merged} != known:
            write_sealed_json(path / SAMPLES, {**known, **merged})


def check_samples(
    one: Mapping[str, Mapping[str, Any]],
    other: Mapping[str, Mapping[str, Any]],
    there: str,
    here: str,
) -> None:
    """Refuse two tables of chances for the same examples.

    Raises:
        ValueError: there are.
    """
    for pair in one.keys() & other.keys():
        for size in one[pair].keys() & other[pair].keys():
            if one[pair][size] != other[pair][size]:
                raise ValueError(
                    f"{there} and {here} draw examples of {pair} with other chances ({size} a "
                    "chip): their chips answer other examples, so keep them in two folders"
                )


def add_provenance(path: Place, entry: Mapping[str, Any]) -> None:
    """Append one line about a run: when, where, with which versions. Never part of an identity."""
    append_line(path / PROVENANCE, json.dumps(entry, sort_keys=True))


def read_provenance(path: Place) -> list[dict[str, Any]]:
    """Read what the runs have said of themselves, the oldest first, without a line cut short."""
    found = []
    for line in read_lines(path / PROVENANCE):
        with contextlib.suppress(ValueError, RecursionError):  # killed while it wrote
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append({k: v for k, v in entry.items() if k not in _RUN or _fits(v, _RUN[k])})
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:12]}.." if len(text) == 64 else text
