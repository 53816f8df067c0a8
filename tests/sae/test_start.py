import numpy as np
import pytest
import torch
from sae.cases import embedding

from cellprism.sae import SAE, SAEConfig
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.start import geometric_median, start_from_data


def test_geometric_median_is_the_minimum() -> None:
    x = torch.as_tensor(embedding(200), dtype=torch.float64)
    centre = geometric_median(x, iterations=500)
    pull = ((x - centre) / (x - centre).norm(dim=1, keepdim=True)).sum(0)  # gradient of the summed distances
    np.testing.assert_allclose(pull.numpy(), 0, atol=1e-3)
    line = torch.tensor([[0.0], [1.0], [50.0]], dtype=torch.float64)
    assert geometric_median(line, iterations=200).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("activation", ["relu", "gated", "jumprelu"])
def test_features_fire_in_the_asked_share_of_cells(activation: str) -> None:
    X = embedding(1000)
    sae = SAE(SAEConfig(40, activation, start_active=0.05), fit_scaling(X, "global"), torch.Generator().manual_seed(0))
    x = sae.scale(torch.as_tensor(X))
    start_from_data(sae, x)
    with torch.no_grad():
        share = (sae.activation(sae.pre_activations(x)) > 0).float().mean(0).numpy()
    np.testing.assert_allclose(share, 0.05, atol=0.002)


def test_published_forms_start_as_published() -> None:
    X = embedding(100)
    sae = SAE(SAEConfig.paper("relu", 8), fit_scaling(X, "none"), torch.Generator().manual_seed(0))
    start_from_data(sae, sae.scale(torch.as_tensor(X)))
    for bias in (sae.encoder_bias, sae.decoder_bias, sae.input_bias):
        assert not bias.any()
