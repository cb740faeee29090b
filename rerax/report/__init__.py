"""What is shown of finished rows: the table, the figures and the HTML page. No JAX here.

`summary` has the statistics of every point, `compare` says what is compared with what, `findings`
what to say of it. `console_table` prints on the `console`; `figures` draws with matplotlib; `page`
fills `templates/` with `charts` and `page_tables` of its own; `latex` writes the table for papers.
"""

from rerax.report.console import Column, print_columns
from rerax.report.console_table import print_table, setting_columns, table_of
from rerax.report.figures import draw_figures, figure_score_against_rate
from rerax.report.format import digits_of_share, setting_text
from rerax.report.latex import write_latex
from rerax.report.page import check_page_path, make_page, write_page
from rerax.report.summary import (
    SETTINGS,
    PointSummary,
    split_settings,
    summarise_points,
)

__all__ = [
    "SETTINGS",
    "Column",
    "PointSummary",
    "check_page_path",
    "digits_of_share",
    "draw_figures",
    "figure_score_against_rate",
    "make_page",
    "print_columns",
    "print_table",
    "setting_columns",
    "setting_text",
    "split_settings",
    "summarise_points",
    "table_of",
    "write_latex",
    "write_page",
]
