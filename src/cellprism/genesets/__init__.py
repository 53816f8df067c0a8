"""Gene sets: files, named libraries, ontologies, identifiers, and the bundled collection."""

from cellprism.genesets.bundled import bundled, bundled_sources
from cellprism.genesets.gmt import read_gmt, write_gmt
from cellprism.genesets.load import load
from cellprism.genesets.match import MatchedSets, match_sets

__all__ = ["MatchedSets", "bundled", "bundled_sources", "load", "match_sets", "read_gmt", "write_gmt"]
