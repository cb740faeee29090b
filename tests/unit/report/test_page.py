import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import markupsafe
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from made_rows import POINT, campaign, make_rows, places
from paths import RESULTS

from rerax.campaign.store import read_rows
from rerax.cli import main
from rerax.report import make_page, summarise_points, write_page
from rerax.report.format import hundredths, interval
from rerax.stats import paired_difference, passes, summarise, wilson
from rerax.stats.stopping import Rule
from rerax.values import rate_text

ENCODINGS = RESULTS / "sst2_encodings"


@pytest.fixture(scope="module")
def rows():
    return read_rows(ENCODINGS)


@pytest.fixture(scope="module")
def page(rows):
    return make_page(rows)


class _Reader(HTMLParser):
    """Elements that are never closed, and closing tags that close nothing."""

    VOID = frozenset({"meta", "br", "path", "rect", "i", "link", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def sections(text):
    return re.findall(r'<section id="(\w+)"', text)


def table(text, caption):
    """A table of the page: its head, and its rows as texts."""
    part = re.search(
        rf"<table[^>]*><caption>{re.escape(caption)}</caption>(.*?)</table>", text, re.S
    )
    assert part, caption
    head = [html.unescape(name) for name in re.findall(r"<th [^>]*>(.*?)</th>", part[1])]
    body = re.findall(r"<tr>(.*?)</tr>", part[1].split("<tbody>")[1])
    return head, [[html.unescape(c) for c in re.findall(r"<td[^>]*>(.*?)</td>", r)] for r in body]


def chart(text, identity, frame="wide"):
    name = f"{identity}-{frame}"
    return re.search(rf'<svg[^>]*aria-labelledby="{name}".*?</svg>', text, re.S)[0]


def scores_of(rows, **where):
    for name, value in where.items():
        rows = rows.filter(pc.equal(rows[name], value))
    return rows["chip"].to_numpy(), rows["score"].to_numpy()


def test_every_element_is_closed(page):
    reader = _Reader()
    reader.feed(page)
    assert reader.wrong == []
    assert reader.open == []


def test_points_in_the_table_are_those_of_the_statistics(rows, page):
    head, body = table(page, "All points")
    assert head[:3] == ["encoding", "rate", "chips"]
    assert len(body) == 20
    found = {(row[0], row[1]): row for row in body}
    for encoding in ("offset", "differential"):
        for rate in (1e-3, 1e-2):
            _, scores = scores_of(rows, encoding=encoding, rate=rate)
            s = summarise(scores)
            passed = int(passes(scores, 0.8922018348623854, 0.01).sum())
            share = wilson(passed, 16)
            assert found[encoding, rate_text(rate)][2:] == [
                "16",
                f"{100 * s.mean:.2f}",
                f"{100 * s.se:.2f}",
                f"{100 * s.interval[0]:.2f} to {100 * s.interval[1]:.2f}" + " *" * s.doubtful,
                f"{100 * s.worst:.2f}",
                f"{100 * passed / 16:.0f}",
                f"{100 * share[0]:.0f} to {100 * share[1]:.0f}",
            ]
    assert found["offset", "0"][2:] == ["1", "89.22", "", "", "89.22", "100", ""]


def test_gains_are_paired_over_common_chips():
    one = replace(POINT, rate=1e-2)
    other = replace(one, protection="msb:1x3:lsb")
    noise = np.random.default_rng(3)
    mine, theirs = noise.random(9), noise.random(6)
    made = [make_rows(one, mine), make_rows(other, theirs, chips=[2, 3, 5, 7, 8, 40])]
    text = make_page(pa.concat_tables(made), runs=[{"reads": [{"reads": 12.5}]}])
    expected = paired_difference(np.array([2, 3, 5, 7, 8, 40]), theirs, np.arange(9), mine)
    assert expected.chips == 5
    assert table(text, "Paired gains")[1] == [
        [
            "msb:1x3:lsb",
            "1e-2",
            hundredths(expected.mean, sign=True),
            interval(expected.interval, sign=True),
            hundredths(expected.se),
            "1.00",
            "12.5",
            "5",
            "unprotected",
        ]
    ]
    told = re.findall(r"<title>(msb:1x3:lsb at 1e-2\n[^<]*)</title>", chart(text, "gain-0-0"))
    assert told == [
        f"msb:1x3:lsb at 1e-2\n{hundredths(expected.mean, sign=True)} points over unprotected\n"
        f"95 % interval {interval(expected.interval, sign=True)}\n5 common chips"
    ]


@pytest.mark.parametrize("frame", ["wide", "narrow"])
def test_every_chip_has_a_dot_where_its_score_is(rows, page, frame):
    drawn = chart(page, "score-0-0", frame)
    dots = re.findall(r'class="dots" data-of="([^"]*)" data-scores="([^"]*)" d="([^"]*)"', drawn)
    count = sum(path.count("h0") for _, _, path in dots)
    assert count == 4 * (1 + 4 * 16)  # rate 0 is one chip
    for about, told, path in dots:
        encoding, rate = about.split(" at ")
        _, scores = scores_of(rows, encoding=encoding, rate=float(rate))
        scores = scores if float(rate) else scores[:1]
        assert told.split() == [f"{100 * score:.2f}" for score in scores]
        places = np.array([float(y) for y in re.findall(r"M\S+ (\S+?)h0", path)])
        ends = np.argmin(scores), np.argmax(scores)
        if scores[ends[0]] < scores[ends[1]]:
            line = np.interp(scores, scores[list(ends)], places[list(ends)])
            np.testing.assert_allclose(places, line, atol=0.11)


def test_chips_that_are_not_numbered_from_0_keep_their_numbers():
    made = [make_rows(replace(POINT, rate=1e-2), [0.5, 0.6, 0.7], chips=[3, 4, 90])]
    assert 'data-chips="3 4 90"' in chart(make_page(pa.concat_tables(made)), "score-0-0")


def test_marks_lie_where_the_ticks_say():
    text = chart(make_page(campaign([{}])), "score-0-0")
    ticks = re.findall(r'x="(\S+)" y="(\S+)" text-anchor="end">(\S+)</text>', text)
    value = [float(text.replace("−", "-")) for *_, text in ticks]
    height = [float(y) - 4 for _, y, _ in ticks]
    at = re.findall(r'data-y="(\S+)"><title>[^<]*mean (\S+) %', text)
    assert len(at) == 3
    for y, mean in at:
        assert np.interp(float(mean), value, height) == pytest.approx(float(y), abs=0.2)


def test_yields_are_told_with_their_intervals():
    scores = [0.9] * 5 + [0.5] * 3
    text = make_page(make_rows(replace(POINT, rate=1e-2), scores))
    low, high = wilson(5, 8)
    told = f"5 of 8 chips pass: 62 %\n95 % interval {100 * low:.0f} to {100 * high:.0f}"
    assert told in chart(text, "yield-0-0")
    assert "5 of 8 chips pass: 100 %" not in text
    wide = make_page(make_rows(replace(POINT, rate=1e-2), scores), budget=0.49)
    assert "8 of 8 chips pass: 100 %" in chart(wide, "yield-0-0")


def test_intervals_of_yields_follow_the_stopping_rule():
    rows = make_rows(replace(POINT, rate=1e-2), [0.9] * 32 + [0.5] * 32)
    plain, early = make_page(rows), make_page(rows, stopped=Rule(0.01, 64))
    (line,) = summarise_points(rows, stopped=Rule(0.01, 64))
    ends = interval(line.passed_interval, digits=0)
    assert ends in chart(early, "yield-0-0")
    assert ends not in chart(plain, "yield-0-0")
    assert "Clopper and Pearson" in early
    assert "Clopper and Pearson" not in plain


def test_nothing_is_asked_of_any_network(page):
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"@import|url\(|<link|<img|<iframe|\bsrc=|fetch\(|XMLHttp|import\(", page)
    assert "default-src 'none'" in page


def test_text_from_rows_is_escaped():
    evil = '<script>alert("1")</script>&\'"><b>'
    made = [
        make_rows(replace(POINT, model=evil, rate=rate, encoding=e), [0.7, 0.8, 0.5], platform=evil)
        for rate in (0.0, 1e-2)
        for e in ("offset", "differential")
    ]
    made.append(make_rows(replace(POINT, rate=1e-2), [0.7, 0.8]))
    runs = [{"started": evil, "platform": evil, "versions": {evil: evil}, "pair": evil}]
    text = make_page(pa.concat_tables(made), runs=runs)
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert text.count("<script>") == 1
    assert str(markupsafe.escape(evil)) in text


def test_a_page_has_what_its_rows_allow():
    plain = make_page(campaign([{}]))
    assert sections(plain) == ["summary", "scores", "yields", "points", "cells", "method", "cite"]
    compared = make_page(campaign())
    assert "gains" in sections(compared)
    assert "places" not in sections(compared)
    clean = make_page(campaign(rates=(0.0,)))
    assert sections(clean) == ["summary", "points", "cells", "method", "cite"]
    where = make_page(places(["bits=7", "bits=0"]))
    assert sections(where) == ["summary", "places", "points", "cells", "method", "cite"]
    for text in (plain, compared, clean):
        assert "heat" not in text.split("</style>")[1].split("<script>")[0]
    told = make_page(campaign([{}]), runs=[{"started": "2026-01-01T10:20:30+00:00"}])
    assert sections(told)[-2:] == ["runs", "cite"]
    assert "<pre>" not in told


def test_the_command_that_made_it_is_shown_without_folders():
    command = "rerax sweep --model /home/anna/mini --data a/b/c --fault map:/x/m.parquet"
    runs = [{"command": command}, {"command": command}, {"command": "rerax sweep --model org/bert"}]
    text = make_page(campaign([{}]), runs=runs)
    found = re.findall("<pre>(.*?)</pre>", text)
    assert found == [
        "rerax sweep --model mini --data c --fault map:m.parquet",
        "rerax sweep --model org/bert",
    ]
    assert "anna" not in text
    odd = ["'/home/anna maria/mini'", "s3://anna/c", "/home/anna/a,/home/anna/b", "'"]
    runs = [{"command": f"rerax sweep --model {word}"} for word in odd]
    text = make_page(campaign([{}]), runs=runs)
    assert "anna" not in text
    shown = [f"rerax sweep --model {word}" for word in ("mini", "c", "a,b")]
    assert re.findall("<pre>(.*?)</pre>", text) == shown  # a line that nobody can read is left out
    assert "arXiv 2401.11664" in text


def test_findings_of_many_subjects_open_on_request():
    few, many = (
        make_page(pa.concat_tables(campaign([{"model": f"m{k}"}], chips=3) for k in range(count)))
        for count in (4, 5)
    )
    assert "<details>" not in few
    assert re.findall(r"<summary>(.*?)</summary>", many) == [f"m{k} on sst2" for k in range(5)]
    assert [text.count("<dt>Score lost</dt>") for text in (few, many)] == [4, 5]


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        make_page(make_rows(POINT, []))


def test_provenance_names_neither_machines_nor_folders(page):
    run = {
        "host": "secret-host",
        "sources": {"a/b": {"model": "/secret/model"}},
        "maps": {"m": "/secret/map"},
        "platform": "cpu:x",
        "started": "2026-11-23T18:02:19+00:00",
        "versions": {"jax": "0.10.2"},
        "revision": "2503cdc7b4625fc78d9f62a6b78ac6bdf665a5f5",
    }
    text = make_page(campaign([{}]), runs=[run, {"finished": "2026-11-23T18:03", "seconds": 9.6}])
    assert "secret" not in text
    assert table(text, "Runs")[1] == [
        ["began 2026-11-23 18:02", "cpu:x", "2503cdc7b462", "jax 0.10.2", ""],
        ["ended 2026-11-23 18:03", "", "", "", "0 chips in 10 s"],
    ]


def test_the_ledger_counts_cells():
    schemes = ({}, {"protection": "duplicate:3"})
    made = [
        make_rows(replace(POINT, **scheme), [0.5, 0.6], cells=cells, sparsity=0.25)
        for scheme, cells in zip(schemes, (800, 2400), strict=True)
    ]
    _, body = table(make_page(pa.concat_tables(made)), "Cells")
    assert [row[1] for row in body] == ["none", "duplicate:3"]
    assert [row[5:] for row in body] == [
        ["800", "800", "0.00", "25.00", ""],
        ["2,400", "800", "+200.00", "25.00", ""],
    ]


def test_the_ledger_shows_what_metadata_depend_on():
    made = [
        make_rows(
            replace(POINT, protection="rotate:16", tile=tile),
            [0.5, 0.6],
            knows="map at writing",
            metadata_bits=bits,
        )
        for tile, bits in (((128, 128), 288), ((64, 64), 1152))
    ]
    head, body = table(make_page(pa.concat_tables(made)), "Cells")
    assert "tile" in head
    assert {(row[head.index("tile")], row[-1]) for row in body} == {
        ("128x128", "288"),
        ("64x64", "1,152"),
    }


def test_heat_maps_show_the_loss_of_every_place():
    names = [f"layers={k};matrices={m}" for k in (0, 1, 10, 2) for m in ("ffn_out", "query")]
    rows = places([*names, "bits=7"], rates=(1e-3, 1e-2))
    text = make_page(rows)
    part = re.search(r"<caption>layers × matrices, rate 1e-2</caption>(.*?)</table>", text, re.S)[1]
    assert re.findall(r'<th scope="col">([^<]*)</th>', part)[1:] == ["query", "ffn out"]
    assert re.findall(r'<th scope="row">([^<]*)</th>', part) == ["0", "1", "2", "10"]
    cells = re.findall(r'<td class="h(\d)" tabindex="0" title="([^"]*)">([^<]*)</td>', part)
    assert len(cells) == 8
    where = {"faulty": "layers=1;matrices=query", "rate": 1e-2}
    loss = 0.89 - scores_of(rows, **where)[1].mean()
    _, told, shown = cells[2]
    assert shown == hundredths(loss)
    assert f"layers 1, matrices query\n{hundredths(loss)} points lost" in told
    assert "<caption>bits × rate</caption>" in text
    losses = [float(shown) for *_, shown in cells]
    shades = [int(shade) for shade, *_ in cells]
    assert [shades[k] for k in np.argsort(losses)] == sorted(shades)
    assert f"{hundredths(max(losses) / 100)} points of the clean score" in html.unescape(text)


def test_places_that_were_not_run_stay_empty():
    text = make_page(places(["layers=0;matrices=query", "layers=1;matrices=key"]))
    assert text.count('<td class="none"></td>') == 2


def test_charts_hold_eight_curves_at_most_and_repeat_the_first():
    schemes = [{"protection": f"msb:{m}x{k}:lsb"} for m in (1, 2, 3) for k in (3, 5, 7)]
    text = make_page(campaign([{}, *schemes], rates=(1e-3, 1e-2), chips=4))
    series = [
        re.findall(r'<g class="series s(\d)" data-series="(\d+)"', chart(text, f"score-0-{k}"))
        for k in (0, 1)
    ]
    assert [len(part) for part in series] == [8, 3]
    assert all(part[0] == ("0", "0") for part in series)
    assert sorted(int(place) for part in series for _, place in part[1:]) == list(range(1, 10))
    for part in series:
        assert len({colour for colour, _ in part}) == len(part)


def test_long_names_are_cut_and_stay_apart():
    long = "plan:query=msb:2x3:pruned/key=msb:2x3:pruned/value=msb:2x3:pruned"
    schemes = [{}, {"protection": long}, {"protection": long + "/ffn_in=msb:1x3:lsb"}]
    legend = re.search(r'<ul class="legend">.*?</ul>', make_page(campaign(schemes)))[0]
    labels = re.findall(r"</svg>([^<]*)</li>", legend)
    assert labels[0] == "unprotected"
    assert labels[1] == f"{long[:34]}… #1"
    assert labels[2] == f"{long[:34]}… #2"


def test_the_command_writes_the_page_beside_the_table(tmp_path, capsys):
    out = tmp_path / "new" / "report.html"
    assert main(["report", str(ENCODINGS), "--html", str(out)]) == 0
    assert "sign_magnitude" in capsys.readouterr().out
    text = out.read_text()
    assert text.startswith("<!doctype html>")
    assert "2503cdc7b462" in text
    assert "2-core" not in text  # the host
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]
    assert len(text) < 200_000


def test_a_bad_place_or_budget_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for arguments, told in (
        (["--html", str(tmp_path)], "is a folder"),
        (["--html", str(tmp_path / "file" / "a.html")], "is no folder"),
        (["--figures", str(tmp_path / "file")], "is a file"),
        (["--budget", "2"], "outside [0, 0.5)"),
    ):
        assert main(["report", str(ENCODINGS), *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert told in printed.err
        assert printed.err.count("\n") == 1


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    out.write_text("old")
    monkeypatch.setattr("rerax.report.charts.yield_chart", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(campaign(), out)
    assert out.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_same_rows_give_the_same_page(rows, page):
    assert make_page(rows) == page
    turned = rows.sort_by([("point_hash", "descending"), ("chip", "ascending")])
    assert make_page(turned) == page  # points in another order


def test_the_page_stays_small():
    schemes = [{"encoding": e, "bits": b} for e in ("offset", "differential") for b in (8, 7, 6, 5)]
    text = make_page(campaign(schemes, rates=(1e-4, 1e-3, 3e-3, 1e-2, 3e-2), chips=128))
    assert len(text.encode()) < 3_000_000
