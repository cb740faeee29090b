"""Public fault injectors, each on its own terms, on the same model and sentences.

None of them knows a stuck cell of a quantised weight, so each row's note says what it computes
instead. A tool that is not installed, or does not run, gives a row with the reason and no number.

    pip install --no-deps pytorchfi mrfi
    pip install --no-deps --only-binary :all: aihwkit
"""

import functools
import time
from typing import Any

import torch
import torch_model
import torch_sparse
from rows import BITS, Chip, Watch, make_row

SIZES = (1, 1000, 10000)
LONGEST = 600.0  # seconds: beyond it a pattern is extrapolated


class Sentences(torch.nn.Module):
    """Lets pytorchfi, which profiles a model with a random image, profile one of token ids."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=torch.ones_like(image, dtype=torch.long)).logits


@functools.cache
def _profiled(model_dir: str, data_dir: str, max_examples: int | None) -> tuple[Any, Any]:
    from pytorchfi import core

    job = torch_model.load(model_dir, data_dir, max_examples)
    injector = core.fault_injection(
        Sentences(job.model), 1, input_shape=[8], layer_types=[torch.nn.Linear]
    )
    return job, injector


def fault_list(store: torch_model.Store, rate: float, number: int) -> dict[str, list[Any]]:
    """The stuck cells of chip `number` as pytorchfi wants them: a value for each touched weight."""
    method = torch_sparse.method(store)
    struck = method.strike(rate, torch.Generator().manual_seed(number))
    touched = torch.cat(struck).unique()
    values = store.values[touched].tolist()
    method.restore(struck)
    starts = torch.tensor([block.start for block in store.blocks])
    layer = torch.bucketize(touched, starts, right=True) - 1
    inside, columns = touched - starts[layer], torch.tensor(store.columns)[layer]
    nowhere = [None] * len(values)
    return {
        "layer_num": layer.tolist(),
        "k": (inside // columns).tolist(),
        "dim1": (inside % columns).tolist(),
        "dim2": nowhere,
        "dim3": nowhere,
        "value": values,
    }


def pytorchfi(
    model_dir: str,
    data_dir: str,
    rate: float,
    chips: int,
    max_examples: int | None = None,
    *,
    first: int = 0,
) -> dict[str, Any]:
    """Copy the model and write a declared list of faulty weights, one by one.

    Injections of 1, 1,000 and 10,000 weights are timed first, the least of three each. Where a
    straight line through them foretells more than ten minutes for all, the row is that forecast,
    a lower bound if the cost grows faster. Arguments as in `torch_chips.run`.
    """
    start = time.perf_counter()
    job, injector = _profiled(model_dir, data_dir, max_examples)
    warm = time.perf_counter() - start
    faults = fault_list(job.store, rate, first)
    total = len(faults["value"])
    small = {n: _injection_seconds(injector, faults, n) for n in SIZES if n <= total}
    forecast = _straight(small, total) if len(small) == len(SIZES) else 0.0
    if forecast > LONGEST:
        watch = Watch()
        score = watch.time("forward", job.score)
        timed = [Chip({"strike": forecast, **watch.stages}, score, total)]
    else:
        timed = [_listed_chip(job, injector, rate, first + i) for i in range(chips)]
    return make_row(
        "pytorchfi",
        "float32",
        rate,
        timed,
        cells=job.store.cells,
        packages=("pytorchfi", "torch"),
        first_call_seconds=warm,
        extrapolated=forecast > LONGEST,
        note="writes float values, not cells: which weights the stuck cells touch and what they "
        "then read was computed for it; copies the whole model for every pattern",
        injection_seconds=small,
    )


def _injection_seconds(injector: Any, faults: dict[str, list[Any]], n: int) -> float:
    part, taken = {name: entries[:n] for name, entries in faults.items()}, []
    for _ in range(3):
        start = time.perf_counter()
        injector.declare_weight_fi(**part)
        injector.fi_reset()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _straight(seconds: dict[int, float], n: int) -> float:
    """Seconds of n injections on the line through the smallest and the largest size timed."""
    few, many = min(seconds), max(seconds)
    return seconds[few] + (seconds[many] - seconds[few]) * (n - few) / (many - few)


def _listed_chip(job: torch_model.Job, injector: Any, rate: float, number: int) -> Chip:
    watch = Watch()
    faults = watch.time("strike", lambda: fault_list(job.store, rate, number))
    faulty = watch.time("strike", lambda: injector.declare_weight_fi(**faults))
    score = watch.time("forward", job.by(faulty.model).score)
    watch.time("restore", injector.fi_reset)
    return Chip(watch.stages, score, len(faults["value"]))


MRFI_CONFIG = """
faultinject:
  - type: weight
    name: [weight]
    enabled: True
    quantization: {{method: SymmericQuantization, dynamic_range: auto, bit_width: {bits}}}
    selector: {{method: RandomPositionByRate, poisson: True, rate: {rate}}}
    error_mode: {{method: IntRandomBitFlip, bit_width: {bits}}}
    module_type: [Linear]
