"""rerax report and rerax demo: what is shown of finished rows."""

from pathlib import Path
from typing import Annotated

from rerax.cli.flags import Budget, Folder, Quiet, app, flag, run_and_print


@app.command()
def report(
    folder: Folder,
    figures: Annotated[Path | None, flag("Write score_against_rate.png here.", "DIR")] = None,
    budget: Budget = 0.01,
) -> None:
    """Print the table of a campaign folder, and draw its figure."""
    from rerax.campaign.files import place
    from rerax.campaign.manifest import read_manifest
    from rerax.campaign.stopping import recorded
    from rerax.campaign.store import read_rows
    from rerax.report import figure_score_against_rate, print_table

    read_manifest(place(folder))  # raises
    rows = read_rows(place(folder))
    if not len(rows):
        raise ValueError(f"{folder} has no finished rows: run rerax sweep first")
    print_table(rows, budget, stopped=recorded(place(folder)))
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
        figure_score_against_rate(rows, figures / "score_against_rate.png")


@app.command()
def demo(
    out: Annotated[Path, flag("Folder for rows and figure.", "FOLDER")] = Path("rerax-demo"),
    quiet: Quiet = False,
) -> None:
    """The same job with nothing to download: a small BERT that comes with the package."""
    from rerax.demo import run_demo
    from rerax.report import figure_score_against_rate

    rows = run_and_print(lambda tell: run_demo(out, tell), 0.01, quiet)
    picture = out / "score_against_rate.png"
    figure_score_against_rate(rows, picture, "A small BERT on faulty crossbars")
    print(f"rows: {out / 'rows'}   figure: {picture}")
