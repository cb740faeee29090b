import pytest
from made_rows import campaign, places

from rerax.report import draw_figures

PLAIN = ["score_against_rate", "yield"]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (campaign([{}]), PLAIN),
        (campaign(), [*PLAIN, "gains"]),
        (campaign(rates=(0.0,)), PLAIN[:1]),
        (places(["layers=0", "bits=7"]), [PLAIN[0], "sensitivity"]),
    ],
    ids=["one", "two", "clean", "places"],
)
def test_figures_are_those_that_the_rows_allow(tmp_path, rows, names):
    first, second = tmp_path / "a" / "first", tmp_path / "second"
    written = draw_figures(rows, first)
    wanted = sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    assert sorted(path.name for path in written) == wanted
    assert sorted(path.name for path in first.iterdir()) == wanted
    draw_figures(rows, second)
    for path in written:
        assert path.read_bytes() == (second / path.name).read_bytes()
        start = b"\x89PNG" if path.suffix == ".png" else b"<?xml"
        assert path.read_bytes().startswith(start)
