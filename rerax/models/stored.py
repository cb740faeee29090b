"""From codes to stored words, once per model; from stored words to codes, once per chip.

`store` runs on the host, in NumPy, before any randomness. `read_codes` runs inside jit: faults act
on the words and the words become codes.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int8, Key, UInt8, UInt32

from rerax._types import AnyArray
from rerax.crossbar.array_id import ArrayId
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.encoding import complement, decode
from rerax.crossbar.keys import Chip, array_key, spare_key
from rerax.crossbar.masking import masked_codes, open_lines
from rerax.crossbar.quantise import quantise
from rerax.crossbar.spec import ChipSpec
from rerax.faults import FaultModel, NoFault, Site, Tested
from rerax.faults.bit_filter import disturb_bits
from rerax.faults.mask import FaultMask, Faults
from rerax.faults.read_out import Counts, ReadOut, rewritten
from rerax.faults.sampling.misread import sense
from rerax.faults.sampling.missed import missed_bits
from rerax.faults.sampling.rates import ARate, RateTable, rate_table
from rerax.hardware import Hardware
from rerax.protection import Ledger, StoredMatrix
from rerax.pruning.gates import open_cells
from rerax.values import shown

Gate = Mapping[str, Any] | None
"""Row and column gates of one matrix; None: it has none."""


class Leaf(NamedTuple):
    """A leaf of the tree.

    Attributes:
        path: keys from the root, joined by `/`.
        axes: a letter for each of its axes (`tree.program`); "": it is not on crossbars.
        shape, dtype: of a leaf on crossbars.
        constant: a leaf that is no array.
    """

    path: str
    axes: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    constant: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class StoredModel:
    """A model on crossbars, and what of it stays outside.

    Attributes:
        crossbars: by the path of the leaf that each holds.
        rest: the other leaves of the tree in order, None in place of those on crossbars.
        hardware: what they lie on.
        structure: of the tree.
        leaves: what each leaf of the tree is, in order.
    """

    crossbars: dict[str, Crossbar]
    rest: tuple[Any, ...]
    hardware: Hardware = dataclasses.field(metadata={"static": True})
    structure: Any = dataclasses.field(metadata={"static": True})
    leaves: tuple[Leaf, ...] = dataclasses.field(metadata={"static": True})

    @property
    def cells(self) -> int:
        """Physical cells of all base arrays."""
        spec = self.hardware.spec
        return sum(
            crossbar.words.size // spec.groups * spec.cells_per_weight
            for crossbar in self.crossbars.values()
        )

    @property
    def spare_cells(self) -> int:
        """Physical cells of all spare arrays."""
        spec, spare = self.hardware.spec, self.hardware.protection.spare_arrays
        words = sum(
            crossbar.words.size * spare if crossbar.spare is None else crossbar.spare.size
            for crossbar in self.crossbars.values()
        )
        return words // spec.groups * spec.cells_per_weight

    @property
    def taken(self) -> tuple[str, ...]:
        """Paths of the leaves on crossbars."""
        return tuple(leaf.path for leaf in self.leaves if leaf.axes)

    @property
    def left(self) -> tuple[str, ...]:
        """Paths of the others."""
        return tuple(leaf.path for leaf in self.leaves if not leaf.axes)

    def __repr__(self) -> str:
        return (
            f"StoredModel: {len(self.taken)} leaves on crossbars ({', '.join(self.taken)}), "
            f"{len(self.left)} outside ({', '.join(self.left)})"
        )


def store(weights: AnyArray, array: ArrayId, hardware: Hardware, gate: Gate = None) -> Crossbar:
    """Quantise, encode, protect and lay out one matrix: the part without randomness.

    Args:
        weights: [*L, R, C] float weights.
        array: its identity.
        hardware: what it is put on.
        gate: its closed rows and columns, if it has gates.

    Raises:
        ValueError: no room for the protection.
    """
    spec, lines = hardware.spec, None if gate is None else open_lines(gate)
    kept = None
    if gate is not None and lines is not None:
        kept = open_cells(gate["row"], gate["column"])
    codes, scale = quantise(np.asarray(weights), spec.bits, kept)
    stored = StoredMatrix(*hardware.protection.store(codes, _lines_by_gate(gate), spec, array.name))
    words, extra, turned, spare = as_written(stored, spec)
    layers = codes.shape[:-2]
    number = np.arange(int(np.prod(layers)), dtype=np.uint32).reshape(layers)
    return Crossbar(words, scale, number, lines, extra, array, turned, spare)


def as_written(stored: StoredMatrix, spec: ChipSpec) -> StoredMatrix:
    """Give words as they lie in cells, and which of their bits are complemented; None: none."""
    if spec.polarity == "plain":
        return stored._replace(complement=None)
    turned, (*layers, _, rows, _) = stored.complement, stored.words.shape
    if turned is None:
        turned = np.broadcast_to(complement(rows, spec), (*layers, 1, rows, 1))
    spare = stored.spare
    if spare is not None:
        rows = complement(spare.shape[-2], spec)
        spare = spare ^ rows.reshape(*[1] * (spare.ndim - 2), *rows.shape)
    return stored._replace(words=stored.words ^ turned, complement=turned, spare=spare)


def _lines_by_gate(gate: Gate) -> tuple[np.ndarray, np.ndarray] | None:
    return None if gate is None else (np.asarray(gate["row"]) >= 0, np.asarray(gate["column"]) >= 0)


def faults_on(stored: Any, chip: Any, rates: ARate, mask: Any) -> Faults:
    """Check what is to be read, and say how many cells are faulty and where that counts.

    Args:
        stored: the model on crossbars.
        chip: which chip.
        rates: the fault rate, a number or a table.
        mask: where faults act; None: everywhere. One value for an array serves every layer.

    Raises:
        ValueError: an object of another kind, several rates or chips, or a mask that is not about
            the arrays on crossbars.
    """
    if not isinstance(stored, StoredModel):
        raise ValueError(f"stored is of type {type(stored).__name__}: give what rerax.program did")
    if not isinstance(chip, Chip):
        raise ValueError(f"chip is {shown(chip)}: give rerax.chip(seed, number)")
    if jnp.ndim(chip.number):
        raise ValueError(f"{np.size(chip.number)} chips in one: map over them with jax.vmap")
    if not isinstance(rates, RateTable):
        hardware = stored.hardware
        rates = rate_table(rates, fault=hardware.fault, tested=hardware.tested)
    return Faults(rates, None if mask is None else _checked_mask(mask, stored))


def _checked_mask(mask: Any, stored: StoredModel) -> FaultMask:
    if not isinstance(mask, FaultMask):
        raise ValueError(f"mask is of type {type(mask).__name__}: give a rerax.FaultMask")
    known = {crossbar.array.name: crossbar for crossbar in stored.crossbars.values()}
    arrays = {}
    for name, acts in mask.arrays.items():
        if name not in known:
            raise ValueError(
                f"the fault mask names {name!r}: use some of {', '.join(known)}, on crossbars"
            )
        layers = np.shape(known[name].layer)
        if np.shape(acts) not in ((), layers, layers or (1,)):
            raise ValueError(
                f"the fault mask of {name} has shape {np.shape(acts)}: give True or False, or one "
                f"for each of {layers} layers"
            )
        arrays[name] = jnp.broadcast_to(jnp.asarray(acts, jnp.bool_), layers or (1,))
    whole = 1 << stored.hardware.spec.group_bits
    traced = isinstance(mask.bits, jax.core.Tracer)
    if mask.bits is not None and not traced and not 0 <= int(mask.bits) < whole:
        raise ValueError(
            f"bits {int(mask.bits)} of the fault mask are outside 0..{whole - 1}: give a word with "
            "the chosen bits set"
        )
    return mask._replace(arrays=arrays)


def read_codes(
    crossbar: Crossbar,
    chip: Chip,
    faults: Faults,
    hardware: Hardware,
    numbers: UInt32[Array, "k"] | None = None,
) -> tuple[Int8[Array, "R C"], Counts]:
    """Read the codes of one matrix of one chip.

    Args:
        crossbar: one matrix, of one layer.
        chip: which chip.
        faults: rate, and where faults act.
        hardware: what it lies on.
        numbers: those of its identity, where they are traced; None: as `crossbar.array` has them.

    Returns:
        Codes, and faulty cells (spare arrays included). Codes of closed lines mean nothing.
    """
    faults.rates.check(hardware.fault, hardware.tested)
    crossbar = jax.tree.map(jnp.asarray, crossbar)
    spare = range(hardware.protection.spare_arrays)
    keys = [chip.key, *(spare_key(chip.key, j) for j in spare)]
    own = [array_key(key, crossbar.array, crossbar.layer, numbers) for key in keys]
    site = Site(chip.number, crossbar.array, crossbar.layer)
    name, spec = crossbar.array.name, hardware.spec
    images = [_image_in(crossbar, k, spec) for k in range(len(keys))]
    how: tuple[Any, ...] = (images, own, site, faults.rates, spec)
    acts: Array | None = None
    if faults.mask is None:
        arrays, stuck = _read_arrays(hardware.fault, hardware.tested, None, *how)
    else:  # what is not faulty is not sampled either
        if name not in faults.mask.arrays:
            raise ValueError(
                f"the fault mask says nothing of {name}: name every array on crossbars"
            )
        acts = jnp.asarray(faults.mask.arrays[name]).ravel()[crossbar.layer]
        arrays, stuck = lax.cond(
            acts,
            functools.partial(
                _read_arrays, hardware.fault, hardware.tested, faults.mask.bits, *how
            ),
            functools.partial(_read_arrays, NoFault(), hardware.tested, None, *how),
        )
    each = zip(*(array.counts for array in arrays), strict=True)
    counts = Counts(*(sum(column) for column in each))
    arrays = [
        array._replace(words=_complemented(array.words, image.complement))
        for array, image in zip(arrays, images, strict=True)
    ]
    scheme, extra = hardware.protection.of(name), crossbar.extra
    if scheme.knows == "map at writing":
        base, wanted = arrays[0], _complemented(crossbar.words, crossbar.complement)
        held = base.words & base.known
        written, chosen = scheme.write(wanted, base.known, held, extra, spec, name)
        arrays[0], extra = rewritten(base, stuck[0], wanted, written), (extra, chosen)
        for j, other in enumerate(arrays[1:], 1):
            told = (other.known, other.words & other.known)
            words = scheme.write_spare(j - 1, *told, chosen, spec, name)
            if words is not None:
                stored = _complemented(images[j].stored, images[j].complement)
                arrays[j] = rewritten(other, stuck[j], stored, words)
    if spec.misread:
        arrays = [
            array._replace(words=_sensed(array.words, image.complement, key, spec, faults, acts))
            for array, image, key in zip(arrays, images, own, strict=True)
        ]
    return decode(scheme.recover(arrays, extra, spec, name), spec), counts


class _StoredImage(NamedTuple):
    """Words as they lie in the cells of an array, and which of their bits are complemented."""

    stored: UInt8[Array, "G R C"]
    complement: Any


def _image_in(crossbar: Crossbar, number: int, spec: ChipSpec) -> _StoredImage:
    """Pick what an array holds, 0 being the base array; odd ones complement alternating bits."""
    if number and crossbar.spare is not None:
        plain, rows = spec.polarity == "plain", crossbar.spare.shape[1]
        return _StoredImage(crossbar.spare, None if plain else complement(rows, spec)[None])
    if crossbar.complement is None:
        return _StoredImage(crossbar.words, None)
    turned = jnp.uint8(number % 2 * spec.alternating)
    return _StoredImage(crossbar.words ^ turned, crossbar.complement ^ turned)


def _complemented(
    words: UInt8[Array, "G R C"], complement: AnyArray | None
) -> UInt8[Array, "G R C"]:
    return words if complement is None else jnp.asarray(words ^ complement)


def _sensed(
    words: UInt8[Array, "G R C"],
    turned: AnyArray | None,
    key: Key[Array, ""],
    spec: ChipSpec,
    faults: Faults,
    acts: AnyArray | None,
) -> UInt8[Array, "G R C"]:
    """Sense the levels of an array's cells, some wrongly where faults act (`ChipSpec.misread`).

    Args:
        words: plain words.
        turned: which of their bits lie complemented in cells; None: none.
        key: the array's key.
        spec: geometry, and the noise.
        faults: in which bits faults act.
        acts: whether they do in this array; None: they do.
    """

    def sensed(words: UInt8[Array, "G R C"]) -> UInt8[Array, "G R C"]:
        in_cells = _complemented(words, turned)
        return _complemented(sense(in_cells, key, spec, faults.rates.axis), turned)

    found = sensed(words) if acts is None else lax.cond(acts, sensed, lambda words: words, words)
    if faults.mask is None or faults.mask.bits is None:
        return found
    bits = jnp.asarray(faults.mask.bits)
    return (words & ~bits) | (found & bits)


def _read_arrays(
    fault: FaultModel,
    tested: Tested,
    bits: AnyArray | None,
    images: list[_StoredImage],
    keys: list[Key[Array, ""]],
    site: Site,
    rates: RateTable,
    spec: ChipSpec,
) -> tuple[list[ReadOut], list[UInt8[Array, "G _ C"]]]:
    """Read the base array and its spare ones; return that and the stuck bits of each.

    What is known of them in a `ReadOut` is what the test found.
    """
    disturb = fault.disturb
    if bits is not None:
        disturb = functools.partial(disturb_bits, fault, jnp.asarray(bits))

    def read_one(rates: RateTable, one: Any, where: Site | None = None) -> tuple[ReadOut, Array]:
        words, key = one
        read = disturb(words, key, rates, spec, where)
        known = read.known
        if tested.rate < 1:
            known = disturb(words, key, rates.earlier, spec, where).known
        if tested.share < 1:
            known &= ~missed_bits(key, tested.share, spec, known.shape[1:], rates.axis)
        return read._replace(known=known), read.known

    words = [image.stored for image in images]
    if len(words) == 1 or fault.tells_arrays_apart or len({w.shape for w in words}) > 1:
        each = [
            read_one(rates, one, None if i else site)
            for i, one in enumerate(zip(words, keys, strict=True))
        ]
    else:
        together = over_arrays(read_one, rates, (jnp.stack(words), jnp.stack(keys)))
        each = [jax.tree.map(lambda a, i=i: a[i], together) for i in range(len(words))]
    return [read for read, _ in each], [stuck for _, stuck in each]


def over_arrays(read: Callable[[RateTable, Any], Any], rates: RateTable, arrays: Any) -> Any:
    """Read arrays of one shape through one sampler, since compiling these is most of a first call.

    At once or one after the other, the outcome is the same.

    Args:
        read: gives what one array reads.
        rates: what it is given.
        arrays: its other argument, for each array.
    """
    if not reads_at_once():
        return lax.map(lambda one: read(rates, one), arrays)
    outer = rates.axis or ()
    axes = (outer,) if isinstance(outer, str) else outer
    name = f"arrays {len(axes)}"
    inside = rates.along((*axes, name))
    return jax.vmap(lambda one: read(inside, one), axis_name=name)(arrays)


def reads_at_once() -> bool:
    """Tell whether arrays of one shape are read at once: where starting kernels takes long."""
    return jax.default_backend() != "cpu"


def kept_codes(crossbar: Crossbar, codes: Int8[Array, "R C"]) -> Int8[Array, "R C"]:
    """Set codes behind closed lines to zero: those take no part, whatever is read from them."""
    return codes if crossbar.lines is None else masked_codes(codes, crossbar.lines)


def matrix_ledgers(
    shape: tuple[int, ...], gate: Gate, hardware: Hardware, name: str
) -> list[Ledger]:
    """Count what one matrix stores, layer by layer (a single entry where it is not stacked).

    Args:
        shape: [*L, R, C] of its weights.
        gate: its gates, if it has any.
        hardware: what it lies on.
        name: of the matrix.

    Raises:
        ValueError: no room for the protection.
    """
    scheme, spec = hardware.protection, hardware.spec
    return [
        scheme.ledger(row, column, gate is not None, spec, name)
        for row, column in zip(*open_rows_and_columns(shape, gate), strict=True)
    ]


def open_rows_and_columns(
    shape: tuple[int, ...], gate: Gate
) -> tuple[Bool[np.ndarray, "L R"], Bool[np.ndarray, "L C"]]:
    """Whether each row and column is open, layer by layer (L = 1 where it is not stacked).

    Args:
        shape: [*L, R, C] of the matrix's weights.
        gate: its gates; None: all lines are open.
    """
    *_, rows, columns = shape
    row, column = _lines_by_gate(gate) or (
        np.ones(shape[:-1], bool),
        np.ones((*shape[:-2], columns), bool),
    )
    return row.reshape(-1, rows), column.reshape(-1, columns)


def closed_share(shapes: Iterable[tuple[tuple[int, ...], Gate]]) -> float:
    """Compute the share of the weights of some matrices that lie under a closed gate.

    Args:
        shapes: shape [*L, R, C] and gates of each.
    """
    closed = total = 0
    for shape, gate in shapes:
        size = int(np.prod(shape))
        total += size
        if gate is not None:
            closed += size - int(open_cells(gate["row"], gate["column"]).sum())
    return closed / total if total else 0.0
