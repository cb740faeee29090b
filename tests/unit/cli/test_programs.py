"""Where compiled programs are kept, and what the compiler is told; processes are in tests/e2e."""

import sys
from pathlib import Path

import pytest

from rerax.cli import programs
from rerax.crossbar import platform


def test_what_the_user_says_goes_first(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "jax")
    environ = {"XDG_CACHE_HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": "mine"}
    programs.keep_programs(environ)
    assert environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_unlike_processors_share_no_programs(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "jax")
    places = set()
    for flags in ({"avx2"}, {"avx2", "avx512f"}):
        monkeypatch.setattr(programs, "cpu_flags", lambda flags=flags: frozenset(flags))
        environ = {"XDG_CACHE_HOME": str(tmp_path)}
        programs.keep_programs(environ)
        places.add(environ["JAX_COMPILATION_CACHE_DIR"])
    assert len(places) == 2
    assert not list(tmp_path.iterdir())  # JAX makes the folder when it has something to keep


def test_without_a_home_nothing_is_kept(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    environ = {}
    programs.keep_programs(environ)
    assert environ == {}


@pytest.mark.parametrize(
    ("plugins", "said", "flags"),
    [
        (("jax_cuda13_plugin",), None, "--xla_gpu_enable_triton_gemm=false"),
        (("jax_cuda12_plugin",), "--mine=1", "--mine=1 --xla_gpu_enable_triton_gemm=false"),
        (("jax_cuda13_plugin",), *["--xla_gpu_enable_triton_gemm=true"] * 2),
        ((), None, None),  # other accelerators may refuse the flag
    ],
)
def test_only_nvidias_gpus_are_told_how_to_multiply(plugins, said, flags, monkeypatch):
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(programs, "find_spec", lambda name: name in plugins or None)
    environ = {} if said is None else {"XLA_FLAGS": said}
    programs.multiply_by_library(environ)
    assert environ.get("XLA_FLAGS") == flags


@pytest.mark.parametrize(
    ("text", "best", "factor"),
    [
        ("flags\t: fpu avx2 avx512f avx512_bf16\ncpu MHz : 2450.1", "avx512f", "bfloat16"),
        ("flags : avx512f avx512_vnni avx512_bf16", "avx512_vnni", "bfloat16"),
        ("flags : avx512f avx512_vnni", "avx512_vnni", "int8"),
        ("flags : avx512_vnni avx512_bf16 amx_bf16 amx_int8", "amx_int8", "int8"),
        ("flags : avx512_vnni amx_bf16", "avx512_vnni", "bfloat16"),
        ("Features : fp asimddp", "asimddp", "int8"),
        ("cpu MHz : avx2", "base", "int8"),
    ],
)
def test_instruction_sets_are_read_from_the_list_alone(text, best, factor, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    platform.cpu_flags.cache_clear()
    try:
        assert platform.instruction_set().endswith(f"-{best}")
        assert platform.fastest_factor() == factor
        assert all("2450" not in flag for flag in platform.cpu_flags())
    finally:
        monkeypatch.undo()
        platform.cpu_flags.cache_clear()


def test_the_users_log_level_goes_first(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax")
    for environ, level in (({}, "3"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0")):
        programs.quieten(environ)
        assert environ["TF_CPP_MIN_LOG_LEVEL"] == level
