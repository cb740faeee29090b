"""The report as a browser shows it: `make browser` installs one and runs these."""

import html
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from chromium import find_chromium, look, with_probe
from made_rows import campaign, places
from paths import RESULTS

from rerax.campaign.store import read_rows
from rerax.report import write_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no chromium: `make browser` installs it"),
]
PHONE, DESK = (360, 800), (1280, 900)
DARK = "--blink-settings=preferredColorScheme=0"


def heat_rows():
    """A campaign with curves and with places."""
    names = [f"layers={k};matrices={m}" for k in range(6) for m in ("query", "ffn_in", "ffn_out")]
    rows = places([*names, *(f"bits={k}" for k in range(8))], rates=(1e-3, 1e-2))
    return pa.concat_tables([campaign(), rows.filter(pc.is_valid(rows["faulty"]))])


def many_rows():
    """More schemes than a chart holds, long names, and rates close to each other."""
    schemes = [{"protection": f"msb:{m}x{k}:pruned+lsb"} for m in (1, 2, 3) for k in (3, 5, 7)]
    long = "plan:" + "/".join(f"{name}=msb:2x3:pruned" for name in ("query", "key", "value"))
    rates = (0.0, 1e-4, 1.2e-4, 1e-3, 1.1e-3, 1e-2, 0.5)
    return campaign([{}, *schemes, {"protection": long}], rates, chips=6)


ROWS = {
    "encodings": lambda: read_rows(RESULTS / "sst2_encodings"),
    "lines": lambda: read_rows(RESULTS / "line_faults"),
    "rivals": lambda: read_rows(RESULTS / "rivals"),
    "places": heat_rows,
    "many": many_rows,
}


@pytest.fixture(scope="module", params=list(ROWS))
def page(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / f"{request.param}.html"
    runs = [{"started": "2026-01-02T03:04:05+00:00", "platform": "cpu:x" * 9, "versions": {}}]
    write_page(ROWS[request.param](), path, runs=runs)
    return path


def measured(page, size, *options, steps="const more = {};"):
    """What the page says of itself, and its picture."""
    picture = page.parent / f"{page.stem}-{'-'.join(map(str, size))}.png"
    seen = look(with_probe(page, steps), *size, picture, *options)
    (told,) = re.findall(r'data-told="([^"]*)"', seen.tree)
    assert seen.complaints == []
    return json.loads(html.unescape(told)), picture


def pixels(picture):
    from matplotlib.image import imread

    return (255 * imread(picture)[..., :3]).astype(np.int32)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_as_it_is_says_nothing_to_the_console(page, size):
    assert look(page, *size, page.with_suffix(".plain.png")).complaints == []


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_overflows_and_no_labels_touch(page, size):
    told, _ = measured(page, size)
    assert told["width"] == size[0]
    assert told["across"] <= size[0]
    assert told["touching"] == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE[0], DESK[0]])
def test_every_figure_is_there_and_not_blank(page, width, theme):
    options = [DARK] if theme == "dark" else []
    tall, _ = measured(page, (width, 900), *options)
    told, picture = measured(page, (width, tall["down"]), *options)
    text = page.read_text()
    charts = len(re.findall(r'<svg class="chart wide"', text))
    assert len(told["figures"]) == charts + text.count('<table class="heat">')
    image = pixels(picture)
    paper = image[2, 2]
    assert (paper.mean() < 128) == (theme == "dark")
    for x, y, across, down in told["figures"]:
        part = image[int(y) : int(y + down), int(max(x, 0)) : int(min(x + across, width))]
        drawn = (np.abs(part - paper).sum(axis=-1) > 40).mean()
        assert 0.01 < drawn < 0.995, (x, y, drawn)
        assert len(np.unique(part.reshape(-1, 3), axis=0)) > 12


STEPS = """
  const tip = document.getElementById("tip");
  const more = {};
  const chart = [...document.querySelectorAll(".chart")]
    .find(e => e.getBoundingClientRect().width > 0);
  chart.querySelector(".point").focus();
  more.focused = tip.hidden ? null : tip.textContent;
  scrollTo(0, 40);
  await new Promise(done => setTimeout(done, 200));
  more.scrolled = tip.hidden ? null : tip.textContent;
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape", bubbles: true}));
  more.escaped = tip.hidden;
  const dots = [...chart.querySelectorAll(".dots")].at(-1);
  const start = dots.getAttribute("d").match(/M(\\S+) (\\S+?)h0/);
  const at = new DOMPoint(+start[1], +start[2]).matrixTransform(chart.getScreenCTM());
  const where = {clientX: at.x, clientY: at.y, bubbles: true};
  chart.dispatchEvent(new MouseEvent("click", where));
  more.tapped = tip.hidden ? null : tip.textContent;
  more.first = dots.dataset.of + "\\nchip 0: " + dots.dataset.scores.split(" ")[0] + " %";
  const table = document.querySelector("#points table");
  const means = () => [...table.tBodies[0].rows].map(row => {
    const column = [...table.tHead.rows[0].cells].findIndex(c => c.textContent === "mean, %");
    return +row.cells[column].textContent;
  });
  const head = [...table.querySelectorAll("th button")]
    .find(e => e.textContent === "mean, %");
  head.click();
  more.up = means();
  head.click();
  more.down = means();
  const name = document.querySelector(".legend button");
  name.click();
  more.hidden = document.querySelectorAll(".series.off").length;
  name.click();
  more.back = document.querySelectorAll(".series.off").length;
  const paper = () => getComputedStyle(root).backgroundColor;
  const theme = document.getElementById("theme");
  more.themes = [paper()];
  theme.click(); more.themes.push(paper());
  theme.click(); more.themes.push(paper());
  theme.click();
  scrollTo(0, 0);
"""


def test_values_come_on_focus_and_tap_tables_sort_and_curves_hide(tmp_path):
    page = tmp_path / "page.html"
    write_page(campaign(), page)
    told, _ = measured(page, PHONE, steps=STEPS)
    assert told["focused"].startswith("offset at 0\nmean 89.00 %")
    assert told["scrolled"] == told["focused"]
    assert told["escaped"]
    assert told["tapped"] == told["first"]
    assert told["up"] == sorted(told["up"])
    assert told["down"] == sorted(told["up"], reverse=True)
    assert told["hidden"] == 2  # in the wide and in the narrow chart
    assert told["back"] == 0
    system, light, dark = told["themes"]
    assert system == light != dark


def test_a_page_with_faults_is_found_out(tmp_path):
    page = tmp_path / "page.html"
    write_page(campaign([{}]), page)
    text = page.read_text()
    page.write_text(text.replace("</main>", '<p style="width:900px">wide</p></main>'))
    told, _ = measured(page, PHONE)
    assert told["across"] > PHONE[0]
    page.write_text(text.replace("</main>", "<script>nothing()</script></main>"))
    assert look(page, *PHONE, tmp_path / "b.png").complaints  # the policy forbids the script
    page.write_text(text.replace('"use strict";', '"use strict"; nothing();'))
    assert look(page, *PHONE, tmp_path / "c.png").complaints
