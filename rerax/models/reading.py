"""From stored words to codes, once for each chip, inside jit: faults act on the words."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int8, Key, UInt8, UInt32

from rerax._types import AnyArray
from rerax.crossbar.array_id import ArrayId
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.encoding import complement, decode
from rerax.crossbar.keys import Chip, array_key, spare_key
from rerax.crossbar.masking import masked_codes
from rerax.crossbar.spec import ChipSpec
from rerax.faults import FaultModel, NoFault, Site, Tested
from rerax.faults.bit_filter import disturb_bits
from rerax.faults.mask import FaultMask, Faults
from rerax.faults.read_out import Counts, ReadOut, rewritten
from rerax.faults.sampling.misread import sense
from rerax.faults.sampling.missed import missed_bits
from rerax.faults.sampling.rates import ARate, RateTable, rate_table
from rerax.hardware import Hardware
from rerax.models.stored import StoredModel
from rerax.values import as_integer, shown


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
    bits: Any = mask.bits
    if isinstance(bits, jax.core.Tracer):
        bits = bits.astype(jnp.uint8)
    elif bits is not None:
        bits = as_integer("bits of the fault mask", bits)
        if not 0 <= bits < whole:
            raise ValueError(
                f"bits {bits} of the fault mask are outside 0..{whole - 1}: give a word with the "
                "chosen bits set"
            )
        bits = jnp.uint8(bits)
    return mask._replace(arrays=arrays, bits=bits)


def read_codes(
    crossbar: Crossbar,
    chip: Chip,
    faults: Faults,
    hardware: Hardware,
    numbers: UInt32[Array, " k"] | None = None,
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


def read_crossbars(
    crossbars: Mapping[str, Crossbar],
    chip: Chip,
    faults: Faults,
    hardware: Hardware,
    at_once: bool = False,
) -> tuple[dict[str, Int8[Array, "*L R C"]], dict[str, Counts]]:
    """Read the codes of several matrices of one chip, those that are alike through one sampler.

    Args:
        crossbars: matrices by name, of one layer or of all.
        chip: which chip.
        faults: rate, and where faults act.
        hardware: what they lie on.
        at_once: whether a device that is better at it may read all that are alike at once, which
            takes memory for all of them: not for the matrices of a whole model.

    Returns:
        Codes and faulty cells of each, with the axes of layers in front.
    """

    def read_one(rates: RateTable, one: tuple[Crossbar, Array | None]) -> tuple[Array, Counts]:
        crossbar, numbers = one
        here = faults._replace(rates=rates)

        def read_layer(layer: Crossbar) -> tuple[Array, Counts]:
            return read_codes(layer, chip, here, hardware, numbers)

        return lax.map(read_layer, crossbar) if jnp.ndim(crossbar.layer) else read_layer(crossbar)

    read: dict[str, tuple[Array, Counts]] = {}
    for alike in _alike(crossbars, hardware, faults):
        array = next(iter(alike.values())).array
        if len(alike) == 1:
            ((name, crossbar),) = alike.items()
            read[name] = read_one(faults.rates, (crossbar, None))
            continue
        stacked = jax.tree.map(
            lambda *leaves: jnp.stack(leaves),
            *(dataclasses.replace(c, array=array) for c in alike.values()),
        )
        numbers = jnp.array([c.array.numbers for c in alike.values()], jnp.uint32)
        codes, counts = over_arrays(read_one, faults.rates, (stacked, numbers), at_once)
        for i, name in enumerate(alike):
            read[name] = codes[i], jax.tree.map(lambda count, i=i: count[i], counts)
    return {n: read[n][0] for n in crossbars}, {n: read[n][1] for n in crossbars}


def _alike(
    crossbars: Mapping[str, Crossbar], hardware: Hardware, faults: Faults
) -> list[dict[str, Crossbar]]:
    """Sort crossbars into those that are read by the same operations, but for their keys."""
    found: dict[Any, dict[str, Crossbar]] = {}
    for name, crossbar in crossbars.items():
        scheme = hardware.protection.of(crossbar.array.name)
        apart = (
            faults.mask is not None
            or hardware.fault.tells_arrays_apart
            or scheme.tells_arrays_apart
        )
        leaves, structure = jax.tree.flatten(dataclasses.replace(crossbar, array=ArrayId("", ())))
        kinds = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        key = (name if apart else "", structure, kinds, scheme, len(crossbar.array.numbers))
        found.setdefault(key, {})[name] = crossbar
    return list(found.values())


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


def over_arrays(
    read: Callable[[RateTable, Any], Any], rates: RateTable, arrays: Any, at_once: bool = True
) -> Any:
    """Read arrays of one shape through one sampler, since compiling these is most of a first call.

    At once or one after the other, the outcome is the same.

    Args:
        read: gives what one array reads.
        rates: what it is given.
        arrays: its other argument, for each array.
        at_once: whether they may be read at once, where that is faster.
    """
    if not (at_once and reads_at_once()):
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
