"""Campaigns over several models and tasks: subject after subject in one folder. No JAX here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from rerax.campaign import store
from rerax.campaign.allot import check_flags, is_open, with_allocations
from rerax.campaign.grid import spread
from rerax.campaign.lot import chips_of, with_realised_rates
from rerax.campaign.point import Point
from rerax.campaign.run import run
from rerax.campaign.source import read_subject
from rerax.campaign.stopping import Rule
from rerax.campaign.subject import Progress, Settings, Subject
from rerax.crossbar.spec import SEMANTICS
from rerax.io import Place

Share = tuple[Subject, tuple[Point, ...]]
"""A subject and its points."""


def shares_of(
    points: Sequence[Point],
    models: Mapping[str, str],
    scopes: Sequence[str | None] = (None,),
    **options: Any,
) -> list[Share]:
    """Points by their model and task, in the order in which those first appear.

    Args:
        points: the points.
        models: folder or hub id of each model, by name.
        scopes: where faults act (`grid.spread`).
        options: see `source.read_subject`.

    Raises:
        ValueError: a bad model or data set, or two kinds of inputs for one of the pairs.
    """
    pairs: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        pairs.setdefault((point.task, point.model), []).append(point)
    for (task, model), own in pairs.items():
        kinds = {point.input_bits for point in own}
        if len(kinds) > 1:
            raise ValueError(
                f"input_bits of {task}/{model} is {' and '.join(map(str, kinds))}: a folder has "
                "one for each task and model name, so give the model two names"
            )
    shares = []
    for (task, model), own in pairs.items():
        subject = read_subject(models[model], task, model, **options)
        realised = with_realised_rates(own, subject.config)
        layers = subject.config.num_hidden_layers
        shares.append(
            (subject, realised if scopes == (None,) else spread(realised, scopes, layers))
        )
    return shares


def with_plans(
    shares: Sequence[Share],
    plan_rate: float | None,
    sensitivity: str | None,
    out: Place,
    find: bool = True,
) -> tuple[list[Share], dict[str, str]]:
    """Shares whose plans are resolved, and those plans (`allot.with_allocations`)."""
    check_flags([p for _, own in shares for p in own], plan_rate, sensitivity)
    resolved: list[Share] = []
    plans: dict[str, str] = {}
    for subject, own in shares:
        mine = any(is_open(point.protection) for point in own)
        how = (plan_rate, sensitivity) if mine else (None, None)
        points, found = with_allocations(own, subject, *how, out, find)
        resolved.append((subject, points))
        plans |= found
    return resolved, plans


def pairs_of(shares: Sequence[Share]) -> dict[str, Any]:
    """What a folder fixes for all of them."""
    return {
        f"{subject.task}/{subject.model}": subject.pair(points[0].input_bits)
        for subject, points in shares
    }


def run_all(
    shares: Sequence[Share],
    settings: Settings,
    out: Place,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    plans: Mapping[str, str] | None = None,
    rule: Rule | None = None,
) -> pa.Table:
    """Evaluate what a folder lacks, one subject after the other.

    Args:
        shares: subjects and their points.
        settings: chips, seed and pace.
        out: the campaign folder.
        on_progress: told after every dispatch, of the whole campaign.
        plans: allocations to keep in the folder (`with_plans`).
        rule: decides the chips of each point, in place of the settings.

    Returns:
        Rows of all points, in the order of the shares.

    Raises:
        ValueError, OSError: see `run.run`; a folder of another campaign is refused before
            anything is computed.
    """
    store.check_folder(out, settings.seed, SEMANTICS, pairs_of(shares))
    if len(shares) == 1:
        return run(*shares[0], settings, out, on_progress, plans, rule)
    here = store.scan(out)
    todo = []
    for _, own in shares:
        chips = chips_of(own, settings.chips) if rule is None else rule.looks[0]
        todo.append(sum(block.chips for _, block in store.missing(here, own, chips)))
    tables = []
    for i, (subject, own) in enumerate(shares):
        before = sum(todo[:i])

        def tell(p: Progress, before: int = before) -> None:
            on_progress(replace(p, done=before + p.done, total=max(sum(todo), before + p.total)))

        tables.append(run(subject, own, settings, out, tell, plans, rule))
    return pa.concat_tables(tables)
