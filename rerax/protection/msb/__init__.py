"""Copies of the most significant bits inside their own matrix: where they lie, writing, reading."""
