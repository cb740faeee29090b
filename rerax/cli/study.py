"""Studies: files that say which points to evaluate. No JAX here.

A Python file defines `points()`, which gives `rerax.Point`s. A point's `model` is a Hugging Face
folder or hub id, or a key of the dictionary `MODELS = {name: DIR_OR_HUB_ID}` if the study has one;
`DATA` is what `--data` is on the command line, which overrides it. A TOML file has, in place of
the function, tables `[[grid]]` with fields of points, of which lists make a grid, and `[models]`
and `data`. Relative folders are relative to where rerax is run.
"""

import contextlib
import runpy
import sys
import tomllib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rerax.campaign.grid import expand, several, unique
from rerax.campaign.point import FIELDS, Point
from rerax.values import shown


@dataclass(frozen=True)
class Study:
    """What a campaign is to hold.

    Attributes:
        points: the points, each once, their `model` a name.
        models: folder or hub id of each model, by name.
        data: folder or hub id of the examples; None for the default.
    """

    points: tuple[Point, ...]
    models: Mapping[str, str]
    data: str | None = None


def read_study(file: Path) -> Study:
    """Read a study file, and run it if it is a Python file.

    Raises:
        ValueError: no such file or none of a study, an error while it runs or an exit (with its
            line), no points, something that is no `Point`, or one name for two models.
    """
    if not file.is_file():
        raise ValueError(f"{file} is no file: give a Python file that defines points()")
    if file.suffix not in (".py", ".toml"):
        raise ValueError(
            f"{file} is no .py file, so it is not run: give a Python file, or a .toml file of grids"
        )
    given, models, data = _read_toml(file) if file.suffix == ".toml" else _run_python(file)
    if not isinstance(models, Mapping):
        raise ValueError(f"{file}: MODELS is {models!r}: let it be a dict of names and folders")
    named = {str(k): str(v) for k, v in models.items()}
    found = models_by_name([point.model for point in given], named)
    points = (replace(point, model=name_of(point.model, named)) for point in given)
    return Study(unique(points), found, None if data is None else str(data))


def _run_python(file: Path) -> tuple[list[Point], Any, Any]:
    """Run a Python file: its points, models and data."""
    content = _run(file, lambda: runpy.run_path(str(file), run_name="rerax_study"))
    if not callable(content.get("points")):
        raise ValueError(f"{file} defines no points(): let it give a list of rerax.Point")
    given = _run(file, lambda: list(content["points"]()))
    wrong = [point for point in given if not isinstance(point, Point)]
    if wrong:
        raise ValueError(f"{file}: points() gives {wrong[0]!r}: let it give rerax.Point only")
    if not given:
        raise ValueError(f"{file}: points() gives nothing: let it give at least one rerax.Point")
    return given, content.get("MODELS", {}), content.get("DATA")


def _read_toml(file: Path) -> tuple[list[Point], Any, Any]:
    """Read a TOML file: its points, models and data."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # no UTF-8, or no TOML
        raise ValueError(f"{file} is no TOML ({error}): mend it") from None
    _check_keys(f"{file}", content, ("grid", "models", "data"))
    grids = content.get("grid")
    if not isinstance(grids, list) or not grids or not all(isinstance(one, dict) for one in grids):
        raise ValueError(f"{file} has no [[grid]]: give at least one, with the fields of points")
    points: list[Point] = []
    for number, grid in enumerate(grids, 1):
        where = f"{file}, grid {number}"
        _check_keys(where, grid, tuple(FIELDS))
        for name in ("task", "model", "rate"):
            if name not in grid:
                raise ValueError(f"{where} has no {name}: give one, or a list of them")
        try:
            axes = {
                name: [_read_value(name, one) for one in several(name, value)]
                for name, value in grid.items()
            }
            base = Point(task=axes["task"][0], model=axes["model"][0], rate=0.0)
            points += expand(base, axes)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return points, content.get("models", {}), content.get("data")


def _read_value(name: str, value: Any) -> Any:
    """Read a value of a field: texts as flags have them, and numbers."""
    if isinstance(value, str):
        return FIELDS[name].read(value)
    if FIELDS[name].makes or not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name} {shown(value)} is no text: give it in quotes")
    return float(value) if FIELDS[name].column == "double" else value


def _check_keys(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse what a study cannot say."""
    for name in table:
        if name not in known:
            raise ValueError(f"{where} has {name!r}: give some of {', '.join(known)}")


def name_of(model: str, named: Mapping[str, str]) -> str:
    """Name a model as the rows do: as it has been named, else its last part.

    Example:
        >>> name_of("models/tiny/", {}), name_of("a", {"a": "models/tiny"})
        ('tiny', 'a')
    """
    return model if model in named else Path(model).name or model


def models_by_name(models: Iterable[str], named: Mapping[str, str]) -> dict[str, str]:
    """Find folder or hub id of each model by its name.

    Args:
        models: keys of `named`, folders and hub ids.
        named: folders and hub ids by name.

    Raises:
        ValueError: one name for two models.
    """
    found: dict[str, str] = {}
    for model in dict.fromkeys(models):
        name, where = name_of(model, named), named.get(model, model)
        if found.setdefault(name, where) != where:
            raise ValueError(
                f"{found[name]} and {where} are both called {name}: name them apart, with --name "
                "A,B or in the MODELS of a study"
            )
    return found


def _run(file: Path, work: Any) -> Any:
    """Run code of a study; an error becomes one line with its place, and exiting is one.

    What it prints goes to standard error: standard output is for the table of the run.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return work()
    except (Exception, SystemExit) as error:
        at = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        line = at[-1].lineno if at else getattr(error, "lineno", None)
        where = f"{file}, line {line}" if line else str(file)
        raise ValueError(f"{where}: {type(error).__name__}: {error}: mend the study") from error
