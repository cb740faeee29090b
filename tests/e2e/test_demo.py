"""The demo's task and model."""

import hashlib
import webbrowser

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import unoptimised

from rerax import demo
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.workload import Settings, read_workload
from rerax.cli import main
from rerax.demo import CHIPS, ENCODINGS, MODEL, RATES
from rerax.demo.sentences import BAD, GOOD, TURNS, make_sentences, words, write_data


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    with pytest.MonkeyPatch.context() as patch:
        unoptimised.use(patch)
        yield


def test_sentences_are_the_same_everywhere():
    sentences, labels = make_sentences(256, seed=1)
    text = "\n".join(
        f"{label} {sentence}" for sentence, label in zip(sentences, labels, strict=True)
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "96e2c4c5f8483968"
    assert 0.4 < sum(labels) / 256 < 0.6
    assert set(" ".join(sentences).split()) <= set(words())


def test_a_bag_of_words_does_not_solve_it():
    """Equally many good, bad and turning words come with either label."""
    seen = {}
    for sentence, label in zip(*make_sentences(3000, seed=2), strict=True):
        said = sentence.split()
        bag = tuple(sum(word in kind for word in said) for kind in (GOOD, BAD))
        bag = (*bag, sum(turn in sentence for turn in TURNS))
        seen.setdefault(bag, []).append(label)
    guess = sum(max(labels.count(0), labels.count(1)) for labels in seen.values())
    assert guess < 0.9 * 3000


def test_the_demo_is_a_thousand_chips():
    assert len(ENCODINGS) * sum(rate > 0 for rate in RATES) * CHIPS >= 1000


def test_shipped_model(tmp_path):
    write_data(tmp_path / "data")
    workload = read_workload(str(MODEL), "sst2", "demo", data=str(tmp_path / "data"), max_length=64)
    points = [Point(task="sst2", model="demo", rate=rate) for rate in (0.0, 0.1)]
    rows = run(workload, points, Settings(chips=4), tmp_path / "rows").to_pandas()
    assert (rows.float_score >= 0.97).all()
    assert (rows[rows.rate == 0].score >= 0.97).all()
    assert rows[rows.rate > 0].score.mean() < 0.95  # faults must be seen to hurt
    pd.testing.assert_frame_equal(
        rows.sort_values(["point_hash", "chip"], ignore_index=True)[["chip", "score"]],
        pd.read_parquet(tmp_path / "rows").sort_values(["point_hash", "chip"], ignore_index=True)[
            ["chip", "score"]
        ],
    )


@pytest.fixture
def small(monkeypatch):
    """A demo of two points, and the pages that a browser was asked to open."""
    monkeypatch.setattr(demo, "ENCODINGS", ("offset",))
    monkeypatch.setattr(demo, "RATES", (0.0, 0.1))
    monkeypatch.setattr(demo, "CHIPS", 2)
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) is None)
    return asked


def test_the_demo_ends_in_one_page(small, tmp_path, monkeypatch, capsys):
    """Opened where there is a display, and printed in any case."""
    out = tmp_path / "demo"
    given = ["demo", "--out", str(out), "--quiet"]
    page = out / "report.html"
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert main(given) == 0
    assert not small
    assert f"report: {page}" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(p.name for p in (out / "data" / "sst2").iterdir()) == [
        "train.parquet",
        "validation.parquet",
    ]

    monkeypatch.setenv("DISPLAY", ":0")
    assert main([*given, "--no-open"]) == 0
    assert not small
    assert main(given) == 0
    assert small == [page.as_uri()]
    assert f"report (opened): {page}" in capsys.readouterr().out

    def broken(url):
        raise webbrowser.Error("no browser")

    monkeypatch.setattr(webbrowser, "open", broken)
    assert main(given) == 0
    assert f"report: {page}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text"), [("model/config.json", "{}"), ("model/gates.safetensors", "mine")]
)
def test_another_model_is_left_alone(tmp_path, name, text):
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(ValueError, match=f"{file} is not the demo's: give another folder"):
        demo.lay_out(tmp_path)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == [file]


def test_other_data_is_left_alone_and_the_demos_own_is_taken(tmp_path):
    demo.lay_out(tmp_path)
    (tmp_path / "data" / "mine.csv").write_text("text,label")
    demo.lay_out(tmp_path)
    write_data(tmp_path / "data", n=3)  # sentences of the demo, be they fewer
    demo.lay_out(tmp_path)
    file = tmp_path / "data" / "sst2" / "validation.parquet"
    table = pq.read_table(file)
    assert len(table) == 256
    pq.write_table(table.set_column(0, "sentence", pa.array(["mine"] * 256)), file)
    mine = file.read_bytes()
    write_data(tmp_path / "data", n=300, seed=7)
    other = file.read_bytes()
    for content in (mine, other, b"PAR1" + b"\xff" * 200 + b"\xc8\0\0\0PAR1"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"validation\.parquet is not the demo's"):
            demo.lay_out(tmp_path)
        assert file.read_bytes() == content
