"""What a run is asked to do; nothing heavy is imported before it is used, so that ``--help`` answers at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cellprism.errors import InputError
from cellprism.options import check, described, option, settle
from cellprism.run.sources import SourceOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cellprism.sae import SAEConfig

__all__ = ["ACTIVATIONS", "ONE_OF_THEM", "PRESETS", "RECIPES", "Preset", "RunOptions", "states"]

ACTIVATIONS = ("relu", "topk", "batchtopk", "jumprelu", "gated")
"""Those of :data:`cellprism.sae.config.Activation`, named here so that the command line starts without torch."""
ONE_OF_THEM = f"{', '.join(ACTIVATIONS[:-1])} or {ACTIVATIONS[-1]}."
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


@described
@dataclass(frozen=True)
class RunOptions(SourceOptions):
    """Options of :func:`cellprism.run.run`, those of ``cellprism run``."""

    data: Path = option(meaning="Cells: .h5ad, .h5mu or .zarr.")
    output: Path = option(meaning="Folder to write; new or empty.", flags=("-o", "--output"))
    rep: str | None = option(None, "obsm key of the embedding.")
    embedding: Path | None = option(None, "File of the embedding: .npy, .npz, .parquet, .csv, .tsv, .pt.")
    embed: str | None = option(None, "Train this embedding model here: pca, …")
    components: int | None = option(None, "Dimensions of the embedding made with --embed.")
    recipe: str = option(
        "auto", "auto, reading (read off the embedding), default, or a YAML file with the fields of SAEConfig."
    )
    guide: bool = option(
        False, "Add features guided by genes, 40 at most; for embeddings that bend, such as those of autoencoders."
    )
    width: int | None = option(None, "Number of features.")
    k: int | None = option(None, "Active features a cell.")
    activation: str | None = option(None, ONE_OF_THEM)
    epochs: int | None = option(None, "Passes over the cells in training.")
    seed: int = option(0, "Fixes every random choice.")
    seeds: int | None = option(None, "SAEs of different seeds, for stability. Default: 3.")
    thin: bool | None = option(
        None, "Make features from one part of the counts, test the other.", flags=("--thin/--no-thin",)
    )
    expression: Literal["measured", "predicted"] = option("measured", "Test measured or predicted expression.")
    consensus: bool = option(False, "Keep the features that return in most seeds.")
    preset: str = option("run", "How much work goes into trust: demo, run or thorough.")
    device: str = option("auto", "Where to train: auto, cpu, cuda, cuda:1, mps.")
    resume: bool = option(False, "Go on from what a stopped run into the same folder has finished.")
    overwrite: bool = option(False, "Replace an earlier result in the output folder.")
    progress: bool = option(False, "Show how long training goes on.")

    def __post_init__(self) -> None:
        from cellprism.sae.training import choose_device

        settle(self)
        check(self)
        if self.preset not in PRESETS:
            raise InputError(f"the preset must be one of {', '.join(PRESETS)}", repr(self.preset), "use 'run'")
        sources = [n for n in ("rep", "embedding", "embed") if getattr(self, n) is not None]
        if len(sources) > 1:
            raise InputError(
                "the embedding comes from one place", " and ".join(f"--{s}" for s in sources), "give one of them"
            )
        if self.components is not None and self.embed is None:
            raise InputError(
                "--components is of an embedding that is made here",
                f"--components {self.components} without --embed",
                "leave it out, or make one with --embed",
            )
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
        if self.guide and not self._reads_off:
            raise InputError(
                "features guided by genes are added to what is read off the embedding",
                "--guide and another SAE",
                "leave out --width, --k and --activation, and use --recipe auto or reading",
            )
        states(self.expression_state)
        choose_device(self.device)
        if not self.gene_sets:
            raise InputError("a run needs gene sets", "none", "leave --gene-sets out to use the bundled collection")

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
        from cellprism.sae import default_config
        from cellprism.sae.recipe.candidates import read_off

        if self.recipe == "reading":
            return read_off(X)
        if self.recipe not in RECIPES:
            return _read_config(Path(self.recipe))
        default = default_config(X)
        if not self._chosen:
            return None if self.recipe == "auto" else default
        return self._stated(default.width, default.activation, default.k or 8)

    def _stated(self, width: int, activation: Any, k: int) -> SAEConfig:
        """The SAE of the width, k and activation that were chosen, and else of these."""
        from cellprism.sae import SAEConfig

        changes: dict[str, Any] = self._chosen
        width = changes.get("width", width)
        activation = changes.get("activation", activation)
        if activation in ("relu", "gated"):
            if self.k is not None:
                raise InputError(f"--k does not apply to {activation}", f"--k {self.k}", "leave it out")
            return SAEConfig(width=width, activation=activation)
        return SAEConfig(width=width, activation=activation, k=changes.get("k", min(k, width)))

    @property
    def _reads_off(self) -> bool:
        """Whether the SAE may be read off the geometry of the embedding."""
        if self.recipe not in RECIPES:
            return _read_config(Path(self.recipe)).init == "geometry"
        return not self._chosen and self.recipe != "default"

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
        if self.recipe not in RECIPES:
            _read_config(Path(self.recipe))
        elif self._chosen:  # what cannot go together is refused before an embedding is trained
            self._stated(max(self.k or 1, 64), "batchtopk", 8)

    def to_dict(self) -> dict[str, Any]:
        """All options as JSON types."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(self).items()}


def _read_config(path: Path) -> SAEConfig:
    from cellprism.data.text import read_yaml
    from cellprism.sae import SAEConfig

    return SAEConfig.from_dict(read_yaml(path))


def states(text: str | None) -> str | dict[str, str] | None:
    """``log1p``, or ``rna=log1p,protein=counts`` by modality.

    Raises
    ------
    InputError
        If a state does not exist.
    """
    from cellprism.data.state import STATES

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
