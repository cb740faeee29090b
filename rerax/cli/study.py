"""Studies: Python files that say which points to evaluate. No JAX here.

A study defines `points()`, which gives `rerax.Point`s. A point's `model` is a Hugging Face folder
or hub id, or a key of the dictionary `MODELS = {name: DIR_OR_HUB_ID}` if the study has one;
`DATA` is what `--data` is on the command line, which overrides it. Relative folders are relative
to where rerax is run.
"""

import contextlib
import runpy
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rerax.campaign.grid import unique
from rerax.campaign.point import Point


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
    """Run a study file and take its points.

    Raises:
        ValueError: no such file or no Python file, an error while it runs or an exit (with its
            line), no `points`, something in it that is no `Point`, or one name for two models.
    """
    if not file.is_file():
        raise ValueError(f"{file} is no file: give a Python file that defines points()")
    if file.suffix != ".py":
        raise ValueError(f"{file} is no .py file, so it is not run: give a Python file")
    content = _run(file, lambda: runpy.run_path(str(file), run_name="rerax_study"))
    if not callable(content.get("points")):
        raise ValueError(f"{file} defines no points(): let it give a list of rerax.Point")
    given = _run(file, lambda: list(content["points"]()))
    wrong = [point for point in given if not isinstance(point, Point)]
    if wrong:
        raise ValueError(f"{file}: points() gives {wrong[0]!r}: let it give rerax.Point only")
    if not given:
        raise ValueError(f"{file}: points() gives nothing: let it give at least one rerax.Point")
    own = content.get("MODELS", {})
    if not isinstance(own, Mapping):
        raise ValueError(f"{file}: MODELS is {own!r}: let it be a dict of names and folders")
    named = {str(k): str(v) for k, v in own.items()}
    models = models_by_name([point.model for point in given], named)
    points = (replace(point, model=name_of(point.model, named)) for point in given)
    data = content.get("DATA")
    return Study(unique(points), models, None if data is None else str(data))


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
