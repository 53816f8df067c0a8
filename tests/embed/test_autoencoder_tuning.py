import pytest

from cellprism.embed.autoencoder import AutoencoderModel
from cellprism.errors import InputError
from cellprism.simulate import large


@pytest.fixture(scope="module")
def cells():
    return large(200, 20, n_programs=4, n_cell_types=3)


def test_the_best_trial_is_kept(cells):
    pytest.importorskip("optuna", reason="optuna, an optional package, is not installed")
    from cellprism.embed.autoencoder_tuning import tune

    found = tune(cells, trials=4, latent=3, epochs=3, transform="none")
    assert len(found.trials) == 4
    assert found.model.validation_loss == found.trials["validation_loss"].min()
    again = AutoencoderModel.fit(cells, seed=0, **found.options)
    assert again.validation_loss == pytest.approx(found.model.validation_loss)
    assert 1e-6 <= found.options["lr"] <= 1e-3


def test_refuses(cells, monkeypatch):
    from cellprism.embed import autoencoder_tuning

    with pytest.raises(InputError):
        autoencoder_tuning.tune(cells, trials=0)
    monkeypatch.setattr(autoencoder_tuning, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="optuna"):
        autoencoder_tuning.tune(cells)
