"""The table of a campaign's points for papers."""

from collections.abc import Sequence
from pathlib import Path

from rerax.io import whole_file
from rerax.report.console import Column
from rerax.report.format import MINUS

_PLAIN = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    MINUS: "$-$",
}


def latex_table(columns: Sequence[Column], notes: Sequence[str] = ()) -> str:
    """Write a table as a LaTeX `tabular` in the rules of booktabs, notes as comments below it.

    Args:
        columns: at least one, all of equal length.
        notes: lines to follow the table.
    """
    kinds = "".join("r" if column.number else "l" for column in columns)
    lines = [
        " & ".join(map(latex_text, line))
        for line in zip(*((column.name, *column.texts) for column in columns), strict=True)
    ]
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            f"\\begin{{tabular}}{{{kinds}}}",
            "\\toprule",
            f"{lines[0]} \\\\",
            "\\midrule",
            *(f"{line} \\\\" for line in lines[1:]),
            "\\bottomrule",
            "\\end{tabular}",
            *(f"% {line}" for note in notes for line in note.splitlines()),
            "",
        ]
    )


def latex_text(text: str) -> str:
    """Write a text so that LaTeX sets it as it is, and ranges with `to`."""
    return "".join(_PLAIN.get(sign, sign) for sign in text).replace(" .. ", " to ")


def write_latex(file: Path, columns: Sequence[Column], notes: Sequence[str] = ()) -> None:
    """Write `latex_table` to a file, which appears whole or not at all."""
    with whole_file(file) as out:
        out.write(latex_table(columns, notes).encode())
