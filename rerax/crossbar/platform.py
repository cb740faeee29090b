"""What the processor can do: it names the platform and chooses the fastest exact product."""

import functools
import platform
from pathlib import Path

WIDEST = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "asimddp")
LISTS = ("flags", "Features")
INT8 = "amx_int8"
BFLOAT16 = frozenset(("amx_bf16", "avx512_bf16"))


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Read the instruction sets that the operating system lists; none where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    named = (line.partition(":") for line in lines)
    return frozenset(
        flag for name, _, listed in named if name.strip() in LISTS for flag in listed.split()
    )


def instruction_set() -> str:
    """Name the architecture and the widest of the instruction sets that products use."""
    best = next((flag for flag in WIDEST if flag in cpu_flags()), "base")
    return f"{platform.machine()}-{best}"


def fastest_factor() -> str:
    """Choose the number format in which the processor multiplies codes fastest.

    AVX-512's VNNI alone does not speak for int8: where there is bfloat16 beside it, XLA's products
    in bfloat16 are faster (experiments/results/product_rates.json).
    """
    flags = cpu_flags()
    return "bfloat16" if INT8 not in flags and not BFLOAT16.isdisjoint(flags) else "int8"
