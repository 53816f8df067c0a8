"""Level-1 ancestors of sets that are named by terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellprism.genesets import level1_ancestors, read_ontology

OBO = """format-version: 1.2

[Term]
id: GO:0008150
name: biological_process

[Term]
id: GO:0051179
name: localization
is_a: GO:0008150

[Term]
id: GO:0006810
name: transport
alt_id: GO:0015457
is_a: GO:0051179

[Term]
id: GO:0006811
name: ion transport
is_a: GO:0006810
"""


@pytest.mark.parametrize(
    ("name", "ancestor"),
    [
        ("ion transport (GO:0006811)", "localization"),
        ("Ion Transport GO:0006811", "localization"),
        ("localization (GO:0051179)", "localization"),
        ("transport, by its other id (GO:0015457)", "localization"),
        ("biological_process (GO:0008150)", None),
        ("unknown (GO:9999999)", None),
        ("Apoptosis", None),
        ("Heme synthesis (R-HSA:x)", None),
    ],
)
def test_ancestors_are_found_by_the_id_in_the_name(tmp_path: Path, name: str, ancestor: str | None) -> None:
    pytest.importorskip("obonet")
    (tmp_path / "go.obo").write_text(OBO)
    assert level1_ancestors([name], read_ontology(tmp_path / "go.obo")).get(name) == ancestor
