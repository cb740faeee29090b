"""Scores of faulty chips by any function of any model's parameters, in memory or a folder."""
