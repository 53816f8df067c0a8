import anndata
import numpy as np
import pytest
import torch

from cellprism import embed
from cellprism.embed.autoencoder import Architecture, AutoencoderModel, layer_sizes
from cellprism.errors import InputError
from cellprism.recovery import Truth, probe
from cellprism.simulate import large, small

SIZES = {
    "linear": ((5, 4, 1, "narrow"), [5, 4]),
    "narrow, under-determined": ((20_000, 20, 2, "narrow"), [20_000, 150, 20]),
    "narrow, four": ((20_000, 150, 4, "narrow"), [20_000, 1_000, 300, 300, 150]),
    "wide": ((2_000, 100, 2, "wide"), [2_000, 1_000, 100]),
    "wide, six": ((2_000, 100, 6, "wide"), [2_000, 1_000, 820, 640, 460, 280, 100]),
}


@pytest.mark.parametrize("case", SIZES)
def test_layers_are_those_of_the_paper(case):
    (genes, latent, depth, shape), expected = SIZES[case]
    assert layer_sizes(Architecture(genes, latent, depth, shape)) == expected


@pytest.fixture(scope="module")
def cells():
    return large(1_500, 60, n_programs=8, n_cell_types=4, seed=0)


@pytest.fixture(scope="module")
def model(cells):
    return AutoencoderModel.fit(cells, latent=12, lr=3e-3, epochs=40, transform="none", seed=1)


def test_the_embedding_holds_the_programs_as_superpositions(cells, model):
    table = probe(model.encode(cells), Truth.of(cells).only("X2")).variables
    assert table["r2"].mean() > 0.9
    assert model.validation_loss == min(model.history["validation"])
    assert model.validation_loss < 0.2 * cells.X.toarray().var(axis=0).mean()


def test_a_saved_model_is_the_same_model(cells, model, tmp_path):
    model.save(tmp_path)
    again = embed.load(tmp_path)
    assert isinstance(again, AutoencoderModel)
    Z = model.encode(cells)
    np.testing.assert_array_equal(again.encode(cells), Z)
    np.testing.assert_array_equal(again.decode(Z)["rna"], model.decode(Z)["rna"])
    assert (again.architecture, again.history) == (model.architecture, model.history)


def test_genes_are_found_by_name(cells, model):
    turned = cells[:, ::-1].copy()
    np.testing.assert_allclose(model.encode(turned), model.encode(cells), atol=1e-4)
    with pytest.raises(InputError, match="missing"):
        model.encode(cells[:, :10].copy())


def test_seeds_and_the_state_of_torch(cells):
    few = cells[:200].copy()
    before = torch.get_rng_state()
    fits = [AutoencoderModel.fit(few, latent=3, epochs=2, transform="none", dropout=0.1, seed=s) for s in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    first, same, other = (fit.encode(few) for fit in fits)
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)


def test_training_stops_early(cells):
    found = AutoencoderModel.fit(cells[:200].copy(), latent=3, lr=0.1, epochs=200, patience=2, transform="none")
    assert len(found.history["validation"]) < 200


def test_raw_counts_are_normalised_and_decoded_to_their_library():
    rng = np.random.default_rng(0)
    counts = anndata.AnnData(
        rng.poisson(rng.gamma(2, 2, size=(300, 20)) * rng.uniform(1, 4, (300, 1))).astype(np.float32)
    )
    model = AutoencoderModel.fit(counts, latent=4, lr=1e-2, epochs=30)
    assert model.transform == "log1p"
    decoded = model.decode(model.encode(counts), counts)["rna"]
    assert (decoded >= 0).all()
    assert np.corrcoef(decoded.sum(axis=1), counts.X.sum(axis=1))[0, 1] > 0.95


def test_the_small_simulation_embeds():
    cells = small(1_000, held_out=100)
    model = embed.train("autoencoder", cells, latent=4, depth=1, lr=1e-2, epochs=60, transform="none", batch_size=1_000)
    assert model.encode(cells).shape == (1_000, 4)


@pytest.mark.parametrize(
    "bad",
    [{"latent": 0}, {"shape": "round"}, {"dropout": 1.0}, {"lr": 0.0}, {"validation": 0.0}, {"modality": "protein"}],
    ids=str,
)
def test_refuses(cells, bad):
    import mudata

    with mudata.set_options(pull_on_update=False):
        data = mudata.MuData({"rna": cells}) if "modality" in bad else cells
    with pytest.raises(InputError):
        AutoencoderModel.fit(data, **({"latent": 2, "epochs": 1} | bad))