"""


@functools.cache
def _mrfi_job(model_dir: str, data_dir: str, max_examples: int | None, rate: float) -> Any:
    from mrfi import MRFI, EasyConfig

    job = torch_model.load(model_dir, data_dir, max_examples, quantised=False)
    for parameter in job.model.parameters():  # it writes weights in place
        parameter.requires_grad_(False)
    config = EasyConfig.load_string(MRFI_CONFIG.format(rate=BITS * rate, bits=BITS))
    return job.by(MRFI(job.model, config))


def mrfi(
    model_dir: str,
    data_dir: str,
    rate: float,
    chips: int,
    max_examples: int | None = None,
    *,
    first: int = 0,
) -> dict[str, Any]:
    """Flip a random bit of quantised weights at eight times the rate, as a cell has one bit."""
    start = time.perf_counter()
    job = _mrfi_job(model_dir, data_dir, max_examples, rate)
    torch.manual_seed(first)
    job.score()
    warm = time.perf_counter() - start
    return make_row(
        "MRFI",
        "float32",
        rate,
        [_scored(job) for _ in range(chips)],
        cells=sum(layer.weight.numel() for layer in torch_model.matrices(job.model.model).values()),
        packages=("mrfi", "torch"),
        first_call_seconds=warm,
        note="draws new faults for every batch, so that no chip answers all sentences; flips a "
        "bit of a value quantised per matrix, where a stuck cell often does no harm; counts none",
    )


def _scored(job: torch_model.Job) -> Chip:
    watch = Watch()
    score = watch.time("forward", job.score)
    return Chip(watch.stages, score, None)


@functools.cache
def _analog_job(model_dir: str, data_dir: str, max_examples: int | None) -> torch_model.Job:
    from aihwkit.inference.noise.reram import ReRamWan2022NoiseModel
    from aihwkit.nn.conversion import convert_to_analog
    from aihwkit.simulator.configs import TorchInferenceRPUConfig

    config = TorchInferenceRPUConfig(noise_model=ReRamWan2022NoiseModel())
    config.forward.is_perfect = True  # the cheapest it has: no converters, no read noise
    # Its tiles in PyTorch, since the compiled ones refuse this PyTorch's tensors.
    job = torch_model.load(model_dir, data_dir, max_examples, quantised=False)
    return job.by(convert_to_analog(job.model, config).eval())


def aihwkit(
    model_dir: str,
    data_dir: str,
    rate: float,
    chips: int,
    max_examples: int | None = None,
    *,
    first: int = 0,
) -> dict[str, Any]:
    """Programme all tiles anew for every chip, with the ReRAM noise that the toolkit ships."""
    start = time.perf_counter()
    job = _analog_job(model_dir, data_dir, max_examples)
    torch.manual_seed(first)
    _programmed(job)
    warm = time.perf_counter() - start
    return make_row(
        "aihwkit",
        "float32",
        None,
        [_programmed(job) for _ in range(chips)],
        cells=0,
        packages=("aihwkit", "torch"),
        first_call_seconds=warm,
        note="has programming noise of every device and no stuck cells, so rates do not apply and "
        "its score answers another question; analog pairs of conductances, no bits",
    )


def _programmed(job: torch_model.Job) -> Chip:
    watch = Watch()
    with torch.no_grad():
        watch.time("strike", job.model.program_analog_weights)
        watch.time("strike", lambda: job.model.drift_analog_weights(1.0))
    score = watch.time("forward", job.score)
    return Chip(watch.stages, score, None)
