"""A campaign whose chips cost nothing, as a program: it is killed and doubled by tests.

Its arguments are OUT CHIPS LOG [SECONDS_A_BLOCK] [reversed]. All but the evaluation is the real
thing. Every block that is evaluated is told in LOG.
"""

import sys
import time
import types
from pathlib import Path

import numpy as np
from folders import POINT, make_rows

from rerax.campaign.grid import expand
from rerax.campaign.runner import run
from rerax.campaign.workload import Progress, Settings, Workload
from rerax.models.bert.config import BertConfig

PROGRAM = "import sys, quick_campaign; quick_campaign.main(*sys.argv[1:])"
POINTS = expand(POINT, {"rate": (0.0, *(k / 100 for k in range(1, 10)))})
WORKLOAD = Workload(
    task="sst2",
    model="minilm",
    model_hash="a" * 64,
    data_hash="b" * 64,
    order=(0, 1),
    labels=np.zeros(9),
    parts=(("validation", 9),),
    config=BertConfig(),
    load=lambda: None,
)


class Worker:
    """Stands in for the one that computes."""

    platform = "cpu"
    workload = WORKLOAD
    lanes = 1
    log: Path
    seconds: float

    @classmethod
    def start(cls, *_):
        return cls()

    def on_each_device(self):
        return [self]

    def check_labels(self, point, known):
        pass

    def provenance(self):
        return {"platform": self.platform}

    def rows(self, point, block, known):
        known[point.hash] = point.rate
        time.sleep(self.seconds)
        with self.log.open("a") as log:
            log.write(f"{point.hash[:16]} {block.first} {block.last}\n")
        yield Progress(block.chips, block.chips, point)
        return make_rows(block, point)


def main(out, chips, log, seconds="0", order=""):
    Worker.log, Worker.seconds = Path(log), float(seconds)
    module = types.ModuleType("rerax.campaign.worker")
    module.Worker = Worker
    sys.modules[module.__name__] = module
    points = POINTS[::-1] if order else POINTS
    run(WORKLOAD, points, Settings(chips=int(chips)), Path(out))
