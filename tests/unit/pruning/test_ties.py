"""Units behind gates: lines that are one dimension of the network share one."""

import numpy as np

from rerax.models.bert.names import TIES
from rerax.pruning.gates import open_gates
from rerax.pruning.ties import expand, sides_of_units, units_of

SHAPES = {
    "query": (2, 6, 6),
    "key": (2, 6, 6),
    "value": (2, 6, 6),
    "attention_output": (2, 6, 6),
    "ffn_in": (2, 6, 8),
    "ffn_out": (2, 8, 6),
    "pooler": (6, 6),
}


def test_tied_lines_share_one_number_and_untied_ones_do_not():
    assert set(sides_of_units(tuple(SHAPES), TIES["all"])) == {
        "query.row", "key.row", "value.row", "attention_output.column", "ffn_in.row",
        "ffn_out.column", "pooler.row", "pooler.column", "ffn_hidden", "query_key", "value_output",
    }  # fmt: skip
    units = units_of(open_gates(SHAPES), TIES["all"])
    gates = expand(units, tuple(SHAPES), TIES["all"])
    for unit, sides in sides_of_units(tuple(SHAPES), TIES["all"]).items():
        for matrix, side in sides:
            assert gates[matrix][side] is units[unit]
    for unit, numbers in units_of(gates, TIES["all"]).items():
        np.testing.assert_array_equal(numbers, units[unit])
    assert len(sides_of_units(tuple(SHAPES), {})) == 2 * len(SHAPES)
