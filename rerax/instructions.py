"""What the processor can do: it names the platform and chooses the fastest exact product."""

import functools
import platform
from pathlib import Path

WIDEST = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "asimddp")
LISTS = ("flags", "Features")
BFLOAT16 = frozenset(("amx_bf16", "avx512_bf16"))


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets that the operating system lists; none where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    named = (line.partition(":") for line in lines)
    return frozenset(
        flag for name, _, listed in named if name.strip() in LISTS for flag in listed.split()
    )


def instruction_set() -> str:
    """Architecture and the widest of the instruction sets that products use."""
    best = next((flag for flag in WIDEST if flag in cpu_flags()), "base")
    return f"{platform.machine()}-{best}"


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers and sums them in float32 by itself."""
    return not BFLOAT16.isdisjoint(cpu_flags())
