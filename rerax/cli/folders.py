"""rerax merge, rerax compact and rerax export: campaign folders as a whole."""

from typing import Annotated

import typer

from rerax.cli.flags import Folder, app, flag


@app.command()
def merge(
    folders: Annotated[list[str], typer.Argument(help="Campaign folders.")],
    out: Annotated[str, flag("Campaign folder to fill or grow.", "FOLDER")],
) -> None:
    """Bring the rows of several folders of one campaign together in one folder."""
    from rerax.campaign.maintain import merge as merge_folders
    from rerax.io import place

    written = merge_folders([place(folder) for folder in folders], place(out))
    print(f"{out}: {written} blocks written")


@app.command()
def compact(folder: Folder) -> None:
    """Join the files of a campaign folder into fewer, larger ones; the rows stay as they are."""
    from rerax.campaign.maintain import compact as compact_folder
    from rerax.io import place

    before, after = compact_folder(place(folder))
    print(f"{folder}: {before} blocks before, {after} now")


@app.command()
def export(
    folder: Folder, csv: Annotated[str, flag("File to write, or to replace.", "FILE")]
) -> None:
    """Write the rows of a campaign folder as CSV."""
    from rerax.campaign.maintain import export_csv
    from rerax.io import place

    print(f"{csv}: {export_csv(place(folder), place(csv))} rows")
