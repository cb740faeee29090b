"""Every number that a page quotes, made again from committed rows.

A function under `@says(PAGE, ..)` gives a text, or several, that must stand on the page word for
word, its numbers computed from `experiments/results`. `SETTINGS` are numbers that someone chose,
`UNROWED` numbers without rows; each stands with the words around it and a reason. The check is in
`tests/docs/test_numbers.py`, what these functions share in `quoting.py`.
"""

import functools
import json
import math
import statistics
from fractions import Fraction
from typing import Any

from quoting import RESULTS, experiment, result, rounded, rows_of, says

from rerax.report import summarise_points

EXPERIMENTS = "experiments/README.md"


@functools.cache
def tolerances() -> list[dict[str, Any]]:
    """Lines of the tolerance table, folded from the rows again."""
    lines = json.loads((RESULTS / "tolerance.json").read_text(encoding="utf-8"))
    experiment("tolerance").refold(lines, rows_of("tolerance"))
    return lines


def tolerance(task: str, encoding: str = "offset", scheme: str = "msb:2x3:pruned") -> dict:
    """One of them."""
    wanted = (task, encoding, scheme)
    return next(
        one for one in tolerances() if (one["task"], one["encoding"], one["scheme"]) == wanted
    )


def t_and_interval(one: dict[str, Any]) -> str:
    """T with its 95 % interval."""
    low, high = one["T_interval"]
    return f"{one['T']:.1f} ({low:.1f} to {high:.1f})"


def pruned(sparsity: float) -> str:
    """Mean drop over the tasks with its SE, last checkpoints."""
    pruning = experiment("pruning")
    rows, found = pruning.read_rows(), []
    for task in pruning.SEEDS:
        lost = pruning.drops(rows, "last", task, sparsity)
        found.append((statistics.mean(lost), statistics.stdev(lost) / math.sqrt(len(lost))))
    se = math.sqrt(sum(s**2 for _, s in found)) / len(found)
    return f"{statistics.mean(m for m, _ in found):.2f} ± {se:.2f}"


# README.md


@says("README.md")
def caption() -> list[str]:
    one = tolerance("sst2")
    return [
        f"lost one point of score at a fault rate of {one['rate_unprotected']:.4f}.",
        f"voted three-fold it has lost one at {one['rate_protected']:.4f},",
        f"pruned to {one['sparsity']} %, {one['chips']} chips a point",
    ]


@says("README.md")
def gpu_chip() -> str:
    chip = entries_of("benchmarks_gpu.json")["rerax", 1e-3]
    return f"a BERT-base chip in {rounded(1e3 * chip['seconds_a_chip'], 1)} ms"


@says("README.md")
def found() -> list[str]:
    cost, guarded = result("cost.json"), result("protection_cost.json")
    ratio = cost["time"]["ratio_to_clean"]
    few, many = (cost["memory"][f"16 sentences, {n} chips"]["peak_gb"] for n in (16, 1000))
    sst2, stsb = tolerance("sst2"), tolerance("stsb")
    assert cost["platform"].startswith("cpu")
    return [
        "| How much higher a fault rate do two voted top bits bear? | "
        f"{t_and_interval(sst2)} times on SST-2, {t_and_interval(stsb)} times on STS-B (95 % "
        "intervals, 64 chips; 8 was the aim). No cell is added; "
        f"{sst2['reads_per_weight']:.1f} cells are sensed for each weight instead of 8.0 |",
        f"| What does the pruning cost that makes the room? | {pruned(0.21)} points at 21 %, "
        f"{pruned(0.35)} at 35 %, {pruned(0.5)} at 50 % of every encoder matrix (mean over five "
        "tasks ± SE over 2 to 3 seeds) |",
        "| What does a faulty chip cost beside a clean pass? | "
        f"{ratio['0.001']:.2f} times its time at a rate of 1e-3, {ratio['0.01']:.2f} times at "
        "1e-2; with votes "
        f"{rounded(guarded['chip']['msb:2x3:pruned'], 2)} times the unprotected chip (two CPU "
        "cores) |",
        f"| What do more chips cost in memory? | nothing: {few:.2f} GB for 16 chips, {many:.2f} GB "
        "for 1,000 (16 sentences) |",
    ]


