"""What a sparse autoencoder is: one frozen config for every variant."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from cellprism.errors import InputError
from cellprism.numeric import as_number, as_whole, numbers_checked

__all__ = ["Activation", "PaperForm", "SAEConfig", "Scaling"]

Activation = Literal["relu", "topk", "batchtopk", "jumprelu", "gated"]
Scaling = Literal["none", "global", "standard", "whiten", "wiener"]
PreBias = Literal["none", "tied", "free"]
Init = Literal["tied", "linear", "geometry"]
BiasInit = Literal["geometric_median", "zero", "linear"]
Reduction = Literal["sum", "mean"]
PaperForm = Literal["vanilla", "relu", "topk"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "activation": get_args(Activation),
    "scaling": get_args(Scaling),
    "pre_bias": get_args(PreBias),
    "init": get_args(Init),
    "bias_init": get_args(BiasInit),
    "penalty_reduction": get_args(Reduction),
}
_TAKES_K = ("topk", "batchtopk")
_TAKES_L1 = ("relu", "gated")
_WHOLE = ("width", "k", "kinds", "guided", "aux_k", "dead_after", "resample_every")
_NUMBERS = ("l1", "l0", "p_end", "whiten_power", "start_active", "aux_weight", "bandwidth")
_DEFAULT_L1 = {"relu": 0.3, "gated": 0.4}


@dataclass(frozen=True)
class SAEConfig:
    """Architecture and objective of a sparse autoencoder.

    The model is ``codes = activation(W (x' - b) + c)``, ``x'_hat = codes @ D + b``, where ``x'`` is the centred and
    scaled embedding. Training options (epochs, learning rate, seeds, …) belong to :func:`cellprism.fit`.

    Raises
    ------
    InputError
        If an option is out of range, unknown, missing for this activation or without effect on it.

    Examples
    --------
    >>> prism.SAEConfig(width=64, activation="topk", k=8).k
    8
    >>> prism.SAEConfig(width=64, activation="relu", k=8)
    Traceback (most recent call last):
    ...
    cellprism.errors.InputError: ...
    """

    width: int
    """Number of features in the dictionary."""

    activation: Activation = "batchtopk"
    """``relu``: ReLU with an L1 penalty. ``topk``: the k largest of each cell (Gao et al. 2024). ``batchtopk``: the
    k x cells largest of each batch, at inference one learned threshold (Bussmann et al. 2024). ``jumprelu``: a learned
    threshold a feature with an L0 penalty (Rajamanoharan et al. 2024b). ``gated``: a gate decides, a second path
    measures (Rajamanoharan et al. 2024a)."""

    k: int | None = None
    """Active features a cell: exactly (topk), on average (batchtopk), as the target of the L0 penalty (jumprelu)."""

    l1: float | None = None
    """Weight of the sparsity penalty of relu and gated (and of the paper's topk form); None = 0.3 for relu, 0.4 for
    gated, 0 for the others."""

    l0: float | None = None
    """Weight of jumprelu's L0 penalty: ``l0 * L0``, or ``l0 * (L0 / k - 1)^2`` where ``k`` is given; None = 0.03 or 1."""

    penalty_reduction: Reduction = "sum"
    """``sum``: penalty summed over features, weighted by decoder norms, averaged over cells, in units of the scaled
    embedding's length (the root of its dimension), so that it neither changes with width or dimension nor can be
    escaped by scaling. ``mean``: averaged over cells and features, as published."""

    p_end: float | None = None
    """p-annealing (Karvonen et al. 2024): the penalty's exponent falls from 1 to ``p_end`` over training."""

    matryoshka: tuple[int, ...] = ()
    """Prefix widths that must reconstruct on their own beside the full width (Bussmann et al. 2025)."""

    scaling: Scaling = "global"
    """How the embedding is scaled inside the model: not at all and not centred (``none``), centred and divided by one
    number (``global``), by one number a dimension (``standard``), or along its principal axes: flattened (``whiten``),
    or turned down by the share of an axis's variance that the least axis has, as a Wiener filter with that axis as its
    measure of noise (``wiener``: for embeddings whose many small axes carry noise, such as 50 principal components of
    700 cells)."""

    whiten_power: float = 1.0
    """With ``whiten``: each principal axis is divided by its standard deviation to this power; 0 leaves the axes as they
    are, 1 whitens in full."""

    unit_norm: bool = True
    """Hold the decoder's rows at norm 1."""

    pre_bias: PreBias = "tied"
    """What is taken off the input before the encoder: nothing, the decoder's bias, or a vector of its own."""

    init: Init = "tied"
    """``tied``: random unit decoder rows, encoder = decoder. ``linear``: the default of a linear layer. ``geometry``
    (jumprelu): the weights are read off the embedding and not trained, see :mod:`cellprism.sae.geometry.reading`."""

    kinds: int = 0
    """With init ``geometry``: features beside the programs, at most, that mark kinds of cells: the other sides of programs that are on
    and off in many cells, then kinds from broad to narrow; they come behind them (:mod:`cellprism.sae.geometry.kinds`). ``width`` is then the number of both at most."""

    guided: int = 0
    """Of an SAE that ``fit(guide=...)`` made: so many features, the last ones, follow genes (:mod:`cellprism.sae.guided`)."""

    bias_init: BiasInit = "geometric_median"
    """Start of the decoder's bias; ``linear`` draws every bias as a linear layer does, ``zero`` starts all at 0."""

    start_active: float | None = 0.05
    """Share of cells in which each feature fires at the start (relu and gated: through the encoder's bias, jumprelu:
    through the threshold). With biases at 0 half of all features fire, and most of the training goes into quietening
    them. None = leave the biases as they are."""

    aux_k: int | None = None
    """Dead features that reconstruct the residual in the auxiliary loss; None = half the embedding's dimension."""

    aux_weight: float = 1 / 32
    """Weight of the auxiliary loss; 0 switches it off."""

    dead_after: int = 10
    """Passes over the training cells without firing after which a feature counts as dead in training."""

    resample_every: int | None = None
    """Passes over the training cells after which dead features restart from badly reconstructed cells."""

    bandwidth: float | None = None
    """Width of jumprelu's kernel for the gradient of its thresholds, in units of the pre-activations; None = an eighth of
    the scaled embedding's length (the root of its dimension)."""

    def __post_init__(self) -> None:
        self._check_types()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(
                    f"`{name}` must be one of {', '.join(choices)}", repr(getattr(self, name)), f"choose {choices[0]!r}"
                )
        self._check_sparsity()
        self._check_prefixes()
        if self.init == "geometry" and (self.activation != "jumprelu" or self.pre_bias != "none"):
            raise InputError(
                "init 'geometry' gives a jumprelu without an input bias",
                f"activation={self.activation!r}, pre_bias={self.pre_bias!r}",
                "give activation='jumprelu', pre_bias='none'",
            )
        if self.init == "geometry" and (self.matryoshka or self.resample_every):
            raise InputError(
                "init 'geometry' is read off without training",
                f"matryoshka={self.matryoshka}, resample_every={self.resample_every}",
                "leave them out, or use init='tied'",
            )
        if (self.kinds or self.guided) and (self.init != "geometry" or self.kinds + self.guided > self.width):
            raise InputError(
                "`kinds` of cells and `guided` features are part of the width of an SAE with init 'geometry'",
                f"kinds={self.kinds}, guided={self.guided}, init={self.init!r}, width={self.width}",
                "leave them at 0, or give init='geometry' and a width for programs and kinds together",
            )

    def _check_types(self) -> None:
        for names, kind in ((_WHOLE, as_whole), (_NUMBERS, as_number)):
            for name in names:
                if getattr(self, name) is not None:
                    object.__setattr__(self, name, kind(name, getattr(self, name)))
        prefixes: Any = self.matryoshka
        if not isinstance(prefixes, list | tuple | np.ndarray):
            raise InputError("`matryoshka` is a list of prefix widths", repr(prefixes), "give, e.g., [16, 32]")
        object.__setattr__(self, "matryoshka", tuple(as_whole("matryoshka", m) for m in prefixes))
        if not isinstance(self.unit_norm, bool | np.bool_):
            raise InputError("`unit_norm` must be true or false", repr(self.unit_norm), "give one of them")

    @property
    def prefixes(self) -> tuple[int, ...]:
        """Widths that must reconstruct, the full one last."""
        return tuple(sorted({*self.matryoshka, self.width}))

    @property
    def prefix_of_feature(self) -> list[int]:
        """Position in :attr:`prefixes` of the narrowest one that holds each feature."""
        return [i for i, (lo, hi) in enumerate(pairwise((0, *self.prefixes))) for _ in range(lo, hi)]

    def _check_sparsity(self) -> None:
        if self.k is None and self.activation in _TAKES_K:
            raise InputError(
                f"activation {self.activation!r} needs `k`, the active features a cell", "k=None", "give k, e.g. k=16"
            )
        if self.k is not None:
            if self.activation in _TAKES_L1:
                raise InputError(
                    f"activation {self.activation!r} is made sparse by `l1`, not by `k`",
                    f"k={self.k}",
                    "drop k, give l1",
                )
            if self.k > self.width:
                raise InputError(
                    "`k`, the active features a cell, cannot exceed `width`, the number of features",
                    f"k={self.k}, width={self.width}",
                    "lower k or raise the width",
                )
        if self.l0 and self.activation != "jumprelu":
            raise InputError("`l0` belongs to jumprelu", f"activation={self.activation!r}", "use l1 or k instead")
        if self.l1 and self.activation in ("batchtopk", "jumprelu"):
            raise InputError(
                f"`l1` has no place in {self.activation}", f"l1={self.l1}", "use k (batchtopk) or l0 (jumprelu) instead"
            )
        if self.p_end is not None and self.activation not in _TAKES_L1:
            raise InputError("p-annealing shapes an L1 penalty", f"activation={self.activation!r}", "use relu or gated")

    def _check_prefixes(self) -> None:
        m = self.matryoshka
        if any(b <= a for a, b in pairwise(m)) or (m and not 1 <= m[0] <= m[-1] <= self.width):
            raise InputError(
                "`matryoshka` prefixes must increase and lie between 1 and the width",
                f"{m} at width {self.width}",
                "give, e.g., (width // 8, width // 4, width // 2)",
            )

    @classmethod
    @numbers_checked
    def paper(
        cls, form: PaperForm, width: int, *, l1: float = 1e-3, k_percent: float | None = None, **options: Any
    ) -> SAEConfig:
        """Recipe of Schuster (arXiv 2410.11468), with its loss as published.

        Parameters
        ----------
        form
            ``vanilla``: ``ReLU(W x + c)``. ``relu``: the Bricken form, with an input bias and zero biases at the start.
            ``topk``: the Bricken form with the largest ``k_percent`` of the width kept.
        width
            Number of features.
        l1
            Weight of the mean activation over cells and features.
        k_percent
            For ``topk``: active features a cell in percent of the width (1, 5, 10, 20, 50, 75 or 100 in the paper).
        options
            Any other field of the config.

        Raises
        ------
        InputError
            If ``k_percent`` is missing for ``topk``, given for another form, or out of (0, 100].
        """
        if form not in get_args(PaperForm):
            raise InputError("the paper's forms are vanilla, relu and topk", repr(form), "choose one of them")
        if (form == "topk") != (k_percent is not None):
            raise InputError(
                "`k_percent` goes with the topk form and with it alone",
                f"form={form!r}, k_percent={k_percent}",
                "mend it",
            )
        k = None
        if k_percent is not None:
            if not 0 < k_percent <= 100:
                raise InputError("`k_percent` must lie in (0, 100]", str(k_percent), "give a percentage of the width")
            k = max(1, round(width * k_percent / 100))
        published: dict[str, Any] = {
            "activation": "topk" if form == "topk" else "relu",
            "k": k,
            "l1": l1,
            "penalty_reduction": "mean",
            "scaling": "none",
            "unit_norm": False,
            "pre_bias": "none" if form == "vanilla" else "free",
            "init": "linear",
            "bias_init": "linear" if form == "vanilla" else "zero",
            "start_active": None,
            "aux_weight": 0.0,
        }
        return cls(width=width, **(published | options))

    @property
    def l1_weight(self) -> float:
        """:attr:`l1` with its default filled in."""
        return _DEFAULT_L1.get(self.activation, 0.0) if self.l1 is None else self.l1

    @property
    def l0_weight(self) -> float:
        """:attr:`l0` with its default filled in."""
        if self.l0 is None:
            return 0.0 if self.activation != "jumprelu" else 0.03 if self.k is None else 1.0
        return self.l0

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON types."""
        return dataclasses.asdict(self) | {"matryoshka": list(self.matryoshka)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> SAEConfig:
        """Config from :meth:`to_dict`'s output or a YAML file's content; unknown fields are refused."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(map(str, set(fields) - known)):
            raise InputError(
                "every field of an SAE config must be known", f"unknown {unknown}", f"use some of {sorted(known)}"
            )
        if "width" not in fields:
            raise InputError(
                "an SAE config needs `width`", f"fields {sorted(map(str, fields))}", "add the number of features"
            )
        return cls(**fields)
