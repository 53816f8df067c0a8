"""Reading autoencoders of other programs: every field and tensor is honoured, known to be harmless, or refused.

A field that changes the activation or the scale of the input and is passed over gives other codes without a word, so what
is not named here is not read.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cellprism.errors import InputError

__all__ = ["HARMLESS", "TAKE_CODES", "Fields", "Weights", "count", "read_json", "read_tensors", "same_size"]

TAKE_CODES: Final = "encode with that program itself and give the codes to `cellprism annotate`"

# Of how a dictionary was trained, on what, and where it lies: the finished model does not depend on them.
_SAELENS: Final = """
act_store_device adam_beta1 adam_beta2 autocast autocast_lm b_dec_init_method begin_batch_token begin_sequence_token
buffer_size_gb cached_activations_path checkpoint_path column_name compile_llm compile_sae context_size data_dir data_files
dataset_name dataset_path dataset_trust_remote_code dead_feature_threshold dead_feature_window decoder_heuristic_init
decoder_heuristic_init_norm decoder_init_norm decoder_orthogonal_init device dtype eval_batch_size_prompts
eval_every_n_wandb_logs exclude_special_tokens expansion_factor feature_sampling_window finetuning_method finetuning_tokens
from_pretrained_path hf_is_private_repo hf_num_shards hf_repo_id hf_revision hook_eval hook_head_index hook_layer hook_name
hook_point hook_point_eval hook_point_head_index hook_point_layer init_encoder_as_decoder_transpose is_dataset_tokenized
jumprelu_bandwidth jumprelu_init_threshold jumprelu_sparsity_loss_mode jumprelu_tanh_scale l0_coefficient l0_warm_up_steps
l1_coefficient l1_warm_up_steps llm_compilation_mode log_activations_store_to_wandb log_optimizer_state_to_wandb log_to_wandb
lp_norm lr lr_decay_steps lr_end lr_scheduler_name lr_warm_up_steps metadata model_batch_size model_class_name
model_from_pretrained_kwargs model_kwargs model_name mse_loss_normalization n_batches_in_buffer n_checkpoints n_eval_batches
n_restart_cycles neuronpedia_id new_cached_activations_path normalize_sae_decoder num_proc pre_act_loss_coefficient
prepend_bos resume run_name sae_compilation_mode sae_lens_training_version sae_lens_version save_path
scale_sparsity_penalty_by_decoder_norm seed seqpos_slice sequence_separator_token shuffle split store_batch_size
store_batch_size_prompts streaming tokenizer_name tokens_per_buffer train_batch_size train_batch_size_tokens training_tokens
use_cached_activations use_ghost_grads verbose wandb_entity wandb_id wandb_log_frequency wandb_project
"""
_DICTIONARY_LEARNING: Final = """
auxk_alpha decay_start device ghost_threshold initial_sparsity_penalty k_anneal_steps l1_penalty layer lm_name lr resample_steps
seed sparsity_warmup_steps steps submodule_name threshold_beta threshold_start_step top_k_aux trainer_class wandb_name
warmup_steps
"""
HARMLESS: Final[dict[str, frozenset[str]]] = {
    "SAELens": frozenset(_SAELENS.split()),
    "sparsify": frozenset(("expansion_factor", "multi_topk", "normalize_decoder")),  # the decoder is kept as it is used
    "dictionary_learning": frozenset(_DICTIONARY_LEARNING.split()),
    "scFeatureLens": frozenset(),
}


class Fields:
    """A foreign config, of which each field must be taken, be harmless, or be refused by :meth:`finish`."""

    def __init__(self, about: dict[str, Any], program: str, place: Path) -> None:
        self.left, self.program, self.place = dict(about), program, place

    def take(self, name: str, default: Any = None) -> Any:
        """A field that the reader honours."""
        return self.left.pop(name, default)

    def must_be(self, name: str, *allowed: Any, remedy: str = TAKE_CODES) -> None:
        """Refuse a field with another value; absent is allowed."""
        if name in self.left and (value := self.left.pop(name)) not in allowed:
            raise self.refusal(f"{name} = {value!r}", remedy)

    def refusal(self, met: str, remedy: str = TAKE_CODES) -> InputError:
        """That a field asks for what there is no counterpart of."""
        return InputError(
            f"an SAE of {self.program} is read if all its fields have a counterpart", f"{met} in {self.place}", remedy
        )

    def finish(self) -> None:
        """Refuse what is left and not harmless."""
        unknown = sorted(set(self.left) - HARMLESS[self.program])
        if unknown:
            shown = ", ".join(f"{name} = {self.left[name]!r:.60}" for name in unknown[:5])
            raise self.refusal(
                f"{shown}, which may change its codes",
                f"remove what you know to be harmless from the config, or {TAKE_CODES}",
            )


class Weights:
    """Tensors of a foreign file, each of which must be taken, with the shape that it should have."""

    def __init__(self, found: dict[str, Tensor], place: Path, width: int, d: int) -> None:
        self.left, self.place, self.width, self.d = dict(found), place, width, d

    @classmethod
    def sized_by(cls, found: dict[str, Tensor], place: Path, decoder: str, *, transposed: bool = False) -> Weights:
        """Width and dimension are those of the decoder, (width, d) or transposed."""
        if decoder not in found or found[decoder].ndim != 2:
            raise InputError(
                "an imported SAE must hold all its weights", f"no matrix {decoder!r} in {place}", "check the file"
            )
        width, d = found[decoder].T.shape if transposed else found[decoder].shape
        return cls(found, place, width, d)

    def take(self, name: str, shape: str) -> Tensor:
        """A finite float tensor; ``shape`` in words, as in "features dimensions" (a single number: "")."""
        if name not in self.left:
            raise InputError(
                "an imported SAE must hold all its weights", f"no {name!r} in {self.place}", "check the file"
            )
        tensor = self.left.pop(name)
        wanted = tuple({"features": self.width, "dimensions": self.d}[axis] for axis in shape.split())
        if tuple(tensor.shape) != wanted:
            raise InputError(
                "the weights of an SAE must fit each other",
                f"{name!r} of shape {tuple(tensor.shape)} where {wanted} belongs, in {self.place}",
                "save the model again",
            )
        tensor = tensor.float()
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(
                "the weights of an SAE must be finite", f"NaN or infinity in {name!r} of {self.place}", "train it again"
            )
        return tensor

    def drop(self, *names: str) -> None:
        """Leave out tensors known to be harmless."""
        for name in names:
            self.left.pop(name, None)

    def finish(self) -> None:
        """Refuse what is left."""
        if self.left:
            raise InputError(
                "each tensor of an imported SAE must be one that is known",
                f"{', '.join(sorted(self.left)[:5])} in {self.place}",
                TAKE_CODES,
            )


def count(value: Any, name: str, most: int, place: Path) -> int:
    """A whole number from 1 to ``most``."""
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if (
        isinstance(number, bool)
        or not isinstance(number, (int, float))
        or number != int(number)
        or not 1 <= number <= most
    ):
        raise InputError(
            f"{name} must be a whole number from 1 to {most}", f"{number!r} in {place}", "check the config"
        )
    return int(number)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors or .pt file; never code."""
    try:
        if file.suffix == ".safetensors":
            found = load_file(str(file))
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise InputError("weights must be readable as tensors", f"{file}: {error}", "copy the file again") from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError("a .pt file must hold a dict of tensors", str(file), "save the model's state_dict()")
    return found


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("an SAE's config must be readable JSON", f"{file}: {error}", "copy it again") from error
    if not isinstance(about, dict):
        raise InputError("an SAE's config must be a JSON object", f"{type(about).__name__} in {file}", "copy it again")
    return about


def same_size(fields: Fields, names: Iterable[tuple[str, int]]) -> None:
    """Refuse sizes in a config that the tensors contradict."""
    for name, size in names:
        value = fields.take(name, size)
        if value != size:
            raise InputError(
                "config and weights of an SAE must fit each other",
                f"{name} = {value!r} for {size} in {fields.place}",
                "copy both again",
            )
