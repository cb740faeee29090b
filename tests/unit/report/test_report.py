import contextlib
import html
import io
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from rerax.campaign.point import Point
from rerax.campaign.schema import SCHEMA
from rerax.report import (
    figure_score_against_rate,
    figures,
    make_page,
    print_table,
    summarise_points,
    write_page,
)
from rerax.report.compare import make_panels
from rerax.report.summary import doubt_text, yield_interval_kind
from rerax.stats import mean_interval
from rerax.stats.stopping import Rule

POINT = Point(task="sst2", model="minilm", rate=1e-3)


def make_rows(point: Point, scores, platform="cpu", float_score=0.9, degenerate=()) -> pa.Table:
    rows = [
        {
            **point.identity(),
            "sa1_share": None if point.sa1_share is None else float(point.sa1_share),
            "seed": 0,
            "chip": chip,
            "score": float(score),
            "degenerate": chip in degenerate,
            "float_score": float_score,
            "clean_score": 0.89,
            "examples": 872,
            "platform": platform,
            "point_hash": point.hash,
        }
        for chip, score in enumerate(scores)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def printed(rows: pa.Table, **options) -> str:
    file = io.StringIO()
    with contextlib.redirect_stdout(file):
        print_table(rows, **options)
    return file.getvalue()


def test_a_point_is_one_line_over_its_chips():
    (line,) = summarise_points(make_rows(POINT, [0.9, 0.8, 0.85, 0.895]))
    assert line.summary.chips == 4
    assert line.summary.worst == 0.8
    assert line.summary.mean == pytest.approx(0.86125)
    assert line.passed == 0.5
    assert 0 < line.passed_interval[0] < 0.5 < line.passed_interval[1] < 1


@pytest.mark.parametrize(("task", "lowest"), [("sst2", 0), ("mrpc", 0), ("cola", -1), ("stsb", -1)])
def test_intervals_end_where_scores_do(task, lowest):
    point, few = replace(POINT, task=task), [1.0, 0.5]
    for scores in (few, [-s for s in few] if lowest else [0.0, 0.25]):
        low, high = summarise_points(make_rows(point, scores))[0].summary.interval
        assert lowest <= low < high <= 1
        assert low == lowest or high == 1


def test_a_doubtful_interval_is_explained_and_a_sound_one_is_not():
    sound, few = np.linspace(0.8, 0.9, 32), [0.8, 0.9] * 16
    lines = [summarise_points(make_rows(POINT, scores))[0] for scores in (sound, few)]
    assert doubt_text([lines[0].summary]) == ""
    assert "* may cover the mean too seldom: fewer than five" in doubt_text(
        x.summary for x in lines
    )


def test_rate_0_counts_as_one_chip():
    (line,) = summarise_points(make_rows(replace(POINT, rate=0.0), [0.89] * 64, degenerate=(0, 1)))
    assert line.summary.chips == 1
    assert line.summary.se is None
    assert line.passed == 1
    assert line.passed_interval is None
    assert line.degenerate == 1


@pytest.mark.parametrize("examples", [100, 200, 500, 1000])
def test_a_loss_of_exactly_the_budget_passes(examples):
    for right in range(examples // 100, examples + 1):
        worse = [(right - examples // 100) / examples, (right - examples // 100 - 1) / examples]
        (line,) = summarise_points(make_rows(POINT, worse, float_score=right / examples))
        assert line.passed == 0.5, right
        break_even = worse[0] >= right / examples - 0.01
        if not break_even:  # floats alone would have failed this chip
            return


def test_yields_of_chips_that_the_scores_counted_have_exact_intervals():
    rows = make_rows(POINT, [0.9, 0.8] * 32)
    exact = scipy.stats.binomtest(32, 64).proportion_ci(method="exact")
    wilson = scipy.stats.binomtest(32, 64).proportion_ci(method="wilson")
    for rule, expected in ((None, wilson), (Rule(0.01, 64), exact), (Rule(0.01, 63), wilson)):
        (line,) = summarise_points(rows, stopped=rule)
        assert line.passed_interval == pytest.approx((expected.low, expected.high))
    text = " ".join(printed(rows, stopped=Rule(0.0055, 200)).split())
    assert "chips added at 64, 128, 200 until the SE is at most 0.55; 1 of 1 points end" in text


def test_intervals_are_named_as_they_were_made():
    """A rule says nothing of points with more chips than it allows."""
    few, many = (
        make_rows(replace(POINT, rate=rate), [0.9, 0.8] * n) for rate, n in ((1e-3, 32), (1e-2, 64))
    )
    both = pa.concat_tables([few, many])
    for rows, most, told in (
        (few, 64, "Clopper and Pearson's"),
        (both, 64, "Clopper and Pearson's, Wilson's where more chips were run"),
        (many, 64, "Wilson's"),
    ):
        text = " ".join(printed(rows, stopped=Rule(0.01, most)).split())
        assert f"; yield intervals are {told}" in text.replace(f"{told} ", f"{told}")
        page = html.unescape(make_page(rows, stopped=Rule(0.01, most)))
        assert f"those of a share are {told}. " in page


@pytest.mark.parametrize(
    ("failing", "chips", "shown"),
    [
        (0, 64, "100 % 94 .. 100"),
        (1, 64, "98 % 92 .. 100"),
        (1, 256, "99.6 % 97.8 .. 99.9"),
        (2, 2048, "99.9 % 99.6 .. 100.0"),
        (0, 1024, "100.0 % 99.6 .. 100.0"),
        (255, 256, "0.4 % 0.1 .. 2.2"),
    ],
)
def test_no_yield_is_rounded_to_all_or_none(failing, chips, shown):
    scores = [0.5] * failing + [0.9] * (chips - failing)
    text = " ".join(printed(make_rows(POINT, scores), wide=True).split())
    assert shown in text
    page = make_page(make_rows(POINT, scores))
    assert shown.partition(" ")[0] in page


def test_shares_that_print_alike_stay_apart(tmp_path, monkeypatch):
    """0.8378, as all pages write the default share, is another share than the default."""
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure.axes[0]))
    other = replace(POINT, sa1_share=0.8378)
    assert other.hash != POINT.hash
    rows = pa.concat_tables(
        make_rows(replace(point, encoding=encoding), [score, score + 0.01])
        for point, loss in ((POINT, 0.0), (other, 0.1))
        for encoding, score in (("offset", 0.8 - loss), ("sign_magnitude", 0.82 - loss))
    )
    first, second = make_panels(summarise_points(rows))
    assert {first.title, second.title} == {
        f"minilm on sst2, share of SA1 {share}" for share in ("0.8378", "0.837813")
    }
    for panel in (first, second):
        (gain,) = panel.gains
        assert gain.summary.mean == pytest.approx(0.02)
    text = printed(rows, wide=True)
    assert "0.837813" in text
    assert ["+2.00" in line for line in text.splitlines()].count(True) == 2
    assert "0.837813" in make_page(rows)
    figure_score_against_rate(rows, tmp_path / "one.png")
    assert len(drawn[0].get_legend_handles_labels()[1]) == 5  # four series and the float score


def test_the_budget_is_a_parameter_of_reading():
    rows = make_rows(POINT, [0.9, 0.88, 0.86, 0.5])
    shares = [summarise_points(rows, budget)[0].passed for budget in (0.0, 0.02, 0.05, 0.49)]
    assert shares == [0.25, 0.5, 0.75, 1]


def test_rates_ascend_within_a_series_whatever_the_order_of_rows():
    points = [
        replace(POINT, encoding=encoding, rate=rate)
        for rate in (1e-2, 0.0, 1e-3)
        for encoding in ("differential", "offset")
    ]
    lines = summarise_points(pa.concat_tables(make_rows(p, [0.5, 0.6]) for p in points))
    assert [(line.settings["encoding"], line.rate) for line in lines] == [
        (encoding, rate) for encoding in ("offset", "differential") for rate in (0.0, 1e-3, 1e-2)
    ]


def test_coarse_yields_are_of_what_decides_them():
    """Half of mnli's examples, and none of drawn ones, which have no yield."""
    for point, told in (
        (replace(POINT, task="mnli"), "one of 64 examples is 1.56 points"),
        (replace(POINT, sampled="8:0123456789abcdef"), None),
    ):
        rows = make_rows(point, [0.9, 0.8])
        place = rows.schema.get_field_index("examples")
        field = rows.schema.field(place)
        text = printed(rows.set_column(place, field, pa.array([128] * 2, field.type)), budget=0.01)
        assert ("yield is coarse" in text) == (told is not None)
        assert told is None or told in text


def test_intervals_in_doubt_are_marked_and_the_mark_is_told():
    few = make_rows(POINT, [0.9, 0.8] * 16)
    told = printed(few)
    assert re.search(r"[0-9.]+ \.\. [0-9.]+ \*", told)
    assert "intervals marked * may cover the mean too seldom" in told
    page = make_page(few)
    assert " *</td>" in page
    assert "Intervals marked * may cover" in page
    sure = make_rows(POINT, np.linspace(0.7, 0.9, 32))
    assert "*" not in printed(sure)
    assert " *</td>" not in make_page(sure)


def test_places_are_in_the_order_of_their_numbers():
    points = [replace(POINT, faulty=f"layers={k}") for k in (10, 2, 1)]
    lines = summarise_points(pa.concat_tables(make_rows(p, [0.5, 0.6]) for p in points))
    assert [line.settings["faulty"] for line in lines] == ["layers=1", "layers=2", "layers=10"]


@pytest.mark.parametrize(
    ("examples", "budget", "told"),
    [(100, 0.01, "1.00 points, and the budget of 1 point is one of them"),
     (64, 0.01, "1.56 points, and the budget of 1 point is less than one of them"),
     (200, 0.01, None), (872, 0.002, "0.11 points, and the budget of 0.2 points is one of them"),
     (64, 0.0, None)],
)  # fmt: skip
def test_a_yield_that_hangs_on_one_example_says_so(examples, budget, told):
    rows = make_rows(POINT, [0.9, 0.8])
    place = rows.schema.get_field_index("examples")
    field = rows.schema.field(place)
    rows = rows.set_column(place, field, pa.array([examples] * 2, field.type))
    text = printed(rows, budget=budget)
    assert ("yield is coarse" in text) == (told is not None)
    assert told is None or told in text


def test_the_table_shows_what_varies_and_notes_what_does_not():
    rows = pa.concat_tables(
        make_rows(replace(POINT, encoding=encoding), [0.9, 0.81234, 0.85])
        for encoding in ("offset", "differential")
    )
    text = printed(rows)
    head, notes = text.split("differential", 1)
    assert "encoding" in head
    assert "minilm" not in head
    assert "minilm" in notes
    assert "float score 90.00" in notes
    assert "clean score 89.00" in notes
    assert "81.23" in text
    assert "1e-3" in text
    assert "degenerate" not in text
    assert "mixed" not in text


def test_clean_scores_that_print_alike_stand_together():
    tables = []
    for clean, schemes in ((0.89, ("none", "bit")), (0.88, ("msb:2x3:lsb",))):
        for scheme in schemes:
            rows = make_rows(replace(POINT, protection=scheme), [0.8, 0.81])
            at = rows.column_names.index("clean_score")
            tables.append(rows.set_column(at, "clean_score", pa.array([clean] * 2)))
    text = printed(pa.concat_tables(tables))
    told = "clean score 89.00 (offset 8 none and 1 more), 88.00 (offset 8 msb:2x3:lsb)"
    assert told in text


def test_no_line_is_wrapped_or_cut_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    long = "allocation:" + "/".join(f"{name}=msb:2x3:pruned" for name in ("key", "query", "value"))
    points = [
        replace(POINT, protection=p, fault=f, sa1_share=s, matrices=m)
        for p, f, s, m in (
            ("none", "uniform", Fraction(1, 2), "encoder,pooler,classifier,embeddings"),
            (long, "flip", None, "encoder"),
        )
    ]
    lines = printed(pa.concat_tables(make_rows(p, [0.5, 0.6]) for p in points)).splitlines()
    assert sum(long in line and "1e-3" in line and "60.00" not in line for line in lines) == 1
    assert not any("…" in line for line in lines)


def test_degenerate_chips_and_mixed_platforms_are_told():
    one, other = make_rows(POINT, [0.5] * 4, degenerate=(1, 2)), replace(POINT, rate=0.5)
    text = printed(pa.concat_tables([one, make_rows(other, [0.5] * 4, platform="gpu")]))
    assert "degenerate" in text
    assert ": 2" in text
    assert "mixed" in text
    assert "cpu" in text
    assert "gpu" in text


def test_printing_is_plain_text_without_a_terminal():
    assert "\x1b" not in printed(make_rows(POINT, [0.5, 0.6]))


@pytest.mark.parametrize("rates", [(0.0, 1e-4, 1e-3), (0.0,), (0.1, 1.0)])
def test_the_figure_is_a_png_and_the_same_each_time(tmp_path, rates):
    noise = np.random.default_rng(0)
    rows = pa.concat_tables(
        make_rows(replace(POINT, rate=rate, encoding=encoding), 0.9 - rate * noise.random(16))
        for rate in rates
        for encoding in ("offset", "differential")
    )
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    figure_score_against_rate(rows, one)
    figure_score_against_rate(rows, other)
    assert one.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert one.read_bytes() == other.read_bytes()
    assert len(one.read_bytes()) > 10_000


def test_the_figure_says_every_rate_and_every_float_score(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure.axes[0]))
    rows = pa.concat_tables(
        make_rows(replace(POINT, rate=rate, encoding=encoding), [top - rate] * 4, float_score=top)
        for encoding, rate, top in (
            ("offset", 1e-3, 0.9),
            ("offset", 1e-2, 0.9),
            ("differential", 3e-2, 0.8),
        )
    )
    figure_score_against_rate(rows, tmp_path / "one.png")
    (axes,) = drawn
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1e-3", "1e-2", "3e-2"]
    _, labels = axes.get_legend_handles_labels()
    assert {"float score 80.00", "float score 90.00"} < set(labels)


def test_series_of_a_figure_have_marks_of_their_own(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure.axes[0]))
    schemes = [f"spare:{k}" for k in range(1, figures.MOST_NAMED + 1)]
    rows = pa.concat_tables(
        make_rows(replace(POINT, protection=scheme), [0.8] * (4 + k))
        for k, scheme in enumerate(schemes)
    )
    figure_score_against_rate(rows, tmp_path / "one.png")
    (axes,) = drawn
    assert "4 to 19 chips a point" in axes.get_title(loc="left")
    marks = [bars.lines[0] for bars in axes.containers]
    assert len({(one.get_marker(), one.get_color()) for one in marks}) == len(schemes)


