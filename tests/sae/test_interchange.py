"""Round trips through the formats of other programs, read by those programs where they are installed."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sae.cases import VARIANTS, embedding

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
