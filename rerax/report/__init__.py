"""What is shown of finished rows: the table, the figures and the HTML page. No JAX here.

`lines` has the statistics of every point, and `panels` and `places` say what is compared with
what; `table` prints, `figures` draws with matplotlib, `page` writes HTML with charts of its own.
"""

from rerax.report.figures import draw_figures, figure_score_against_rate
from rerax.report.lines import SETTINGS, Line, shown, split_settings, summarise_points
from rerax.report.page import check_path, make_page, write_page
from rerax.report.table import cell, print_table, print_whole

__all__ = [
    "SETTINGS",
    "Line",
    "cell",
    "check_path",
    "draw_figures",
    "figure_score_against_rate",
    "make_page",
    "print_table",
    "print_whole",
    "shown",
    "split_settings",
    "summarise_points",
    "write_page",
]
