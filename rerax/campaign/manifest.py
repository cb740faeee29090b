"""What a folder fixes for all its rows. No JAX here.

`_campaign.json` has seed, `SEMANTICS`, the columns of the rows and, for each pair of task and model
name, the hashes of model and data. It holds a hash of itself (`sha256`), from format 2 on, as the
files beside it do (`campaign.sidecars`).
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from rerax.campaign.json_kinds import fits, is_count
from rerax.campaign.schema import FIRST_COLUMNS, IDENTITY, SCHEMA
from rerax.crossbar.spec import SEMANTICS
from rerax.io import Place, read_json
from rerax.sealed import Damaged, read_sealed_json

FORMAT = 2
"""Of the manifest and the files beside it; 1 had no hashes and did not name the columns."""
MANIFEST = "_campaign.json"
_PAIR = {"model_hash?": str, "data_hash?": str, "labels?": [int], "input_bits?": (int, None)}
_MANIFEST = {
    "format": int,
    "seed": is_count,
    "semantics": is_count,
    "pairs": {str: _PAIR},
    "columns?": [str],
    "requests?": {str: str},
}


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
        if fits(found.get(field), int) and found[field] > newest:
            raise ValueError(
                f"{file} has {field} {found[field]}, this version knows {newest} at most: use the "
                "version that wrote it, or a newer one"
            )
    with contextlib.suppress(Damaged):
        content = read_sealed_json(file, required=found.get("format") != 1)
        columns = content.get("columns", list(FIRST_COLUMNS))
        if (
            fits(content, _MANIFEST)
            and content["format"] in range(1, FORMAT + 1)
            and len(set(columns)) == len(columns)
            and set(IDENTITY) <= set(columns) <= set(SCHEMA.names)
        ):
            return content
    raise ValueError(
        f"{file} is damaged or was edited: restore it (the rows are not concerned), or give "
        "another folder"
    )


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


def known_request(path: Place | None, request: str) -> str | None:
    """Read the data hash that a folder keeps for examples asked for by a hub id."""
    if path is None or not (path / MANIFEST).is_file():
        return None
    return read_manifest(path).get("requests", {}).get(request)


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


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:12]}.." if len(text) == 64 else text
