"""rerax train: fine-tune a BERT, and prune it where a sparsity is given."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rerax.cli.flags import DataFlags, Flags, ModelFlags, Quiet, app, command_text, flag, names, opt
from rerax.cli.stop import says_when_stopped
from rerax.cli.sweep import sweep

if TYPE_CHECKING:
    from rerax.train.recipe import Recipe


FLAGS = {"scope": "sparsity-scope"}
"""Names of flags that are not those of a recipe's fields."""


class StartFlags(ModelFlags):
    """The model that training starts from, and its task."""

    model: str = opt("Hugging Face folder to start from, or hub id.", "DIR", "")


class TrainingFlags(DataFlags):
    """Which examples a model learns from."""

    split: str = opt("Split to learn from.", value="train", name="--train-split")
    max_examples: int | None = opt("Learn from the first N examples.", "N")


class RecipeFlags(Flags):
    """What is done in training."""

    epochs: float | None = opt("Passes over the data [the task's own].", "E")
    steps: int | None = opt("Steps, in place of --epochs.", "N")
    lr: float | None = opt("Peak learning rate [the task's own].", "X")
    batch: int | None = opt("Sentences a step [the task's own].", "N")
    sparsity: float | None = opt("Share of the gated weights to free, in [0, 1).", "S")
    scope: str | None = opt(
        "matrix: that share of every matrix; global: of all together [matrix].",
        name="--sparsity-scope",
    )
    gates: str | None = opt(
        "Matrices with gates: encoder, pooler, classifier [encoder].", "NAME,.."
    )
    tie: str | None = opt("Gates that share one number: none, ffn, all [all].")
    distil_from: str | None = opt(
        "Trained model whose answers are imitated: folder or hub id.", "DIR"
    )
    quantised: bool = opt("Train through the chip's own codes.", value=False)
    bits: int | None = opt("Bits of a code, with --quantised or --faults [8].", "B")
    encoding: str | None = opt("Encoding of the chip, with --quantised or --faults [offset].")
    faults: str | None = opt(
        "Train through the codes of a chip with faults, another at every step.", "NAME"
    )
    rate: float | None = opt("Fault rate, with --faults.", "P")
    clip_weights: float | None = opt("Largest magnitude of a weight on crossbars.", "X")
    seed: int = opt("Seed of head, order and dropout.", "N", 0)
    dtype: str = opt("float32 or bfloat16 products.", value="float32")

    def recipe(self, task: str, examples: int) -> "Recipe":
        """Make the Python API's recipe of it, which raises ValueError where a flag is wrong."""
        from rerax.train.recipe import make_recipe

        with_codes = self.quantised or self.faults is not None
        for fields, decides, others in (
            (("scope", "gates", "tie"), self.sparsity is not None, "--sparsity"),
            (("bits", "encoding"), with_codes, "--quantised or --faults"),
        ):
            for name in fields:
                if getattr(self, name) is not None and not decides:
                    flag = FLAGS.get(name, name)
                    raise ValueError(
                        f"--{flag} {getattr(self, name)} without {others} changes nothing: give "
                        "both, or neither"
                    )
        given = {name: value for name, value in self.values().items() if value is not None}
        if "gates" in given:
            given["gates"] = names(given["gates"])
        if with_codes:
            given.setdefault("bits", 8)
        taught = given.pop("distil_from", None) is not None
        del given["quantised"]
        return make_recipe(task, examples, teacher=taught, **given)


@app.command()
def train(
    start: Annotated[StartFlags, "model task metric"],
    out: Annotated[Path, flag("Folder for the trained model.", "FOLDER")],
    *,
    data: TrainingFlags,
    recipe: RecipeFlags,
    resume: Annotated[bool, flag("Go on with the run in --out, if one was begun there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a BERT on a GLUE task, and prune its rows and columns with --sparsity.

    The last state is written to --out and the best to --out/best, both as Hugging Face folders.
    """
    from rerax.campaign.folder import check_target
    from rerax.progress import reporter
    from rerax.train.folder import how_to_resume

    check_target(out, inside=True)
    with says_when_stopped(lambda: how_to_resume(out)):
        from rerax.glue.label_order import check_override
        from rerax.glue.tasks import find_task

        task = ",".join(start.tasks)
        recipe.recipe(task, 1)  # a bad choice is refused before anything is read
        selection = data.selection()
        if selection.task(task).is_glue:
            check_override(find_task(task), selection.labels)
        from rerax.train.inputs import read_training_inputs
        from rerax.train.loop import fine_tune

        inputs = read_training_inputs(
            lambda examples: recipe.recipe(task, examples),
            start.model,
            task,
            teacher=recipe.distil_from,
            **vars(selection),
        )
        with reporter(quiet, "steps") as on_progress:
            result = fine_tune(inputs, out, resume=resume, on_progress=on_progress)
    before = result.get("before")
    was = "" if before is None else f"before training {100 * before:.2f} %, "
    print(
        f"{out}: score {was}now {100 * result['score']:.2f} %, best {100 * result['best']:.2f} % "
        f"(best/), {100 * result['freed']:.2f} % of the gated weights freed"
    )
    options = {
        "model": out / "best",
        "task": start.task,
        "metric": start.metric,
        **{
            name: getattr(data, name)
            for name in ("data", "max_length", "text", "text_pair", "label")
        },
        "name": out.name,
        "labels": data.labels,
        **{name: getattr(recipe, name) for name in ("bits", "encoding") if getattr(recipe, name)},
        "protection": "none,plan" if result["freed"] else "none",
        "out": f"{out}-rows",
    }
    print(f"next: {command_text(sweep, options)}")