@says("docs/how-to/protect.md")
def room() -> str:
    """Freed shares from which copies fit: B stored bits a weight, M voted, two copies each."""

    def least(stored: int, voted: int) -> str:
        share = Fraction(2 * voted, stored + 2 * voted)
        return f"{math.ceil(1000 * share) / 10:.1f}"

    one, two = ([least(g * b, g * m) for m in (1, 2, 3)] for g, b in ((1, 8), (2, 7)))
    return (
        f"{one[0]}, {one[1]} and {one[2]} % freed weights on (`differential`, whose two groups are "
        f"both voted: {two[0]}, {two[1]} and {two[2]} %)"
    )


# experiments/README.md


@says(EXPERIMENTS)
def coverage() -> str:
    found = result("coverage.json")
    pooled = [
        x["covered"]
        for x in (*found["mean"], *found["mean_stopped"])
        if x["law"] in ("rate", "rates") and x["interval"] == "mean_interval"
    ]
    assert min(pooled) >= 0.935
    assert max(pooled) <= 0.965
    shares = [x["worst"] for x in found["yield"] if x["share"] != "average"]
    average = next(x["worst"] for x in found["yield"] if x["share"] == "average")
    assert min(shares) >= 0.91
    return (
        "covers 93.5 to 96.5 % on the pooled scores of the encodings campaign, from 32 chips on, "
        "stopped early or not (what falls short on single points stands in the file); that of a "
        f"yield at least {100 * min(shares):.0f} %, {100 * average:.0f} % on average"
    ).replace(f"at least {100 * min(shares):.0f} %", "at least 91 %")


@says(EXPERIMENTS)
def campaigns() -> str:
    found = result("campaign.json")
    many = found["10000 chips"]
    after = many["peak_mb_after_chips"]
    checks = (found[f"done-check, {what}"] for what in ("10000 chips", "compacted"))
    whole, compacted = (check["cpu_seconds"] for check in checks)
    planned = found["plan_500_points_seconds"]
    return (
        f"peak memory {after['1000']:.1f} MB after 1,000 chips and {after['10000']:.1f} MB after "
        f"10,000 of one command, {many['peak_mb'] - after['10000']:.0f} MB more for the table; a "
        f"finished campaign of 10,000 chips again: {whole:.1f} s of processor time, "
        f"{compacted:.1f} s compacted; 500 points planned in {planned:.2f} s"
    )


@says(EXPERIMENTS)
def kills() -> str:
    found = result("kills.json")
    assert found["rows_equal"]
    assert found["rows_in_pandas"] == found["rows"]
    return (
        f"{found['rows']:,} rows equal to the undisturbed run, each once in pandas; "
        f"{found['chips_computed_in_vain']} chips computed in vain of at most {found['allowed']}"
    )


@says(EXPERIMENTS)
def report_size() -> str:
    found = result("report_size.json")
    assert found["page_seconds"] < 10
    assert found["page_bytes"] < 3e6
    return f"The report of {found['rows']:,} rows builds in under 10 s and stays under 3 MB"


@says(EXPERIMENTS)
def encodings() -> list[str]:
    names = {
        "offset": "offset",
        "two's complement": "twos_complement",
        "sign-magnitude": "sign_magnitude",
        "differential": "differential",
    }
    lines = summarise_points(rows_of("sst2_encodings"))
    table = []
    for title, name in names.items():
        own = [line for line in lines if line.settings["encoding"] == name]
        cells = [
            f"{100 * line.summary.mean:.2f}"
            + ("" if line.summary.se is None else f" ({100 * line.summary.se:.2f})")
            for line in own
        ]
        table.append(f"| {title} | {' | '.join(cells)} |")
    rates = [f"{line.rate:g}" for line in own]
    assert rates == ["0", "0.0001", "0.001", "0.003", "0.01"]  # the table's head
    score = 100 * lines[0].float_score
    return [*table, f"for one epoch (float accuracy {score:.2f} %)"]


@says(EXPERIMENTS)
def pruning_tables() -> list[str]:
    pruning = experiment("pruning")
    return [pruning.markdown(pruning.read_rows(), which) for which in ("last", "best")]


