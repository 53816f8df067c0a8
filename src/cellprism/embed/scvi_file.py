"""What scvi-tools writes into a folder: read without its training cells, and without running code from the file."""

from __future__ import annotations

import pickle
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from cellprism.embed.scvi_covariates import Covariates
from cellprism.embed.scvi_kinds import KINDS
from cellprism.errors import InputError

__all__ = ["FILE", "ONLY_STEERING", "described", "read_saved"]

ONLY_STEERING = "its embedding can be used all the same, as `rep=KEY`; only steering needs the model"

FILE: Final = "model.pt"
_TYPES: Final = {
    "collections": {"OrderedDict", "defaultdict"},
    "builtins": {"dict", "list", "tuple", "set", "frozenset", "int", "float", "bool", "str", "complex", "slice", "range", "bytes", "bytearray"},
    "_codecs": {"encode"},
    "torch": {"Size", "device", "FloatStorage", "DoubleStorage", "LongStorage", "IntStorage", "BoolStorage", "HalfStorage"},
    "torch.storage": {"UntypedStorage", "TypedStorage"},
    "torch._utils": {"_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter"},
    "numpy": {"ndarray", "dtype"},
}  # fmt: skip
_ARRAYS: Final = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")


class _Left:
    """In place of an object of any other class, such as the history of the training: nothing of it is needed."""

    def __init__(self, *args: Any, **options: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def __call__(self, *args: Any, **options: Any) -> _Left:
        return self


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)  # as Python 2 called it, and old protocols still do
        known = name in _TYPES.get(module, ())
        if known or (module in _ARRAYS and name in {"_reconstruct", "scalar", "_frombuffer"}):
            return super().find_class(module, name)
        return _Left


def read_saved(folder: str | Path) -> dict[str, Any]:
    """Class, registry, arguments, names and weights of a model that scvi-tools saved.

    Raises
    ------
    InputError
        If the folder holds none, or one of a version that kept no registry.
    """
    file = Path(folder) / FILE
    reader: Any = types.SimpleNamespace(Unpickler=_Reader, __name__="cellprism.embed.scvi_file")
    try:
        content = torch.load(file, map_location="cpu", pickle_module=reader, weights_only=False)
    except (
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        KeyError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            "a model of scvi-tools must be readable", f"{file}: {error}", "save it again with model.save(FOLDER)"
        ) from error
    found = content.get("attr_dict") if isinstance(content, dict) else None
    about: dict[str, Any] = found if isinstance(found, dict) else {}
    registry = about.get("registry_")
    if (
        not isinstance(registry, dict)
        or "init_params_" not in about
        or not isinstance(content.get("model_state_dict"), Mapping)
    ):
        raise InputError(
            "a model of scvi-tools is read from version 1 on",
            f"no registry in {file}",
            "load it with its cells in the scvi-tools of its time, save it again, or wrap it: SCVIModel.wrap(model).save(FOLDER)",
        )
    return {
        "kind": str(registry.get("model_name")),
        "registry": registry,
        "init_params": about["init_params_"],
        "var_names": content["var_names"],
        "trained": bool(about.get("is_trained_", True)),
        "state": {k: v for k, v in content["model_state_dict"].items() if isinstance(v, torch.Tensor)},
    }


def described(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :class:`SCVIModel` from what scvi-tools keeps of a model, or an :class:`InputError` with the way out."""
    kind, registry = saved["kind"], saved["registry"]
    setup, fields = registry["setup_args"], {k: v["state_registry"] for k, v in registry["field_registries"].items()}
    if kind not in KINDS or not saved["trained"]:
        raise InputError(
            f"a model of scvi-tools must be a trained {', '.join(KINDS)}",
            kind if kind not in KINDS else f"an untrained {kind}",
            ONLY_STEERING,
        )
    given = saved["init_params"]
    options = {**given["non_kwargs"], **{k: v for part in given["kwargs"].values() for k, v in part.items()}}
    for name in ("datamodule", "override_missing_proteins", "empirical_protein_background_prior"):
        options.pop(name, None)
    unknown = [k for k in ("size_factor_key", "panel_key", "protein_layer") if setup.get(k)]
    if unknown:
        raise InputError(
            "a model of scvi-tools is decoded by library size, batch and covariates",
            f"{', '.join(unknown)} in its set-up",
            ONLY_STEERING,
        )
    batch = fields["batch"]
    categories = [str(v) for v in batch["categorical_mapping"]]
    labels = fields.get("labels", {})
    label_categories = [str(v) for v in labels.get("categorical_mapping", ())]
    labelled = setup.get("labels_key") is not None and (kind == "SCANVI" or len(label_categories) > 1)
    cat = fields.get("extra_categorical_covs", {}).get("mappings", {})
    cont = fields.get("extra_continuous_covs", {}).get("columns", ())
    return {
        "genes": feature_names(kind, saved["var_names"], fields, options),
        "options": {k: v for k, v in options.items() if v is not None},
        "batch": setup.get("batch_key"),
        "categories": categories,
        "labels": setup.get("labels_key") if labelled else None,
        "label_categories": label_categories if labelled else [],
        "layer": setup.get("layer") or setup.get("rna_layer"),
        "covariates": Covariates({str(k): [str(x) for x in v] for k, v in cat.items()}, [str(c) for c in cont]),
        "told": False,
    }


def feature_names(
    kind: str, var_names: Any, fields: Mapping[str, Any], options: dict[str, Any]
) -> dict[str, list[str]]:
    """Features by modality; MULTIVI keeps genes and peaks in one list where it was set up on an AnnData."""
    if kind == "MULTIVI":
        n_genes, n_regions = int(options.pop("n_genes")), int(options.pop("n_regions"))
        if "atac" in fields and "column_names" in fields["atac"]:
            found = {m: [str(g) for g in fields[k]["column_names"]] for m, k in (("rna", "X"), ("atac", "atac"))}
        else:
            every = [str(g) for g in var_names]
            found = {"rna": every[:n_genes], "atac": every[n_genes : n_genes + n_regions]}
        return found
    names = {KINDS[kind][0]: [str(g) for g in var_names]}
    if kind == "TOTALVI":
        names["protein"] = [str(p) for p in fields["proteins"]["column_names"]]
    return names
