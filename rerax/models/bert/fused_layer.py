"""An encoder layer on a GPU, of kernels that end a product with the rest (`crossbar.fused`).

`model.EncoderLayer` with `crossbars.crossbar_product` is the twin. From equal input codes the sums
of products are the same integers; what follows is computed in float32 and rounded once, so that
answers lie close to the twin's and are not equal to the bit. It serves layers whose six matrices
all lie on crossbars with 8-bit inputs, in widths that the kernels can tile; others keep to the
twin.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int8, Int32

from rerax.crossbar import fused
from rerax.crossbar.crossbar import Crossbar
from rerax.models.bert.config import BertConfig
from rerax.models.bert.model import attend
from rerax.models.bert.names import GROUPS, READ_TOGETHER
from rerax.models.reading import kept_codes

ENCODER = GROUPS["encoder"]
JOINED = {
    "qkv": READ_TOGETHER,
    "attention_output": ("attention_output",),
    "ffn_in": ("ffn_in",),
    "ffn_out": ("ffn_out",),
}
"""Products of a layer, and the matrices that each multiplies by as one."""


@dataclass(frozen=True)
class FusedLayer:
    """A layer as one chip holds it, ready for any batch.

    Attributes:
        config: the model's shape.
        codes: of each product [C, R].
        scales, biases: of each product [C], float32.
        norms: scale and bias of both norms, float32.
        interpret: run the kernels as plain operations.
    """

    config: BertConfig
    codes: dict[str, Int8[Array, "C R"]]
    scales: dict[str, Array]
    biases: dict[str, Array]
    norms: dict[str, tuple[Array, Array]]
    interpret: bool = False

    @classmethod
    def make(
        cls,
        config: BertConfig,
        codes: Mapping[str, Int8[Array, "R C"]],
        crossbars: Mapping[str, Crossbar],
        params: Any,
        interpret: bool = False,
    ) -> "FusedLayer":
        """Lay the codes of a layer out for the kernels, once for all of its batches.

        Args:
            config: the model's shape.
            codes: as read.
            crossbars: what they were read from.
            params: what of the layer stands outside: biases and norms.
            interpret: run the kernels as plain operations.
        """
        kept = {name: kept_codes(crossbars[name], read) for name, read in codes.items()}

        def joined(of: Mapping[str, Any], names: tuple[str, ...]) -> Array:
            return jnp.concatenate([jnp.asarray(of[name], jnp.float32) for name in names])

        scales = {name: crossbar.scale for name, crossbar in crossbars.items()}
        biases = {name: params[name]["bias"] for name in ENCODER}
        norms = {}
        for name in ("attention_norm", "ffn_norm"):
            scale, bias = (jnp.asarray(params[name][x], jnp.float32) for x in ("scale", "bias"))
            norms[name] = scale, bias
        return cls(
            config,
            {
                product: fused.rows_last(jnp.concatenate([kept[n] for n in names], axis=-1))
                for product, names in JOINED.items()
            },
            {product: joined(scales, names) for product, names in JOINED.items()},
            {product: joined(biases, names) for product, names in JOINED.items()},
            norms,
            interpret,
        )

    def __call__(
        self, x: Float[Array, "B T D"], sentence: Int32[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """Run the layer on a batch; the result has x's dtype, in which values lie between passes.

        Args:
            x: the stream.
            sentence: of each token its sentence in the row.
        """
        shape, dtype = x.shape, x.dtype
        tokens = shape[0] * shape[1]
        stream = fused.padded(x.reshape(tokens, shape[2]))
        qkv = self._product("qkv", *fused.quantise_vectors(stream, self.interpret), dtype=dtype)
        q, k, v = (a.reshape(shape) for a in jnp.split(qkv[:tokens], 3, axis=-1))
        mixed = attend(q, k, v, sentence, self.config.num_attention_heads)
        mixed = fused.padded(mixed.reshape(tokens, shape[2]))
        inputs = fused.quantise_vectors(mixed, self.interpret)
        y = self._product("attention_output", *inputs, stream, dtype=dtype)
        stream, inner, scale = self._normed("attention_norm", y)
        y = self._product("ffn_in", inner, scale, gelu=True, dtype=dtype)
        inputs = fused.quantise_vectors(y, self.interpret)
        y = self._product("ffn_out", *inputs, stream, dtype=dtype)
        stream = self._normed("ffn_norm", y)[0]
        return stream[:tokens].reshape(shape)

    def _product(
        self,
        name: str,
        inputs: Array,
        token_scale: Array,
        residual: Array | None = None,
        gelu: bool = False,
        dtype: Any = jnp.float32,
    ) -> Array:
        of = (self.codes[name], self.scales[name], self.biases[name])
        return fused.fused_product(inputs, token_scale, *of, residual, gelu, dtype, self.interpret)

    def _normed(self, name: str, y: Array) -> tuple[Array, Array, Array]:
        eps = self.config.layer_norm_eps
        return fused.normed_vectors(y, *self.norms[name], eps, self.interpret)


def can_fuse(config: BertConfig, matrices: Mapping[str, Any], input_bits: int | None) -> bool:
    """Tell whether the kernels can run a model's layers.

    Args:
        config: its shape.
        matrices: those of a layer that lie on crossbars, by name.
        input_bits: of the hardware.
    """
    width, inner = config.hidden_size, config.intermediate_size
    return (
        input_bits is not None
        and config.hidden_act == "gelu"
        and set(ENCODER) <= set(matrices)
        and fused.fits(width, inner)
        and fused.fits(inner, width)
    )
