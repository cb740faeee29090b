"""Numbers that pages quote, from committed rows.

A page marks them: `<!--=gpu chip-->22.7<!--/--> ms`. The first word is a function below, the rest a
name that it gives: the numbers between the marks in order, with those that only name a setting, or
a whole table. With how many digits a number is written, the page says. Assertions guard what the
words around the numbers claim. `make numbers` writes the pages anew (`tests/helpers/quoting.py`).
"""

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import layers_and_bits
import msb_copies
import nine_tables as nine
import picture as drawn_in
import pruning as runs
import rare_coverage as rare
import rare_failures as splitting
import read_error
import rivals as compared
import sampled_examples as drawn
import shared_permutation
import tuning
import zero_cells as borne

from rerax.campaign import store
from rerax.campaign.sidecars import read_provenance
from rerax.report import summarise_points
from rerax.stats import paired_difference

RESULTS = Path(__file__).parent / "results"
Quoted = Mapping[str, str | Sequence[float]]
ZERO_SPACE = "msb:2x3:pruned"
RATES = (1e-4, 1e-3, 1e-2)
HEADLINES = {
    "untested": ("35", "offset", "code:golay:4:pruned"),
    "vote": ("35", "offset", "msb:2x3:pruned"),
    "light": ("21", "offset", "code:hamming:4:pruned"),
    "tested": ("35", "offset", "code:golay:4:pruned:closest"),
    "tested, not pruned": ("dense", "offset", "closest"),
    "signs too": ("dense", "offset", "closest+sign"),
    "sign-magnitude": ("35", "sign_magnitude", "code:golay:4:pruned"),
    "sign-magnitude, tested": ("dense", "sign_magnitude", "closest"),
}
"""Curves of `zero_cells.py` that a sentence quotes: model, encoding and protection."""
FITTED = ", fitted"
RIVALS = {
    "bare": (("dense", "plain", "none"), ("over_vote",)),
    "bare, alternating": (("dense", "alternate", "none"), ("rate_2",)),
    "fitted": (("dense", "alternate", f"none{FITTED}"), ("rate_2",)),
    "fitted values": (("dense", "alternate", f"closest{FITTED}"), ("rate_2",)),
    "vote": (("35", "plain", "msb:2x3:pruned"), ("rate_2", "T_1")),
    "written vote": (("35", "alternate", "msb:2x3:pruned:closest"), ("rate_2", "over_vote")),
    "vote, alternating": (("35", "alternate", "msb:2x3:pruned"), ("over_vote",)),
    "code": (("35", "alternate", "code:golay:4:pruned"), ("over_vote",)),
    "only clipped": (("onlyclipped", "alternate", "none"), ("rate_2", "over_vote")),
    "clipped": (("clipped", "alternate", "none"), ("rate_2",)),
    "only clipped code": (("onlyclipped35", "alternate", "code:golay:4:pruned"), ("rate_2",)),
    "clipped code": (("clipped35", "alternate", "code:golay:4:pruned"), ("rate_2", "over_vote")),
    "clipped, written": (("clipped", "alternate", "closest+sign"), ("rate_2",)),
    "bits and values": (("dense", "alternate", "closest+bit"), ("rate_2", "over_vote")),
    "low bits": (("dense", "alternate", "code:bch:6:lsb"), ("rate_2",)),
    "copies": (("dense", "alternate", "duplicate:3"), ("rate_2", "over_vote")),
    "erasures": (("35", "alternate", "code:golay:4:pruned:erasures"), ("rate_2", "over_vote")),
    "written code": (("35", "alternate", "code:golay:4:pruned:closest"), ("over_vote",)),
}
"""Curves of `rivals.py` that a sentence quotes (model, polarity and protection, in offset), and
what of them."""
BARE = {
    "bare": ("dense", "offset", "none", "plain"),
    "bare, inverted": ("dense", "sign_magnitude", "none", "inverted"),
}
"""Those without protection, with their polarity."""


