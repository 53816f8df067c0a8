"""What a run is asked to do."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from cellprism.data.state import STATES
from cellprism.data.text import read_yaml
from cellprism.errors import InputError
from cellprism.sae import SAEConfig, default_config
from cellprism.sae.config import Activation
from cellprism.sae.fields import as_seed
from cellprism.sae.recipe.candidates import read_off
from cellprism.sae.training import choose_device

__all__ = ["PRESETS", "RECIPES", "Preset", "RunOptions", "states"]

RECIPES = ("auto", "reading", "default")
"""Recipes by name."""


@dataclass(frozen=True)
class Preset:
    """How much work a run puts into trust."""

    seeds: int
    """SAEs trained from different seeds; all but the first only judge the first one's stability."""
    nulls: tuple[str, ...]
    """Nulls beside each headline share."""
    recipe: str
    """How much the automatic recipe tries."""
    evaluation: Literal["cheap", "full"] = "cheap"
    """Whether features are also held against what must be trained."""


_ALL = ("random", "untrained", "permuted", "shuffled", "random_sets")

PRESETS: dict[str, Preset] = {
    "demo": Preset(seeds=3, nulls=("random", "untrained", "permuted"), recipe="quick"),
    "run": Preset(seeds=3, nulls=_ALL, recipe="standard"),
    "thorough": Preset(seeds=10, nulls=_ALL, recipe="thorough", evaluation="full"),
}


