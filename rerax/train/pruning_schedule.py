"""When gates close in training: each step's share of the weights that are to be freed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rerax.models.bert.folder import Model
from rerax.models.bert.names import SECTION, TIES, gated_shapes
from rerax.pruning.budget import weights_to_free
from rerax.pruning.gates import Gates, freed_weights, open_gates
from rerax.pruning.ties import Units, units_of
from rerax.train.recipe import Recipe
from rerax.train.step import StepSetup, TrainState, close_gates, rank_gates


@dataclass(frozen=True)
class PruningSchedule:
    """What each budget frees at the beginning, at the end and in between.

    Attributes:
        recipe: the run's choices.
        freed_at_start: weights that the first model's gates free already, by budget.
        freed_at_end: weights to free in the end, by budget; {} without gates.
        ranks: whether gates begin as ranks of measured importance; those of a pruned model go on
            from their values.
    """

    recipe: Recipe
    freed_at_start: Mapping[str, int]
    freed_at_end: Mapping[str, int]
    ranks: bool

    @classmethod
    def make(cls, recipe: Recipe, model: Model) -> "PruningSchedule":
        """Plan the pruning of a model."""
        shapes = find_gated_shapes(recipe, model)
        at_end = weights_to_free(shapes, recipe.sparsity or 0.0, recipe.scope) if shapes else {}
        return cls(recipe, _freed_by(model.gates, at_end), at_end, model.gates is None)

    def to_free(self, step: int) -> dict[str, np.int32]:
        """Count the weights that each budget is to have freed after a step."""
        missing = 1 - self.recipe.ramp_at(step)
        return {
            name: np.int32(end - math.floor((end - self.freed_at_start[name]) * missing))
            for name, end in self.freed_at_end.items()
        }

    def adjust_gates(self, step: int, setup: StepSetup, state: TrainState) -> TrainState:
        """Rank or close the gates of a state, where this step (from 1) asks for it."""
        recipe = self.recipe
        if not setup.shapes or recipe.sparsity is None:
            return state
        if self.ranks and step == max(1, recipe.observe_steps):
            state = state._replace(units=rank_gates(setup, state.importance))
        if recipe.closes_gates(step):
            state = state._replace(units=close_gates(setup, state.units, self.to_free(step)))
        return state


def find_gated_shapes(recipe: Recipe, model: Model) -> dict[str, tuple[int, ...]]:
    """Find the matrices with gates: those to prune, or those that a pruned model has."""
    if recipe.sparsity is not None:
        return gated_shapes(model.params, recipe.gates)
    names = model.gates or {}
    return {n: model.params[SECTION[n]][n]["kernel"].shape for n in SECTION if n in names}


def first_units(recipe: Recipe, model: Model) -> Units:
    """Give the units that training begins with: those of the model's gates, or all open."""
    shapes = find_gated_shapes(recipe, model)
    if not shapes:
        return {}
    given = model.gates or open_gates(shapes)
    tie = "none" if recipe.sparsity is None else recipe.tie  # gates that stay are not tied anew
    return units_of({name: given[name] for name in shapes}, TIES[tie])


def _freed_by(gates: Gates | None, budgets: Mapping[str, int]) -> dict[str, int]:
    if gates is None:
        return dict.fromkeys(budgets, 0)
    # A budget for a matrix holds in every layer alike, so the layer with the fewest counts.
    freed = freed_weights(gates)
    return {"global": sum(int(f.sum()) for f in freed.values())} | {
        name: int(f.min()) for name, f in freed.items()
    }
