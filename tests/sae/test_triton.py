"""The Triton step: its cases in a process of their own, whose kernels are interpreted; that they compile; its refusals."""

import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from sae.cases import embedding

from cellprism.errors import InputError
from cellprism.sae import SAEConfig, fit
from cellprism.sae.steps.triton import switch

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="the package triton is not installed")
TOPK = SAEConfig(12, "topk", k=2)


def run_cases(**environment: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(Path(__file__).with_name("triton_cases.py")),
    ]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@needs_triton
def test_cases_in_the_interpreter() -> None:
    numpy, triton = (tuple(int(n) for n in version(name).split(".")[:2]) for name in ("numpy", "triton"))
    if numpy >= (2, 4) and triton < (3, 9):
        pytest.skip("the interpreter of this Triton fails with NumPy 2.4 and later")
    run_cases(TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cases_on_the_gpu() -> None:
    run_cases(TRITON_INTERPRET="0")


POINTERS = {
    **dict.fromkeys(("pre", "x", "residual"), "low"),
    **dict.fromkeys(("feature", "candidate", "count", "cell", "bar"), "*i32"),
    **dict.fromkeys(("order", "first", "start"), "*i64"),
    "fired": "*u8",
    "rounded": "*bf16",
}
NUMBERS = {
    **dict.fromkeys(("width", "k", "r", "n"), "i32"),
    **dict.fromkeys(("beta1", "rest1", "beta2", "rest2", "size", "over"), "fp32"),
}
SIZES = {"ROOM": 256, "GROUPS": 1024, "PLACES": 64, "PROJECT": True, "UNIT": True, "ROUND": True, "BLOCK": 2048}


@needs_triton
@pytest.mark.parametrize("low", ["*bf16", "*fp32"])
def test_kernels_compile_for_hopper(low: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The interpreter takes what the compiler does not; compiling needs no GPU.
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cellprism.sae.steps.triton import kernels as triton_kernels

    if "nvidia" not in triton.backends.backends:
        pytest.skip("this Triton has no compiler for NVIDIA")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for name in triton_kernels.__all__:
        kernel = getattr(triton_kernels, name)
        gradients = name == "feature_gradients"
        constants = SIZES | {"SHIFT": 16 if low == "*bf16" else 0, "SLOTS": 16 if gradients else 64, "CHUNK": 128}
        signature = {}
        for a in kernel.arg_names:
            kind = NUMBERS.get(a) or POINTERS.get(a, "*fp32")
            if a == "decoder" and not gradients:
                kind = low
            signature[a] = "constexpr" if a in constants else low if kind == "low" else kind
        given = {(kernel.arg_names.index(a),): constants[a] for a in kernel.arg_names if a in constants}
        source = ASTSource(kernel, signature, given)
        made = triton.compile(
            source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "enable_fp_fusion": True}
        )
        assert len(made.asm["cubin"]) > 1_000, name
        assert made.metadata.shared <= 48 * 1024, name


@pytest.mark.parametrize(
    "cfg", [SAEConfig(12, "relu"), SAEConfig(12, "topk", k=2, matryoshka=(4,)), SAEConfig(12, "topk", k=2, l1=0.1)]
)
def test_other_objectives_are_refused(cfg: SAEConfig) -> None:
    assert not switch.takes_triton_step(cfg)
    with pytest.raises(InputError, match="knows topk and batchtopk"):
        fit(embedding(60), cfg, kernel="triton", device="cpu")


def test_its_absence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs the package triton.*cellprism\[triton\]"):
        fit(embedding(60), TOPK, kernel="triton", device="cpu")


@needs_triton
def test_the_cpu_is_refused() -> None:
    with pytest.raises(InputError, match="runs on CUDA devices"):
        fit(embedding(60), TOPK, kernel="triton", device="cpu")
