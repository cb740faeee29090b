"""The campaign of `quick_campaign`, by processes that are joined: it is killed by tests.

python team_campaign.py HOST:PORT PROCESSES PROCESS OUT CHIPS LOG [SECONDS_A_BLOCK] [reversed]
"""

import sys

import quick_campaign

from rerax.campaign.team import joined

if __name__ == "__main__":
    address, processes, process = sys.argv[1:4]
    with joined(False, address, int(processes), int(process)):
        quick_campaign.main(*sys.argv[4:])
