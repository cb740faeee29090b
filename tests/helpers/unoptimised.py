"""Programs that compile sooner, for modules whose scores meet none of another module's."""

import jax
from quick import WITHOUT_OPTIMISING

from rerax.evaluate import descendants, engine, sampled
from rerax.inspect import export, read
from rerax.train import step


def _again(compiled, *static, **more):
    more |= {"static_argnames": static, "compiler_options": WITHOUT_OPTIMISING}
    return jax.jit(compiled.__wrapped__, **more)


_PROGRAMS = {
    "rerax.evaluate.engine.chunk_logits": _again(engine.chunk_logits, "network", "chunk"),
    "rerax.evaluate.sampled.sampled_logits": _again(sampled.sampled_logits, "network", "chunk"),
    "rerax.evaluate.descendants.descendant_logits": _again(
        descendants.descendant_logits, "network"
    ),
    "rerax.evaluate.prefix_cache.clean_prefix": _again(engine.clean_prefix, "network"),
    "rerax.evaluate.prefix_cache.extend_prefix": _again(engine.extend_prefix, "network"),
    "rerax.inspect.read._read": _again(read._read, "hardware"),
    "rerax.inspect.export._disturb": _again(export._disturb, "hardware"),
    "rerax.train.loop.train_step": _again(step.train_step, "setup", donate_argnames="state"),
}


def use(patch):
    """Let all of them stand in for the usual ones."""
    for name, program in _PROGRAMS.items():
        patch.setattr(name, program)