@says(EXPERIMENTS)
def pruning_words() -> list[str]:
    rows = experiment("pruning").read_rows()

    def dense(task: str) -> list[float]:
        return [100 * r["last"] for r in rows if (r["task"], r["sparsity"]) == (task, 0)]

    rte, cola = dense("rte"), statistics.mean(dense("cola")) / 100
    chips = result("gates_cost.json")["chips"]
    slow = {c["sparsity"]: c["compacted_to_dense"] for c in chips}
    assert rounded(slow[0.5], 1) == "1.0"
    return [
        f"The dense models reach {min(rte):.0f} to {max(rte):.0f} % where",
        f"CoLA's Matthews correlation lies near {cola:.2f} and moves",
        f"{slow[0.21]:.2f} and {slow[0.35]:.2f} times as slow as the dense model at 21 and 35 %, "
        "level at 50 %",
    ]


@says(EXPERIMENTS)
def tolerance_tables() -> list[str]:
    fold = experiment("tolerance")
    return [fold.markdown(tolerances(), task) for task in fold.TASKS]


@says(EXPERIMENTS)
def tolerance_words() -> list[str]:
    sst2, stsb = tolerance("sst2"), tolerance("stsb")
    two = [tolerance(task, "twos_complement")["T"] for task in ("sst2", "stsb")]
    known = tolerance("stsb", scheme="msb:2x3:pruned:erasures")["T"]
    return [
        f"**missed: {t_and_interval(sst2)} on SST-2 and {t_and_interval(stsb)} on STS-B**, where "
        f"{sst2['T_predicted']:.1f} and {stsb['T_predicted']:.1f} were foretold; with erasures "
        f"STS-B reaches {known:.1f}.",
        f"comes to {two[0]:.1f} and {two[1]:.1f}.",
    ]


@says(EXPERIMENTS)
def even_polarity() -> str:
    rows = rows_of("tolerance").to_pandas()
    rows = rows[(rows.sa1_share == 0.5) & (rows.rate > 0)]
    plain = rows[rows.protection == "none"]
    guarded = rows[rows.protection != "none"]
    at = plain.rate.iloc[0]
    guarded = guarded[abs(guarded.rate - 9 * at) < 1e-9]
    assert len(plain) == len(guarded) == 32

    def lost(some: Any) -> str:
        return f"{100 * (some.clean_score - some.score).mean():.2f} ± {100 * some.score.sem():.2f}"

    return (
        f"(32 chips, the same folder) the unprotected SST-2 model loses {lost(plain)} points at "
        f"{at:g}, and the protected one {lost(guarded)} at nine times that rate"
    )


@says(EXPERIMENTS)
def line_faults() -> list[str]:
    schemes = ("none", "naive:beside", "naive:below", "msb:2x3:pruned")
    lost = {
        (one["fault"], one["protection"]): 100 * one["lost"]
        for one in result("line_faults.json")
        if one["rate"] == 0.01
    }
    return [
        f"| {fault}s | {' | '.join(rounded(lost[fault, s], 2) for s in schemes)} |"
        for fault in ("wordline", "bitline")
    ]


@says(EXPERIMENTS)
def protection_cost() -> str:
    found = result("protection_cost.json")
    layer, chip = (rounded(found[part]["msb:2x3:pruned"], 2) for part in ("layer", "chip"))
    return (
        f"takes {layer} times the unprotected read, one chip of the SST-2 dev set {chip} times "
        "(medians"
    )


TOOLS = {
    "rerax": "rerax",
    "rerax-protected": "rerax, `msb:1x3:lsb`",
    "rerax-float": "rerax, float inputs and products",
    "torch_sparse-f32": "PyTorch, sparse indices, float32",
    "torch_sparse-bf16": "PyTorch, sparse indices, bfloat16",
    "torch_sparse-int8": "PyTorch, sparse indices, int8",
    "torch_dense-f32": "PyTorch, dense masks, float32",
    "torch_dense-bf16": "PyTorch, dense masks, bfloat16",
    "torch_dense-int8": "PyTorch, dense masks, int8",
    "jax_tree-f32": "JAX, a whole faulty tree",
    "pytorchfi": "pytorchfi",
    "mrfi": "MRFI",
    "aihwkit": "aihwkit",
}


def entries_of(file: str) -> dict[tuple[str, float | None], dict[str, Any]]:
    """What a benchmark found, by tool and rate."""
    return {(e["tool"], e["rate"]): e for e in result(file)["table"]}