def _result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _ends(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[0], ordered[-1]


def study() -> Quoted:
    """Tables, each by the experiment whose name it has."""
    made = (layers_and_bits, msb_copies)
    return {one.NAME: one.table(_result(one.NAME)) for one in made}


def nine_tasks() -> Quoted:
    """What the nine tasks bear, their scores at one rate, and how many chips pass."""
    found, took = _result("nine_tasks"), nine.cost(RESULTS)
    before = took["hours"] / packed()["ratio"][0]
    return {
        "cost": [took["chips"], took["hours"], before],
        "summary": nine.summary(found),
        "counted": [len(nine.ratios_of_tasks(found))],
        "rates": nine.markdown(found),
        "headlines": nine.headlines(found),
        "yields": nine.yields(found),
    }


def read_errors() -> Quoted:
    """Squared error of the codes read, by scheme."""
    return {"table": read_error.markdown(_result("read_error"))}


def orders() -> Quoted:
    """What is lost with hidden units of feed-forward blocks as they are, and ordered."""
    found, tables = _result("shared_permutation"), shared_permutation
    return {"table": tables.markdown(found["errors"]), "scores": tables.scored(found["scores"])}


def tuned() -> Quoted:
    """Scores of chips before and after they were tuned against their own stuck cells."""
    return {"table": tuning.markdown(_result("tuning"))}


def encodings() -> Quoted:
    """Mean scores of each encoding, and what it wins over offset on chips of the same numbers."""
    found: dict[str, list[float]] = {}
    lines = summarise_points(store.read_rows(RESULTS / "sst2_encodings"))
    offset = {line.rate: line for line in lines if line.settings["encoding"] == "offset"}
    for line in lines:
        errors = [] if line.summary.se is None else [100 * line.summary.se]
        found.setdefault(line.settings["encoding"], []).extend([100 * line.summary.mean, *errors])
        base = offset[line.rate]
        if base is not line and line.rate in (3e-3, 1e-2):
            won = paired_difference(line.chips, line.scores, base.chips, base.scores)
            assert won.interval is not None
            wins = f"{line.settings['encoding']} wins"
            found.setdefault(wins, []).extend(100 * x for x in (won.mean, *won.interval))
    return {**found, "float": [100 * line.float_score]}


def pruning() -> Quoted:
    rows, lost = runs.read_rows(), []
    for sparsity in (0.21, 0.35, 0.5):
        drops = [runs.drops(rows, "last", task, sparsity) for task in runs.SEEDS]
        se = math.sqrt(sum(statistics.variance(drop) / len(drop) for drop in drops)) / len(drops)
        lost += [statistics.mean(map(statistics.mean, drops)), se, 100 * sparsity]
    rte, cola = (
        [r["last"] for r in rows if (r["task"], r["sparsity"]) == (t, 0)] for t in ("rte", "cola")
    )
    slow = {chip["sparsity"]: chip["compacted_to_dense"] for chip in _result("gates_cost")["chips"]}
    assert 0.95 <= slow[0.5] < 1.05  # "level"
    return {
        **{which: runs.markdown(rows, which) for which in ("last", "best")},
        "lost": lost,
        "rte": [100 * score for score in _ends(rte)],
        "cola": [statistics.mean(cola)],
        "compacted": [slow[0.21], slow[0.35]],
    }


def zero_cells() -> Quoted:
    """Fault rates borne without an extra cell, by task; "kinds" are lines and clusters."""
    found: dict[str, str | Sequence[float]] = {}
    for task, one in _result("zero_cells").items():
        by = {(c["model"], c["encoding"], c["protection"]): c for c in one["curves"]}
        by |= {
            (c["model"], c["encoding"], c["protection"], c["polarity"]): c for c in one["curves"]
        }
        found[task] = borne.markdown(one["curves"])
        if one["lines"]:
            found[f"{task} kinds"] = borne.lines_markdown(one["lines"])
        for name, key in {**HEADLINES, **BARE}.items():
            for what in ("rate_2",) if name in BARE else ("T_1", "T_2", "rate_2"):
                numbers = by.get(key, {}).get(what) or [None]
                if None not in numbers:
                    found[f"{task} {name} {what}"] = numbers
                elif numbers[0]:
                    found[f"{task} {name} {what}"] = borne.span(numbers, ".1f")
    return found


def rivals() -> Quoted:
    """Tables of every protection, by task; rates that some bear, and times the vote's."""
    found: dict[str, str | Sequence[float]] = {}
    for task, lines in compared.at_same_rates(RESULTS).items():
        found[f"{task} trained"] = compared.markdown_at_same_rates(lines)
        further = [line["clean"] for line in lines if line["label"].startswith("code,")]
        found[f"{task} spread"] = [max(further) - min(further)]
    for task, lines in _result("rivals").items():
        if not any("over_vote" in line for line in lines):
            continue  # no vote to set others against
        found[task] = compared.markdown(lines)
        by = {
            (line["model"], line["polarity"], line["protection"] + line["refitted"] * FITTED): line
            for line in lines
            if line["encoding"] == "offset"
        }
        for name, (key, quoted) in RIVALS.items():
            for what in quoted:
                numbers = by.get(key, {}).get(what) or [None]
                if None not in numbers and any(numbers):  # or lost at rate 0
                    found[f"{task} {name} {what}"] = numbers
    return found


def picture() -> Quoted:
    """What the picture shows: chips, and the rates at which a point is lost against rate 0."""
    rows = drawn_in.drawn_rows()
    frame, found = rows.to_pandas(), []
    for curve in borne.CURVES:
        score = borne.scores(frame, curve)
        if not score.empty:
            clean = frame[frame.protection == curve.protection].clean_score.iloc[0]
            found.append((curve, borne.tolerated(score, clean, clean, borne.LOSSES[0])[0]))
    rates = {curve.protection: rate for curve, rate in found}
    runs = read_provenance(RESULTS / "zero_cells")
    points = summarise_points(rows, runs=runs)
    (reads,) = {p.reads for p in points if p.settings["protection"] == ZERO_SPACE}
    return {
        "chips": [35, frame.chip.nunique()],
        "rates": [rates[scheme] for scheme in drawn_in.SCHEMES],
        "reads": [reads, 8],
    }


def line_faults() -> Quoted:
    found = [one for one in _result("line_faults") if one["rate"] == 0.01]
    lost = {(one["fault"], one["protection"]): 100 * one["lost"] for one in found}
    schemes = ("none", "naive:beside", "naive:below", ZERO_SPACE)
    return {fault: [lost[fault, s] for s in schemes] for fault in ("wordline", "bitline")}


def room() -> Quoted:
    """Freed shares, in %, from which two further copies of 1 to 3 bits fit; differential last."""
    needs = [Fraction(2 * g * m, g * b + 2 * g * m) for g, b in ((1, 8), (2, 7)) for m in (1, 2, 3)]
    return {"shares": [math.ceil(1000 * share) / 10 for share in needs]}


def campaigns() -> Quoted:
    found, kills, report = _result("campaign"), _result("kills"), _result("report_size")
    after = found["10000 chips"]["peak_mb_after_chips"]
    more = found["10000 chips"]["peak_mb"] - after["10000"]
    checks = [found[f"done-check, {what}"]["cpu_seconds"] for what in ("10000 chips", "compacted")]
    planned = found["plan_500_points_seconds"]
    folders, many = kills["folders"], _result("many_blocks")
    assert folders["wrong"] == []
    assert folders["rows"] == folders["asked"]
    assert kills["rows_equal"]
    assert kills["rows_in_pandas"] == kills["rows"]
    assert report["page_seconds"] < 10
    assert report["page_bytes"] < 3e6
    return {
        "peaks": [after["1000"], 1000, after["10000"], 10000, more, 10000, *checks, 500, planned],
        "kills": [kills["rows"], kills["chips_computed_in_vain"], kills["allowed"]],
        "folders": [folders["kills"], *folders["of"].values()],
        "many": [many["blocks"], many["look_cpu_seconds"], many["read_cpu_seconds"]],
        "report": [report["rows"]],
    }


def coverage() -> Quoted:
    found = _result("coverage")
    fixed, stopped = (
        [x for x in found[part] if x["interval"] == "mean_interval" and x["law"] != "point"]
        for part in ("mean", "mean_stopped")
    )
    promised = [*fixed, *(x for x in stopped if x["law"] != "formula")]
    least, most = _ends(x["covered"] for x in promised)
    worst = {x["share"]: x["worst"] for x in found["yield"]}
    average = worst.pop("average")
    assert 0.935 <= least <= most <= 0.965
    assert min(worst.values()) >= 0.91
    return {
        "mean": [93.5, 96.5],
        "yield": [91, 100 * average],
        **_raw_points(found["mean_raw"]),
    }


def _raw_points(found: Sequence[Mapping[str, Any]]) -> Quoted:
    """Coverage of points: mean, lowest, and how often an interval misses without a mark."""
    points = [x for x in found if x["of"] == "points"]
    by: dict[str, list[float]] = {}
    for marked in (False, True):
        rows = [x for x in points if x["marked"] == marked]
        numbers = by.setdefault("marked" if marked else "not marked", [len(rows)])
        for n in (32, 64):
            for column in (f"t_interval {n}", f"mean_interval {n}"):
                numbers += [100 * statistics.mean(x[column] for x in rows)]
                numbers += [100 * min(x[column] for x in rows)]
            numbers += [100 * statistics.mean(x[f"missed, not marked {n}"] for x in rows)]
    pooled = [100 * statistics.mean(x[f"mean_interval {n}"] for x in points) for n in (32, 64)]
    two = [100 * x["mean_interval 32"] for x in found if x["of"] == "two scores"]
    assert all(x["marked"] for x in found if x["values"] < 5)
    assert min(pooled) >= 93.5
    return {**by, "points": [len(points), *pooled], "two scores": two[:2]}


def rare_coverage() -> Quoted:
    """Share of the intervals of rare failures that hold, lowest and highest, in %."""
    found = _result("rare_coverage")
    chances = [rare.share(side, "held") for line in found for side in line["chances"]]
    return {
        "chances": _ends(chances),
        "rates": _ends(rare.share(line["rate"], "held") for line in found),
    }


def sampled() -> Quoted:
    """What it saves that chips answer examples of their own, and how intervals cover, in %."""
    found = _result("sampled_examples")
    covered = {
        f"covered {kind}, {many}": [
            100 * one[f"covered_{kind}"] for one in found["replayed"] if one["chips"] == chips
        ]
        for kind in ("whole", "drawn")
        for many, chips in (("few", 32), ("many", 64))
    }
    pooled = {name: [statistics.mean(all_), min(all_)] for name, all_ in covered.items()}
    assert all(93.5 <= mean <= 96.5 for mean, _ in pooled.values())
    of_tasks: dict[str, list[float]] = {}
    for one in found["measured"]:
        of_tasks.setdefault(one["task"], []).extend((one["saving"][0], drawn.by_pairs(one)[0]))
    savings = {task: _ends(of) for task, of in of_tasks.items()}
    yields = [one["yield"]["saving_in_passes"] for one in found["measured"]]
    return {
        "table": drawn.markdown(found["measured"]),
        **pooled,
        **savings,
        "yields": _ends(yields),
    }


def rare_failures() -> Quoted:
    """Chances of rare failures: split, counted, and what splitting gains."""
    return {"table": splitting.markdown(_result("rare_failures"))}


def cost() -> Quoted:
    found, protected = _result("cost"), _result("protection_cost")
    peaks = [(found["memory"][f"16 sentences, {n} chips"]["peak_gb"], n) for n in (16, 1000)]
    assert found["platform"].startswith("cpu")
    runs = _result("protection_cost_tested")["runs"]
    table = ["| one chip, times an unprotected one | first run | second run |", "| --- " * 3 + "|"]
    for scheme in list(runs[-1])[1:]:
        shown = (f"{run[scheme]:.2f}" if scheme in run else "" for run in runs)
        table.append(f"| `{scheme}` | {' | '.join(shown)} |")
    return {
        "tested": "\n".join(table),
        "clean": [found["time"]["ratio_to_clean"][rate] for rate in ("0.001", "0.01")],
        "memory": [*peaks[0], *peaks[1]],
        **{part: [protected[part][ZERO_SPACE]] for part in ("layer", "chip")},
    }


def _tools(file: str) -> dict[tuple[str, float], dict[str, Any]]:
    """What a benchmark found, by tool and rate; aihwkit, which has none, at all of them."""
    table = _result(file)["table"]
    return {(e["tool"], rate): e for e in table for rate in ([e["rate"]] if e["rate"] else RATES)}


def _speed(first: str, other: str) -> Quoted:
    """Seconds a chip by rate, and times rerax at 1e-3: there, and on another processor."""
    here, there = _tools(first), _tools(other)
    times = {
        tool: [file[tool, 1e-3]["ratio_to_rerax"] for file in (here, there) if (tool, 1e-3) in file]
        for tool, _ in here
    }
    return {t: [*(here[t, r]["seconds_a_chip"] for r in RATES), *times[t]] for t in times}


def speed_base() -> Quoted:
    return _speed("benchmarks_base", "benchmarks_base_avx2")


def speed() -> Quoted:
    files = _tools("benchmarks"), _tools("benchmarks_second")

    def times(tool: str, rate: float = 1e-3) -> list[float]:
        return [file[tool, rate]["ratio_to_rerax"] for file in files]

    sparse = [times("torch_sparse-bf16", rate)[1] for rate in (1e-4, 1e-2)]
    base = _tools("benchmarks_base")["pytorchfi", 1e-2]["ratio_to_rerax"]
    rates = [one["rates"] for one in _result("product_rates")["products"]]
    formats = ("xla int8", "xla bfloat16", "torch int8", "torch bfloat16")
    grown = {one["name"]: one["exponent"] for one in _result("bench_growth")["growth"]}
    return {
        **_speed("benchmarks_second", "benchmarks"),
        "loops": [*times("torch_dense-bf16"), *times("torch_sparse-bf16"), *sparse],
        "int8": times("torch_sparse-int8"),
        "injectors": [*times("mrfi"), *times("aihwkit"), *times("pytorchfi")],
        "pytorchfi at 1e-2": [*times("pytorchfi", 1e-2), base],
        "products": [end / 1e9 for name in formats for end in _ends(rate[name] for rate in rates)],
        "growth": [grown[x] for x in ("chips", "layers", "sentences", "weights", "rate")],
    }


def stages() -> Quoted:
    """Shares of a chip's time, in %, and how far products and the whole are above their floors."""
    found = {}
    for file in ("bench_stages", "bench_stages_base", "bench_stages_base_avx2"):
        for one in _result(file)["chips"]:
            whole, floor = one["seconds_a_chip"], sum(part["floor"] for part in one["stages"])
            sample, vote, _, product, attention, rest = (p["seconds"] for p in one["stages"])
            shares = [100 * part / whole for part in (product, sample + vote, attention, rest)]
            floors = [product / one["stages"][3]["floor"], whole / floor]
            found[file, one["protection"], one["rate"]] = [*shares, *floors, sample]
    bare, voted = (found["bench_stages", name, 1e-2] for name in ("none", ZERO_SPACE))
    few, many = (found["bench_stages_base", "none", rate] for rate in (1e-3, 1e-2))
    assert round(bare[2]) == round(voted[2])
    assert round(bare[4], 1) == round(voted[4], 1)
    strike = _tools("benchmarks")["pytorchfi", 1e-2]["stages"]["strike"]
    return {
        "minilm": [voted[0], *(bare[k] for k in (0, 4, 2, 3)), voted[3], bare[1], voted[1]],
        "whole": [bare[5], voted[5]],
        "base": [*few[:2], many[1]],
        "avx2": found["bench_stages_base_avx2", "none", 1e-3][:2],
        "injection": [strike, bare[6]],
    }


def agreement() -> Quoted:
    """Points, the least agreement of one, in %, and the largest shift of a mean, in points."""
    found = {}
    for folder, points in _result("agreement").items():
        assert all(point["cells_equal"] for point in points)
        least = min(point["agreement"] for point in points)
        most = max(abs(point["shift"]) for point in points if point["rate"])
        found[folder] = [len(points), 100 * least, 100 * most]
    clean = [point for point in _result("agreement")["sst2_encodings"] if not point["rate"]]
    (shift,) = {abs(point["shift"]) for point in clean}
    assert round(shift * clean[0]["examples"], 9) == 1  # one example of the one clean chip
    return {**found, "sst2_encodings": found["sst2_encodings"][1:], "clean": [100 * shift]}


def gpu() -> Quoted:
    found, loops = _result("gpu"), _result("benchmarks_gpu")
    torch = [one["stages"]["forward"] for one in loops["rows"] if one["tool"].endswith("bf16")]
    best, layers = found["peaks"]["torch"]["int8"], found["layer_products"].values()
    ms = [1e3 * chip["seconds_a_chip"] for chip in found["chip"]]
    end_to_end, spent = found["chip"][-1]["products"], found["kernels"]
    kernels = (
        "gemm_fusion_dot.*|sm90_xmma.*",
        "fusion_445[67]",  # GELU with the quantiser behind it
        "sm80_xmma.*|triton_softmax_12|loop_transpose_fusion",  # attention
    )
    times = [[t for k, t in spent["largest"].items() if re.fullmatch(own, k)] for own in kernels]
    assert all(each["equal"] for each in layers)
    assert [(one["rate"], one["differ"]) for one in found["fused"]] == [(1e-3, 0), (1e-2, 0)]
    return {
        **{o["tool"]: [1e3 * o["seconds_a_chip"], *sorted(o["ratios"])] for o in loops["table"]},
        "chip": [1e3 * _tools("benchmarks_gpu")["rerax", 1e-3]["seconds_a_chip"]],
        "forward": [1e3 * end for end in _ends(torch)],
        "peak": [end_to_end / 1e12, 100 * end_to_end / best, best / 1e12],
        "layer": [end / 1e12 for end in _ends(each["int8"] for each in layers)],
        "faster": [*ms[:2], *ms[1:], *(chip["first_call_seconds"] for chip in found["chip"][1:])],
        "kernels": [100 * sum(own) / spent["busy"] for own in times],
        "fused": [1e3 * one[path] for one in found["fused"] for path in ("fused", "plain")],
    }


def h100() -> Quoted:
    """One H100: chips before and after what moved no bit, and products up to the next codes."""
    found, rows = _result("gpu_h100"), _result("gpu_products")["rows"]
    chips = {"before": [], "now": []}
    for one in found["chip"][2:]:  # the first two compiled
        chips[one["tree"]].append(1e3 * one["seconds_a_chip"])
    to_codes, sums, attention = {}, {}, {}
    for row in rows:
        if "product" in row:
            key = row["product"], row["by"]
            if "us_to_codes" in row:
                to_codes[key] = min(row["us_to_codes"], to_codes.get(key, math.inf))
            if "sums_alone" in row:
                sums[row["product"], row["layout"]] = row["sums_alone"] / 1e12
        else:
            attention[row["by"], row["attention"]] = row["us"]
    triton = ("qkv", "attention_output", "ffn_in")
    half = [attention[f"{by}, bfloat16", n] for by in ("ours", "library, cuDNN") for n in (32, 64)]
    return {
        "chip": [statistics.mean(chips["before"]), statistics.mean(chips["now"])],
        "first": [found["chip"][1]["first_call_seconds"], found["chip"][-1]["first_call_seconds"]],
        **{name: [to_codes[name, "xla"], to_codes[name, "triton"]] for name in triton},
        "sums": [
            end for way in ("RC", "CR") for end in _ends(v for k, v in sums.items() if k[1] == way)
        ],
        "attention": [*(attention["ours, float32", n] for n in (32, 64)), *half],
    }


def devices() -> Quoted:
    """Two devices on two cores beside what was before, and beside one device."""
    rows = {(r["shape"], r["tree"], r["call"]): r for r in _result("devices")["rows"]}
    rounds = range(3)  # the fourth was disturbed

    def ratios(name: str, tree: str, call: str, field: str, of: Iterable[int]) -> list[float]:
        both = [[rows[name, tree, f"{call} {n}"][field] for tree in (tree, "before")] for n in of]
        return [one / other for one, other in both]

    def first(name: str, field: str, tree: str) -> float:
        return float(rows[name, "now", "first"][field] / rows[name, tree, "first"][field])

    warm = [r for r in _result("amx")["rows"] if r["what"] == "warm"]
    amx = {r["label"]: r["seconds_a_chip"] for r in warm}
    largest = {tree: rows["minilm", tree, "round 3"]["mb"] for tree in ("now", "now-one")}
    return {
        "ratio": [*_ends(ratios("minilm", "now", "round", "a_chip", rounds))],
        "one": [*_ends(ratios("minilm", "now-one", "round", "a_chip", rounds))],
        "whole": [*_ends(ratios("minilm, 872 sentences", "now-one", "round", "a_chip", range(2)))],
        "chip": [*_ends(ratios("minilm", "now", "one chip", "whole", range(4)))],
        "first": [first("minilm", "first", "before"), first("base", "first", "before")],
        "memory": [largest["now"] / largest["now-one"], first("base", "mb", "now-one")],
        "amx": [amx["now"] / amx["before"]],
    }


def packed() -> Quoted:
    """Packed rows and two devices beside revision 9d6dab7, each ratio of one round."""
    found, avx2 = _result("packed"), _result("packed_avx2")

    def ratios(name: str, found: Any = found) -> list[float]:
        rounds = [one["many"] for one in found["rounds"]]
        return [one[name]["a_chip"] / one["before"]["a_chip"] for one in rounds]

    first = found["ratios"]["first chip"]
    there = ratios("now", avx2)
    others = ("first chip", "a sweep of one chip", "memory")
    return {
        "ratio": [statistics.median(ratios("now")), *_ends(ratios("now"))],
        "one": [statistics.median(ratios("now, one device")), *_ends(ratios("now, one device"))],
        "first": [first["now"], first["now, one device"]],
        "chip": [found["ratios"]["a sweep of one chip"]["now"]],
        "memory": [found["ratios"]["memory"]["now"]],
        "avx2": [statistics.median(there), *_ends(there)],
        "avx2 others": [avx2["ratios"][name]["now"] for name in others],
    }


def family_cost() -> Quoted:
    """Times a BERT of the same matrices that a chip takes in the other families."""
    return {"times": list(_result("family_cost")["times_bert"].values())}


def cores() -> Quoted:
    """One process on all cores and one on each: seconds a chip, and times rerax of the same way."""
    table = {
        tool: entry for (tool, rate), entry in _tools("benchmarks_cores").items() if rate == 1e-3
    }

    def ratios(tool: str) -> list[float]:
        way = "/core" if tool.endswith("/core") else ""
        ours = table[f"rerax{way}"]["ratios"]
        return [theirs / own for theirs, own in zip(table[tool]["ratios"], ours, strict=True)]

    shown = {
        tool: [
            number
            for way in (tool, f"{tool}/core")
            if way in table
            for number in (table[way]["seconds_a_chip"], statistics.median(ratios(way)))
        ]
        for tool in table
        if not tool.endswith("/core")
    }
    loops = {kind: ratios(f"torch_{kind}-f32/core") for kind in ("sparse", "dense")}
    injector, ours = (table[tool]["seconds_a_chip"] for tool in ("mrfi", "rerax/core"))
    return {
        **shown,
        **{kind: [statistics.median(of), *_ends(of)] for kind, of in loops.items()},
        "fastest injector": [injector / ours],
    }
