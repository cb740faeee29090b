"""rerax plan."""

from collections.abc import Sequence
from dataclasses import fields
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rerax.cli.flags import (
    ModelFlags,
    PlanFlags,
    PointFlags,
    RateFlags,
    Wide,
    app,
    check_share,
    flag,
    names,
)

if TYPE_CHECKING:
    from rerax.models.bert.planning import Account

DESIGN_RATE = 1e-2  # the highest of `rerax sweep`'s default rates


@app.command()
def plan(
    models: Annotated[ModelFlags, "model"],
    protection: Annotated[
        str,
        flag(
            "What to lay out: plan finds the best that fits; or msb:2x3:pruned and such.",
            heading="Protection",
        ),
    ] = "plan",
    *,
    design: PlanFlags,
    point: Annotated[
        PointFlags, "encoding bits bits_per_cell tile layout polarity fault matrices,.."
    ],
    rates: Annotated[RateFlags, "sa1_share"],
    json: Annotated[
        Path | None, flag("Write the plan here; --protection plan:FILE takes it.", "FILE")
    ] = None,
    wide: Wide = False,
) -> None:
    """Say which cells of a model hold what, and the damage expected of faults at a design rate.

    Needs no data. One line for each matrix: its protection, cells, reads, and voted bits whose
    images are not kept apart.
    """
    from rerax.campaign.folder import check_file
    from rerax.campaign.plans import check_design_rate, is_open
    from rerax.campaign.point import FIELDS, parse_share
    from rerax.crossbar.spec import ChipSpec
    from rerax.faults import Measured, fault_model
    from rerax.faults.chip_map import check_map, realised_rate
    from rerax.models.bert.names import check_groups
    from rerax.protection import Plan
    from rerax.protection import protection as protection_of

    if json is not None:
        check_file(json)
    spec = ChipSpec(*(FIELDS[one.name].read(getattr(point, one.name)) for one in fields(ChipSpec)))
    rate = DESIGN_RATE if design.plan_rate is None else check_design_rate(design.plan_rate)
    share = float(parse_share(rates.sa1_share or "9.04:1.75"))
    groups = names(point.matrices)
    check_groups(groups)
    fault = fault_model(point.fault)
    check_share(rates, [fault])
    scheme = protection_of(protection)
    scheme.check(spec)
    if json is not None and scheme.spare_arrays:
        raise ValueError(
            f"--json with {protection}: leave it out, plan:FILE takes no further arrays"
        )
    from rerax.campaign.workload import unprotected_text
    from rerax.models.bert import convert
    from rerax.models.bert.crossbars import bare_matrices
    from rerax.models.bert.folder import load_model
    from rerax.models.bert.names import matrices_of
    from rerax.models.bert.planning import ModelProfile, account, save_plan, total
    from rerax.protection.planner import allocate

    config, params, gates = load_model(convert.locate(models.model))
    if isinstance(fault, Measured) and design.plan_rate is None:
        check_map(fault.chips, config.matrix_shapes, spec)
        shapes = {name: config.matrix_shapes[name] for name in matrices_of(groups)}
        rate = realised_rate(fault.chips, shapes, spec)
        if not rate:
            raise ValueError(
                f"{fault.text} has no cell of {', '.join(shapes)}: give --matrices that it has"
            )
    chances = fault.odds_on(rate, share, matrices_of(groups))
    if isinstance(scheme, Plan) and scheme.file:
        scheme = scheme.read()
    bare = bare_matrices(params, groups, gates, scheme)
    known = ModelProfile(params, config, gates, design.sensitivity).matrices(spec, groups)
    if is_open(scheme) and isinstance(scheme, Plan):
        scheme = allocate(known, chances, spec, scheme.erasures)
    accounts = account(scheme, known, chances, spec)
    asked = {
        "model": Path(models.model).name or models.model,
        "encoding": point.encoding,
        "bits": spec.bits,
        "bits_per_cell": spec.bits_per_cell,
        "tile": point.tile,
        "layout": point.layout,
        "fault": point.fault,
        "plan_rate": rate,
        **({} if spec.polarity == "plain" else {"polarity": spec.polarity}),
    }
    notes = [unprotected_text([protection], bare)] if bare else []
    _print_accounts({**accounts, "all": total(accounts)}, asked, notes, wide)
    if json is not None:
        save_plan(json, accounts, asked)
        print(f"written to {json}")


def _print_accounts(
    accounts: "dict[str, Account]", asked: dict[str, Any], notes: list[str], wide: bool
) -> None:
    from rerax.report import Column, print_columns

    found = list(accounts.values())
    books, misses = [one.ledger for one in found], [one.misses for one in found]

    def whole(name: str, of: Sequence[Any], field: str, rank: int) -> Column:
        return Column(name, [f"{getattr(one, field):,}" for one in of], rank=rank)

    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in asked.items())
    print_columns(
        [
            Column("matrix", list(accounts), number=False),
            Column("protection", [one.protection for one in found], number=False),
            whole("physical", books, "physical", 1),
            whole("used", books, "used", 2),
            whole("free", books, "free", 2),
            whole("copies", books, "copies", 1),
            whole("left over", books, "left_over", 3),
            whole("spare", books, "spare", 3),
            *([whole("metadata bits", books, "metadata", 1)] if books[-1].metadata else []),
            Column("reads/weight", [f"{book.reads_per_weight:.2f}" for book in books]),
            whole("voted bits", misses, "bits", 4),
            whole("same wordline", misses, "wordline", 4),
            whole("same bitline", misses, "bitline", 4),
            whole("adjacent", misses, "adjacent", 4),
            whole("few tiles", misses, "tile", 4),
            Column(
                "damage",
                [
                    f"{one.protected / one.plain:.3g}"
                    if one.plain and not isnan(one.protected)  # of some it is not known
                    else ""
                    for one in found
                ],
            ),
        ],
        [
            settings,
            "physical = used + free + copies + left over; damage: expected squared error of what "
            "is read, weighted, as a share of that without protection",
            *notes,
        ],
        wide=wide,
    )
