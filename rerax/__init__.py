"""rerax: BERT on faulty ReRAM crossbars, thousands of simulated chips in one call.

The names below are loaded when first used, so that `import rerax` costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "ChipSpec": "rerax.spec",
    "BertConfig": "rerax.bert.config",
    "Bert": "rerax.bert.model",
    "init_params": "rerax.bert.model",
    "load": "rerax.bert.convert",
    "save": "rerax.bert.convert",
    "find_task": "rerax.glue.tasks",
    "Examples": "rerax.glue.data",
    "make_batches": "rerax.glue.data",
    "encode": "rerax.encoding",
    "decode": "rerax.encoding",
    "open_gates": "rerax.gates",
    "freed_share": "rerax.gates",
    "load_gates": "rerax.gates",
    "save_gates": "rerax.gates",
    "masked": "rerax.pruning",
    "units_of": "rerax.pruning",
    "expand": "rerax.pruning",
    "meet_budget": "rerax.pruning",
    "Recipe": "rerax.train.recipe",
    "make_recipe": "rerax.train.recipe",
    "read_job": "rerax.train.run",
    "fine_tune": "rerax.train.run",
    "dose": "rerax.faults",
    "stuck_cells": "rerax.faults",
    "stuck_words": "rerax.faults",
    "fault_model": "rerax.faults",
    "majority_vote": "rerax.voting",
    "msb_encode": "rerax.voting",
    "msb_decode": "rerax.voting",
    "Unprotected": "rerax.protection",
    "Duplicate": "rerax.protection",
    "MsbEmbed": "rerax.protection",
    "program": "rerax.chip",
    "read": "rerax.chip",
    "Network": "rerax.evaluate",
    "evaluate_chips": "rerax.evaluate",
    "Point": "rerax.campaign.point",
    "sweep": "rerax.campaign.run",
    "summarise_points": "rerax.report",
    "print_table": "rerax.report",
    "write_page": "rerax.report",
    "figure_score_against_rate": "rerax.report",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rerax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
