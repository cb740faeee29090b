"""The campaign of `quick_campaign`, by processes that are joined: it is killed by tests.

Its arguments are HOST:PORT PROCESSES PROCESS and those of the other.
"""

import quick_campaign

from rerax.campaign.distributed import joined

PROGRAM = "import sys, team_campaign; team_campaign.main(*sys.argv[1:])"


def main(address, processes, process, *more):
    with joined(False, address, int(processes), int(process)):
        quick_campaign.main(*more)
