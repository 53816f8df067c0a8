"""One reader a program for the autoencoders of others; see :mod:`cellprism.sae.foreign` for what is refused."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cellprism.errors import InputError
from cellprism.sae.activation import BatchTopK, Gated, JumpReLU
from cellprism.sae.foreign import TAKE_CODES, Fields, Weights, count, read_json, read_tensors, same_size
from cellprism.sae.model import SAE
from cellprism.sae.plain import Plain, foreign_config, model_of

__all__ = ["read_dictionary_learning", "read_saelens", "read_scfeaturelens", "read_sparsify"]


def read_saelens(folder: Path) -> SAE:
    """A folder of SAELens, versions 2 to 6."""
    fields = Fields(read_json(folder / "cfg.json"), "SAELens", folder)
    tensors = read_tensors(folder / "sae_weights.safetensors")
    w = Weights.sized_by(tensors, folder, "W_dec")
    same_size(fields, (("d_in", w.d), ("d_sae", w.width)))
    architecture, activation, k = _saelens_activation(fields, w.width)
    if fields.take("normalize_activations", "none") not in ("none", None, False):
        raise fields.refusal(
            "normalize_activations",
            "fold it into the weights with SAELens (fold_activation_norm_scaling_factor), or normalise the embedding first and set it to none",
        )
    fields.must_be("reshape_activations", "none", None)
    fields.must_be("noise_scale", 0, None)
    fields.must_be("use_error_term", False, None)
    subtracted = fields.take("apply_b_dec_to_input", True)
    rescaled = fields.take("rescale_acts_by_decoder_norm", False)
    if not isinstance(subtracted, bool) or rescaled not in (False, None, True):
        raise fields.refusal(f"apply_b_dec_to_input = {subtracted!r}, rescale_acts_by_decoder_norm = {rescaled!r}")
    if rescaled and activation != "topk":
        raise fields.refusal(
            f"rescale_acts_by_decoder_norm with {architecture}",
            "fold it into the weights with SAELens (fold_W_dec_norm)",
        )
    encoder, decoder, centre = (
        w.take("W_enc", "dimensions features").T,
        w.take("W_dec", "features dimensions"),
        w.take("b_dec", "dimensions"),
    )
    bias = w.take("b_gate" if activation == "gated" else "b_enc", "features")
    offset = torch.zeros(w.width) if subtracted else encoder @ centre
    bias = bias + offset
    scale = _saelens_decoder_factor(fields, w)
    if rescaled:
        norm = decoder.norm(dim=1)
        encoder, bias, decoder = encoder * norm[:, None], bias * norm, decoder / norm[:, None]
    sae = model_of(Plain(encoder, bias, decoder * scale[:, None], centre), foreign_config(w.width, activation, **k))
    with torch.no_grad():
        if isinstance(sae.activation, JumpReLU):
            sae.activation.log_threshold.copy_(w.take("threshold", "features").clamp_min(1e-30).log())
        if isinstance(sae.activation, Gated):
            gain = w.take("r_mag", "features")
            magnitude = w.take("b_mag", "features") + gain.exp() * offset
            sae.activation.log_gain.copy_(gain)
            sae.activation.magnitude_bias.copy_(magnitude - gain.exp() * bias)
    w.finish()
    fields.finish()
    return sae


def _saelens_activation(fields: Fields, width: int) -> tuple[str, str, dict[str, int]]:
    """Architecture, our activation and its k: until version 5 the function stood beside the architecture."""
    architecture = fields.take("architecture", "standard")
    if architecture not in ("standard", "topk", "jumprelu", "gated"):
        raise InputError(
            "SAELens architectures standard, topk, jumprelu and gated are read",
            f"{architecture!r} in {fields.place}",
            "a batchtopk or matryoshka one is a jumprelu once SAELens saves it for inference",
        )
    function = None
    for name in ("activation_fn_str", "activation_fn"):
        value = fields.take(name, function)
        if function is not None and value != function:
            raise fields.refusal(f"two activations, {function!r} and {value!r}")
        function = value
    usual = "topk" if architecture == "topk" else "relu"
    function = function or usual
    if function not in ("relu", "topk") or (function == "topk" and architecture not in ("standard", "topk")):
        raise fields.refusal(f"activation_fn = {function!r} with architecture {architecture!r}")
    options = dict(fields.take("activation_fn_kwargs") or {})
    options.pop("use_sparse_activations", None)  # how the same codes are stored
    given = [v for v in (fields.take("k"), options.pop("k", None)) if v is not None]
    if options:
        raise fields.refusal(f"activation_fn_kwargs with {', '.join(map(str, options))}")
    topk = "topk" in (function, architecture)
    if not topk:
        if given:
            raise fields.refusal(f"k = {given[0]!r} with {architecture} and {function}, where nothing is to be counted")
        return architecture, {"standard": "relu"}.get(architecture, architecture), {}
    found = {count(v, "k of a topk SAE", width, fields.place) for v in given}
    if len(found) != 1:
        raise fields.refusal(
            f"{len(found)} values of k for topk", "say in the config how many features are active, as k"
        )
    return architecture, "topk", {"k": found.pop()}


def _saelens_decoder_factor(fields: Fields, w: Weights) -> Tensor:
    """Codes are multiplied by it before they are decoded; versions 1 and 2 always did, later ones where they say so."""
    wanted = fields.take("finetuning_scaling_factor")
    present = [n for n in ("finetuning_scaling_factor", "scaling_factor") if n in w.left]
    if not present:
        if wanted:
            raise InputError(
                "an imported SAE must hold all its weights",
                f"no 'finetuning_scaling_factor' in {w.place}",
                "check the file",
            )
        return torch.ones(w.width)
    factor = w.take(present[0], "features")
    if bool((factor == 1).all()) or wanted or (wanted is None and present[0] == "scaling_factor"):
        return factor
    raise fields.refusal(
        f"a tensor {present[0]!r} that the config says is not used", "set finetuning_scaling_factor in cfg.json"
    )


def read_sparsify(folder: Path) -> SAE:
    """A folder of sparsify."""
    fields = Fields(read_json(folder / "cfg.json"), "sparsify", folder)
    w = Weights.sized_by(read_tensors(folder / "sae.safetensors"), folder, "W_dec")
    for name in ("transcode", "skip_connection", "signed"):
        fields.must_be(name, False, None)
    fields.must_be("activation", "topk")
    if fields.left.get("num_latents") == 0:  # then the expansion factor says how many
        fields.take("num_latents")
    same_size(fields, (("d_in", w.d), ("num_latents", w.width)))
    k = count(fields.take("k"), "k", w.width, folder)
    plain = Plain(
        w.take("encoder.weight", "features dimensions"),
        w.take("encoder.bias", "features"),
        w.take("W_dec", "features dimensions"),
        w.take("b_dec", "dimensions"),
    )
    w.finish()
    fields.finish()
    return model_of(plain, foreign_config(w.width, "topk", k=k))


def read_dictionary_learning(folder: Path) -> SAE:
    """A folder of dictionary_learning."""
    about = read_json(folder / "config.json")
    trainer = about.get("trainer")
    fields = Fields(trainer if isinstance(trainer, dict) else {}, "dictionary_learning", folder)
    kind = fields.take("dict_class")
    if kind not in ("AutoEncoderTopK", "BatchTopKSAE"):
        raise InputError(
            "AutoEncoderTopK and BatchTopKSAE are read of dictionary_learning",
            f"dict_class = {kind!r} in {folder / 'config.json'}",
            TAKE_CODES,
        )
    if unknown := sorted(set(about) - {"trainer", "buffer"}):
        raise fields.refusal(f"{', '.join(unknown)} beside the trainer")
    w = Weights.sized_by(read_tensors(folder / "ae.pt"), folder, "decoder.weight", transposed=True)
    same_size(fields, (("activation_dim", w.d), ("dict_size", w.width)))
    plain = Plain(
        w.take("encoder.weight", "features dimensions"),
        w.take("encoder.bias", "features"),
        w.take("decoder.weight", "dimensions features").T,
        w.take("b_dec", "dimensions"),
    )
    given = [v for v in (w.left.pop("k", None), fields.take("k")) if v is not None]
    found = {count(v, "k", w.width, folder) for v in given}
    if len(found) != 1:
        raise fields.refusal(f"{len(found)} values of k", "give both files of one model")
    activation = "topk" if kind == "AutoEncoderTopK" else "batchtopk"
    sae = model_of(plain, foreign_config(w.width, activation, k=found.pop()))
    if isinstance(sae.activation, BatchTopK):
        sae.activation.threshold.copy_(torch.nextafter(w.take("threshold", ""), torch.tensor(torch.inf)))
    w.drop("threshold")  # the topk class has one but encodes without it
    w.finish()
    fields.finish()
    return sae


def read_scfeaturelens(file: Path) -> SAE:
    """A state dict of scFeatureLens."""
    found = read_tensors(file)
    names = ("encoder.0.weight", "encoder.0.bias", "decoder.0.weight", "decoder.0.bias")
    if missing := [n for n in names if n not in found]:
        raise InputError(
            "an scFeatureLens state dict holds encoder.0 and decoder.0", f"no {missing} in {file}", "check it"
        )
    w = Weights.sized_by(found, file, "decoder.0.weight", transposed=True)
    encoder, bias, decoder, centre = (
        w.take(n, kind)
        for n, kind in zip(names, ("features dimensions", "features", "dimensions features", "dimensions"), strict=True)
    )
    w.finish()
    # Their encoder takes the embedding as it is: nothing is taken off first.
    return model_of(Plain(encoder, bias, decoder.T, centre), foreign_config(w.width, "relu", pre_bias="none"))
