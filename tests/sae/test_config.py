import dataclasses
import json

import pytest
import yaml

from cellprism.errors import InputError
from cellprism.sae import SAEConfig

BAD = {
    "k over width": ({"width": 8, "activation": "topk", "k": 9}, "cannot exceed `width`.*k=9, width=8"),
    "k missing": ({"width": 8, "activation": "batchtopk"}, "needs `k`"),
    "k zero": ({"width": 8, "activation": "topk", "k": 0}, "`k` must be at least 1"),
    "k for relu": ({"width": 8, "activation": "relu", "k": 2}, "made sparse by `l1`"),
    "width zero": ({"width": 0, "activation": "relu"}, "`width` must be at least 1"),
    "unknown activation": ({"width": 8, "activation": "tanh"}, "`activation` must be one of relu, topk"),
    "unknown scaling": ({"width": 8, "activation": "relu", "scaling": "zscore"}, "`scaling` must be one of"),
    "l1 for batchtopk": ({"width": 8, "k": 2, "l1": 0.1}, "no place in batchtopk"),
    "l0 for relu": ({"width": 8, "activation": "relu", "l0": 0.1}, "belongs to jumprelu"),
    "negative l1": ({"width": 8, "activation": "relu", "l1": -0.1}, "`l1` must be at least 0"),
    "p for topk": ({"width": 8, "activation": "topk", "k": 2, "p_end": 0.5}, "annealing shapes an L1 penalty"),
    "p out of range": ({"width": 8, "activation": "relu", "p_end": 0.0}, "`p_end` must be more than 0"),
    "prefixes fall": ({"width": 8, "k": 2, "matryoshka": (4, 2)}, "must increase"),
    "prefix over width": ({"width": 8, "k": 2, "matryoshka": (4, 16)}, "between 1 and the width"),
    "bandwidth zero": ({"width": 8, "activation": "jumprelu", "bandwidth": 0.0}, "`bandwidth` must be more than 0"),
    "all active at the start": (
        {"width": 8, "activation": "relu", "start_active": 1.0},
        "`start_active` must be less than 1",
    ),
    "a reading with prefixes": (
        {"width": 8, "activation": "jumprelu", "pre_bias": "none", "init": "geometry", "matryoshka": (4,)},
        "read off without training",
    ),
    "half a feature": ({"width": 8.5, "k": 2}, "`width` must be a whole number; met 8.5"),
    "k in words": ({"width": 8, "k": "four"}, "`k` must be a whole number; met 'four'"),
    "a yes": ({"width": 8, "k": True}, "`k` must be a whole number; met True"),
    "a list": ({"width": 8, "activation": "relu", "l1": [0.1]}, "`l1` must be a number"),
    "one prefix": ({"width": 8, "k": 2, "matryoshka": 4}, "`matryoshka` is a list"),
    "a word for a switch": ({"width": 8, "k": 2, "unit_norm": "no"}, "`unit_norm` must be true or false"),
    "aux_k zero": ({"width": 8, "k": 2, "aux_k": 0}, "`aux_k` must be at least 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_configs_are_refused(name: str) -> None:
    options, message = BAD[name]
    with pytest.raises(InputError, match=message):
        SAEConfig(**options)


def test_papers_forms() -> None:
    vanilla, relu = SAEConfig.paper("vanilla", 40), SAEConfig.paper("relu", 40, l1=1e-2)
    topk = SAEConfig.paper("topk", 40, k_percent=10)
    assert (vanilla.pre_bias, vanilla.bias_init, vanilla.l1) == ("none", "linear", 1e-3)
    assert (relu.pre_bias, relu.bias_init, relu.l1) == ("free", "zero", 1e-2)
    assert (topk.activation, topk.k) == ("topk", 4)
    for cfg in (vanilla, relu, topk):
        assert (cfg.scaling, cfg.unit_norm, cfg.penalty_reduction, cfg.aux_weight) == ("none", False, "mean", 0)
    assert SAEConfig.paper("relu", 40, scaling="whiten").scaling == "whiten"
    assert SAEConfig.paper("topk", 40, k_percent=100).k == 40
    for options in (
        {"form": "topk"},
        {"form": "relu", "k_percent": 5},
        {"form": "topk", "k_percent": 0},
        {"form": "x"},
    ):
        with pytest.raises(InputError):
            SAEConfig.paper(width=40, **options)


def test_defaults_of_the_penalties_depend_on_the_variant() -> None:
    assert SAEConfig(8, "relu").l1_weight == 0.3
    assert SAEConfig(8, "gated").l1_weight == 0.4
    assert SAEConfig(8, "relu", l1=0.0).l1_weight == 0
    assert SAEConfig(8, "topk", k=2).l1_weight == 0
    assert SAEConfig(8, "jumprelu", k=2).l0_weight == 1
    assert SAEConfig(8, "jumprelu").l0_weight == 0.03
    assert SAEConfig(8, "relu").l0_weight == 0


def test_dictionaries_make_the_round_trip_through_json_and_yaml() -> None:
    cfg = SAEConfig(64, "jumprelu", k=4, matryoshka=(16, 32), scaling="whiten", whiten_power=0.5)
    assert SAEConfig.from_dict(json.loads(json.dumps(cfg.to_dict()))) == cfg
    assert SAEConfig.from_dict(yaml.safe_load(yaml.safe_dump(cfg.to_dict()))) == cfg
    with pytest.raises(InputError, match=r"unknown.*'widht'"):
        SAEConfig.from_dict({"widht": 3})
    with pytest.raises(InputError, match="needs `width`"):
        SAEConfig.from_dict({"k": 3})


def test_every_field_is_explained_and_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SAEConfig(8, k=2).k = 3
