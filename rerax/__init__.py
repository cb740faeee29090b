"""rerax: BERT on faulty ReRAM crossbars, thousands of simulated chips in one call.

The names below are loaded when first used, so that `import rerax` costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "ChipSpec": "rerax.crossbar.spec",
    "BertConfig": "rerax.models.bert.config",
    "Bert": "rerax.models.bert.model",
    "init_params": "rerax.models.bert.model",
    "load": "rerax.models.bert.convert",
    "save": "rerax.models.bert.convert",
    "find_task": "rerax.glue.tasks",
    "Examples": "rerax.glue.data",
    "make_batches": "rerax.glue.data",
    "encode": "rerax.crossbar.encoding",
    "decode": "rerax.crossbar.encoding",
    "open_gates": "rerax.pruning.gates",
    "freed_share": "rerax.pruning.gates",
    "load_gates": "rerax.pruning.gates",
    "save_gates": "rerax.pruning.gates",
    "masked": "rerax.pruning.budget",
    "units_of": "rerax.pruning.budget",
    "expand": "rerax.pruning.budget",
    "meet_budget": "rerax.pruning.budget",
    "Recipe": "rerax.train.recipe",
    "make_recipe": "rerax.train.recipe",
    "read_job": "rerax.train.run",
    "fine_tune": "rerax.train.run",
    "dose": "rerax.faults",
    "stuck_cells": "rerax.faults",
    "stuck_words": "rerax.faults",
    "fault_model": "rerax.faults",
    "majority_vote": "rerax.crossbar.voting",
    "msb_encode": "rerax.crossbar.voting",
    "msb_decode": "rerax.crossbar.voting",
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

_MOVED = {
    **{name: f"rerax.crossbar.{name}" for name in ("spec", "quantise", "encoding", "voting")},
    "keys": "rerax.crossbar.keys",
    "compaction": "rerax.crossbar.masking",
    "gates": "rerax.pruning.gates",
    "bert": "rerax.models.bert",
    "poisson": "rerax.faults.sampling.poisson",
}
"""Modules by names that they had before; nothing is kept under these."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    now = f", it is {_MOVED[name]} now" if name in _MOVED else ""
    raise AttributeError(f"module 'rerax' has no attribute {name!r}{now}")


def __dir__() -> list[str]:
    return sorted(__all__)
