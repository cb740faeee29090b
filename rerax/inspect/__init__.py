"""One chip of a campaign, taken apart: its row again, its worst matrices, its cells."""
