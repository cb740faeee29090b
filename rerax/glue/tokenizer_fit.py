"""Whether a tokenizer is whole, and belongs to the model that it lies beside. No JAX here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rerax.models.bert.config import BertConfig

UNREACHED = 0.01
"""Share of words with capitals from which on a vocabulary is taken for a cased one."""
PROBE = "A\u00e9\u4e2d"  # a capital, an accent, a Chinese character


def check_files(directory: Path, tokenizer: Any) -> None:
    """Refuse a tokenizer that transformers makes without its vocabulary, or of another kind's.

    Raises:
        ValueError: the file that is missing, or the two kinds.
    """
    file = directory / "tokenizer.json"
    if file.is_file():
        model = json.loads(file.read_text(encoding="utf-8")).get("model", {})
        written, kind = model.get("type"), _kind(tokenizer)
        if written not in (None, kind):  # older files do not say
            raise ValueError(
                f"{file} holds a {written} tokenizer, which a {type(tokenizer).__name__} takes for "
                f"a {kind}: put the model's own tokenizer there"
            )
        return
    needed = [
        name for kind, name in tokenizer.vocab_files_names.items() if kind != "tokenizer_file"
    ]
    missing = [name for name in needed if not (directory / name).is_file()]
    if missing:
        raise ValueError(
            f"{directory} has no {' and no '.join(missing)}, which a {type(tokenizer).__name__} "
            f"is read from: put its tokenizer.json or {' and '.join(needed)} there"
        )


def check_fit(
    directory: Path, tokenizer: Any, config: BertConfig, teacher: str | None = None
) -> None:
    """Refuse the tokenizer of another family where it can be told.

    It is told by the padding that positions are counted without, and where it is of another kind
    than the family's own, by any padding or by a vocabulary beyond the model's.

    Args:
        directory: where the tokenizer lies.
        tokenizer: as `glue.data.load_tokenizer` gives it.
        config: of the model that is to read its tokens.
        teacher: name of that model where it is a teacher.

    Raises:
        ValueError: what the tokenizer has, and what the model asks for.
    """
    family = config.family
    kind = _kind(tokenizer)
    pad, size = tokenizer.pad_token_id, len(tokenizer)
    pads_differ = pad is not None and pad != config.pad_token_id
    other = kind != family.tokens and (pads_differ or size > config.vocab_size)
    if other or (pads_differ and not family.counts_padding):
        fix = "put the model's own tokenizer there"
        if teacher is not None:
            fix = "distil from a model that has the student's tokenizer"
        raise ValueError(
            f"{directory} has a {kind} tokenizer of {size} tokens, padding with {pad}, and "
            f"{teacher or 'the model'} is a {family.title} of {config.vocab_size}, padding with "
            f"{config.pad_token_id}: {fix}"
        )


def _kind(tokenizer: Any) -> str:
    """Name what a tokenizer is: WordPiece, BPE, .."""
    return type(tokenizer.backend_tokenizer.model).__name__


def case_warning(directory: Path, tokenizer: Any) -> str | None:
    """Warn of texts that are normalised otherwise than the vocabulary asks for."""
    normalise = _normaliser(tokenizer.backend_tokenizer)
    words = [w for w in tokenizer.get_vocab() if w not in tokenizer.all_special_tokens]
    lost = [w for w in words if w != w.lower() and not (w.startswith("[") and w.endswith("]"))]
    if normalise("A") == "a" and len(lost) > UNREACHED * len(words):
        return (
            f"{directory}: {len(lost)} of {len(words)} words of the vocabulary have capitals, such "
            f"as {min(lost)!r}, and its tokenizer lower-cases: if the model is cased, put "
            '"do_lower_case": false into its tokenizer_config.json'
        )
    if (directory / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        written = _normaliser(Tokenizer.from_file(str(directory / "tokenizer.json")))
        if written(PROBE) != normalise(PROBE):
            return (
                f"{directory}: tokenizer.json turns {PROBE!r} into {written(PROBE)!r}, "
                f"transformers by tokenizer_config.json into {normalise(PROBE)!r}, as here: put "
                "do_lower_case, strip_accents and tokenize_chinese_chars of tokenizer.json there"
            )
    return None


def _normaliser(tokenizer: Any) -> Callable[[str], str]:
    normalizer = tokenizer.normalizer
    return (lambda text: text) if normalizer is None else normalizer.normalize_str
