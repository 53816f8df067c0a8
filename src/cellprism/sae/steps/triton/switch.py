"""Whether a training can take the Triton step, and that step."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from cellprism.errors import InputError
from cellprism.sae.config import SAEConfig
from cellprism.sae.model import SAE
from cellprism.sae.training import TrainingOptions

if TYPE_CHECKING:
    from cellprism.sae.steps.triton.step import TritonStep

__all__ = ["make_triton_step", "takes_triton_step"]

_WORTH = 128  # dimensions from which the product is worth rounding


def takes_triton_step(config: SAEConfig) -> bool:
    """Whether :class:`~cellprism.sae.steps.triton.step.TritonStep` knows this objective."""
    return config.activation in ("topk", "batchtopk") and not config.matryoshka and not config.l1_weight


def make_triton_step(sae: SAE, optimiser: torch.optim.Adam, options: TrainingOptions) -> TritonStep:
    """The step for a model on its device, in the precision that the options ask for.

    Raises
    ------
    InputError
        If the step does not know the objective, Triton is not installed, or the device is not a CUDA one and kernels are
        not interpreted (``TRITON_INTERPRET=1`` in the environment).
    """
    config, device = sae.config, sae.mean.device
    if not takes_triton_step(config):
        raise InputError(
            "kernel 'triton' knows topk and batchtopk, without matryoshka prefixes and l1",
            f"activation={config.activation!r}, matryoshka={config.matryoshka}, l1={config.l1_weight:g}",
            "use kernel='auto'",
        )
    if find_spec("triton") is None:
        raise InputError(
            "kernel 'triton' needs the package triton (on Linux)",
            "it is not installed",
            "pip install 'cellprism[triton]', or use kernel='auto'",
        )
    from cellprism.sae.steps.triton.step import TritonStep, interpreted

    if device.type != "cuda" and not interpreted():
        raise InputError("kernel 'triton' runs on CUDA devices", f"device {str(device)!r}", "use kernel='auto'")
    bf16 = options.precision == "bfloat16" or (
        options.precision == "auto"
        and sae.decoder.shape[1] >= _WORTH
        and device.type == "cuda"
        and torch.cuda.is_bf16_supported()
    )
    return TritonStep(sae, optimiser, options, bf16=bf16)
