"""Copies in low bits of very small matrices: apart, or refused."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from placed import address, given_up

from rerax.crossbar.spec import ChipSpec
from rerax.protection import MsbEmbed, protection
from rerax.protection.msb.copy_spec import CopySpec, voted_bits
from rerax.protection.msb.placement import images_meet
from rerax.protection.msb.read import read_images
from rerax.protection.msb.write import write_copies


def images_read(row, column, wish, spec):
    """{bit: its copies}, from where a bit is seen that is set alone (offset codes)."""
    codes = np.zeros((row.size, column.size), np.int8)
    words, layout, *_ = write_copies(codes, row, column, wish, spec)
    layout, shape = jax.tree.map(jnp.asarray, layout), words.shape
    places = list(np.ndindex(spec.group_bits, *shape))
    ones = np.zeros((len(places), *shape), np.uint8)
    for one, (bit, *at) in zip(ones, places, strict=True):
        one[tuple(at)] = 1 << bit
    seen = np.asarray(jax.jit(jax.vmap(lambda w: read_images(w, layout, wish, spec)))(ones))
    found = collections.defaultdict(list)
    for q, mask in enumerate(voted_bits(wish, spec)):
        for bit in range(given_up(wish, row, column, spec), spec.group_bits):
            if mask >> bit & 1:
                for place, *own in np.argwhere(seen[:, q] >> bit & 1).tolist():
                    host_bit, *host = places[place]
                    found[tuple(own), bit].append((tuple(host), host_bit))
    return found


@pytest.mark.parametrize(
    ("depths", "shape", "meet"),
    [
        ((3,), (2, 2), True),
        ((3,), (1, 3), False),
        ((3, 3), (3, 3), False),
        ((5, 3), (3, 3), True),
        ((5, 3), (3, 4), False),
        ((7,), (5, 5), True),
    ],
)
def test_what_is_refused_is_what_meets(depths, shape, meet):
    spec, wish = ChipSpec(), CopySpec(depths, False, True)
    row, column = (np.ones(n, bool) for n in shape)
    found = False
    for ((_, *own_at), _), copies in images_read(row, column, wish, spec).items():
        cells = [address(copy, spec, shape[1]) for copy in copies]
        found |= len(set(cells)) < len(cells)
        found |= any(at == own_at for ((_, *at), _) in copies)
    assert found == meet
    assert images_meet(row, column, wish, spec) == meet


def test_the_error_says_how_few_there_are():
    row, column = np.ones(2, bool), np.array([True, False, True])
    said = "^classifier keeps 2 x 2 weights, too few for msb:2x3:lsb to hold copies of a bit apart"
    with pytest.raises(ValueError, match=said):
        protection("msb:2x3:lsb").check_room(row, column, ChipSpec(), "classifier")
    MsbEmbed(2, 3, "lsb").check_room(np.ones(3, bool), column, ChipSpec(), "classifier")
