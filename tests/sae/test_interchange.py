"""Round trips through the formats of other programs, read by those programs where they are installed."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sae.cases import VARIANTS, embedding
from safetensors.torch import load_file, save_file

from cellprism.errors import InputError
from cellprism.sae import SAE, SAEConfig, fit
from cellprism.sae.interchange import export_sae, import_sae

KNOWN = {
    "saelens": ["relu", "topk", "batchtopk", "jumprelu", "gated", "paper-vanilla", "paper-relu", "paper-topk"],
    "sparsify": ["topk", "paper-topk"],
    "dictionary_learning": ["topk", "batchtopk", "paper-topk"],
}
PAIRS = [(program, name) for program, names in KNOWN.items() for name in names]


def trained(name: str) -> SAE:
    return fit(embedding(), VARIANTS[name], epochs=4, batch_size=64).sae


def close(got: np.ndarray, wanted: np.ndarray) -> None:
    """Equal up to rounding; a value within rounding of a threshold may fall on either side."""
    off = ~np.isclose(got, wanted, rtol=1e-3, atol=2e-3)
    assert off.mean() < 0.005


@pytest.mark.parametrize(("program", "name"), PAIRS)
def test_round_trip(program: str, name: str, tmp_path: Path) -> None:
    sae, X = trained(name), embedding(60, seed=4)
    export_sae(sae, tmp_path / "there", program)
    back = import_sae(tmp_path / "there")
    close(back.encode(X).toarray(), sae.encode(X).toarray())
    np.testing.assert_allclose(back.decode(sae.encode(X)), sae.decode(sae.encode(X)), rtol=1e-3, atol=1e-3)


def test_whitened_models_are_folded(tmp_path: Path) -> None:
    sae, X = fit(embedding(), SAEConfig(12, "topk", k=3, scaling="whiten"), epochs=4).sae, embedding(60, seed=4)
    export_sae(sae, tmp_path, "sparsify")
    close(import_sae(tmp_path).encode(X).toarray(), sae.encode(X).toarray())


def peer(module: str) -> object:
    """A peer that is installed and works here; its absence or a broken installation skips, with the reason."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{module} is not usable here: {error}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KNOWN["saelens"])
def test_saelens_reads_and_writes_the_same(name: str, tmp_path: Path) -> None:
    theirs = peer("sae_lens.saes.sae").SAE
    sae, X = trained(name), embedding(60, seed=4)
    export_sae(sae, tmp_path / "a", "saelens")
    model = theirs.load_from_disk(tmp_path / "a", device="cpu")
    with torch.no_grad():
        codes = model.encode(torch.as_tensor(X))
        close(codes.numpy(), sae.encode(X).toarray())
        np.testing.assert_allclose(model.decode(codes).numpy(), sae.decode(codes.numpy()), rtol=1e-3, atol=1e-3)
    model.save_model(tmp_path / "b")
    close(import_sae(tmp_path / "b").encode(X).toarray(), codes.numpy())


@pytest.mark.filterwarnings("ignore")
def test_sparsify_reads_and_writes_the_same(tmp_path: Path) -> None:
    theirs = peer("sparsify").SparseCoder
    sae, X = trained("topk"), embedding(60, seed=4)
    export_sae(sae, tmp_path / "a", "sparsify")
    model = theirs.load_from_disk(tmp_path / "a")
    with torch.no_grad():
        found = model.encode(torch.as_tensor(X))
        dense = torch.zeros(60, 12).scatter(1, found.top_indices, found.top_acts).numpy()
    close(dense, sae.encode(X).toarray())
    model.save_to_disk(tmp_path / "b")
    close(import_sae(tmp_path / "b").encode(X).toarray(), dense)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "module", "kind"),
    [("topk", "top_k", "AutoEncoderTopK"), ("batchtopk", "batch_top_k", "BatchTopKSAE")],
)
def test_dictionary_learning_reads_the_same(name: str, module: str, kind: str, tmp_path: Path) -> None:
    theirs = getattr(peer(f"dictionary_learning.trainers.{module}"), kind)
    sae, X = trained(name), embedding(60, seed=4)
    export_sae(sae, tmp_path, "dictionary_learning")
    model = theirs.from_pretrained(str(tmp_path / "ae.pt"))
    with torch.no_grad():
        close(model.encode(torch.as_tensor(X)).numpy(), sae.encode(X).toarray())