def by_rate(first: str, other: str) -> list[str]:
    """Seconds a chip by rate, and times rerax at 1e-3: there, and on another processor."""
    here, there = entries_of(first), entries_of(other)
    lines = []
    for tool, said in TOOLS.items():
        at = [here.get((tool, None)) or here[tool, rate] for rate in (1e-4, 1e-3, 1e-2)]
        elsewhere = there.get((tool, None)) or there.get((tool, 1e-3))
        cells = [rounded(one["seconds_a_chip"], 2) for one in at]
        cells += [rounded(one["ratio_to_rerax"], 2) if one else "" for one in (at[1], elsewhere)]
        lines.append(f"| {said} | {' | '.join(cells)} |".replace("|  |", "| |"))
    return lines


@says(EXPERIMENTS)
def speed() -> list[str]:
    return by_rate("benchmarks_second.json", "benchmarks.json")


@says(EXPERIMENTS)
def base_shape() -> list[str]:
    return by_rate("benchmarks_base.json", "benchmarks_base_avx2.json")


@says(EXPERIMENTS)
def musts() -> list[str]:
    """What the table says of the aims."""
    here, there = entries_of("benchmarks_second.json"), entries_of("benchmarks.json")

    def both(tool: str, rate: float | None = 1e-3) -> str:
        ratios = (rounded(e[tool, rate]["ratio_to_rerax"], 2) for e in (there, here))
        return " and ".join(ratios)

    sparse = [rounded(here["torch_sparse-bf16", r]["ratio_to_rerax"], 2) for r in (1e-4, 1e-2)]
    many = rounded(entries_of("benchmarks_base.json")["pytorchfi", 1e-2]["ratio_to_rerax"], 0)
    return [
        f"takes {both('torch_dense-bf16')} times as long",
        f"its sparse one {both('torch_sparse-bf16')} times at 1e-3 ({' and '.join(sparse)} at 1e-4 "
        "and 1e-2 on this one)",
        f"the sparse loop in int8 {both('torch_sparse-int8')} times",
        f"MRFI {both('mrfi')} times",
        f"aihwkit {both('aihwkit', None)}, pytorchfi {both('pytorchfi')} and at 1e-2 "
        f"{both('pytorchfi', 1e-2)} ({many} for a BERT-base, below)",
    ]


@says(EXPERIMENTS)
def products_alone() -> str:
    """Rates of products by library and format, in G operations a second."""
    rates = [one["rates"] for one in result("product_rates.json")["products"]]

    def span(name: str) -> str:
        found = [rounded(rate[name] / 1e9, 0) for rate in rates]
        return f"{min(found, key=int)} to {max(found, key=int)}"

    return (
        f"XLA's products of codes run at {span('xla int8')} G operations a second in int8 and at "
        f"{span('xla bfloat16')} in bfloat16, PyTorch's at {span('torch int8')} and "
        f"{span('torch bfloat16')}"
    )


@says(EXPERIMENTS)
def base_stages() -> list[str]:
    """Where the time of a BERT-base chip goes."""
    chips = chips_taken_apart("bench_stages_base.json")
    few, many = (chips["none", rate] for rate in (1e-3, 1e-2))
    (old,) = chips_taken_apart("bench_stages_base_avx2.json").values()
    own = ("sample and stick", "vote")
    return [
        f"{share(few, 'crossbar products')} % of the chip are products at 1e-3, and sampling and "
        f"sticking {share(few, *own)} % ({share(many, *own)} % at 1e-2",
        f"{share(old, 'crossbar products')} and {share(old, *own)} % without AVX-512",
    ]


@says(EXPERIMENTS)
def growth() -> str:
    """Exponents of a chip's time."""
    grown = {c["name"]: rounded(c["exponent"], 2) for c in result("bench_growth.json")["growth"]}
    rate = grown["rate"].replace("-", "\N{MINUS SIGN}")
    return (
        f"chips {grown['chips']}, layers {grown['layers']}, sentences {grown['sentences']}, "
        f"weights by width {grown['weights']}, rate {rate}"
    )


@says(EXPERIMENTS)
def gpu_loops() -> list[str]:
    """Milliseconds a chip of a BERT-base shape on a GPU, and how many times rerax's they are."""
    lines = []
    for one in result("benchmarks_gpu.json")["table"]:
        ratios = ", ".join(rounded(ratio, 2) for ratio in sorted(one["ratios"]))
        said = TOOLS[one["tool"]]
        lines.append(f"| {said} | {rounded(1e3 * one['seconds_a_chip'], 1)} | {ratios} |")
    rows = [r for r in result("benchmarks_gpu.json")["rows"] if r["tool"].endswith("bf16")]
    forward = [1e3 * row["stages"]["forward"] for row in rows]
    lines.append(f"took {rounded(min(forward), 0)} to {rounded(max(forward), 0)} ms")
    return lines


