"""Autoencoders of other programs: SAELens, sparsify, dictionary_learning and scFeatureLens.

All are brought to one form, in units of the raw embedding: ``pre = (x - centre) @ encoder.T + bias``, codes by the
activation, ``x_hat = codes @ decoder + centre``. The model's own scaling is folded into the weights on the way out.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cellprism.errors import InputError
from cellprism.sae.activation import BatchTopK, Gated, JumpReLU
from cellprism.sae.config import SAEConfig
from cellprism.sae.model import SAE
from cellprism.sae.scaling import AffineScaling

__all__ = ["Program", "export_sae", "import_sae"]

Program = Literal["saelens", "sparsify", "dictionary_learning"]


@dataclass(frozen=True)
class _Plain:
    """An SAE in raw units; see the module's first lines."""

    encoder: Tensor
    bias: Tensor
    decoder: Tensor
    centre: Tensor


@torch.no_grad()
def _plain(sae: SAE) -> _Plain:
    bias: Tensor = sae.encoder_bias
    if sae.config.pre_bias == "none":
        bias = bias + sae.encoder @ sae.decoder_bias
    elif sae.input_bias is not None:
        bias = bias + sae.encoder @ (sae.decoder_bias + sae.input_bias)
    return _Plain(
        encoder=(sae.encoder @ sae.forward_map.T).contiguous(),
        bias=bias.clone(),
        decoder=(sae.decoder @ sae.backward_map).contiguous(),
        centre=sae.decoder_bias @ sae.backward_map + sae.mean,
    )


@torch.no_grad()
def _model(plain: _Plain, config: SAEConfig) -> SAE:
    d = plain.encoder.shape[1]
    eye = np.eye(d, dtype=np.float32)
    sae = SAE(config, AffineScaling(np.zeros(d, dtype=np.float32), eye, eye))
    sae.encoder.copy_(plain.encoder)
    sae.encoder_bias.copy_(plain.bias)
    sae.decoder.copy_(plain.decoder)
    sae.decoder_bias.copy_(plain.centre)
    return sae.eval()


def _config(width: int, activation: str, **options: Any) -> SAEConfig:
    options = {"scaling": "none", "unit_norm": False, "start_active": None, "l1": 0.0} | options
    if activation in ("batchtopk", "jumprelu"):
        options["l1"] = None
    return SAEConfig.from_dict({"width": width, "activation": activation, **options})


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
    write(sae, _plain(sae), folder)