@dataclass(frozen=True)
class RunOptions:
    """Options of :func:`cellprism.run.run`; the command line's ``cellprism run`` has the same names."""

    data: Path
    """``.h5ad``, ``.h5mu`` or ``.zarr``."""
    output: Path
    """Folder to write."""
    rep: str | None = None
    """``obsm`` key of the embedding."""
    embedding: Path | None = None
    """File with the embedding."""
    embed: str | None = None
    """Embedding model to train on the counts."""
    components: int | None = None
    """Dimensions of the embedding that is made here; None = the model's own default."""
    gene_sets: tuple[str, ...] = ("bundled",)
    """GMT files, names of libraries, or ``bundled``."""
    labels: tuple[str, ...] = ()
    """``obs`` columns that features are compared with: ``COL``, ``COL:category`` or ``COL:number``."""
    gene_symbols: str | None = None
    """``var`` column with gene symbols."""
    id_table: Path | None = None
    """Table that names genes as gene sets do: Ensembl ids and symbols, or orthologs."""
    id_columns: tuple[str, str] | None = None
    """Its columns: names as in the data, names as in the gene sets."""
    ontology: Path | None = None
    """OBO file: sets whose names end in the id of a term are shown with the term's level-1 ancestor."""
    networks: tuple[str, ...] = ()
    """Signed networks of regulators or pathways, as further evidence for names: collectri, progeny, or tables."""
    strata: str | None = None
    """``obs`` column (donor, batch) within which cells are compared."""
    donor: str | None = None
    """``obs`` column with the donors; with three or more, genes are tested over donors. None = the strata."""
    layer: str | None = None
    """Layer to take the expression from."""
    raw: bool = False
    """Take the expression from ``.raw``."""
    expression_state: str | None = None
    """What the expression is: counts, normalised, log1p, log2 or fractions, of all modalities or as
    ``rna=log1p,protein=counts``; None = decided by evidence."""
    expression: Literal["measured", "predicted"] = "measured"
    """Test the measured expression, or what the embedding model predicts."""
    thin: bool | None = None
    """Split the counts: one part makes the features, the other tests them. None = yes where it can be done."""
    recipe: str = "auto"
    """Where the SAE comes from: chosen from the embedding (``auto``), read off it (``reading``), the fixed ``default``, or a YAML
    file with the fields of :class:`~cellprism.SAEConfig`."""
    width: int | None = None
    k: int | None = None
    activation: Activation | None = None
    epochs: int | None = None
    """Passes over the cells in training; None = the default of :func:`cellprism.fit`."""
    seed: int = 0
    seeds: int | None = None
    """SAEs of different seeds; None = the preset's."""
    consensus: bool = False
    """Keep the features that return in most seeds."""
    preset: str = "run"
    overwrite: bool = False
    device: str = "auto"
    """Where the embedding model and the SAEs are trained."""
    resume: bool = False
    """Go on from the finished steps of a run into the same folder that was stopped."""
    progress: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"the preset must be one of {', '.join(PRESETS)}", repr(self.preset), "use 'run'")
        sources = [n for n in ("rep", "embedding", "embed") if getattr(self, n) is not None]
        if len(sources) > 1:
            raise InputError(
                "the embedding comes from one place", " and ".join(f"--{s}" for s in sources), "give one of them"
            )
        if self.expression not in ("measured", "predicted"):
            raise InputError("--expression is measured or predicted", repr(self.expression), "give one of them")
        if self.expression == "predicted" and self.embed is None:
            raise InputError(
                "predicted expression needs an embedding model with a decoder",
                "an embedding without its model",
                "let the run make the embedding with --embed, or test measured expression",
            )
        if self.thin and self.embed is None:
            raise InputError(
                "counts can be split only before they are embedded",
                "an embedding that was made elsewhere",
                "use --embed, or leave --thin out: p values are then marked as descriptive",
            )
        if (self.id_table is None) != (self.id_columns is None):
            raise InputError(
                "a table of names needs its two columns",
                "--id-table without --id-columns" if self.id_columns is None else "--id-columns without --id-table",
                "give both, such as --id-table orthologs.csv --id-columns mouse,human",
            )
        self._check_recipe()
        states(self.expression_state)
        choose_device(self.device)
        if not self.gene_sets:
            raise InputError("a run needs gene sets", "none", "leave --gene-sets out to use the bundled collection")
        for name in ("width", "k", "seeds", "components", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name} must be at least 1", str(value), "give 1 or more")
        as_seed(self.seed)

    @property
    def states(self) -> str | dict[str, str] | None:
        """State of the expression, of all or by modality."""
        return states(self.expression_state)

    @property
    def n_seeds(self) -> int:
        """SAEs to train."""
        return self.seeds if self.seeds is not None else PRESETS[self.preset].seeds

    def sae_config(self, X: NDArray[Any]) -> SAEConfig | None:
        """The SAE that was asked for, for an embedding (cells, d); None where the recipe is to be chosen.

        Width, k and activation change the fixed default; a k that the user did not choose never exceeds the width.

        Raises
        ------
        InputError
            If nothing can be read off the embedding, or the file holds no config.
        """
        if self.recipe == "reading":
            return read_off(X)
        if self.recipe not in RECIPES:
            return SAEConfig.from_dict(read_yaml(Path(self.recipe)))
        changes = self._chosen
        default = default_config(X)
        if not changes:
            return None if self.recipe == "auto" else default
        activation = changes.get("activation", default.activation)
        width = changes.get("width", default.width)
        k = changes.get("k")
        if activation in ("relu", "gated"):
            if k is not None:
                raise InputError(f"--k does not apply to {activation}", f"--k {k}", "leave it out")
            return SAEConfig(width=width, activation=activation)
        k = k if k is not None else min(default.k or 8, width)
        return SAEConfig(width=width, activation=activation, k=k)

    @property
    def _chosen(self) -> dict[str, Any]:
        return {n: getattr(self, n) for n in ("width", "k", "activation") if getattr(self, n) is not None}

    def _check_recipe(self) -> None:
        if self.recipe not in RECIPES and not Path(self.recipe).is_file():
            raise InputError(
                f"--recipe is one of {', '.join(RECIPES)}, or a YAML file with the fields of SAEConfig",
                repr(self.recipe),
                "give one of them, or the path of a file",
            )
        if self._chosen and self.recipe not in ("auto", "default"):
            raise InputError(
                f"--recipe {self.recipe} says all of the SAE",
                f"{', '.join(f'--{name}' for name in self._chosen)} beside it",
                "leave them out, or write them into a file for --recipe",
            )

    def to_dict(self) -> dict[str, Any]:
        """All options as JSON types."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(self).items()}


def states(text: str | None) -> str | dict[str, str] | None:
    """``log1p``, or ``rna=log1p,protein=counts`` by modality.

    Raises
    ------
    InputError
        If a state does not exist.
    """
    if text is None:
        return None
    parts = dict(part.strip().rpartition("=")[::2] for part in text.split(","))
    wrong = [state for state in parts.values() if state not in STATES]
    if wrong:
        raise InputError(
            f"--expression-state is one of {', '.join(STATES)}", repr(wrong[0]), "give one, or MODALITY=STATE,…"
        )
    if "" in parts and len(parts) > 1:
        raise InputError(
            "--expression-state is one state, or MODALITY=STATE for each", repr(text), "name each modality"
        )
    return parts.get("", parts)