def test_a_bar_ends_where_its_interval_does(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure.axes[0]))
    scores = [1.0] * 15 + [0.97]  # whose interval is cut at 100
    figure_score_against_rate(make_rows(replace(POINT, rate=1e-3), scores), tmp_path / "one.png")
    (bars,) = drawn[0].containers
    ((lower, upper),) = (segment[:, 1] for segment in bars.lines[2][0].get_segments())
    low, high = mean_interval(np.array(scores))
    assert high > 1
    assert (lower, upper) == pytest.approx((100 * low, 100))


def test_rows_of_something_else_are_refused(tmp_path):
    rows = pa.table({"score": [1.0], "point_hash": ["x"]})
    for show in (summarise_points, print_table, lambda r: write_page(r, tmp_path / "page.html")):
        with pytest.raises(ValueError, match=r"rows are none of a campaign, without task: give wh"):
            show(rows)
    assert not (tmp_path / "page.html").exists()


def changed(rows, **values):
    for name, value in values.items():
        at = SCHEMA.get_field_index(name)
        column = pa.array([value] * len(rows), SCHEMA.field(name).type)
        rows = rows.set_column(at, SCHEMA.field(name), column)
    return rows


@pytest.mark.parametrize("name", ["model_hash", "data_hash", "seed"])
def test_rows_of_two_models_are_not_one_point(name):
    rows = make_rows(POINT, [0.9, 0.8])
    kind = int if name == "seed" else str
    both = [changed(rows, **{name: kind(k), "chip": 5 + k}).slice(0, 1) for k in (1, 2)]
    with pytest.raises(ValueError, match=f"sst2/minilm have more than one {name}: give each"):
        summarise_points(pa.concat_tables(both))
    other = changed(make_rows(replace(POINT, rate=0.1), [0.7]), **{name: kind(3)})
    with pytest.raises(ValueError, match=f"have more than one {name}"):
        summarise_points(pa.concat_tables([both[0], other]))  # a curve would run through both
    named = make_rows(replace(POINT, model="other"), [0.7])
    assert (
        len(summarise_points(pa.concat_tables([both[0], changed(named, **{name: kind(3)})]))) == 2
    )


