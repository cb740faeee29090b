"""What is kept beside the rows: reference scores, plans, tables of chances, runs. No JAX here.

`_references.json` has the float and clean scores; `_plans.json` the allocations found;
`_sampling.json` with which chance chips draw examples; `_provenance.jsonl` the runs. Each JSON file
holds a hash of itself (`sha256`), from format 2 on. A damaged one counts as empty: what it kept is
computed again.
"""

import contextlib
import json
import warnings
from collections.abc import Mapping
from typing import Any

from rerax.campaign.json_kinds import fits, is_amount, is_number, is_positive
from rerax.campaign.manifest import MANIFEST, read_manifest
from rerax.io import Place, append_line, locked, read_lines
from rerax.sealed import read_sealed_json, write_sealed_json

REFERENCES, PROVENANCE = "_references.json", "_provenance.jsonl"
PLANS, SAMPLES = "_plans.json", "_sampling.json"
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
    "reads": [{"reads": is_number}],
    "stopping": {"until_se": is_positive, "max_chips": is_positive},
    "chips": is_amount,
    "seconds": is_amount,
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


def read_references(path: Place) -> dict[str, dict[str, float]]:
    """Read the float and clean scores kept so far, {platform: {hash: score}}."""
    kept = read_beside(path, REFERENCES)
    return {
        platform: {key: float(score) for key, score in scores.items() if is_number(score)}
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
    kept = read_beside(path, PLANS)
    return {asked: found for asked, found in kept.items() if type(found) is str}


def add_plans(path: Place, plans: Mapping[str, str]) -> None:
    """Keep allocations for the next run."""
    if not plans:
        return
    with locked(path):
        known = read_plans(path)
        if plans.keys() - known.keys():
            write_sealed_json(path / PLANS, {**plans, **known})


def read_samples(path: Place) -> dict[str, dict[str, Any]]:
    """Read the tables of chances found so far, {"task/model": {examples a chip: table}}."""
    kept = read_beside(path, SAMPLES)
    return {pair: tables for pair, tables in kept.items() if fits(tables, {str: _TABLE})}


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
                found.append({k: v for k, v in entry.items() if k not in _RUN or fits(v, _RUN[k])})
    return found


def read_beside(path: Place, name: str) -> dict[str, Any]:
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
