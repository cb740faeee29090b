"""Hugging Face directories <-> parameters. Safetensors only; neither JAX nor PyTorch needed."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

import ml_dtypes
import numpy as np

from rerax.io import at_home, make_folder, whole_file
from rerax.models.bert.config import BertConfig
from rerax.models.bert.families import Family

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
BYTE_PAIR_FILES = ("vocab.json", "merges.txt")
"""A byte-level BPE, which is read where there is no tokenizer.json."""
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_DTYPES: dict[str, Any] = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_OLD_NORMS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_TORCH_PRUNING = (
    "half of a weight that torch.nn.utils.prune keeps apart from its mask",
    "call prune.remove on each pruned module and save the model again",
)
_PARAMETRISED = (
    "part of a weight that torch.nn.utils.parametrize computes",
    "call remove_parametrizations on each such module and save the model again",
)
_UNAPPLIED = {
    **dict.fromkeys(("weight_orig", "weight_mask", "bias_orig", "bias_mask"), _TORCH_PRUNING),
    "mask_scores": (
        "a score of movement pruning, whose mask is not applied to the weights yet",
        "apply the masks at their threshold, drop the scores and save the model again",
    ),
    **dict.fromkeys(("weight.original", "weight.original0", "weight.original1"), _PARAMETRISED),
}
"""Ends of names: what such a tensor is, and the fix."""


def locate(model: str | Path) -> Path:
    """Find the local directory of a model: a path as it is, a hub id after downloading it.

    Raises:
        ValueError: no such directory, or the hub cannot be reached; says how to give it locally.
    """
    path = at_home(model)
    if path.is_dir():
        return path
    name = str(model)
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ValueError(f"model {name!r} is not a directory: give a Hugging Face folder or hub id")
    from huggingface_hub import snapshot_download

    try:
        files = [CONFIG, "*.safetensors", INDEX, *TOKENIZER_FILES, *BYTE_PAIR_FILES, *_ADAPTERS]
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:
        raise ValueError(
            f"model {name!r} is no directory here and could not be had from the hub "
            f"({type(error).__name__}): download it elsewhere and give its folder"
        ) from error


def load(directory: str | Path) -> tuple[BertConfig, dict[str, Any]]:
    """Read a Hugging Face directory of a BERT or of its kin (`families`).

    Weights may be float32, float16 or bfloat16, in one file or sharded, with or without the
    family's prefix and those of wrappers (`module.`, `_orig_mod.`), norms as `weight` and `bias` or
    as `gamma` and `beta`, with or without pooler and classifier (then absent from the parameters).

    Returns:
        The configuration, and float32 NumPy parameters in the tree of `rerax.models.bert.model`.

    Raises:
        ValueError: no weights or only pickled ones, a file cut short or garbled, a tensor that
            is missing, left over, doubled, misshapen or not finite (named), pruning that is not
            applied, an unsupported model.
    """
    directory = Path(directory)
    config = read_config(directory)
    family = config.family
    tensors = dict(_tensors(directory, family))
    params, used = _assemble(config, tensors, directory)
    extra = [n for n in tensors if n not in used and not n.startswith(family.ignored)]
    if extra:
        raise ValueError(
            f"{directory}: tensor {extra[0]!r} ({len(extra)} in all) has no place in this model: "
            "remove it, or check that config.json belongs to the weights"
        )
    return config, params


def read_config(directory: Path) -> BertConfig:
    """Read the configuration of a Hugging Face directory.

    Raises:
        ValueError: no config.json, or not one of a supported model, or an adapter beside it.
    """
    for name in _ADAPTERS:
        if (directory / name).is_file():
            raise ValueError(
                f"{directory / name} would be left out: merge the adapter into the weights, or "
                "remove it"
            )
    try:
        fields = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{directory} has no {CONFIG}: give a Hugging Face folder") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{directory / CONFIG} is not JSON ({error}): fetch it again") from None
    return BertConfig.from_json(fields)


def weight_files(directory: Path) -> list[Path]:
    """List the safetensors files that hold a model's weights.

    Raises:
        ValueError: none there, or not all that the shard index names; pickled weights are refused
            with the reason and the fix.
    """
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if (directory / INDEX).is_file():
        files = [directory / name for name in _shards(directory / INDEX)]
        missing = [file for file in files if not os.path.isfile(file)]  # Path's raises at odd names
        if missing:
            raise ValueError(f"{missing[0]} is in the shard index but not there: fetch it")
        return files
    pickles = sorted(p.name for pattern in _PICKLES for p in directory.glob(pattern))
    if pickles:
        raise ValueError(
            f"{directory} has only pickled weights ({pickles[0]}), and loading a pickle can run "
            "any code: convert it with transformers' save_pretrained, which writes safetensors, "
            "on a machine you can spare"
        )
    raise ValueError(f"{directory} has no {WEIGHTS}: give a Hugging Face folder with weights")


def _shards(index: Path) -> list[str]:
    """List the files that a shard index names, each once."""
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(named.values()))
        outside = [f for f in files if PurePath(f).is_absolute() or ".." in PurePath(f).parts]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{index} is no shard index: fetch it again") from None
    if not files:
        raise ValueError(f"{index} names no file: fetch it again")
    if outside:
        raise ValueError(
            f"{index} names {outside[0]!r}, which lies outside the model's folder: give the names "
            "of files beside the index"
        )
    return files


def _our_name(name: str, family: Family) -> str:
    """Strip a tensor's name of what wrappers put in front, and name norms as PyTorch does."""
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    name = name.removeprefix(family.prefix)
    for old, new in _OLD_NORMS.items():
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _check_applied(names: Iterable[str], directory: Path) -> None:
    """Refuse weights that only their training code can put together.

    Raises:
        ValueError: what they are, and how they become plain weights.
    """
    for ending, (what, fix) in _UNAPPLIED.items():
        found = next((name for name in names if name.endswith(ending)), None)
        if found is not None:
            raise ValueError(f"{directory}: tensor {found!r} is {what}: {fix}")


