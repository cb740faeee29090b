"""Axis letters and array aliases, written once.

B  batch (sentences)        T  token                D  model width
H  attention heads          F  feed-forward width   L  encoder layers
V  vocabulary               N  labels (outputs)     E  examples of a split
R  wordline = row = input   C  column of a matrix   G  groups of a weight (differential: 2)
S  cells of a weight (slices)                       K  hazard intervals
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

Array = jax.Array
AnyArray = jax.Array | np.ndarray
Params = Mapping[str, Any]
"""Nested dictionary of arrays, the tree that `rerax.models.bert` documents."""
