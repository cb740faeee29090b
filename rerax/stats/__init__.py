"""Statistics over chips, the unit of replication. NumPy and SciPy.

The examples of one chip share its faults, so nothing here counts examples.
"""

from rerax.stats.every_look import mean_interval_at_looks, yield_sequence
from rerax.stats.mean import (
    Summary,
    bootstrap_interval,
    doubtful,
    mean_interval,
    paired_difference,
    quantiles,
    skewness,
    standard_error,
    summarise,
    t_interval,
)
from rerax.stats.quantiles import normal_quantile, t_quantile
from rerax.stats.sample_size import (
    chips_for_mean,
    chips_for_yield,
    chips_without_failure,
    looks,
    stop_here,
)
from rerax.stats.share import clopper_pearson, first_misses, passes, wilson, yield_interval

__all__ = [
    "Summary",
    "bootstrap_interval",
    "chips_for_mean",
    "chips_for_yield",
    "chips_without_failure",
    "clopper_pearson",
    "doubtful",
    "first_misses",
    "looks",
    "mean_interval",
    "mean_interval_at_looks",
    "normal_quantile",
    "paired_difference",
    "passes",
    "quantiles",
    "skewness",
    "standard_error",
    "stop_here",
    "summarise",
    "t_interval",
    "t_quantile",
    "wilson",
    "yield_interval",
    "yield_sequence",
]
