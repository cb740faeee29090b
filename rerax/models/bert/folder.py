"""A model folder: a Hugging Face folder, and gates beside it where the model is pruned. No JAX."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from rerax.models.bert import convert
from rerax.models.bert.config import BertConfig
from rerax.models.bert.names import by_matrix
from rerax.pruning.gates import FILE, Gates, load_gates, save_gates, with_zeros


class Model(NamedTuple):
    """A model as its folder holds it.

    Attributes:
        config: its shape and labels.
        params: float32 parameters (`rerax.models.bert.model`), with the values that weights
            under closed gates keep.
        gates: of its pruned matrices, None without any.
    """

    config: BertConfig
    params: Any
    gates: Gates | None


def load_model(directory: Path) -> Model:
    """Load a model folder with its gates.

    Raises:
        ValueError: as `convert.load` and `pruning.gates.load_gates` do.
    """
    config, params = convert.load(directory)
    params, gates = load_gates(directory, params)
    return Model(config, params, None if gates is None else by_matrix(gates))


def save_model(directory: Path, model: Model, *, source: Path | None = None) -> None:
    """Write a model folder, with zeros under closed gates in the weights' own file.

    A kill in between leaves gates beside weights of another model, which readers refuse unless
    they happen to fit; never zeros without any gates.

    Args:
        directory: is made where there is none; gates of an earlier model are removed.
        model: its parameters are NumPy arrays.
        source: folder whose tokenizer is copied.

    Raises:
        ValueError: a model that could not be loaded again; nothing has been written.
    """
    config, params, gates = model
    convert.tensors_of(config, params)  # raises
    directory.mkdir(parents=True, exist_ok=True)
    if gates:
        save_gates(directory, params, gates)
    convert.save(directory, config, with_zeros(params, gates or {}), source=source)
    if not gates:
        (directory / FILE).unlink(missing_ok=True)


def files_hash(directory: Path) -> str:
    """Hash the files that make a model: configuration, weights, gates, tokenizer."""
    names = [convert.CONFIG, FILE, *convert.TOKENIZER_FILES]
    if not (directory / "tokenizer.json").is_file():
        names += convert.BYTE_PAIR_FILES
    others = [directory / name for name in names]
    hasher = hashlib.sha256()
    for file in [*others, *convert.weight_files(directory)]:
        if file.is_file():
            hasher.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                hasher.update(hashlib.file_digest(stream, "sha256").digest())
    return hasher.hexdigest()
