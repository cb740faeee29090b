"""One optimiser step: loss, gradients, AdamW for weights, Adam for gates."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int32, Key

from rerax.crossbar import keys
from rerax.crossbar.quantise import rounded_inputs, rounded_weights
from rerax.models.bert.config import BertConfig
from rerax.models.bert.model import Bert, Product, float_product
from rerax.models.bert.names import TIES
from rerax.paths import kernels_named, with_leaves
from rerax.pruning.budget import meet_budget, rank_units
from rerax.pruning.masks import mask
from rerax.pruning.ties import Units, expand
from rerax.train.batches import Batch
from rerax.train.faults import clipped, faulty_params
from rerax.train.recipe import Recipe


class TrainState(NamedTuple):
    """What a step changes: weights, gates, and what the optimiser remembers.

    Attributes:
        params: float32 weights.
        units: trainable numbers behind the gates (`pruning.ties`), {} without gates.
        optimiser: its own state, of weights and units.
        importance: of every line, the sum over the steps of the squared derivative of the loss by
            whether it is open.
        step: steps done.
    """

    params: Any
    units: Units
    optimiser: Any
    importance: Units
    step: Int32[Array, ""]


@dataclass(frozen=True)
class StepSetup:
    """What is the same in every step; hashable, so that it can be a static argument of `jit`.

    Attributes:
        config: shape of the BERT.
        recipe: the run's choices.
        shapes: (matrix, shape [*L, R, C]) of the gated matrices, () without gates.
    """

    config: BertConfig
    recipe: Recipe
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def matrices(self) -> tuple[str, ...]:
        """Name the gated matrices."""
        return tuple(name for name, _ in self.shapes)

    def gates(self, units: Units) -> dict[str, dict[str, Array]]:
        """Give the gates of every row and column."""
        own = TIES[self.recipe.tie]  # those of which there are units: none where gates stay
        ties = {unit: sides for unit, sides in own.items() if unit in units}
        return expand(units, self.matrices, ties) if self.shapes else {}


def make_optimiser(recipe: Recipe) -> optax.GradientTransformation:
    """Make AdamW with warm-up, linear decay and clipping for `params`, Adam for `units`."""
    warm = round(recipe.warmup * recipe.steps)
    rise = optax.linear_schedule(0.0, recipe.lr, warm)
    fall = optax.linear_schedule(recipe.lr, 0.0, recipe.steps - warm)
    weights = optax.chain(
        optax.clip_by_global_norm(recipe.clip),
        optax.adamw(
            optax.join_schedules([rise, fall], [warm]) if warm else fall,
            weight_decay=recipe.weight_decay,
            mask=decay_mask,
        ),
    )

    def gate_rate(count: Array) -> Array:
        moving = (count >= recipe.observe_steps) & (count < recipe.settle_step)
        return jnp.where(moving & (recipe.sparsity is not None), recipe.gate_lr, 0.0)

    labels = {"params": "weights", "units": "gates"}
    return optax.multi_transform(
        {"weights": weights, "gates": optax.adam(gate_rate)},
        lambda tree: {k: labels[k] for k in tree},
    )


def decay_mask(params: Any) -> Any:
    """Mark the leaves that weight decay acts on: kernels and tables."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key in ("kernel", "table"), params
    )


def initial_state(setup: StepSetup, params: Any, units: Units) -> TrainState:
    """Make the state before the first step, of copies: a step takes its state's memory over."""
    params, units = jax.tree.map(lambda a: jnp.array(a, jnp.float32), (params, units))
    moments = make_optimiser(setup.recipe).init({"params": params, "units": units})
    return TrainState(params, units, moments, jax.tree.map(jnp.zeros_like, units), jnp.int32(0))


def matrix_product(recipe: Recipe) -> Product:
    """Choose the matrix product of training: its precision, and whether it rounds to codes."""
    exact = float_product if recipe.dtype == "float32" else _mixed_products
    if recipe.bits is None:
        return exact
    return _quantised(exact, None if recipe.faults else recipe.bits)


def _quantised(exact: Product, bits: int | None) -> Product:
    # Gradients pass straight through the rounding; None: kernels are what a chip reads already.
    def product(names: tuple[str, ...], x: Array, kernels: tuple) -> tuple[Array, ...]:
        if bits is not None:
            kernels = tuple(rounded_weights(kernel, bits) for kernel in kernels)
        return exact(names, rounded_inputs(x), kernels)

    return product


def _mixed_products(names: tuple[str, ...], x: Array, kernels: tuple) -> tuple[Array, ...]:
    return tuple(_mixed_product(x, kernel) for kernel in kernels)


@jax.custom_vjp
def _mixed_product(x: Float[Array, "*B R"], kernel: Float[Array, "R C"]) -> Float[Array, "*B C"]:
    """Multiply bfloat16 factors with float32 sums, forwards and backwards."""
    return jnp.dot(_bfloat16(x), _bfloat16(kernel), preferred_element_type=jnp.float32)


def _mixed_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    x, kernel = _bfloat16(x), _bfloat16(kernel)
    return jnp.dot(x, kernel, preferred_element_type=jnp.float32), (x, kernel)


