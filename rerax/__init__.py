"""rerax: models on faulty ReRAM crossbars, thousands of simulated chips in one call.

The names below are loaded when first used, so that `import rerax` costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "sweep": "rerax.campaign.sweep",
    "simulate": "rerax.simulation.simulate",
    "Point": "rerax.campaign.point",
    "main": "rerax.cli",
    "summarise": "rerax.stats",
    "paired_difference": "rerax.stats",
    "summarise_points": "rerax.report",
    "print_table": "rerax.report",
    "write_page": "rerax.report",
    "figure_score_against_rate": "rerax.report",
    "Hardware": "rerax.hardware",
    "ChipSpec": "rerax.crossbar.spec",
    "program": "rerax.models.tree",
    "read": "rerax.models.tree",
    "StoredModel": "rerax.models.stored",
    "crossbar_layers": "rerax.models.flax",
    "chip": "rerax.crossbar.keys",
    "Chip": "rerax.crossbar.keys",
    "array_key": "rerax.crossbar.keys",
    "path_id": "rerax.crossbar.array_id",
    "ArrayId": "rerax.crossbar.array_id",
    "quantise": "rerax.crossbar.quantise",
    "quantise_inputs": "rerax.crossbar.quantise",
    "integer_product": "rerax.crossbar.products",
    "encode": "rerax.crossbar.encoding",
    "decode": "rerax.crossbar.encoding",
    "majority_vote": "rerax.crossbar.voting",
    "msb_encode": "rerax.crossbar.voting",
    "msb_decode": "rerax.crossbar.voting",
    "rate_table": "rerax.faults.sampling.rates",
    "RateTable": "rerax.faults.sampling.rates",
    "FaultMask": "rerax.faults.mask",
    "stuck_cells": "rerax.faults.sampling.poisson_process",
    "stuck_words": "rerax.faults.read_out",
    "stick": "rerax.faults.read_out",
    "ReadOut": "rerax.faults.read_out",
    "Counts": "rerax.faults.read_out",
    "FaultModel": "rerax.faults",
    "Uniform": "rerax.faults",
    "Clustered": "rerax.faults",
    "Wordline": "rerax.faults",
    "Bitline": "rerax.faults",
    "Short": "rerax.faults",
    "Flip": "rerax.faults",
    "Measured": "rerax.faults",
    "NoFault": "rerax.faults",
    "Tested": "rerax.faults",
    "fault_model": "rerax.faults",
    "register_fault": "rerax.faults",
    "Protection": "rerax.protection",
    "StoredMatrix": "rerax.protection",
    "Unprotected": "rerax.protection",
    "Duplicate": "rerax.protection",
    "Code": "rerax.protection",
    "FaultAware": "rerax.protection",
    "Rotated": "rerax.protection",
    "SpareLines": "rerax.protection",
    "MsbEmbed": "rerax.protection",
    "register_protection": "rerax.protection",
    "mask": "rerax.pruning.masks",
    "masked": "rerax.pruning.masks",
    "units_of": "rerax.pruning.ties",
    "expand": "rerax.pruning.ties",
    "meet_budget": "rerax.pruning.budget",
    "open_gates": "rerax.pruning.gates",
    "open_cells": "rerax.pruning.gates",
    "freed_share": "rerax.pruning.gates",
    "load_gates": "rerax.pruning.gates",
    "save_gates": "rerax.pruning.gates",
    "BertConfig": "rerax.models.bert.config",
    "Bert": "rerax.models.bert.model",
    "init_params": "rerax.models.bert.model",
    "load": "rerax.models.bert.convert",
    "save": "rerax.models.bert.convert",
    "program_bert": "rerax.models.bert.crossbars",
    "crossbars_by_section": "rerax.models.bert.crossbars",
    "IDS": "rerax.models.bert.names",
    "TIES": "rerax.models.bert.names",
    "find_task": "rerax.glue.tasks",
    "Selection": "rerax.glue.selection",
    "read_split": "rerax.glue.data",
    "load_tokenizer": "rerax.glue.data",
    "tokenise": "rerax.glue.data",
    "Examples": "rerax.glue.data",
    "make_batches": "rerax.glue.packing",
    "Network": "rerax.evaluate.network",
    "Evaluator": "rerax.evaluate.engine",
    "Faults": "rerax.faults.mask",
    "Recipe": "rerax.train.recipe",
    "make_recipe": "rerax.train.recipe",
    "read_training_inputs": "rerax.train.inputs",
    "fine_tune": "rerax.train.loop",
    "lay_out": "rerax.demo",
    "make_sentences": "rerax.demo.sentences",
    "write_data": "rerax.demo.sentences",
}

_MOVED = {
    **{name: f"rerax.crossbar.{name}" for name in ("spec", "encoding", "voting", "keys")},
    "compaction": "rerax.crossbar.masking",
    "products": "rerax.crossbar.products",
    "instructions": "rerax.crossbar.platform",
    "gates": "rerax.pruning.gates",
    "bert": "rerax.models.bert",
    "scope": "rerax.models.bert.scope",
    "sensitivity": "rerax.models.bert.sensitivity",
    "allocation": "rerax.models.bert.planning",
    "poisson": "rerax.faults.sampling.poisson",
    "gamma": "rerax.faults.sampling.gamma",
    "measured": "rerax.faults.chip_map",
    "network": "rerax.evaluate.network",
    "reuse": "rerax.evaluate.prefix_cache",
    "dose": "rerax.rate_table",
    "Dose": "rerax.RateTable",
    "Disturbed": "rerax.ReadOut",
    "Healthy": "rerax.NoFault",
    "Programmed": "rerax.StoredModel",
    "Stored": "rerax.StoredMatrix",
    "register": "rerax.register_protection",
    "evaluate_chips": "rerax.Evaluator",
    "read_job": "rerax.read_training_inputs",
}
"""Modules and objects by names that they had before; nothing is kept under these."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    now = f", it is {_MOVED[name]} now" if name in _MOVED else ""
    raise AttributeError(f"module 'rerax' has no attribute {name!r}{now}")


def __dir__() -> list[str]:
    return sorted(__all__)
