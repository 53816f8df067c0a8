"""Gene sets: files, named libraries, ontologies, identifiers, networks, and the bundled collection."""

from cellprism.genesets.ancestors import level1_ancestors
from cellprism.genesets.annotations import Annotations, read_annotations, read_gpi
from cellprism.genesets.bundled import bundled, bundled_sources, former_symbols
from cellprism.genesets.gmt import read_gmt, write_gmt
from cellprism.genesets.identifiers import MappedIds, id_table, map_ids, map_sets, read_id_table
from cellprism.genesets.libraries import LIBRARIES, fetch_library
from cellprism.genesets.load import files_behind, load
from cellprism.genesets.match import MatchedSets, match_sets
from cellprism.genesets.networks import NETWORKS, fetch_network, read_network, regulator_activity, signed_sets
from cellprism.genesets.ontology import Ontology, OntologySets, ontology_sets, read_ontology

__all__ = [
    "LIBRARIES",
    "NETWORKS",
    "Annotations",
    "MappedIds",
    "MatchedSets",
    "Ontology",
    "OntologySets",
    "bundled",
    "bundled_sources",
    "fetch_library",
    "fetch_network",
    "files_behind",
    "former_symbols",
    "id_table",
    "level1_ancestors",
    "load",
    "map_ids",
    "map_sets",
    "match_sets",
    "ontology_sets",
    "read_annotations",
    "read_gmt",
    "read_gpi",
    "read_id_table",
    "read_network",
    "read_ontology",
    "regulator_activity",
    "signed_sets",
    "write_gmt",
]
