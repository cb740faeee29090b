"""What a folder fixes for all its rows, and what is kept beside them. No JAX here.

`_campaign.json` has seed, `SEMANTICS`, the columns of the rows and, for each pair of task and model
name, the hashes of model and data; `_references.json` the float and clean scores; `_plans.json` the
allocations found; `_provenance.jsonl` the runs. Each JSON file holds a hash of itself (`sha256`),
from format 2 on.
"""

import contextlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from rerax.campaign.block import FIRST_COLUMNS, IDENTITY, SCHEMA
from rerax.campaign.block_file import Fixed
from rerax.campaign.point import digest
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
    write_json,
)

FORMAT = 2
"""Of the manifest and the files beside it; 1 had no hashes and did not name the columns."""
MANIFEST, REFERENCES, PROVENANCE = "_campaign.json", "_references.json", "_provenance.jsonl"
PLANS = "_plans.json"
SEAL = "sha256"


def check_folder(path: Place, seed: int, semantics: int, pairs: Mapping[str, Any]) -> None:
    """Refuse an output folder that is not this campaign's. Writes nothing.

    Args:
        path: the folder, which need not exist.
        seed: the campaign's seed.
        semantics: `spec.SEMANTICS` of this program.
        pairs: {"task/model name": its model hash, data hash, label order and input bits}.

    Raises:
        ValueError: a folder with other content, or of another campaign (the fields that differ).
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


def new_manifest(seed: int, semantics: int, pairs: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a campaign that begins."""
    return {
        "format": FORMAT,
        "seed": seed,
        "semantics": semantics,
        "columns": SCHEMA.names,
        "pairs": dict(pairs),
    }


def read_manifest(path: Place) -> dict[str, Any]:
    """The manifest of a campaign folder.

    Raises:
        ValueError: it is no campaign folder, its manifest is damaged or edited, or a newer version
            has written it.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise ValueError(f"{path} is no campaign folder: give one that rerax sweep has written")
    found = read_json(file)
    for field, newest in (("format", FORMAT), ("semantics", SEMANTICS)):
        if _is_whole(found.get(field)) and found[field] > newest:
            raise ValueError(
                f"{file} has {field} {found[field]}, this version knows {newest} at most: use the "
                "version that wrote it, or a newer one"
            )
    unsealed = without_seal(found, found.get("format") != 1)
    if unsealed is None or not _is_manifest(unsealed):
        raise ValueError(
            f"{file} is damaged or was edited: restore it (the rows are not concerned), or give "
            "another folder"
        )
    return unsealed


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_manifest(found: Mapping[str, Any]) -> bool:
    """Whether all that a manifest needs is there and of the right kind."""
    pairs, columns = found.get("pairs"), found.get("columns", list(FIRST_COLUMNS))
    requests = found.get("requests", {})
    return (
        all(_is_whole(found.get(name)) and found[name] >= 0 for name in ("seed", "semantics"))
        and found.get("format") in range(1, FORMAT + 1)
        and isinstance(pairs, dict)
        and all(_is_pair(pair) for pair in pairs.values())
        and isinstance(requests, dict)
        and all(isinstance(known, str) for known in requests.values())
        and isinstance(columns, list)
        and all(isinstance(name, str) for name in columns)
        and len(set(columns)) == len(columns)
        and set(IDENTITY) <= set(columns) <= set(SCHEMA.names)
    )


def _is_pair(pair: Any) -> bool:
    """Whether what is fixed for a pair is of the kinds that its readers take."""
    return isinstance(pair, dict) and all(
        right(pair[name])
        for name, right in (
            ("model_hash", lambda value: isinstance(value, str)),
            ("data_hash", lambda value: isinstance(value, str)),
            ("labels", lambda value: _is_list(value, int)),
            ("input_bits", lambda value: value is None or _is_whole(value)),
        )
        if name in pair
    )


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(entry) is kind for entry in value)


def fixed_by(path: Place) -> Fixed:
    """What a folder fixes for its rows; nothing where it has no manifest.

    Raises:
        ValueError: see `read_manifest`.
    """
    if not (path / MANIFEST).is_file():
        return Fixed()
    found = read_manifest(path)
    columns = found.get("columns", FIRST_COLUMNS)
    return Fixed(found["seed"], found["pairs"], pa.schema([SCHEMA.field(c) for c in columns]))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Content with a hash of itself."""
    plain = {key: value for key, value in content.items() if key != SEAL}
    return {**plain, SEAL: digest(plain)}


