"""Programs that compile sooner, for modules whose scores meet none of another module's."""

import jax
from quick import WITHOUT_OPTIMISING

from rerax import evaluate
from rerax.campaign import lens
from rerax.train import step


def _again(compiled, *static, **more):
    more |= {"static_argnames": static, "compiler_options": WITHOUT_OPTIMISING}
    return jax.jit(compiled.__wrapped__, **more)


_PROGRAMS = {
    "rerax.evaluate.chunk_logits": _again(evaluate.chunk_logits, "network", "chunk"),
    "rerax.reuse.clean_entry": _again(evaluate.clean_entry, "network"),
    "rerax.reuse.clean_advance": _again(evaluate.clean_advance, "network"),
    "rerax.campaign.lens._read": _again(lens._read, "network"),
    "rerax.campaign.lens._disturb": _again(lens._disturb, "network", "name"),
    "rerax.train.run.train_step": _again(step.train_step, "trainer", donate_argnames="state"),
}


def use(patch):
    """Let all of them stand in for the usual ones."""
    for name, program in _PROGRAMS.items():
        patch.setattr(name, program)