def _write_saelens(sae: SAE, plain: _Plain, folder: Path) -> None:
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
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, str(folder / "sae_weights.safetensors"))
    (folder / "cfg.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _write_sparsify(sae: SAE, plain: _Plain, folder: Path) -> None:
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
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, str(folder / "sae.safetensors"))
    (folder / "cfg.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _write_dictionary_learning(sae: SAE, plain: _Plain, folder: Path) -> None:
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
        If nothing known lies there, a file is unreadable, or the architecture has no counterpart.
    """
    place = Path(path)
    if place.is_file() and place.suffix in (".pt", ".pth"):
        return _read_scfeaturelens(place)
    readers = {
        "sae_weights.safetensors": _read_saelens,
        "ae.pt": _read_dictionary_learning,
        "sae.safetensors": _read_sparsify,
    }
    for name, read in readers.items():
        if (place / name).is_file():
            try:
                return read(place)
            except KeyError as error:
                raise InputError(
                    "an imported SAE must hold all its weights", f"no {error} in {place}", "check the file"
                ) from error
    raise InputError(
        "an imported SAE is a folder of SAELens, sparsify or dictionary_learning, or a .pt file of scFeatureLens",
        str(place),
        "check the path",
    )


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            found = load_file(str(file))
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError("weights must be readable as tensors", f"{file}: {error}", "copy the file again") from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError("a .pt file must hold a dict of tensors", str(file), "save the model's state_dict()")
    return found


def _json(file: Path) -> dict[str, Any]:
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("an SAE's config must be readable JSON", f"{file}: {error}", "copy it again") from error
    return dict(about)


def _read_saelens(folder: Path) -> SAE:
    about, w = _json(folder / "cfg.json"), _tensors(folder / "sae_weights.safetensors")
    architecture = about.get("architecture", "standard")
    if architecture not in ("standard", "topk", "jumprelu", "gated"):
        raise InputError(
            "SAELens architectures standard, topk, jumprelu and gated are read", repr(architecture), "none"
        )
    if about.get("normalize_activations", "none") != "none":
        raise InputError(
            "an SAE must take embeddings as they are",
            f"normalize_activations={about['normalize_activations']!r}",
            "fold the normalisation into the weights with SAELens first",
        )
    encoder, decoder, centre = w["W_enc"].T.float(), w["W_dec"].float(), w["b_dec"].float()
    bias = w["b_gate" if architecture == "gated" else "b_enc"].float()
    if not about.get("apply_b_dec_to_input", True):
        bias = bias + encoder @ centre
    if architecture == "topk" and about.get("rescale_acts_by_decoder_norm"):
        norm = decoder.norm(dim=1)
        encoder, bias, decoder = encoder * norm[:, None], bias * norm, decoder / norm[:, None]
    width = len(decoder)
    k = {"k": int(about["k"])} if architecture == "topk" else {}
    activation = "relu" if architecture == "standard" else architecture
    sae = _model(_Plain(encoder, bias, decoder, centre), _config(width, activation, **k))
    with torch.no_grad():
        if isinstance(sae.activation, JumpReLU):
            sae.activation.log_threshold.copy_(w["threshold"].float().clamp_min(1e-30).log())
        if isinstance(sae.activation, Gated):
            sae.activation.log_gain.copy_(w["r_mag"])
            magnitude = w["b_mag"].float()
            if not about.get("apply_b_dec_to_input", True):
                magnitude = magnitude + w["r_mag"].exp() * (encoder @ centre)
            sae.activation.magnitude_bias.copy_(magnitude - w["r_mag"].exp() * bias)
    return sae


def _read_sparsify(folder: Path) -> SAE:
    about, w = _json(folder / "cfg.json"), _tensors(folder / "sae.safetensors")
    if about.get("activation", "topk") != "topk" or about.get("transcode") or about.get("skip_connection"):
        raise InputError(
            "of sparsify's coders, plain topk SAEs are read", str(about), "train one without these options"
        )
    plain = _Plain(w["encoder.weight"].float(), w["encoder.bias"].float(), w["W_dec"].float(), w["b_dec"].float())
    return _model(plain, _config(len(plain.decoder), "topk", k=int(about["k"])))


def _read_dictionary_learning(folder: Path) -> SAE:
    w = _tensors(folder / "ae.pt")
    kind = _json(folder / "config.json").get("trainer", {}).get("dict_class", "AutoEncoderTopK")
    if kind not in ("AutoEncoderTopK", "BatchTopKSAE"):
        raise InputError("AutoEncoderTopK and BatchTopKSAE are read of dictionary_learning", repr(kind), "none")
    plain = _Plain(
        w["encoder.weight"].float(), w["encoder.bias"].float(), w["decoder.weight"].T.float(), w["b_dec"].float()
    )
    activation = "topk" if kind == "AutoEncoderTopK" else "batchtopk"
    sae = _model(plain, _config(len(plain.decoder), activation, k=int(w["k"])))
    if isinstance(sae.activation, BatchTopK):
        sae.activation.threshold.copy_(torch.nextafter(w["threshold"].float(), torch.tensor(torch.inf)))
    return sae


def _read_scfeaturelens(file: Path) -> SAE:
    w = _tensors(file)
    names = ("encoder.0.weight", "encoder.0.bias", "decoder.0.weight", "decoder.0.bias")
    if missing := [n for n in names if n not in w]:
        raise InputError(
            "an scFeatureLens state dict holds encoder.0 and decoder.0", f"no {missing} in {file}", "check it"
        )
    encoder, bias, decoder, centre = (w[n].float() for n in names)
    # Their encoder takes the embedding as it is: nothing is taken off first.
    return _model(_Plain(encoder, bias, decoder.T, centre), _config(len(encoder), "relu", pre_bias="none"))