def without_seal(found: Mapping[str, Any], required: bool) -> dict[str, Any] | None:
    """Content without its hash; None where that is not its hash, or is missing though required."""
    plain = {key: value for key, value in found.items() if key != SEAL}
    try:
        seal = digest(plain)
    except ValueError:  # NaN and the like
        return None
    right = found[SEAL] == seal if SEAL in found else not required
    return plain if right else None


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


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], there: str = "there", here: str = "now"
) -> list[str]:
    """What keeps two manifests from being of one campaign; pairs of only one are growth.

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
                write_json(path / name, sealed(_read_beside(path, name)))
    write_json(path / MANIFEST, sealed({**manifest, "format": FORMAT}))


def known_request(path: Place | None, request: str) -> str | None:
    """The data hash that a folder keeps for examples asked for by a hub id."""
    if path is None or not (path / MANIFEST).is_file():
        return None
    return read_manifest(path).get("requests", {}).get(request)


def _read_beside(path: Place, name: str) -> dict[str, Any]:
    """What a JSON file beside the rows keeps; nothing where it is damaged, so it is made anew."""
    file = path / name
    if not file.is_file():
        return {}
    required = (path / MANIFEST).is_file() and read_manifest(path)["format"] != 1
    try:
        kept = without_seal(read_json(file), required)
    except ValueError:  # no JSON
        kept = None
    if kept is None:
        warnings.warn(
            f"{file} is damaged or was edited: what it kept is computed again", stacklevel=1
        )
    return kept or {}


def read_references(path: Place) -> dict[str, dict[str, float]]:
    """Float and clean scores kept so far, {platform: {hash: score}}."""
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
        write_json(path / REFERENCES, sealed(kept))


def read_plans(path: Place) -> dict[str, str]:
    """Allocations found so far, {hash of what was asked: allocation}."""
    kept = _read_beside(path, PLANS)
    return {asked: found for asked, found in kept.items() if _is_text(found)}


def add_plans(path: Place, plans: Mapping[str, str]) -> None:
    """Keep allocations for the next run."""
    if not plans:
        return
    with locked(path):
        known = read_plans(path)
        if plans.keys() - known.keys():
            write_json(path / PLANS, sealed({**known, **plans}))


def add_provenance(path: Place, entry: Mapping[str, Any]) -> None:
    """Append one line about a run: when, where, with which versions. Never part of an identity."""
    append_line(path / PROVENANCE, json.dumps(entry, sort_keys=True))


def read_provenance(path: Place) -> list[dict[str, Any]]:
    """What the runs have said of themselves, the oldest first; a line cut short is left out."""
    found = []
    for line in read_lines(path / PROVENANCE):
        with contextlib.suppress(ValueError, RecursionError):  # killed while it wrote
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append({k: v for k, v in entry.items() if _is_sensible(k, v)})
    return found


def _is_sensible(key: str, value: Any) -> bool:
    """Whether what a line says is of the kind that its readers take; nobody checks a log."""
    if key in ("sources", "unprotected", "maps", "versions"):
        one = {"sources": _is_source, "unprotected": _is_bare}.get(key, _is_text)
        return isinstance(value, dict) and all(map(one, value.values()))
    if key == "command":
        return _is_text(value)
    if key == "reads":
        entries = value if isinstance(value, list) else [None]
        return all(isinstance(e, dict) and _is_number(e.get("reads")) for e in entries)
    if key == "stopping":
        names = ("until_se", "max_chips")
        numbers = [value.get(name) for name in names] if isinstance(value, dict) else [None]
        return all(_is_number(number) and float(str(number)) > 0 for number in numbers)
    return key not in ("chips", "seconds") or (_is_number(value) and value >= 0)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_source(value: Any) -> bool:
    """Whether a run says of a pair where model and examples were, as `source.read_subject` asks."""
    texts, counts = ("model", "data", "split"), ("max_examples", "max_length")
    return value is None or (
        isinstance(value, dict)
        and all(_is_text(value[name]) for name in texts if name in value)
        and all(value[name] is None or _is_whole(value[name]) for name in counts if name in value)
        and (value.get("labels") is None or _is_list(value["labels"], str))
    )


def _is_bare(value: Any) -> bool:
    """Whether a run says of a pair which matrices each protection left alone."""
    return isinstance(value, dict) and all(_is_list(names, str) for names in value.values())


def _is_number(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and math.isfinite(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:12]}.." if len(text) == 64 else text
