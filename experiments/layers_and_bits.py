"""Where a fault hurts: every matrix of every layer alone, and every bit alone.

    python experiments/layers_and_bits.py --work WORK --data DATA [--task sst2] [--chips 16]

WORK holds the models of `pruning.py`, DATA is a GLUE folder or hub id. The dense model, offset,
unprotected. Faults act in one matrix of one layer at a time, at rate 0.1079, since one of them is
a fortieth of the network; then in one stored bit of all words at a time, at 1e-2. A chip has the
same stuck cells throughout, those elsewhere read what was written. Layers as a whole, and what
starting chips at their first faulty layer saves, are `layer_sensitivity.py`.
First 400 examples. About 15 minutes on two CPU cores; `--print` folds the rows again.
Expected: bit 7 loses more than all the lower ones together; of the matrices, those of the
feed-forward part, which have four times the cells, lose most.
"""

from typing import Any

from layer_sensitivity import sensitivity
from study import Study, counted, make_parser, markdown, new_figure

from rerax.campaign.grid import spread
from rerax.campaign.point import Point
from rerax.models.bert.names import GROUPS, MATRICES
from rerax.models.bert.scope import Scope
from rerax.report.format import hundredths
from rerax.report.palette import LIGHT, SHADES, shade

NAME = "layers_and_bits"
PARTS = {"matrices": (0.1079, "layers=each;matrices=each"), "bits": (1e-2, "bits=each")}
ENCODER = tuple(name for name in MATRICES if name in GROUPS["encoder"])


def points_of(task: str, part: str, layers: int) -> tuple[Point, ...]:
    """The places of one part."""
    rate, scope = PARTS[part]
    return spread([Point(task, f"{task}-dense", rate)], [scope], layers)


def lost(found: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Mean loss of score in each place, and its SE."""
    return {
        place: (found["clean_score"] - mean, found["standard_error"][place])
        for place, mean in found["mean_score"].items()
    }


def text_of(loss: tuple[float, float]) -> str:
    """Points lost and SE."""
    return f"{hundredths(loss[0])} ({hundredths(loss[1])})"


def grid_of(found: dict[str, Any]) -> tuple[list[str], list[str], dict[tuple[str, str], Any]]:
    """Layers, matrices, and the loss in each."""
    cells = {}
    for place, loss in lost(found).items():
        scope = Scope.parse(place)
        assert scope.layers is not None
        assert scope.matrices is not None
        cells[str(scope.layers[0]), scope.matrices[0]] = loss
    layers = sorted({layer for layer, _ in cells}, key=int)
    return layers, [m for m in ENCODER if any(m == name for _, name in cells)], cells


def table(results: dict[str, Any]) -> str:
    """Layers against matrices, then bits."""
    layers, matrices, cells = grid_of(results["matrices"])
    rows = [[layer, *(text_of(cells[layer, m]) for m in matrices)] for layer in layers]
    bits = {place.removeprefix("bits="): loss for place, loss in lost(results["bits"]).items()}
    order = sorted(bits, key=int, reverse=True)
    by_layer = markdown([f"layer, at {results['matrices']['rate']:g}", *matrices], rows)
    rows = [["points lost (SE)", *(text_of(bits[b]) for b in order)]]
    by_bit = markdown([f"bit, at {results['bits']['rate']:g}", *order], rows)
    return f"{by_layer}\n\n{by_bit}{counted(results['bits'])}"


def draw(study: Study, results: dict[str, Any]) -> None:
    """A heat map of layers and matrices, bars for bits."""
    from matplotlib.colors import ListedColormap

    layers, matrices, cells = grid_of(results["matrices"])
    figure = new_figure(10, 4)
    heat, bars = figure.subplots(1, 2, width_ratios=[1.4, 1])
    most = max(max(loss for loss, _ in cells.values()), 1e-6)
    shades = [[shade(max(cells[la, m][0], 0.0), most) for m in matrices] for la in layers]
    colours = ListedColormap([LIGHT[f"h{k}"] for k in range(SHADES)])
    heat.imshow(shades, colours, vmin=-0.5, vmax=SHADES - 0.5, aspect="auto")
    for i, layer in enumerate(layers):
        for j, matrix in enumerate(matrices):
            colour = LIGHT["ink" if shades[i][j] <= SHADES // 2 else "paper"]
            text = hundredths(cells[layer, matrix][0])
            heat.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    heat.set_xticks(range(len(matrices)), [m.replace("_", "\n") for m in matrices], fontsize=8)
    heat.set_yticks(range(len(layers)), layers)
    heat.set(ylabel="layer", title=f"points lost, rate {results['matrices']['rate']:g}")
    bits = {int(p.removeprefix("bits=")): loss for p, loss in lost(results["bits"]).items()}
    order = sorted(bits)
    bars.bar(
        order, [100 * bits[b][0] for b in order], yerr=[100 * bits[b][1] for b in order], capsize=2
    )
    bars.set(xlabel="bit", title=f"points lost, rate {results['bits']['rate']:g} (bars: SE)")
    figure.savefig(study.figure(NAME), dpi=110)


def main() -> None:
    """Run what is missing, then write tables and figure."""
    parser = make_parser(__doc__, chips=16)
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--layers", type=int, default=6, help="layers of the model")
    args = parser.parse_args()
    study = Study.of(args)
    points = {part: points_of(args.task, part, args.layers) for part in PARTS}
    results = {}
    for part, own in points.items():
        rows = study.rows(own)
        results[part] = {
            "rate": PARTS[part][0],
            "chips": len(rows["chip"].unique()),
            "examples": rows["examples"][0].as_py(),
            **sensitivity(rows),
        }
    study.write(NAME, results)
    print(table(results))
    draw(study, results)


if __name__ == "__main__":
    main()
