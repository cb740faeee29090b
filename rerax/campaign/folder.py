"""Opening a campaign's folder, and refusing others. No JAX here."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rerax.campaign.manifest import (
    FORMAT,
    MANIFEST,
    differences,
    fixed_by,
    new_manifest,
    read_manifest,
)
from rerax.campaign.schema import FIRST_COLUMNS, SCHEMA, check_room
from rerax.campaign.sidecars import PLANS, REFERENCES, read_beside
from rerax.io import Place, is_empty, locked, make_folder, remove_leftovers
from rerax.sealed import write_sealed_json


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
                write_sealed_json(path / name, read_beside(path, name))
    write_sealed_json(path / MANIFEST, {**manifest, "format": FORMAT})


def check_target(file: Any, inside: bool = False) -> None:
    """Refuse to write where readers of a campaign's rows would find it.

    Args:
        file: a file or folder that is to be written.
        inside: it is a folder in which files are to be written, other than a campaign's.

    Raises:
        ValueError: it lies in a campaign folder, under no name that begins with `_`, or is one.
    """
    file = file.absolute() if isinstance(file, Path) else file
    if inside and (file / MANIFEST).is_file():
        raise ValueError(
            f"{file} is a campaign, and what else lies there breaks its readers: give another "
            "folder, or _NAME in it"
        )
    hidden = False
    for inner, folder in zip([file, *file.parents], file.parents, strict=False):
        hidden = hidden or inner.name.startswith(("_", "."))
        if not hidden and (folder / MANIFEST).is_file():
            raise ValueError(
                f"{file} would lie among the rows of the campaign {folder}, and break their "
                f"readers: write it elsewhere, or under a name such as _{inner.name}"
            )


def check_file(file: Path) -> None:
    """Refuse to write a file where a folder is, below a file, or where `check_target` refuses it.

    Raises:
        ValueError: which.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder: give a file")
    nearest = next(parent for parent in file.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise ValueError(f"{file} lies below {nearest}, which is no folder: give another")
    check_target(file)
