"""What is shown of finished rows: the table, the figures and the HTML page. No JAX here.

`lines` has the statistics of every point, and `panels` and `places` say what is compared with
what; `table` prints on the `terminal`, `figures` draws with matplotlib, `page` writes HTML with
charts of its own.
"""

from rerax.report.figures import draw_figures, figure_score_against_rate
from rerax.report.lines import SETTINGS, Line, shown, split_settings, summarise_points
from rerax.report.page import check_path, make_page, write_page
from rerax.report.table import print_table
from rerax.report.terminal import Column, print_columns

__all__ = [
    "SETTINGS",
    "Column",
    "Line",
    "check_path",
    "draw_figures",
    "figure_score_against_rate",
    "make_page",
    "print_columns",
    "print_table",
    "shown",
    "split_settings",
    "summarise_points",
    "write_page",
]
