"""What a deep generative decoder is made of."""

from __future__ import annotations

from dataclasses import dataclass

from cellprism.numeric import numbers_checked

__all__ = ["DGDConfig"]


@numbers_checked
@dataclass(frozen=True)
class DGDConfig:
    """Architecture and priors.

    The defaults are those of multiDGD (Nature Communications 15:10031) but for the number of mixture components,
    which there is the number of cell-type labels, and their width.
    """

    latent: int = 20
    """Dimension of a cell's representation."""
    n_components: int = 10
    """Components of the Gaussian mixture."""
    layers: int = 2
    """Hidden layers shared by all modalities."""
    hidden: int = 100
    """Their width."""
    head_layers: int = 3
    """Linear layers of each modality's head; its last hidden layer is as wide as the root of the feature number."""
    head_width: int = 1
    """Factor on the width of the heads' hidden layers."""
    radius: float = 2.0
    """Of the soft ball in which the component means lie."""
    hardness: float = 5.0
    """Of the ball's border."""
    sd: float | None = 0.3
    """Expected standard deviation of the components; None = multiDGD's 2 x radius / (10 x n_components), which packs
    the cells of a component so tightly that a continuous course of cells falls into clumps."""
    sd_sd: float = 1.0
    """Standard deviation of the Gaussian prior on the negative log variances."""
    dirichlet: float = 1.0
    """Concentration of the Dirichlet prior on the component weights; 1 = flat."""
    covariate_latent: int = 2
    """Dimension of the second representation, which holds the covariate."""

    def component_sd(self, n_components: int | None = None) -> float:
        """Expected standard deviation of a component."""
        if self.sd is not None and n_components is None:
            return self.sd
        return max(round(0.2 * self.radius / (n_components or self.n_components), 2), 0.01)
