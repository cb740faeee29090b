"""What tells one array of a chip from another, and so decides its faults. No JAX here.

The stuck cells of an array follow from seed, chip, identity and layer, and from nothing else. So
an identity is fixed for ever once rows have been made with it.
"""

import hashlib
from dataclasses import dataclass

BY_PATH = 0x40000000
"""First number of identities that come from a path. No client's own number may be as large."""


@dataclass(frozen=True)
class ArrayId:
    """Identity of the base array of a matrix, or of those of one matrix in every layer.

    Attributes:
        name: what tables and messages call it.
        numbers: 32-bit numbers that its key is made from, one folded in after the other.
    """

    name: str
    numbers: tuple[int, ...]


def path_id(path: str) -> ArrayId:
    """Make the identity of a leaf of a tree of parameters from its path.

    The numbers are `BY_PATH` and the first 64 bits of the SHA-256 of the path in UTF-8, in two
    big-endian halves. A matrix stacked over layers has one path, and a layer's number tells its
    arrays apart; the same layers as leaves of their own have a path each, and other faults.

    Args:
        path: keys from the root to the leaf, joined by `/` (`models.tree.leaf_paths`).

    Example:
        >>> path_id("layers/0/kernel").numbers
        (1073741824, 91456768, 3062785774)
    """
    digest = hashlib.sha256(path.encode()).digest()
    return ArrayId(path, (BY_PATH, *(int.from_bytes(digest[i : i + 4]) for i in (0, 4))))
