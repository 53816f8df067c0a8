"""Public data sets and published models: fetched once, checked, kept on disk."""

from cellprism.datasets.load import available, fetch, load
from cellprism.datasets.registry import DATASETS, Dataset, File

__all__ = ["DATASETS", "Dataset", "File", "available", "fetch", "load"]
