"""What a folder fixes for all its rows, and what is kept beside them. No JAX here.

`_campaign.json` has seed, `SEMANTICS` and, for each pair of task and model name, the hashes of
model and data; `_references.json` the float and clean scores; `_plans.json` the allocations found;
`_provenance.jsonl` the runs.
"""

import json
from collections.abc import Mapping
from typing import Any

from rerax.campaign.files import (
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

FORMAT = 1
MANIFEST, REFERENCES, PROVENANCE = "_campaign.json", "_references.json", "_provenance.jsonl"
PLANS = "_plans.json"


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
    if not path.exists() or (path.is_dir() and is_empty(path)):
        return
    if not path.is_dir() or not (path / MANIFEST).is_file():
        raise ValueError(f"{path} is there and is no campaign folder: give a new --out")
    unlike = differences(read_json(path / MANIFEST), new_manifest(seed, semantics, pairs))
    if unlike:
        raise ValueError(
            f"{path} holds another campaign ({'; '.join(unlike)}): give another --out or --name"
        )


def new_manifest(seed: int, semantics: int, pairs: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a campaign."""
    return {"format": FORMAT, "seed": seed, "semantics": semantics, "pairs": dict(pairs)}


def read_manifest(path: Place) -> dict[str, Any]:
    """The manifest of a campaign folder.

    Raises:
        ValueError: it is no campaign folder.
    """
    if not (path / MANIFEST).is_file():
        raise ValueError(f"{path} is no campaign folder: give one that rerax sweep has written")
    return read_json(path / MANIFEST)


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
        for field in ("format", "seed", "semantics")
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
        file = path / MANIFEST
        old = read_json(file) if file.is_file() else {}
        new = {
            **old,
            **new_manifest(seed, semantics, {**old.get("pairs", {}), **pairs}),
        }
        if requests:
            new["requests"] = {**old.get("requests", {}), **requests}
        unlike = differences(old, new) if old else []
        if unlike:  # another process was quicker, with another campaign
            raise ValueError(f"{path} holds another campaign ({'; '.join(unlike)}): give new --out")
        if new != old:
            write_json(file, new)


def known_request(path: Place | None, request: str) -> str | None:
    """The data hash that a folder keeps for examples asked for by a hub id."""
    if path is None or not (path / MANIFEST).is_file():
        return None
    return read_json(path / MANIFEST).get("requests", {}).get(request)


def read_references(path: Place) -> dict[str, Any]:
    """Float and clean scores kept so far, {platform: {hash: score}}."""
    file = path / REFERENCES
    return read_json(file) if file.is_file() else {}


def write_references(path: Place, references: Mapping[str, Any]) -> None:
    """Keep further reference scores; those that are kept already stay as they are."""
    with locked(path):
        kept = read_references(path)
        for platform, scores in references.items():
            kept[platform] = {**scores, **kept.get(platform, {})}
        write_json(path / REFERENCES, kept)


def read_plans(path: Place) -> dict[str, str]:
    """Allocations found so far, {hash of what was asked: allocation}."""
    file = path / PLANS
    return read_json(file) if file.is_file() else {}


def add_plans(path: Place, plans: Mapping[str, str]) -> None:
    """Keep allocations for the next run."""
    if not plans:
        return
    with locked(path):
        known = read_plans(path)
        if plans.keys() - known.keys():
            write_json(path / PLANS, {**known, **plans})


def add_provenance(path: Place, entry: Mapping[str, Any]) -> None:
    """Append one line about a run: when, where, with which versions. Never part of an identity."""
    append_line(path / PROVENANCE, json.dumps(entry, sort_keys=True))


def read_provenance(path: Place) -> list[dict[str, Any]]:
    """What the runs have said of themselves, the oldest first; a line cut short is left out."""
    found = []
    for line in read_lines(path / PROVENANCE):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:  # the run was killed while it wrote
            continue
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:12]}.." if len(text) == 64 else text
