"""rerax chip."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rerax.cli.flags import Flags, Folder, Quiet, app, flag, opt
from rerax.progress import say
from rerax.values import rate_text

if TYPE_CHECKING:
    from rerax.inspect.recorded import RecordedChip
    from rerax.inspect.reproduce import Reproduction

SHOWN, TEXT = 10, 70  # examples printed, and letters of each


class RecordedFlags(Flags, heading="Model and data"):
    """Where model and data are, if not as the folder has recorded it."""

    model: str | None = opt("Folder or hub id of the model [as recorded in the folder].")
    data: str | None = opt("Folder or hub id of the data [as recorded in the folder].")
    max_length: int | None = opt("Most tokens of an example [as recorded in the folder].", "N")


@app.command()
def chip(
    folder: Folder,
    point: Annotated[str, flag("Beginning of the row's point_hash.", "HASH")],
    chip: Annotated[int, flag("Number of the chip.", "I")],
    *,
    recorded: RecordedFlags,
    map_file: Annotated[
        Path | None, flag("File of measured chips, if it has moved.", name="--map")
    ] = None,
    worst: Annotated[int, flag("Matrices to evaluate alone.", "N")] = 5,
    save: Annotated[
        Path | None, flag("Write its faulty weights here, a Hugging Face folder.", "DIR")
    ] = None,
    export_map: Annotated[
        Path | None, flag("Write its stuck cells here, for --fault map:FILE.", "FILE")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Look at one chip of a campaign: its row again, its worst matrices, what it gets wrong.

    The row must come out as it was, to the last example, where the platform is the row's.
    """
    from rerax.campaign.folder import check_target
    from rerax.inspect.recorded import find_chip
    from rerax.io import place
    from rerax.progress import reporter

    if worst < 0:
        raise ValueError(f"worst {worst} is too few: give 0 or more matrices")
    for target in filter(None, (save, export_map)):
        if not target.absolute().parent.is_dir():
            raise ValueError(f"{target.parent} is no folder: make it first")
        check_target(target)
    file = None if map_file is None else str(map_file)
    found = find_chip(place(folder), point, chip, map_file=file, **recorded.values())
    from rerax.campaign.worker import Worker
    from rerax.inspect import export, reproduce

    if save is not None:
        export.check_new(save)
    with reporter(quiet, "passes") as tell:
        worker = Worker.start(found.workload, found.settings, [found.point])
        view = reproduce.reproduce(worker, found, worst, tell)
    _show(found, view)
    if save is not None:
        export.save_weights(worker, found, save)
        print(f"weights: {save}")
    if export_map is not None:
        cells = export.export_map(worker, found, export_map)
        print(f"stuck cells: {cells} in {export_map}")
        if found.point.protection.spare_arrays:
            say("warning: the map leaves out spare crossbars")


def _show(found: "RecordedChip", view: "Reproduction") -> None:
    row, at = found.row, found.point
    where = "" if at.faulty is None else f" in {at.faulty.text}"
    noise = f" misread {at.misread:g}" if at.misread else ""
    print(
        f"chip {row['chip']} of {row['point_hash'][:16]}: {at.task} {at.model} {at.encoding} "
        f"{at.protection.text} {at.fault.text}{where} rate {rate_text(at.rate)}{noise}"
    )
    if view.same_platform:
        print(f"score {100 * view.score:.2f} %, as in its row")
    else:
        print(
            f"score {100 * view.score:.2f} % on {view.platform}, {100 * row['score']:.2f} % in its "
            f"row on {row['platform']}: another platform, where last bits may differ; the cells "
            "are the same"
        )
    print(f"clean chip {100 * view.clean_score:.2f} %")
    if view.worst:
        print("worst matrices: score with only its faults, faulty cells, relative squared error")
    for m in view.worst:
        left = "" if m.alone is None else f"{100 * m.alone:.2f} %"
        print(f"  {m.name} layer {m.layer}: {left}, {m.faulty}, {m.error:.3g}")
    print(f"{len(view.lost)} examples wrong that the clean chip gets right")
    for i in view.lost[:SHOWN]:
        text = " | ".join(field[i] for field in found.texts)
        print(f"  {i}: {text[:TEXT]}")
    if len(view.lost) > SHOWN:
        print(f"  and {len(view.lost) - SHOWN} more: {', '.join(map(str, view.lost[SHOWN:]))}")
