"""A page in Debian's Chromium without a window: its pixels, its tree, its complaints.

Chromium makes no window narrower than 500 pixels, so the page lies in a frame of the width
asked for, and what it measures of itself it says to the page around it.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROBE = """<script>addEventListener("load", async () => {
  const root = document.documentElement;
  const box = e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; };
  const seen = [...document.querySelectorAll("figure svg.chart, table.heat")]
    .filter(e => e.getBoundingClientRect().width > 0).map(box);
  const texts = [...document.querySelectorAll("svg.chart")].flatMap(svg => {
    const all = [...svg.querySelectorAll("text")].map(e => e.getBoundingClientRect());
    return all.flatMap((a, i) => all.slice(i + 1).filter(b => a.width && b.width &&
      a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
  });
  STEPS
  parent.postMessage(JSON.stringify({width: innerWidth, across: root.scrollWidth,
    down: root.scrollHeight, figures: seen, touching: texts.length, ...more}), "*");
});</script>"""
AROUND = """<!doctype html><meta charset="utf-8"><title>frame</title>
<style>body{{margin:0;background:#888}}iframe{{border:0;display:block}}</style>
<script>addEventListener("message", event =>
  document.documentElement.setAttribute("data-told", event.data));</script>
<iframe src="{page}" width="{width}" height="{height}"></iframe>"""


@dataclass(frozen=True)
class Seen:
    """What a look at a page gave: its tree after the scripts, and what Chromium logged."""

    tree: str
    log: str

    @property
    def complaints(self) -> list[str]:
        """Lines that the page's console printed."""
        return [line for line in self.log.splitlines() if "CONSOLE" in line]


def find_chromium() -> str | None:
    """The browser, if there is one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def look(page: Path, width: int, height: int, picture: Path, *options: str) -> Seen:
    """Open a page in a frame of a given size, take its picture and read the frame's tree."""
    around = picture.with_suffix(".frame.html")
    around.write_text(AROUND.format(page=page.name, width=width, height=height))
    assert around.parent == page.parent
    command = [
        find_chromium() or "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        "--virtual-time-budget=3000",
        f"--user-data-dir={picture.with_suffix('.profile')}",
        f"--window-size={width},{height}",
        f"--screenshot={picture}",
        "--dump-dom",
        *options,
        around.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return Seen(done.stdout, done.stderr)


def with_probe(page: Path, steps: str = "const more = {};") -> Path:
    """A copy of a page that measures itself; only the policy that forbids this is taken out."""
    text, found = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    assert found == 1
    copy = page.with_name(f"probed-{page.name}")
    copy.write_text(text.replace("</body>", PROBE.replace("STEPS", steps) + "</body>"))
    return copy
