"""Gene sets: files, named libraries, ontologies, identifiers, and the bundled collection."""

from cellprism.genesets.gmt import read_gmt, write_gmt
from cellprism.genesets.match import MatchedSets, match_sets

__all__ = ["MatchedSets", "match_sets", "read_gmt", "write_gmt"]
