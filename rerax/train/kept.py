"""What a run keeps to go on from, by looking at its folder. No JAX here."""

from pathlib import Path

RECIPE = Path("training", "recipe.json")
CHECKPOINTS = Path("training", "checkpoints")


def kept_step(folder: Path) -> int | None:
    """The step of a run's newest whole checkpoint, None where there is none.

    Args:
        folder: the run's.
    """
    checkpoints = folder / CHECKPOINTS
    names = [path.name for path in checkpoints.iterdir()] if checkpoints.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=None)


def kept_words(folder: Path) -> str:
    """What is left of a run that was stopped, and how it goes on.

    Args:
        folder: the run's.
    """
    step = kept_step(folder)
    if step is not None:
        return f"the state of step {step} is kept, the same command with --resume goes on from it"
    begun = (folder / RECIPE).is_file()
    anew = "the same command with --resume" if begun else "the same command"
    return f"there is no checkpoint yet, nothing is kept: {anew} starts anew"