def test_scfeaturelens_state_dicts(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    encoder, decoder = torch.nn.Linear(5, 9), torch.nn.Linear(9, 5)
    with torch.no_grad():
        for p in (*encoder.parameters(), *decoder.parameters()):
            p.normal_(generator=generator)
    state = {f"encoder.0.{k}": v for k, v in encoder.state_dict().items()}
    state |= {f"decoder.0.{k}": v for k, v in decoder.state_dict().items()}
    torch.save(state, tmp_path / "sae.pt")
    X = embedding(40)
    sae = import_sae(tmp_path / "sae.pt")
    with torch.no_grad():
        codes = torch.relu(encoder(torch.as_tensor(X)))
        np.testing.assert_allclose(sae.encode(X).toarray(), codes.numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(sae.decode(codes.numpy()), decoder(codes).numpy(), rtol=1e-4, atol=1e-4)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("sprung"),)


def test_bad_imports_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="check the path"):
        import_sae(tmp_path)
    torch.save({"a": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(InputError, match="readable as tensors"):
        import_sae(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"no \['encoder.0.weight'"):
        import_sae(tmp_path / "other.pt")
    sae = trained("gated")
    for program in ("sparsify", "dictionary_learning", "numpy"):
        with pytest.raises(InputError):
            export_sae(sae, tmp_path / "x", program)
    assert not (tmp_path / "x").exists()
    export_sae(sae, tmp_path / "s", "saelens")
    about = json.loads((tmp_path / "s" / "cfg.json").read_text())
    for change in ({"normalize_activations": "layer_norm"}, {"architecture": "temporal"}):
        (tmp_path / "s" / "cfg.json").write_text(json.dumps(about | change))
        with pytest.raises(InputError):
            import_sae(tmp_path / "s")


def saelens(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **fields: object) -> Path:
    """A SAELens folder of 6 dimensions and 16 features, with fields and tensors besides."""
    rng = torch.Generator().manual_seed(0)
    w = {"W_enc": (6, 16), "b_enc": (16,), "W_dec": (16, 6), "b_dec": (6,)}
    made = {n: torch.randn(shape, generator=rng) for n, shape in w.items()} | (tensors or {})
    folder.mkdir(parents=True)
    save_file({n: t for n, t in made.items() if t is not None}, str(folder / "sae_weights.safetensors"))
    about = {"architecture": "standard", "d_in": 6, "d_sae": 16} | fields
    (folder / "cfg.json").write_text(json.dumps({k: v for k, v in about.items() if v is not ...}))
    return folder


def by_hand(folder: Path, X: np.ndarray, activation, *, subtract: bool = True) -> np.ndarray:
    w = load_file(folder / "sae_weights.safetensors")
    x = torch.as_tensor(X) - (w["b_dec"] if subtract else 0)
    return activation(x @ w["W_enc"] + w["b_enc"]).numpy()


def topk(k: int):
    def kept(pre: torch.Tensor) -> torch.Tensor:
        values, at = pre.topk(k)
        return torch.zeros_like(pre).scatter(1, at, values.relu())

    return kept


RELU = torch.relu
HONOURED = {
    "version 6": ({"apply_b_dec_to_input": True, "normalize_activations": "none", "metadata": {"x": 1}}, RELU),
    "version 5, relu said": ({"activation_fn_str": "relu", "activation_fn_kwargs": {}, "hook_name": "a"}, RELU),
    "version 5, topk": ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}, topk(4)),
    "version 4, topk by architecture": (
        {"architecture": "topk", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}},
        topk(4),
    ),
    "version 2, activation_fn": (
        {"architecture": ..., "activation_fn": "topk", "activation_fn_kwargs": {"k": 5}},
        topk(5),
    ),
    "version 6, topk": ({"architecture": "topk", "k": 3}, topk(3)),
    "k twice, alike": ({"architecture": "topk", "k": 3, "activation_fn_kwargs": {"k": 3}}, topk(3)),
    "no normalisation, as it was written then": ({"normalize_activations": False, "noise_scale": 0.0}, RELU),
    "of training": ({"lr": 1e-3, "l1_coefficient": 5, "dataset_path": "x", "seqpos_slice": [None]}, RELU),
}