def _mixed_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    rows = dy.reshape(-1, dy.shape[-1])
    rounded = _bfloat16(rows)
    dx = jnp.dot(rounded, kernel.T, preferred_element_type=jnp.float32)
    dk = jnp.dot(x.reshape(-1, x.shape[-1]).T, rounded, preferred_element_type=jnp.float32)
    return dx.reshape(x.shape), dk


_mixed_product.defvjp(_mixed_forward, _mixed_backward)


def _bfloat16(a: Array) -> Array:
    return a.astype(jnp.bfloat16)


def batch_loss(
    trainable: Mapping[str, Any],
    setup: StepSetup,
    batch: Batch,
    key: Key[Array, ""],
    chip: keys.Chip | None = None,
) -> Float[Array, ""]:
    """Compute the mean loss of a batch.

    Cross-entropy, or squared error for regression; with a teacher,
    (1 - distil) x that + distil x temperature^2 x KL(teacher, student) at the temperature
    (Hinton et al., arXiv 1503.02531), or the squared distance of the logits for regression.

    Args:
        trainable: {"params", "units"}.
        setup: static description.
        batch: sentences.
        key: of this step's dropout.
        chip: whose faults the weights have, where the recipe names faults.
    """
    recipe, gates = setup.recipe, setup.gates(trainable["units"])
    params = mask(trainable["params"], gates)
    if chip is not None:
        params = faulty_params(params, lax.stop_gradient(gates), recipe, chip)
    model = Bert(setup.config, matrix_product(recipe))
    logits = model.apply(
        {"params": params}, batch.ids, batch.types, batch.mask, train=True, rngs={"dropout": key}
    )
    if setup.config.num_labels == 1:
        hard = jnp.square(logits[:, 0] - batch.labels)
        soft = jnp.square(logits - batch.teacher_logits).sum(-1)
    else:
        hard = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        t = recipe.temperature
        teacher = jax.nn.log_softmax(batch.teacher_logits / t)
        distance = jnp.exp(teacher) * (teacher - jax.nn.log_softmax(logits / t))
        soft = t**2 * distance.sum(-1)
    each = (1 - recipe.distil) * hard + recipe.distil * soft
    return (each * batch.weight).sum() / batch.weight.sum()


@functools.partial(jax.jit, static_argnames="setup", donate_argnames="state")
def train_step(
    setup: StepSetup, state: TrainState, batch: Batch, root: Key[Array, ""]
) -> tuple[TrainState, Float[Array, ""]]:
    """Train one step: give the state after it, and the loss before it."""
    trainable = {"params": state.params, "units": state.units}
    key = keys.training_key(root, "dropout", state.step.astype(jnp.uint32))
    chip = None
    if setup.recipe.faults is not None:  # of keys of its own: no campaign meets it
        chip = keys.chip_of(keys.training_key(root, "faults", 0), state.step.astype(jnp.uint32))
    loss, gradients = jax.value_and_grad(batch_loss)(trainable, setup, batch, key, chip)
    # The gradient of a unit has passed through the derivative of softplus (`pruning.masks.step`);
    # importance is without that factor, which says nothing of the line.
    importance = jax.tree.map(
        lambda total, gradient, unit: total + jnp.square(gradient / jax.nn.sigmoid(unit)),
        state.importance,
        gradients["units"],
        state.units,
    )
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        updates, moments = make_optimiser(setup.recipe).update(
            gradients, state.optimiser, trainable
        )
    updates["params"] = freeze_closed(updates["params"], setup.gates(state.units))
    moved = optax.apply_updates(trainable, updates)
    if setup.recipe.clip_weights is not None:
        moved["params"] = clipped(moved["params"], setup.recipe.clip_weights)
    return TrainState(moved["params"], moved["units"], moments, importance, state.step + 1), loss


def freeze_closed(updates: Any, gates: Mapping[str, Mapping[str, Array]]) -> Any:
    """Set the updates of weights under closed gates to zero, so that only clipping moves these.

    Their gradient is zero, but weight decay and the optimiser's momentum would move them.
    """
    held = {}
    for name, (path, update) in kernels_named(updates, gates).items():
        row, column = (gates[name][side] >= 0 for side in ("row", "column"))
        held[path] = jnp.where(row[..., :, None] & column[..., None, :], update, 0)
    return with_leaves(updates, held)


@functools.partial(jax.jit, static_argnames="setup")
def rank_gates(setup: StepSetup, importance: Units) -> Units:
    """Give the units their first values, from what was measured while all gates were open."""
    recipe = setup.recipe
    return rank_units(importance, dict(setup.shapes), recipe.scope, TIES[recipe.tie])


@functools.partial(jax.jit, static_argnames="setup")
def close_gates(setup: StepSetup, units: Units, to_free: Mapping[str, Int32[Array, ""]]) -> Units:
    """Close as many lines as free `to_free` weights of each budget."""
    recipe = setup.recipe
    return meet_budget(units, to_free, dict(setup.shapes), recipe.scope, TIES[recipe.tie])
