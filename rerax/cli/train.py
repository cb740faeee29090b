"""rerax train: fine-tune a BERT, and prune it where a sparsity is given."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rerax.cli.flags import Data, Labels, MaxLength, Quiet, Task, app, command_text, flag, names
from rerax.cli.stop import says_when_stopped
from rerax.cli.sweep import sweep


@app.command()
def train(
    model: Annotated[str, flag("Hugging Face folder to start from, or hub id.")],
    task: Task,
    out: Annotated[Path, flag("Folder for the trained model.", "FOLDER")],
    data: Data = "nyu-mll/glue",
    train_split: Annotated[str, flag("Split to learn from.")] = "train",
    max_examples: Annotated[int | None, flag("Learn from the first N examples.", "N")] = None,
    max_length: MaxLength = None,
    labels: Labels = None,
    epochs: Annotated[float | None, flag("Passes over the data [the task's own].", "E")] = None,
    steps: Annotated[int | None, flag("Steps, in place of --epochs.", "N")] = None,
    lr: Annotated[float | None, flag("Peak learning rate [the task's own].", "X")] = None,
    batch: Annotated[int | None, flag("Sentences a step [the task's own].", "N")] = None,
    sparsity: Annotated[
        float | None, flag("Share of the gated weights to free, in [0, 1).", "S")
    ] = None,
    sparsity_scope: Annotated[
        str, flag("matrix: that share of every matrix; global: of all together.")
    ] = "matrix",
    gates: Annotated[
        str, flag("Matrices with gates: encoder, pooler, classifier.", "NAME,..")
    ] = "encoder",
    tie: Annotated[str, flag("Gates that share one number: none, ffn, all.")] = "all",
    distil_from: Annotated[
        str | None, flag("Trained model whose answers are imitated: folder or hub id.", "DIR")
    ] = None,
    quantised: Annotated[
        bool, typer.Option("--quantised", help="Train through the chip's own codes.")
    ] = False,
    bits: Annotated[int, flag("Bits of a code, with --quantised.", "B")] = 8,
    encoding: Annotated[str, flag("Encoding of the chip, with --quantised.")] = "offset",
    seed: Annotated[int, flag("Seed of head, order and dropout.", "N")] = 0,
    dtype: Annotated[str, flag("float32 or bfloat16 products.")] = "float32",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, if one was begun there.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a BERT on a GLUE task, and prune its rows and columns with --sparsity.

    The last state is written to --out and the best to --out/best, both as Hugging Face folders.
    """
    from rerax.campaign.manifest import check_target
    from rerax.progress import reporter
    from rerax.train.folder import how_to_resume

    check_target(out)
    choices: dict[str, Any] = {
        "sparsity": sparsity,
        "scope": sparsity_scope,
        "gates": names(gates),
        "tie": tie,
        "bits": bits if quantised else None,
        "encoding": encoding,
        "seed": seed,
        "dtype": dtype,
    }
    with says_when_stopped(lambda: how_to_resume(out)):
        from rerax.glue.label_order import check_override
        from rerax.glue.selection import Selection
        from rerax.glue.tasks import find_task
        from rerax.train.recipe import Recipe, make_recipe

        def recipe(examples: int) -> Recipe:
            has_teacher = distil_from is not None
            return make_recipe(task, examples, epochs, steps, lr, batch, has_teacher, **choices)

        recipe(1)  # a bad choice is refused before anything is read
        label_names = names(labels) if labels else None
        check_override(find_task(task), label_names)
        selection = Selection(data, train_split, max_examples, max_length, label_names)
        from rerax.train.inputs import read_training_inputs
        from rerax.train.loop import fine_tune

        inputs = read_training_inputs(
            recipe,
            model,
            task,
            teacher=distil_from,
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
        "task": task,
        "data": data,
        "max_length": max_length,
        "name": out.name,
        "labels": labels,
        "protection": "none,plan" if result["freed"] else "none",
        "out": f"{out}-rows",
    }
    print(f"next: {command_text(sweep, options)}")