def _tensors(directory: Path, family: Family) -> Iterator[tuple[str, np.ndarray]]:
    """Read all tensors as float32, by the names that the family has without its prefix."""
    from safetensors import SafetensorError, deserialize

    known: dict[str, str] = {}
    for file in weight_files(directory):
        try:
            entries = deserialize(file.read_bytes())
        except SafetensorError as error:
            raise ValueError(
                f"{file} is cut short or garbled ({error}): fetch or write it again"
            ) from None
        _check_applied([name for name, _ in entries], directory)
        for full_name, entry in entries:
            name = _our_name(full_name, family)
            if name.startswith(family.ignored):
                continue
            if name in known:
                raise ValueError(
                    f"{file}: tensors {known[name]!r} and {full_name!r} are one and the same of "
                    "the model: remove one"
                )
            known[name] = full_name
            if entry["dtype"] not in _DTYPES:
                raise ValueError(
                    f"{file}: tensor {full_name!r} is {entry['dtype']}: save the weights as "
                    "float32, float16 or bfloat16"
                )
            array = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).astype(np.float32)
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{file}: tensor {full_name!r} has NaN or infinite weights: retrain"
                )
            yield name, array.reshape(entry["shape"])


def _assemble(
    config: BertConfig, tensors: dict[str, np.ndarray], directory: Path
) -> tuple[dict[str, Any], set[str]]:
    """Build the parameter tree from tensors by name; return it and the names it took."""
    used: set[str] = set()
    family = config.family

    def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in tensors:
            raise ValueError(
                f"{directory}: tensor {name!r} is missing: fetch the whole model, or check that "
                "config.json belongs to the weights"
            )
        if tensors[name].shape != shape:
            raise ValueError(
                f"{directory}: tensor {name!r} has shape {tensors[name].shape}, config.json asks "
                f"for {shape}: check that the two belong together"
            )
        used.add(name)
        return tensors[name]

    def leaves(name: str, kind: str) -> dict[str, np.ndarray]:
        shape = _shape(config, kind)
        if kind.endswith("_embeddings"):
            return {"table": take(f"{name}.weight", shape)}
        if kind.endswith("norm"):
            return {"scale": take(f"{name}.weight", shape), "bias": take(f"{name}.bias", shape)}
        weight = take(f"{name}.weight", shape[::-1])  # PyTorch keeps [out, in]
        return {"kernel": np.ascontiguousarray(weight.T), "bias": take(f"{name}.bias", shape[1:])}

    embeddings = {kind: leaves(name, kind) for name, kind in _embeddings(config).items()}
    layers = [
        {kind: leaves(f"{family.layers}.{i}.{name}", kind) for name, kind in family.layer.items()}
        for i in range(config.layers)
    ]
    encoder = {
        kind: {leaf: np.stack([layer[kind][leaf] for layer in layers]) for leaf in layers[0][kind]}
        for kind in layers[0]
    }
    names = {name.removeprefix(family.prefix): kind for name, kind in family.head.items()}
    held = {name: kind for name, kind in names.items() if f"{name}.weight" in tensors}
    head = {kind: leaves(name, kind) for name, kind in held.items()}
    return {"embeddings": embeddings, "encoder": encoder, "head": head}, used


