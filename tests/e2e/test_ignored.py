"""Who tries README's commands in a checkout leaves nothing for git to see."""

import re
import shutil
import subprocess

import pages
import pytest
from paths import ROOT

WRITTEN = re.compile(
    r"--(?:out|html|figures|csv|save|export-map|json) ([a-z][\w.-]*)(?=\s|$)", re.M
)
ELSEWHERE = {"s3"}  # words of prose


def test_what_the_pages_write_is_ignored():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout here")
    names = {n for page in pages.PAGES for n in WRITTEN.findall(pages.read(page))} - ELSEWHERE
    assert {"my-campaign", "report.html", "pruned"} <= names
    command = [
        "git",
        "check-ignore",
        "--no-index",
        *(f"{n}/" if "." not in n else n for n in names),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert {line.rstrip("/") for line in done.stdout.splitlines()} == names
