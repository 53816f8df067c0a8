"""Which public data sets are known, where they lie, and what tells that the right bytes came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DATASETS", "FIGSHARE", "MULTIDGD", "Dataset", "File", "Format"]

Format = Literal["h5ad", "h5mu", "10x", "paul15", "weights", "json"]

FIGSHARE = "https://api.figshare.com/v2"
MULTIDGD = "23796198"
"""Article of the multiDGD paper's data and models."""
_10X = "https://cf.10xgenomics.com/samples"
_SCVERSE = "https://exampledata.scverse.org/scanpy"


@dataclass(frozen=True)
class File:
    """One file of a data set."""

    name: str
    """Under which it is kept."""
    format: Format
    url: str = ""
    """Where it is fetched from; empty for a file of an archive article."""
    sha256: str = ""
    """Of the file, where a public source states it."""
    article: str = ""
    """Figshare article. Its record of the file gives address, size and MD5 at the time of fetching."""
    item: str = ""
    """The file's number in the article, or a pattern of its name there where the number is not known."""
    shape: tuple[int, int] | None = None
    """(cells, features) that the file must hold, where that is publicly known."""

    @property
    def address(self) -> str:
        """What a person opens in a browser to get it."""
        return self.url or f"https://figshare.com/articles/dataset/multiDGD_-_processed_data_and_models/{self.article}"


@dataclass(frozen=True)
class Dataset:
    """A set of cells, or a published model of such a set."""

    what: str
    source: str
    files: tuple[File, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    """Columns of ``obs`` in the file, and what they are called here."""


def _archived(name: str, form: Format, item: str) -> File:
    return File(name, form, article=MULTIDGD, item=item)


def _tenx(folder: str, name: str, cells: int, features: int) -> File:
    file = f"{name}_filtered_feature_bc_matrix.h5"
    return File(file, "10x", f"{_10X}/{folder}/{name}/{file}", shape=(cells, features))


_PAPER = "Schuster et al. 2024, Nature Communications 15:10031, doi:10.1038/s41467-024-53340-z"
_TENX = "10x Genomics, CC BY 4.0"

DATASETS: dict[str, Dataset] = {
    "human_bonemarrow": Dataset(
        "human bone marrow, RNA + ATAC (NeurIPS 2021), as multiDGD was trained on it",
        _PAPER,
        (_archived("human_bonemarrow.h5ad", "h5ad", "41740251"),),
    ),
    "human_bonemarrow_model": Dataset(
        "published multiDGD of the human bone marrow; read with cellprism.embed.dgd_checkpoint.read_multidgd",
        _PAPER,
        (
            _archived("dgd_human_bonemarrow.pt", "weights", "41735907"),
            _archived("dgd_human_bonemarrow_hyperparameters.json", "json", "41735904"),
        ),
    ),
    "human_brain": Dataset(
        "human brain, RNA + ATAC", _PAPER, (_archived("human_brain.h5mu", "h5mu", "*human_brain*.h5mu*"),)
    ),
    "human_brain_model": Dataset(
        "published multiDGD of the human brain",
        _PAPER,
        (
            _archived("dgd_human_brain.pt", "weights", "*human_brain*.pt"),
            _archived("dgd_human_brain_hyperparameters.json", "json", "*human_brain*hyperparameters.json"),
        ),
    ),
    "mouse_gastrulation": Dataset(
        "mouse gastrulation, RNA + ATAC", _PAPER, (_archived("mouse_gastrulation.h5mu", "h5mu", "41740323"),)
    ),
    "mouse_gastrulation_model": Dataset(
        "published multiDGD of the mouse gastrulation",
        _PAPER,
        (
            _archived("dgd_mouse_gastrulation.pt", "weights", "*mouse_gast*.pt"),
            _archived("dgd_mouse_gastrulation_hyperparameters.json", "json", "*mouse_gast*hyperparameters.json"),
        ),
    ),
    "pbmc3k": Dataset(
        "2,700 blood cells of a healthy donor, raw counts",
        f"{_TENX}; file of scanpy",
        (
            File(
                "pbmc3k_raw.h5ad",
                "h5ad",
                f"{_SCVERSE}/pbmc3k_raw.h5ad",
                "89a96f1beaa2dd83a687666d3f19a4513ac27a2a2d12581fcd77afed7ea653a1",
                shape=(2700, 32738),
            ),
        ),
    ),
    "pbmc3k_processed": Dataset(
        "the same after scanpy's tutorial: log1p expression, PCA, UMAP, clusters",
        f"{_TENX}; file of scanpy",
        (
            File(
                "pbmc3k_processed.h5ad",
                "h5ad",
                f"{_SCVERSE}/pbmc3k.h5ad",
                "0db367b991dd95809732b218539ede489bea99113807f62ebd7ccc970025fe38",
                shape=(2638, 1838),
            ),
        ),
    ),
    "paul15": Dataset(
        "2,730 mouse myeloid progenitors, erythroid among them",
        "Paul et al. 2015, Cell 163:1663, doi:10.1016/j.cell.2015.11.013; file of scanpy",
        (
            File(
                "paul15.h5",
                "paul15",
                f"{_SCVERSE}/paul15.h5",
                "6161984f758dd464992edc23f1a8ab89b2081600130c6aa93a1ab12b3ada5bfb",
            ),
        ),
    ),
    "kang2018": Dataset(
        "24,673 blood cells of eight lupus patients, raw counts, half of them stimulated with interferon beta",
        "Kang et al. 2018, Nature Biotechnology 36:89, doi:10.1038/nbt.4042 (GSE96583); file of pertpy",
        (
            File(
                "kang2018.h5ad",
                "h5ad",
                "https://ndownloader.figshare.com/files/34464122",
                "e6a5adac64dcdeb36eaba27db49b63e0c64bb0ed4a64c6705971506b41c39830",
                shape=(24673, 15706),
            ),
        ),
        renamed=(("label", "condition"), ("replicate", "donor")),
    ),
    "pbmc_10k_v3": Dataset(
        "11,769 blood cells, raw counts", _TENX, (_tenx("cell-exp/3.0.0", "pbmc_10k_v3", 11769, 33538),)
    ),
    "pbmc_5k_protein": Dataset(
        "5,247 blood cells, RNA + 32 surface proteins",
        _TENX,
        (_tenx("cell-exp/3.0.2", "5k_pbmc_protein_v3", 5247, 33570),),
    ),
    "pbmc_10k_protein": Dataset(
        "7,865 blood cells, RNA + 17 surface proteins",
        _TENX,
        (_tenx("cell-exp/3.0.0", "pbmc_10k_protein_v3", 7865, 33555),),
    ),
    "pbmc_10k_multiome": Dataset(
        "11,909 blood cells, RNA + 108,377 peaks",
        _TENX,
        (_tenx("cell-arc/1.0.0", "pbmc_granulocyte_sorted_10k", 11909, 144978),),
    ),
}
"""Name -> data set."""