def _embeddings(config: BertConfig) -> dict[str, str]:
    """List the names of the embeddings' tensors, and ours."""
    names = config.family.embeddings
    return {name: kind for name, kind in names.items() if kind != "projection" or config.projects}


def _shape(config: BertConfig, kind: str) -> tuple[int, ...]:
    d, e, f = config.hidden_size, config.table_width, config.intermediate_size
    shapes = {
        "norm": (e,),
        "projection": (e, d),
        "word_embeddings": (config.vocab_size, e),
        "position_embeddings": (config.max_position_embeddings, e),
        "token_type_embeddings": (config.type_vocab_size, e),
        "ffn_in": (d, f),
        "ffn_out": (f, d),
        "classifier": (d, config.num_labels),
    }
    return shapes.get(kind, (d,) if kind.endswith("_norm") else (d, d))


def save(
    directory: str | Path, config: BertConfig, params: Any, *, source: str | Path | None = None
) -> None:
    """Write a Hugging Face directory (float32 safetensors, the family's own names).

    Args:
        directory: where to; made if need be.
        config: the model's shape.
        params: parameters in the tree of `rerax.models.bert.model`; the head may be missing.
        source: a model directory whose tokenizer files are copied along, in place of any that
            lie there already.

    Raises:
        ValueError: parameters that are not of that shape or not finite, or a source that is no
            folder; nothing has been written.
    """
    from safetensors.numpy import save as serialise

    tensors, directory = tensors_of(config, params), Path(directory)
    if source is not None and not at_home(source).is_dir():
        raise ValueError(f"source {source} is no folder: give the one whose tokenizer is meant")
    make_folder(directory)
    if source is not None and not at_home(source).samefile(directory):
        for file in (*TOKENIZER_FILES, *BYTE_PAIR_FILES):
            if (at_home(source) / file).is_file():
                shutil.copyfile(at_home(source) / file, directory / file)
            else:  # of another tokenizer
                (directory / file).unlink(missing_ok=True)
    text = json.dumps({**config.to_json(), "dtype": "float32"}, indent=2, sort_keys=True)
    for name, content in (
        (CONFIG, (text + "\n").encode()),
        (WEIGHTS, serialise(tensors, metadata={"format": "pt"})),
    ):
        with whole_file(directory / name) as out:
            out.write(content)


def tensors_of(config: BertConfig, params: Any) -> dict[str, np.ndarray]:
    """Name parameters as the family's weights are named in files.

    Raises:
        ValueError: see `save`.
    """
    tensors: dict[str, np.ndarray] = {}

    def put(name: str, leaves: dict[str, np.ndarray]) -> None:
        for leaf, value in leaves.items():
            array = value.T if leaf == "kernel" else value
            suffix = "bias" if leaf == "bias" else "weight"
            tensors[f"{name}.{suffix}"] = np.ascontiguousarray(array)

    family = config.family
    for name, kind in _embeddings(config).items():
        put(family.prefix + name, _checked(config, params, "embeddings", kind))
    for name, kind in family.layer.items():
        leaves = _checked(config, params, "encoder", kind, (config.layers,))
        for i in range(config.layers):
            layer = {leaf: array[i] for leaf, array in leaves.items()}
            put(f"{family.prefix}{family.layers}.{i}.{name}", layer)
    for name, kind in family.head.items():
        if kind in params.get("head", {}):
            put(name, _checked(config, params, "head", kind))
    return tensors


def _checked(
    config: BertConfig, params: Any, section: str, kind: str, lead: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """Read the leaves of a part as float32, `lead` before the shape of each.

    Raises:
        ValueError: it is missing, of another shape or not finite.
    """
    where, shape = f"params/{section}/{kind}", _shape(config, kind)
    try:
        found = {leaf: np.asarray(a, np.float32) for leaf, a in params[section][kind].items()}
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{where} is missing: give parameters as rerax.load does") from None
    first = "table" if kind.endswith("_embeddings") else "scale" if kind.endswith("norm") else ""
    leaves = {first or "kernel"} | ({"bias"} if first != "table" else set())
    if found.keys() != leaves:
        raise ValueError(f"{where} has {', '.join(found)}: give {' and '.join(sorted(leaves))}")
    for leaf, array in found.items():
        wanted = (*lead, *(shape if leaf in ("kernel", "table") else shape[-1:]))
        check_leaf(f"{where}/{leaf}", array, wanted)
    return found


def check_leaf(where: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse weights of another shape than the config's, or not finite."""
    if array.shape != shape:
        raise ValueError(
            f"{where} has shape {array.shape}, the config asks for {shape}: give the two that "
            "belong together"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{where} has NaN or infinite weights: retrain, or check how it was made")
