"""Scores of many chips: one network, layer by layer, on every chip's own weights."""
