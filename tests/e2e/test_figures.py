import pytest
from made_rows import campaign, places

from rerax.report import draw_figures

STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
PLAIN = ["score_against_rate", "yield"]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (campaign([{}]), PLAIN),
        (campaign(), [*PLAIN, "gains"]),
        (campaign(rates=(0.0,)), PLAIN[:1]),
    ],
    ids=["one", "two", "clean"],
)
def test_figures_are_those_that_the_rows_allow(tmp_path, rows, names):
    written = draw_figures(rows, tmp_path / "a" / "deeper")
    wanted = sorted(f"{name}.{kind}" for name in names for kind in STARTS)
    assert sorted(path.name for path in written) == wanted
    assert sorted(path.name for path in (tmp_path / "a" / "deeper").iterdir()) == wanted
    for path in written:
        assert path.read_bytes().startswith(STARTS[path.suffix[1:]])


def test_the_same_rows_give_the_same_files(tmp_path):
    rows = places(["layers=0", "bits=7"])
    first, second = (draw_figures(rows, tmp_path / name) for name in ("first", "second"))
    assert {path.stem for path in first} == {PLAIN[0], "sensitivity"}
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
