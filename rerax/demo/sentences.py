"""A generated sentence task in SST-2's form: film remarks whose majority decides.

Each remark has three clauses, and the label is what most of them say. A bag of words does not
solve it: "not" and its kin turn round the one clause that they stand in.
"""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SUBJECTS = (
    *("the film", "the movie", "the plot", "the cast", "the music", "the ending", "the script"),
    *("this comedy", "this drama", "this story", "the opening", "the dialogue", "its hero"),
)
VERBS = ("is", "was", "feels", "seems", "looks", "sounds")
TURNS = ("not", "never", "hardly", "far from", "anything but")
DEGREES = ("", "", "", "very", "quite", "really", "rather", "truly")
GOOD = (
    *("good", "great", "moving", "funny", "fresh", "warm", "clever", "bright", "sharp", "lovely"),
    *("rich", "honest", "graceful", "witty", "tender"),
)
BAD = (
    *("bad", "dull", "weak", "flat", "tired", "cold", "clumsy", "noisy", "boring", "empty"),
    *("stale", "crude", "slow", "silly", "grim"),
)


def make_sentences(n: int, seed: int) -> tuple[list[str], list[int]]:
    """Generate sentences and labels (0 negative, 1 positive).

    Args:
        n: how many.
        seed: equal seeds give equal sentences everywhere.

    Example:
        >>> make_sentences(1, seed=5)[1] in ([0], [1])
        True
    """
    draw = random.Random(seed)
    pairs = [_sentence(draw) for _ in range(n)]
    return [text for text, _ in pairs], [label for _, label in pairs]


def words() -> list[str]:
    """All words of the task, sorted."""
    phrases = (*SUBJECTS, *VERBS, *TURNS, *DEGREES, *GOOD, *BAD, ",", "and", ".")
    return sorted({word for phrase in phrases for word in phrase.split()})


def write_data(folder: str | Path, n: int = 256, seed: int = 1, split: str = "validation") -> None:
    """Write `sst2/<split>.parquet` in the columns of the hub's GLUE."""
    sentences, labels = make_sentences(n, seed)
    folder = Path(folder)
    (folder / "sst2").mkdir(parents=True, exist_ok=True)
    columns = {
        "sentence": sentences,
        "label": pa.array(labels, pa.int64()),
        "idx": pa.array(range(n), pa.int32()),
    }
    pq.write_table(pa.table(columns), folder / "sst2" / f"{split}.parquet")


def _sentence(draw: random.Random) -> tuple[str, int]:
    (first, a), (second, b), (third, c) = (_clause(draw) for _ in range(3))
    return f"{first} , {second} and {third} .", int(a + b + c >= 2)


def _clause(draw: random.Random) -> tuple[str, int]:
    good, turned = draw.randrange(2), draw.randrange(5) < 2
    parts = (
        draw.choice(SUBJECTS),
        draw.choice(VERBS),
        draw.choice(TURNS) if turned else "",
        draw.choice(DEGREES),
        draw.choice(GOOD if good else BAD),
    )
    return " ".join(filter(None, parts)), good ^ turned
