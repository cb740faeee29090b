"""The common way in PyTorch: a random number for every cell of every chip.

For each chip and each cell a uniform number says whether the cell is stuck and at what; bit
operations put the stuck bits into the words, and all weights are decoded and written anew.
Everything is vectorised: the loops below run over matrices and bit planes, never over weights.
Matrix by matrix, so that the buffers stay in the cache. Uniform numbers have 24 bits, so a rate
is met to within 6e-8.
"""

import functools
from typing import Any

import torch
import torch_chips
from rows import BITS, SA1_SHARE
from torch_chips import Method, bits_set
from torch_model import Store


def method(store: Store) -> Method:
    """The method's functions, with their buffers."""
    largest = max(block.stop - block.start for block in store.blocks)
    like = {"device": store.words.device}
    uniform, flags = torch.empty(largest, **like), torch.empty(largest, dtype=torch.bool, **like)
    bits = torch.empty(largest, dtype=torch.uint8, **like)
    stuck, at_1 = torch.empty_like(store.words), torch.empty_like(store.words)

    def add(mask: torch.Tensor, below: float, plane: int) -> None:
        """Set bit `plane` of a mask wherever the uniform number is below a threshold."""
        n = len(mask)
        torch.lt(uniform[:n], below, out=flags[:n])
        torch.bitwise_left_shift(flags[:n].view(torch.uint8), plane, out=bits[:n])
        mask.bitwise_or_(bits[:n])

    def strike(rate: float, generator: torch.Generator) -> torch.Tensor:
        for block in store.blocks:
            stuck[block].zero_()
            at_1[block].zero_()
            for plane in range(BITS):
                uniform[: block.stop - block.start].uniform_(generator=generator)
                add(stuck[block], rate, plane)
                add(at_1[block], rate * float(SA1_SHARE), plane)
            words = store.words[block]
            torch.bitwise_and(store.clean_words[block], ~stuck[block], out=words)
            words.bitwise_or_(at_1[block])
            store.values[block] = store.decode(words, block)
        return stuck

    def restore(struck: torch.Tensor) -> None:
        store.words.copy_(store.clean_words)
        store.values.copy_(store.clean_values)

    return Method(strike, restore, bits_set)


@functools.wraps(torch_chips.run)
def torch_dense(*arguments: Any, **options: Any) -> dict[str, Any]:
    return torch_chips.run("torch_dense", method, *arguments, **options)