def test_a_chip_counts_once():
    rows = make_rows(POINT, [0.9, 0.8])
    with pytest.raises(ValueError, match="rows name a chip of a point twice"):
        summarise_points(pa.concat_tables([rows, rows]))


def test_each_chip_passes_by_the_float_score_of_its_platform():
    here = make_rows(POINT, [0.89] * 4)
    there = make_rows(POINT, [0.89] * 8, "gpu", 0.91).slice(4)
    for rows in ([here, there], [there, here]):
        (line,) = summarise_points(pa.concat_tables(rows), 0.01)
        assert line.passed == 0.5


def test_only_intervals_that_are_shown_are_named():
    clean, faulty = make_rows(replace(POINT, rate=0.0), [0.9]), make_rows(POINT, [0.9, 0.8] * 64)
    points = summarise_points(pa.concat_tables([clean, faulty]), stopped=Rule(0.001, 64))
    assert yield_interval_kind(points, Rule(0.001, 64)) == "Wilson's"


@pytest.mark.parametrize(
    ("fault", "tile", "layout", "alike"),
    [
        ("wordline", "64x128", "interleaved", True),
        ("wordline", "128x64", "interleaved", False),
        ("bitline", "64x128", "interleaved", False),
        ("bitline", "128x64", "separate", True),
        ("clustered:2", "64x128", "interleaved", False),
        ("clustered:2", "128x128", "separate", True),
        ("uniform", "64x64", "separate", True),
    ],
)
def test_line_faults_are_on_the_same_cells_where_tiles_let_them(fault, tile, layout, alike):
    base = replace(POINT, fault=fault)
    other = replace(base, tile=tile, layout=layout)
    draw = np.random.default_rng(0)
    rows = [changed(make_rows(p, 0.8 + 0.1 * draw.random(8)), cells_dense=800)
            for p in (base, other)]  # fmt: skip
    (panel,) = make_panels(summarise_points(pa.concat_tables(rows)))
    assert [gain.same_cells for gain in panel.gains] == [alike]
