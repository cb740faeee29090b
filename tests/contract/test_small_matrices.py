"""Copies in low bits of very small matrices: apart, or refused."""

import numpy as np
import pytest
from placed import address, images_read

from rerax.protection import MsbEmbed, protection
from rerax.protection.placement import Wish, images_meet
from rerax.spec import ChipSpec


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
    spec, wish = ChipSpec(), Wish(depths, False, True)
    row, column = (np.ones(n, bool) for n in shape)
    found = False
    for own, *copies in images_read(row, column, wish, spec).values():
        (_, *own_at), _ = own
        cells = [address(copy, spec, shape[1]) for copy in copies]
        found |= len(set(cells)) < len(cells)
        found |= any(at == own_at for ((_, *at), _) in copies)
    assert found == meet
    assert images_meet(row, column, wish, spec) == meet


def test_the_error_says_how_few_there_are():
    row, column = np.ones(2, bool), np.array([True, False, True])
    said = "^classifier keeps 2 x 2 weights, too few for msb:2x3:lsb to hold copies of a bit apart"
    with pytest.raises(ValueError, match=said):
        protection("msb:2x3:lsb").check(row, column, ChipSpec(), "classifier")
    MsbEmbed(2, 3, "lsb").check(np.ones(3, bool), column, ChipSpec(), "classifier")
