"""Points whose protection is `plan`: resolved to the allocation itself, before anything else.

The allocation, not the word, is what a point's hash is made of. A folder remembers what was
asked and found, so that a finished campaign is recognised without planning again. No JAX here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rerax.campaign.point import Point
from rerax.campaign.sidecars import read_plans
from rerax.campaign.workload import Workload
from rerax.io import Place, at_home
from rerax.models.bert.names import matrices_of
from rerax.protection import Plan, Protection, left_bare, protection
from rerax.protection.allocation import check_misread
from rerax.sealed import digest
from rerax.values import check_real

if TYPE_CHECKING:
    from rerax.models.bert.planning import ModelProfile


def is_open(scheme: Protection) -> bool:
    """Tell whether a protection is a plan that is to be found, and not in a file."""
    return isinstance(scheme, Plan) and not scheme.file


def check_design_rate(rate: float) -> float:
    """Refuse a rate that no plan can be made for, and give any other.

    Raises:
        ValueError: outside (0, 0.5).
    """
    check_real("plan-rate", rate)
    if not 0 < rate < 0.5:
        raise ValueError(f"plan-rate {rate:g} is outside (0, 0.5): give a rate to plan for")
    return rate


def check_flags(points: Sequence[Point], plan_rate: float | None, sensitivity: str | None) -> None:
    """Refuse the flags of a plan where none is to be found, and a rate that is none to plan for.

    Raises:
        ValueError: which flag to leave out, or the rate.
    """
    if plan_rate is not None:
        check_design_rate(plan_rate)
    if not any(is_open(p.protection) for p in points) and (plan_rate or sensitivity):
        flag = "plan-rate" if plan_rate else "sensitivity"
        raise ValueError(f"--{flag} is for a plan: leave it out, or ask for --protection plan")


def with_allocations(
    points: Sequence[Point],
    workload: Workload,
    plan_rate: float | None = None,
    sensitivity: str | None = None,
    out: Place | None = None,
    find: bool = True,
) -> tuple[tuple[Point, ...], dict[str, str]]:
    """Replace `plan` in points by the allocation found for it, and give the plans of this run.

    A plan is made once for all rates of a model, spec and fault model.

    Args:
        points: the points of a run.
        workload: their model.
        plan_rate: design rate; by default the highest rate of the points below 0.5.
        sensitivity: .npz file (`models.bert.sensitivity`); None takes the default.
        out: campaign folder that may know the plan.
        find: make the plans that are not known; else such points stay as they are.

    Returns:
        The points, and {hash of what was asked: allocation} of this run's plans.

    Raises:
        ValueError: a plan without a design rate, a bad file, or flags of a plan without one.
    """
    check_flags(points, plan_rate, sensitivity)
    known = {} if out is None else read_plans(out)
    design, made, done = None, {}, []
    asked_of = [point for point in points if is_open(point.protection)]
    highest = {} if plan_rate is not None else _highest_rates(asked_of)
    for point in points:
        if is_open(point.protection):
            check_misread(point.spec)
            rate = plan_rate or highest[_family(point)]
            asked = _request(replace(point, rate=rate, faulty=None), workload, sensitivity)
            if asked not in known and not find:
                done.append(point)
                continue
            if asked not in known:
                design = design or _design(workload, sensitivity)
                known[asked] = _allocate(design, replace(point, rate=rate))
            made[asked] = known[asked]
            point = replace(point, protection=protection(known[asked]))
        elif isinstance(point.protection, Plan):
            point = replace(point, protection=point.protection.read())
        done.append(point)
    _check_gates(done, workload)
    return tuple(done), made


def with_plans(
    parts: Sequence[tuple[Workload, Sequence[Point]]],
    plan_rate: float | None,
    sensitivity: str | None,
    out: Place,
    find: bool = True,
) -> tuple[list[tuple[Workload, Sequence[Point]]], dict[str, str]]:
    """Resolve the plans of several workloads' points (`with_allocations`)."""
    check_flags([point for _, own in parts for point in own], plan_rate, sensitivity)
    resolved: list[tuple[Workload, Sequence[Point]]] = []
    plans: dict[str, str] = {}
    for workload, own in parts:
        mine = any(is_open(point.protection) for point in own)
        how = (plan_rate, sensitivity) if mine else (None, None)
        points, found = with_allocations(own, workload, *how, out, find)
        resolved.append((workload, points))
        plans |= found
    return resolved, plans


def _check_gates(points: Sequence[Point], workload: Workload) -> None:
    """Refuse protections without room, where the model's gates are known before it is loaded.

    Raises:
        ValueError: see `protection.left_bare`.
    """
    if workload.gated is None:
        return
    for point in points:
        matrices = matrices_of(point.matrices)
        left_bare(point.protection, {name: name in workload.gated for name in matrices})


def _request(point: Point, workload: Workload, sensitivity: str | None) -> str:
    """Hash all that decides a plan."""
    weights = None
    if sensitivity is not None:
        try:
            weights = hashlib.sha256(at_home(sensitivity).read_bytes()).hexdigest()
        except OSError as error:
            raise ValueError(
                f"sensitivity {sensitivity} cannot be read ({error.strerror}): give an .npz file"
            ) from None
    return digest([point.identity(), workload.model_hash, weights])


def _design(workload: Workload, sensitivity: str | None) -> "ModelProfile":
    from rerax.models.bert.planning import ModelProfile

    inputs = workload.complete().load()
    return ModelProfile(inputs.params, inputs.config, inputs.gates, sensitivity)


def _allocate(design: "ModelProfile", point: Point) -> str:
    share = 0.0 if point.sa1_share is None else float(point.sa1_share)
    chances = point.fault.odds_on(point.rate, share, matrices_of(point.matrices))
    erasures = isinstance(point.protection, Plan) and point.protection.erasures
    return design.allocate(point.spec, point.matrices, chances, erasures).text


def _highest_rates(points: Sequence[Point]) -> dict[Point, float]:
    """Find the highest rate to plan for of the points that have one plan.

    Raises:
        ValueError: points without such a rate.
    """
    highest: dict[Point, float] = {}
    for point in points:
        rate = point.rate if point.rate < 0.5 else 0.0
        family = _family(point)
        highest[family] = max(highest.get(family, 0.0), rate)
    if not all(highest.values()):
        raise ValueError("plan needs a rate between 0 and 0.5 to plan for: give --plan-rate")
    return highest


def _family(point: Point) -> Point:
    """Give what points have in common that have one plan, wherever faults act."""
    return replace(point, rate=0.0, faulty=None)