@says(EXPERIMENTS)
def gpu_peak() -> list[str]:
    """How fast a GPU's products are from end to end, and what went before."""
    found = result("gpu.json")
    best = found["peaks"]["torch"]["int8"]
    first, flat, last = found["chip"]
    alone = [each["int8"] for each in found["layer_products"].values()]
    assert all(each["equal"] for each in found["layer_products"].values())
    before, between, after = (rounded(1e3 * c["seconds_a_chip"], 1) for c in (first, flat, last))
    return [
        f"{rounded(last['products'] / 1e12, 0)} T operations a second from end to end, "
        f"{rounded(100 * last['products'] / best, 0)} % of the best product rate that we could "
        f"measure on the card ({rounded(best / 1e12, 0)} T, PyTorch's int8)",
        f"{rounded(min(alone) / 1e12, 0)} to {rounded(max(alone) / 1e12, 0)} T",
        f"{before} to {between} ms",
        f"{between} to {after} ms, and the first call from "
        f"{rounded(flat['first_call_seconds'], 0)} to {rounded(last['first_call_seconds'], 0)} s",
    ]


KERNELS = {
    "products": (
        *("gemm_fusion_dot", "gemm_fusion_dot_1", "gemm_fusion_dot_2"),
        "sm90_xmma_gemm_i8i32_i8i32_i32_tn_n_tilesize128x128x128_warp",
    ),
    "GELU with the quantiser behind it": ("fusion_4456", "fusion_4457"),
    "attention": (
        "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x64x8_stage3",
        "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize32x32x8_stage3",
        *("triton_softmax_12", "loop_transpose_fusion"),
    ),
}
"""Which of the GPU's kernels in `gpu.json` do what."""


@says(EXPERIMENTS)
def gpu_kernels() -> str:
    """Shares of a lane group's time on a GPU."""
    spent = result("gpu.json")["kernels"]

    def share_of(names: tuple[str, ...]) -> str:
        return rounded(100 * sum(spent["largest"][name] for name in names) / spent["busy"], 0)

    return ", ".join(f"{what} {share_of(names)} %" for what, names in KERNELS.items())


@says(EXPERIMENTS)
def gpu_fused() -> str:
    """The fused kernel beside the plain path on a GPU."""
    few, many = result("gpu.json")["fused"]
    assert few["differ"] == many["differ"] == 0
    assert (few["rate"], many["rate"]) == (1e-3, 1e-2)

    def both(one: dict[str, Any]) -> str:
        return f"{rounded(1e3 * one['fused'], 0)} against {rounded(1e3 * one['plain'], 0)} ms"

    return f"{both(few)} a lane group at 1e-3, {both(many)} at 1e-2"


@says(EXPERIMENTS)
def injection() -> str:
    """What the injector takes to write a pattern, and rerax to sample and stick one."""
    strike = entries_of("benchmarks.json")["pytorchfi", 1e-2]["stages"]["strike"]
    chip = chips_taken_apart()["none", 1e-2]
    return (
        f"plus {rounded(strike, 1)} s of injection at 1e-2, where rerax samples and sticks in "
        f"{rounded(chip['sample and stick'], 2)} s"
    )


def chips_taken_apart(
    file: str = "bench_stages.json",
) -> dict[tuple[str, float], dict[str, float]]:
    """Seconds by stage, the whole and the sum of the floors, by protection and rate."""
    return {
        (chip["protection"], chip["rate"]): {
            **{stage["name"]: stage["seconds"] for stage in chip["stages"]},
            "whole": chip["seconds_a_chip"],
            "floor": sum(stage["floor"] for stage in chip["stages"]),
            "products floor": chip["stages"][3]["floor"],
        }
        for chip in result(file)["chips"]
    }


def share(chip: dict[str, float], *names: str) -> str:
    """What stages take of a chip's time, in %."""
    return rounded(100 * sum(chip[name] for name in names) / chip["whole"], 0)


