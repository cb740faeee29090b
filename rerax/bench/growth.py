"""How a chip's cost grows: chips, sentences, model size and rate, each doubled."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from rerax.bench.cases import BenchCase, make_case, random_inputs
from rerax.bench.timing import Work, medians
from rerax.models.bert.config import BertConfig

RATE = 1e-3


@dataclass(frozen=True)
class Curve:
    """Time as one thing is doubled again and again.

    Attributes:
        name: what is doubled.
        sizes: how much of it.
        seconds: median times.
    """

    name: str
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Slope between the ends in log-log: 1 where time is in proportion."""
        grown = math.log(self.seconds[-1] / self.seconds[0])
        return grown / math.log(self.sizes[-1] / self.sizes[0])


def curves(
    config: BertConfig,
    sentences: int,
    rounds: int = 5,
    tell: Callable[[str], None] = lambda name: None,
) -> list[Curve]:
    """Measure how a chip's time grows, on random models.

    Args:
        config: the shape to begin with.
        sentences: how many to begin with.
        rounds: how often each time is taken.
        tell: told of what is being compiled.
    """
    start = make_case(random_inputs(config, sentences))
    wide = [_of(shape, sentences) for shape in _wide(config)]
    families: dict[str, dict[float, Work]] = {
        "chips": {float(n): start.chips(RATE, n) for n in (1, 2, 4)},
        "sentences": {float(n): _of(config, n).chips(RATE) for n in _doubled(sentences)},
        "layers": {
            float(c.num_hidden_layers): _of(c, sentences).chips(RATE) for c in _deep(config)
        },
        "weights": {float(j.weights): j.chips(RATE) for j in wide},
        "rate": {rate: start.chips(rate) for rate in (1e-3, 2e-3, 4e-3, 8e-3)},
    }
    works = {f"{name} {size:g}": w for name, of in families.items() for size, w in of.items()}
    took = medians(works, rounds, tell)
    return [
        Curve(name, tuple(of), tuple(took[f"{name} {size:g}"] for size in of))
        for name, of in families.items()
    ]


def _of(config: BertConfig, sentences: int) -> BenchCase:
    return make_case(random_inputs(config, sentences))


def _doubled(n: int) -> tuple[int, ...]:
    return n, 2 * n, 4 * n


def _deep(config: BertConfig) -> list[BertConfig]:
    return [replace(config, num_hidden_layers=config.num_hidden_layers * k) for k in (1, 2, 4)]


def _wide(config: BertConfig) -> list[BertConfig]:
    return [
        replace(
            config,
            hidden_size=config.hidden_size * k,
            intermediate_size=config.intermediate_size * k,
        )
        for k in (1, 2)
    ]
