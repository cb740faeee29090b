"""Names of the leaves of any tree of parameters, and leaves put in the place of others.

JAX is imported once a tree is taken apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def leaf_paths(tree: Any) -> tuple[tuple[str, ...], list[Any], Any]:
    """Take a tree apart into the paths of its leaves, the leaves, and its structure.

    A path is the keys from the root to the leaf joined by `/`. What a framework puts around
    parameters is not part of it: Flax Linen's outermost `params`, and the `value` of an NNX
    variable or of a box with partitioning.

    Args:
        tree: nested dictionaries, a Flax `State`, an Equinox module, any pytree.

    Example:
        >>> leaf_paths({"params": {"dense": {"kernel": 1.0}}})[0]
        ('dense/kernel',)
    """
    import jax

    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    return tuple(_text(path) for path, _ in found), [leaf for _, leaf in found], structure


def _text(path: Sequence[Any]) -> str:
    from jax.tree_util import DictKey, GetAttrKey, keystr

    keys = list(path)
    if len(keys) > 1 and keys[-1] == GetAttrKey("value"):
        keys = keys[:-1]
    if len(keys) > 1 and keys[0] == DictKey("params"):
        keys = keys[1:]
    return keystr(tuple(keys), simple=True, separator="/")


def kernels_named(tree: Any, names: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Path and array of the kernel that each name means.

    A name is the end of a path, with or without `kernel` itself: `query` stands for
    encoder/query/kernel where no other path of the tree ends like that.

    Args:
        tree: parameters (`leaf_paths`).
        names: of kernels, their parts joined by `/`.

    Raises:
        ValueError: a name of no kernel, or of several; one kernel under two names.
    """
    paths, leaves, _ = leaf_paths(tree)
    found = {}
    for name in names:
        ends = (f"/{name}", f"/{name}/kernel")
        mine = [
            (path, leaf)
            for path, leaf in zip(paths, leaves, strict=True)
            if f"/{path}".endswith(ends)
        ]
        if len(mine) != 1:
            what = "several such matrices" if mine else "no such matrix"
            raise ValueError(
                f"gates of {name!r}: the model has {what}: name one kernel, by its path or by "
                "the end of it"
            )
        (found[name],) = mine
    named: dict[str, str] = {}
    for name, (path, _) in found.items():
        other = named.setdefault(path, name)
        if other != name:
            raise ValueError(f"gates of {other!r} and {name!r} are both of {path}: name it once")
    return found


def with_leaves(tree: Any, leaves: Mapping[str, Any]) -> Any:
    """The same tree with other leaves at some paths."""
    import jax

    paths, old, structure = leaf_paths(tree)
    new = [leaves.get(path, leaf) for path, leaf in zip(paths, old, strict=True)]
    return jax.tree_util.tree_unflatten(structure, new)