@says(EXPERIMENTS)
def stages() -> str:
    """Shares of a chip at 1e-2, with votes and without."""
    bare, guarded = (chips_taken_apart()[name, 1e-2] for name in ("none", "msb:2x3:pruned"))

    products, rest = "crossbar products", "inputs, GELU, norms, head"
    own = ("sample and stick", "vote")
    attention = {share(chip, "attention products and softmax") for chip in (bare, guarded)}
    times = {rounded(chip[products] / chip["products floor"], 1) for chip in (bare, guarded)}
    assert len(attention) == len(times) == 1
    whole = [rounded(chip["whole"] / chip["floor"], 1) for chip in (bare, guarded)]
    return (
        f"crossbar products take {share(guarded, products)} to {share(bare, products)} % of a chip "
        f"at a rate of 1e-2, at {times.pop()} times their floor by the product rate measured in "
        f"the same run; attention {attention.pop()} %; inputs, GELU and norms "
        f"{share(bare, rest)} to {share(guarded, rest)} %. Sampling, sticking and voting take "
        f"{share(bare, *own)} % without and {share(guarded, *own)} % with votes, and a whole chip "
        f"is at {whole[0]} to {whole[1]} times the sum of the floors"
    )


@says(EXPERIMENTS)
def agreement() -> str:
    least, most = how_far("sst2_encodings")
    return (
        f"at least {least} % of the predictions of every point agree, and no mean moved by more "
        f"than {most} points"
    )


@says(EXPERIMENTS)
def agreement_elsewhere() -> list[str]:
    lines = []
    for folder in ("protected", "spatial"):
        least, most = how_far(folder)
        points = len(result("agreement.json")[folder])
        lines.append(f"{points} points agree in at least {least} % and move by at most {most}")
    return lines


def how_far(folder: str) -> tuple[str, str]:
    """The least agreement of a point, in %, and the largest shift of a mean, in points."""
    points = result("agreement.json")[folder]
    assert all(point["cells_equal"] for point in points)
    least = min(point["agreement"] for point in points)
    most = max(abs(point["shift"]) for point in points)
    return rounded(100 * least, 2), rounded(100 * most, 3)


SETTINGS: dict[str, dict[str, str]] = {
    "README.md": {},
    "docs/how-to/protect.md": {},
    EXPERIMENTS: {
        "pruned to 35 %": "the model that was taken",
        "what fits at 21, 35 and 50 %": "stages of the study",
        "dense or with 21, 35 or 50 % of every encoder matrix": "stages of the study",
        "38 % and 50 % from 35 %": "stages of the study",
        "21 % starts from the dense model, 35 % from 21 %": "stages of the study",
        "(0.8 of the loss at temperature 2)": "the default of distillation",
        "the larger class alone gives 52.7 %": "146 of RTE's 277 pairs",
        "35 % for `msb:2x3:pruned` (50 % in differential code), 21 % for all others "
        "(35 % for": "the models that the study takes",
        "A foretold 0.0:": "the entry of the table",
        "at 50 % its loss is clear": "a stage of the study",
    },
}
"""Numbers that someone chose, with words around them, and what they are."""

UNROWED: dict[str, dict[str, str]] = {
    EXPERIMENTS: {
        "0.00 ± 0.01 points on 32 chips at 0.012 (not in the rows)": "a trial of another matrix "
        "group; the text says so",
        "the layer moved from 1.58 to 1.68, the chip from 1.01 to 1.04": "earlier runs of the "
        "command, whose last one is kept",
        "0.13 ms unpack the cells of closed rows, 0.28 ms those of closed columns, 0.12 ms go to "
        "copies that traded places, 0.23 ms put the two images under their words, and the vote "
        "itself takes 0.06 ms": "a profile by hand",
        "single bytes at about 0.2 ns": "a profile by hand",
        "24,284 tokens with padding, the loop 22,712, of which 21,943 are real": "counted from the "
        "batches of SST-2",
        "3,040 against 2,208": "likewise, of the first 64 sentences",
        "in bfloat16, which holds them exactly, 1.21 to 1.02; GELU by the error function and Q, K "
        "and V as one product, to 0.91; heads leading in attention, 1.03 to 0.93 in a run of its "
        "own; more token lengths and so less padding, 25,368 to 24,284 tokens, to 0.85": "timed "
        "while the code changed",
    }
}
"""Numbers that have no rows, with words around them, and why: the fewer the better."""