@pytest.mark.parametrize("case", HONOURED)
def test_fields_of_saelens_of_all_versions_are_honoured(case: str, tmp_path: Path) -> None:
    fields, activation = HONOURED[case]
    X = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)
    folder = saelens(tmp_path / "there", **fields)
    close(import_sae(folder).encode(X).toarray(), by_hand(folder, X, activation))


def test_the_decoder_bias_and_factor_of_saelens_are_honoured(tmp_path: Path) -> None:
    X = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)
    folder = saelens(tmp_path / "a", apply_b_dec_to_input=False)
    close(import_sae(folder).encode(X).toarray(), by_hand(folder, X, RELU, subtract=False))
    factor = torch.linspace(0.5, 2, 16)
    for name, fields in (
        ("finetuning_scaling_factor", {"finetuning_scaling_factor": True}),
        ("scaling_factor", {}),
    ):
        folder = saelens(tmp_path / name, {name: factor}, **fields)
        w, found = load_file(folder / "sae_weights.safetensors"), import_sae(folder)
        codes = found.encode(X)
        close(codes.toarray(), by_hand(folder, X, RELU))
        wanted = (torch.as_tensor(codes.toarray()) * factor) @ w["W_dec"] + w["b_dec"]
        np.testing.assert_allclose(found.decode(codes), wanted.numpy(), rtol=1e-4, atol=1e-4)
    import_sae(saelens(tmp_path / "ones", {"scaling_factor": torch.ones(16)}, finetuning_scaling_factor=False))


