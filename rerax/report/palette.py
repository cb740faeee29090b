"""Colours of page and figures, for light and dark paper.

Curves are told apart by colour, mark and place at once. The first one, against which the others
are measured, is grey. Every colour of a curve has a contrast of at least 3 to its paper, every
colour of text at least 4.5. Curves differ in lightness too, so that readers who see no red or no
green can tell them (`tests/unit/report/test_palette.py`).
"""

LIGHT = {
    "paper": "#fcfbf8",
    "ink": "#1d1f22",
    "quiet": "#5c6066",
    "rule": "#dcd8cf",
    "wash": "#f2efe8",
    "accent": "#0a5c80",
    "pass": "#e7efe9",
    "s0": "#4f545c",
    "s1": "#1f6bbf",
    "s2": "#d3440c",
    "s3": "#1f8a74",
    "s4": "#7a3287",
    "s5": "#789a3c",
    "s6": "#2d86bd",
    "s7": "#5a1010",
    "h0": "#f2efe8",
    "h1": "#e4e6e0",
    "h2": "#c9d9db",
    "h3": "#a5c5cf",
    "h4": "#7cacbf",
    "h5": "#3a7595",
    "h6": "#1d5f82",
    "h7": "#0c4566",
    "h8": "#072c45",
}
DARK = {
    "paper": "#15171a",
    "ink": "#e9e6df",
    "quiet": "#a3a6aa",
    "rule": "#34383d",
    "wash": "#1e2125",
    "accent": "#7cc4e4",
    "pass": "#1d2a24",
    "s0": "#82868d",
    "s1": "#27b0f5",
    "s2": "#d67d1a",
    "s3": "#6fd3a0",
    "s4": "#a552b3",
    "s5": "#e6dc50",
    "s6": "#d3ebfb",
    "s7": "#b05c40",
    "h0": "#1e2125",
    "h1": "#20303a",
    "h2": "#203f4f",
    "h3": "#1f4f66",
    "h4": "#1f607d",
    "h5": "#6fb4d2",
    "h6": "#8ac6df",
    "h7": "#addbec",
    "h8": "#d6eff8",
}
CURVES = 8
"""Colours there are for curves; a chart with more curves is split."""
SHADES = 9
"""Shades of a heat map, from no loss to the largest."""


def shade(value: float, largest: float) -> int:
    """Pick the shade of a loss between 0 and the largest one."""
    if largest <= 0:
        return 0
    return min(SHADES - 1, max(0, round((SHADES - 1) * value / largest)))


def variables(colours: dict[str, str]) -> str:
    """Write colours as CSS variables."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())
