"""Autoencoders of other programs: SAELens, sparsify, dictionary_learning and scFeatureLens.

All go through the one form of :mod:`cellprism.sae.plain`; what is read is told apart by its files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save as to_bytes

from cellprism.errors import InputError
from cellprism.sae.activation import BatchTopK, Gated, JumpReLU
from cellprism.sae.model import SAE
from cellprism.sae.plain import Plain, plain_of
from cellprism.sae.readers import read_dictionary_learning, read_saelens, read_scfeaturelens, read_sparsify

__all__ = ["Program", "export_sae", "import_sae"]

Program = Literal["saelens", "sparsify", "dictionary_learning"]


def export_sae(sae: SAE, path: str | Path, program: Program) -> None:
    """Write an SAE as another program's folder.

    Parameters
    ----------
    sae
        The model. SAELens takes every activation (batchtopk becomes jumprelu at its threshold), sparsify topk alone,
        dictionary_learning topk and batchtopk.
    path
        Folder, made where it is absent.
    program
        ``saelens`` (6), ``sparsify`` (1) or ``dictionary_learning`` (0.1).

    Raises
    ------
    InputError
        If the program has no such activation.

    Examples
    --------
    >>> plain = prism.fit(X, prism.SAEConfig(width=16, activation="topk", k=4), epochs=5).sae
    >>> prism.export_sae(plain, "for_saelens", "saelens")
    >>> prism.import_sae("for_saelens").width
    16
    """
    if program not in get_args(Program):
        raise InputError("SAEs are written for saelens, sparsify or dictionary_learning", repr(program), "choose one")
    folder = Path(path)
    writers = {
        "saelens": (_write_saelens, ("relu", "topk", "batchtopk", "jumprelu", "gated")),
        "sparsify": (_write_sparsify, ("topk",)),
        "dictionary_learning": (_write_dictionary_learning, ("topk", "batchtopk")),
    }
    write, known = writers[program]
    if sae.config.activation not in known:
        raise InputError(
            f"{program} takes {', '.join(known)}", f"activation {sae.config.activation!r}", "export to saelens instead"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write(sae, plain_of(sae), folder)


def _write_saelens(sae: SAE, plain: Plain, folder: Path) -> None:
    architecture = {"relu": "standard", "batchtopk": "jumprelu"}.get(sae.config.activation, sae.config.activation)
    tensors = {"W_enc": plain.encoder.T, "W_dec": plain.decoder, "b_dec": plain.centre}
    about: dict[str, Any] = {
        "architecture": architecture,
        "d_in": sae.d,
        "d_sae": sae.width,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {},
    }
    part = sae.activation
    if isinstance(part, Gated):
        gain = part.log_gain.exp()
        tensors |= {"b_gate": plain.bias, "r_mag": part.log_gain, "b_mag": gain * plain.bias + part.magnitude_bias}
    else:
        tensors["b_enc"] = plain.bias
    if isinstance(part, JumpReLU):
        tensors["threshold"] = part.log_threshold.exp()
    if isinstance(part, BatchTopK):
        # Ours keeps what reaches the threshold, theirs what exceeds it.
        below = torch.nextafter(part.threshold, torch.tensor(-1.0))
        tensors["threshold"] = below.expand(sae.width)
    if architecture == "topk":
        about |= {"k": sae.config.k, "rescale_acts_by_decoder_norm": False}
    (folder / "sae_weights.safetensors").write_bytes(
        to_bytes({k: v.detach().contiguous().clone() for k, v in tensors.items()})
    )
    (folder / "cfg.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _write_sparsify(sae: SAE, plain: Plain, folder: Path) -> None:
    tensors = {
        "encoder.weight": plain.encoder,
        "encoder.bias": plain.bias,
        "W_dec": plain.decoder,
        "b_dec": plain.centre,
    }
    about = {
        "activation": "topk",
        "expansion_factor": max(1, sae.width // sae.d),
        "normalize_decoder": False,
        "num_latents": sae.width,
        "k": sae.config.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": sae.d,
    }
    (folder / "sae.safetensors").write_bytes(to_bytes({k: v.detach().contiguous().clone() for k, v in tensors.items()}))
    (folder / "cfg.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _write_dictionary_learning(sae: SAE, plain: Plain, folder: Path) -> None:
    threshold = torch.tensor(-1.0)
    if isinstance(sae.activation, BatchTopK):
        threshold = torch.nextafter(sae.activation.threshold, torch.tensor(-1.0))
    state = {
        "encoder.weight": plain.encoder,
        "encoder.bias": plain.bias,
        "decoder.weight": plain.decoder.T.contiguous(),
        "b_dec": plain.centre,
        "k": torch.tensor(sae.config.k, dtype=torch.int),
        "threshold": threshold,
    }
    # Their format is torch's archive of a state dict: tensors only, read again with weights_only.
    torch.save({k: v.detach().clone() for k, v in state.items()}, folder / "ae.pt")
    topk = sae.config.activation == "topk"
    trainer = {
        "trainer_class": "TopKTrainer" if topk else "BatchTopKTrainer",
        "dict_class": "AutoEncoderTopK" if topk else "BatchTopKSAE",
        "activation_dim": sae.d,
        "dict_size": sae.width,
        "k": sae.config.k,
    }
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}, indent=2) + "\n", encoding="utf-8")


def import_sae(path: str | Path) -> SAE:
    """Read another program's SAE; which one is seen from the files.

    Parameters
    ----------
    path
        Folder of SAELens (``sae_weights.safetensors``), sparsify (``sae.safetensors`` with ``cfg.json``) or
        dictionary_learning (``ae.pt``), or a ``.pt`` state dict of scFeatureLens. Only tensors are read from ``.pt``
        files, never code.

    Returns
    -------
    SAE
        Takes the same embeddings as the original and gives the same codes, up to rounding.

    Raises
    ------
    InputError
        If nothing known lies there, a file is unreadable, or a field or tensor is neither known to be harmless nor has a
        counterpart here.

    Examples
    --------
    >>> plain = prism.fit(X, prism.SAEConfig(width=16, activation="topk", k=4), epochs=5).sae
    >>> prism.export_sae(plain, "from_sparsify", "sparsify")
    >>> bool(abs(prism.import_sae("from_sparsify").encode(X) - plain.encode(X)).max() < 1e-3)
    True
    """
    place = Path(path)
    if place.is_file() and place.suffix in (".pt", ".pth"):
        return read_scfeaturelens(place)
    readers = {
        "sae_weights.safetensors": read_saelens,
        "ae.pt": read_dictionary_learning,
        "sae.safetensors": read_sparsify,
    }
    for name, read in readers.items():
        if (place / name).is_file():
            return read(place)
    raise InputError(
        "an imported SAE is a folder of SAELens, sparsify or dictionary_learning, or a .pt file of scFeatureLens",
        str(place),
        "check the path",
    )
