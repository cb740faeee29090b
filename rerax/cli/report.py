"""rerax report and rerax demo: what is shown of finished rows."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from rerax.cli.flags import Budget, Folder, Quiet, Wide, app, flag
from rerax.values import read_budget


@app.command()
def report(
    folder: Folder,
    html: Annotated[Path | None, flag("Write the whole report as one page.", "FILE")] = None,
    figures: Annotated[Path | None, flag("Write the figures as PNG, SVG and PDF.", "DIR")] = None,
    latex: Annotated[Path | None, flag("Write the table for LaTeX.", "FILE")] = None,
    budget: Budget = "0.01",
    wide: Wide = False,
) -> None:
    """Print the table of a campaign folder; write its report as a page, draw its figures."""
    from rerax.campaign.folder import check_target
    from rerax.campaign.manifest import read_manifest
    from rerax.campaign.sidecars import read_provenance
    from rerax.campaign.store import read_rows, unsealed
    from rerax.io import place
    from rerax.report import (
        check_page_path,
        draw_figures,
        print_columns,
        table_of,
        write_latex,
        write_page,
    )
    from rerax.stats.stopping import recorded

    loss = read_budget(budget)
    if html is not None:
        check_page_path(html)  # raises
    if figures is not None and figures.exists() and not figures.is_dir():
        raise ValueError(f"--figures {figures} is a file: give a folder")
    if latex is not None and latex.is_dir():
        raise ValueError(f"--latex {latex} is a folder: give a file")
    for target in filter(None, (html, latex)):
        check_target(target)
    if figures is not None:
        check_target(figures, inside=True)
    read_manifest(place(folder))  # raises
    rows = read_rows(place(folder))
    if not len(rows):
        raise ValueError(f"{folder} has no finished rows: run rerax sweep first")
    runs = read_provenance(place(folder))
    stopped = recorded(runs)
    more = _without_checksums(unsealed(place(folder)))
    table = table_of(rows, loss, stopped, runs, more)
    print_columns(*table, wide=wide)
    if latex is not None:
        write_latex(latex, *table)
        print(f"table: {latex}")
    if html is not None:
        write_page(rows, html, loss, stopped, runs, more)
        print(f"page: {html}")
    if figures is not None:
        written = draw_figures(rows, figures, loss, stopped)
        print(f"figures: {', '.join(path.name for path in written)} in {figures}")


def _without_checksums(blocks: int) -> list[str]:
    """Warn of blocks whose bytes nothing can be checked against."""
    if not blocks:
        return []
    said = "1 block was" if blocks == 1 else f"{blocks} blocks were"
    return [
        f"{said} written by an earlier version, without checksums: damage inside could go unseen"
    ]


@app.command()
def demo(
    out: Annotated[Path, flag("Folder for model, data, rows and report.", "FOLDER")] = Path(
        "rerax-demo"
    ),
    show: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report where there is a display.")
    ] = True,
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """The same job with nothing to download: a small BERT that comes with the package."""
    from rerax.campaign.folder import check_target
    from rerax.campaign.sidecars import read_provenance
    from rerax.demo import run_demo
    from rerax.io import place
    from rerax.progress import reporter
    from rerax.report import check_page_path, print_table, write_page

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: give a folder")
    check_target(out, inside=True)
    page = check_page_path(out / "report.html")
    with reporter(quiet) as tell:
        rows = run_demo(out, tell)
    runs = read_provenance(place(out / "rows"))
    print_table(rows, runs=runs, wide=wide)
    write_page(rows, page, runs=runs)
    opened = show and _open(page)
    print(f"model and data: {out / 'model'}, {out / 'data'}   rows: {out / 'rows'}")
    print(f"report{' (opened)' if opened else ''}: {page.absolute()}")


def _open(page: Path) -> bool:
    """Open the page in a browser, and say whether one took it; none is asked without a display."""
    local = sys.platform in ("darwin", "win32") and "SSH_CONNECTION" not in os.environ
    if not (local or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(page.absolute().as_uri())
    except (webbrowser.Error, OSError):
        return False
