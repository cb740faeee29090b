"""The best way we know in PyTorch: draw only the cells that are stuck, touch only their weights.

For each bit plane the number of hits is Poisson with mean -ln(1 - rate) a cell and their places
are uniform, which leaves every cell stuck with probability `rate`, independently: hitting a cell
twice changes nothing, since one of the two writes wins whatever they say. Planes come one after
the other, so that two stuck cells of one weight do not overwrite each other. Work grows with the
number of faults, for the restoring too.
"""

import functools
import math
from typing import Any

import torch
import torch_chips
from rows import BITS, SA1_SHARE
from torch_chips import Method
from torch_model import Store


def method(store: Store) -> Method:
    """The method's functions."""
    weights = len(store.words)

    def strike(rate: float, generator: torch.Generator) -> list[torch.Tensor]:
        on = {"generator": generator, "device": generator.device}
        of_plane = -math.log1p(-rate) * weights
        mean = torch.full((BITS,), of_plane, dtype=torch.float64, device=generator.device)
        hits = torch.poisson(mean, generator=generator).long().tolist()
        struck = []
        for plane, n in enumerate(hits):
            where = torch.randint(weights, (n,), **on)
            at_1 = torch.rand(n, **on) < float(SA1_SHARE)
            words = store.words[where] & (0xFF ^ (1 << plane))
            store.words[where] = words | (at_1.view(torch.uint8) << plane)
            struck.append(where)
        touched = torch.cat(struck)
        store.values[touched] = store.decode(store.words[touched], touched)
        return struck

    def restore(struck: list[torch.Tensor]) -> None:
        touched = torch.cat(struck)
        store.words[touched] = store.clean_words[touched]
        store.values[touched] = store.clean_values[touched]

    def count(struck: list[torch.Tensor]) -> int:
        return sum(len(where.unique()) for where in struck)

    return Method(strike, restore, count)


@functools.wraps(torch_chips.run)
def torch_sparse(*arguments: Any, **options: Any) -> dict[str, Any]:
    return torch_chips.run("torch_sparse", method, *arguments, **options)