NUMBER, ROW = torch.tensor(1.0), torch.ones(16)
REFUSED = {
    "activation": ({"activation_fn_str": "tanh-relu"}, {}),
    "two activations": ({"activation_fn_str": "relu", "activation_fn": "topk"}, {}),
    "k without topk": ({"activation_fn_kwargs": {"k": 8}}, {}),
    "k in version 6 without topk": ({"k": 8}, {}),
    "topk without k": ({"architecture": "topk"}, {}),
    "two k": ({"architecture": "topk", "k": 3, "activation_fn_kwargs": {"k": 4}}, {}),
    "k null": ({"architecture": "topk", "k": None}, {}),
    "k of text": ({"architecture": "topk", "k": "8"}, {}),
    "k too large": ({"architecture": "topk", "k": 17}, {}),
    "k of zero": ({"architecture": "topk", "k": 0}, {}),
    "k of a half": ({"architecture": "topk", "k": 2.5}, {}),
    "kwargs unknown": ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3, "postact_fn": "x"}}, {}),
    "topk within jumprelu": ({"architecture": "jumprelu", "activation_fn": "topk"}, {"threshold": ROW}),
    "architecture": ({"architecture": "matryoshka_batchtopk"}, {}),
    "norm by mean": ({"normalize_activations": "expected_average_only_in"}, {}),
    "norm as it was written then": ({"normalize_activations": True}, {}),
    "layer norm": ({"normalize_activations": "layer_norm"}, {}),
    "rescaled relu": ({"rescale_acts_by_decoder_norm": True}, {}),
    "reshaped": ({"reshape_activations": "hook_z"}, {}),
    "noise": ({"noise_scale": 0.1}, {}),
    "error term": ({"use_error_term": True}, {}),
    "bias of text": ({"apply_b_dec_to_input": "yes"}, {}),
    "a field nobody knows": ({"input_shift": 3.0}, {}),
    "another size": ({"d_sae": 32}, {}),
    "another dimension": ({"d_in": 5}, {}),
    "a threshold of a relu": ({}, {"threshold": ROW}),
    "a tensor nobody knows": ({}, {"W_skip": torch.eye(6)}),
    "a factor that is not used": ({"finetuning_scaling_factor": False}, {"scaling_factor": 2 * ROW}),
    "a factor that is not there": ({"finetuning_scaling_factor": True}, {}),
    "no bias": ({}, {"b_enc": None}),
    "a bias of another size": ({}, {"b_enc": torch.ones(15)}),
    "an encoder turned": ({}, {"W_enc": torch.ones(16, 6)}),
    "NaN": ({}, {"b_dec": torch.tensor([1.0, 2, 3, 4, 5, torch.nan])}),
    "jumprelu without threshold": ({"architecture": "jumprelu"}, {}),
    "jumprelu of one threshold": ({"architecture": "jumprelu"}, {"threshold": NUMBER}),
    "gated without gate": ({"architecture": "gated"}, {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_saelens_has_and_we_have_not_is_refused(case: str, tmp_path: Path) -> None:
    fields, tensors = REFUSED[case]
    with pytest.raises(InputError) as caught:
        import_sae(saelens(tmp_path / "there", tensors, **fields))
    assert caught.value.remedy != "none"


def sparsify(folder: Path, tensors=None, **fields: object) -> Path:
    folder.mkdir()
    w = {
        "encoder.weight": torch.randn(16, 6), "encoder.bias": torch.zeros(16), "W_dec": torch.randn(16, 6),
        "b_dec": torch.zeros(6),
    }  # fmt: skip
    save_file(w | (tensors or {}), str(folder / "sae.safetensors"))
    (folder / "cfg.json").write_text(json.dumps({"k": 3, "d_in": 6, "num_latents": 16} | fields))
    return folder


def dictionary(folder: Path, tensors=None, about=None, **trainer: object) -> Path:
    folder.mkdir()
    w = {
        "encoder.weight": torch.randn(16, 6), "encoder.bias": torch.zeros(16), "decoder.weight": torch.randn(6, 16),
        "b_dec": torch.zeros(6), "k": torch.tensor(3), "threshold": torch.tensor(0.1),
    }  # fmt: skip
    w = {k: v for k, v in (w | (tensors or {})).items() if v is not None}
    torch.save(w, folder / "ae.pt")
    named = {"dict_class": "BatchTopKSAE", "activation_dim": 6, "dict_size": 16, "k": 3, "lr": 1e-3} | trainer
    (folder / "config.json").write_text(json.dumps({"trainer": named, "buffer": {"ctx_len": 3}} | (about or {})))
    return folder


OTHERS = {
    "sparsify: by absolute value": lambda f: sparsify(f, signed=True),
    "sparsify: groupmax": lambda f: sparsify(f, activation="groupmax"),
    "sparsify: transcoder": lambda f: sparsify(f, transcode=True),
    "sparsify: skip": lambda f: sparsify(f, {"W_skip": torch.eye(6)}),
    "sparsify: unknown": lambda f: sparsify(f, input_scale=2.0),
    "sparsify: size": lambda f: sparsify(f, num_latents=32),
    "sparsify: k": lambda f: sparsify(f, k=None),
    "dictionary_learning: class": lambda f: dictionary(f, dict_class="GatedAutoEncoder"),
    "dictionary_learning: no class": lambda f: dictionary(f, dict_class=None),
    "dictionary_learning: k differs": lambda f: dictionary(f, k=4),
    "dictionary_learning: unknown": lambda f: dictionary(f, input_norm="layer"),
    "dictionary_learning: beside the trainer": lambda f: dictionary(f, about={"scale": 2.0}),
    "dictionary_learning: groups": lambda f: dictionary(f, {"group_sizes": torch.tensor([8, 8])}),
    "dictionary_learning: no threshold": lambda f: dictionary(f, {"threshold": None}),
    "dictionary_learning: NaN": lambda f: dictionary(f, {"b_dec": torch.full((6,), torch.nan)}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_other_programs_have_and_we_have_not_is_refused(case: str, tmp_path: Path) -> None:
    folder = OTHERS[case](tmp_path / "there")
    with pytest.raises(InputError) as caught:
        import_sae(folder)
    assert caught.value.remedy != "none"


def test_harmless_fields_of_other_programs_are_read(tmp_path: Path) -> None:
    import_sae(sparsify(tmp_path / "a", expansion_factor=32, normalize_decoder=True, multi_topk=False, signed=False))
    import_sae(sparsify(tmp_path / "b", num_latents=0))
    import_sae(dictionary(tmp_path / "c", wandb_name="x", auxk_alpha=0.03))
    assert import_sae(dictionary(tmp_path / "d", {"k": None}, dict_class="AutoEncoderTopK")).config.k == 3


def test_a_further_layer_of_scfeaturelens_is_refused(tmp_path: Path) -> None:
    state = {"encoder.0.weight": torch.ones(9, 5), "encoder.0.bias": torch.ones(9)}
    state |= {
        "decoder.0.weight": torch.ones(5, 9),
        "decoder.0.bias": torch.ones(5),
        "encoder.2.weight": torch.ones(9, 9),
    }
    torch.save(state, tmp_path / "sae.pt")
    with pytest.raises(InputError, match=r"encoder\.2\.weight"):
        import_sae(tmp_path / "sae.pt")
