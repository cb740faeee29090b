"""The table for papers: LaTeX that sets every letter as it is."""

import re

from rerax.report.console import Column
from rerax.report.latex import latex_table, latex_text


def test_a_table():
    columns = [
        Column("fault", ["map:a_b", "50 % & more"], number=False),
        Column("95 % interval", ["1.0 .. 2.0", "\N{MINUS SIGN}3.5 .. +4.0"]),
    ]
    assert latex_table(columns, ["one\ntwo"]).splitlines() == [
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"fault & 95 \% interval \\",
        r"\midrule",
        r"map:a\_b & 1.0 to 2.0 \\",
        r"50 \% \& more & $-$3.5 to +4.0 \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% one",
        "% two",
    ]


def test_no_sign_of_latex_is_left_as_it_is():
    signs = "\\&%$#_{}~^"
    found = latex_text("".join(f"a{sign}" for sign in signs))
    left = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]", "", found)
    assert left == "a" * len(signs)
