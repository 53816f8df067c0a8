"""Text files: UTF-8 whatever the locale, every other encoding told as such."""

from __future__ import annotations

import ast
import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import counts_adata

import cellprism
from cellprism import genesets
from cellprism.data.embedding import read_embedding
from cellprism.data.text import read_text, read_yaml
from cellprism.errors import InputError
from cellprism.genesets.annotations import read_annotations, read_gpi

GMT = "Tβ cells\tdescription\tCD3D\tCD3E\nmyéloïde\t\tLYZ\tCD14"
GAF = "!gaf-version: 2.2\n" + "\t".join(
    [
        "DB",
        "P1",
        "GENEβ",
        "involved_in",
        "GO:0000001",
        "REF",
        "IDA",
        "",
        "P",
        "é",
        "",
        "protein",
        "taxon:9606",
        "1",
        "X",
    ]
)
GPI = "!gpi-version: 1.2\nDB\tP1\tGENEβ\n"
TABLE = "old,new\nENSG1,Tβ\nENSG2,é\n"
NETWORK = "source,target,weight\nTF-β,G1,1\nTF-β,G2,-1\n"
OBO = "format-version: 1.2\n\n[Term]\nid: GO:0000001\nname: β-oxidation\nnamespace: p\n"
CELLS = "cell,d0,d1\n" + "".join(f"zβ{i},{i * 0.5},{-i * 0.25}\n" for i in range(20))
READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "gmt": (".gmt", GMT, genesets.read_gmt),
    "gaf": (".gaf", GAF, read_annotations),
    "gpi": (".gpi", GPI, read_gpi),
    "table of names": (".csv", TABLE, lambda p: genesets.read_id_table(p, "old", "new")),
    "network": (".csv", NETWORK, genesets.read_network),
    "ontology": (".obo", OBO, genesets.read_ontology),
    "yaml": (".yaml", "width: 8 # β\n", read_yaml),
    "embedding": (".csv", CELLS, read_embedding),
    "embedding by tabs": (".tsv", CELLS.replace(",", "\t"), read_embedding),
}
OTHERS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "cp1253")


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("encoding", OTHERS)
@pytest.mark.parametrize("kind", READERS)
def test_other_encodings_are_told(kind: str, encoding: str, end: str, tmp_path: Path) -> None:
    suffix, text, reader = READERS[kind]
    path = tmp_path / f"f{suffix}"
    path.write_bytes((text + end).encode(encoding, "replace"))
    with pytest.raises(InputError, match="UTF-8") as caught:
        reader(path)
    assert "save it as plain text in UTF-8" in caught.value.remedy
    assert "\x00" not in str(caught.value)
    if encoding.startswith("utf"):
        assert encoding[:6].upper() in caught.value.met


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("kind", READERS)
def test_utf8_is_read_with_any_line_ends_and_mark(kind: str, encoding: str, end: str, tmp_path: Path) -> None:
    suffix, text, reader = READERS[kind]
    paths = [tmp_path / "plain" / f"f{suffix}", tmp_path / "other" / f"f{suffix}"]
    for path, content in zip(paths, (text.encode(), text.replace("\n", end).encode(encoding)), strict=True):
        path.parent.mkdir()
        path.write_bytes(content)
    plain, other = map(reader, paths)
    for found in (plain, other):
        assert found is not None
    assert str(getattr(plain, "table", getattr(plain, "terms", plain))) == str(
        getattr(other, "table", getattr(other, "terms", other))
    )


@pytest.mark.parametrize("encoding", OTHERS[:-1])
def test_a_gzipped_embedding_is_looked_into(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress(CELLS.encode(encoding)))
    with pytest.raises(InputError, match=f"{encoding[:6].upper()} in "):
        read_embedding(tmp_path / "e.csv.gz")
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress(CELLS.encode()))
    assert read_embedding(tmp_path / "e.csv.gz").values.shape == (20, 2)


def test_gzipped_files_carry_their_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("é".encode()))
    assert read_text(tmp_path / "a.txt.gz", "a file") == "é"
    (tmp_path / "a.txt").write_bytes(gzip.compress("é".encode()))
    with pytest.raises(InputError, match=r"its \.gz name"):
        read_text(tmp_path / "a.txt", "a file")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(np.random.default_rng(0).bytes(9999))[:50])
    with pytest.raises(InputError, match="readable"):
        read_text(tmp_path / "b.txt.gz", "a file")


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_tables_of_embeddings_in_other_encodings(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_bytes("célla,PC1\na,1.5\nb,2.5\n".encode(encoding))
    with pytest.raises(InputError, match="UTF-8"):
        read_embedding(tmp_path / "e.csv")


def test_every_text_file_is_opened_with_its_encoding() -> None:
    """The default is the locale's: ASCII on a cluster, cp1252 on Windows."""
    missing = []
    for path in sorted(Path(cellprism.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            told = any(k.arg == "encoding" for k in node.keywords)
            binary = any(isinstance(a, ast.Constant) and isinstance(a.value, str) and "b" in a.value for a in node.args)
            text_open = name == "open" and isinstance(node.func, ast.Name) and not binary
            text_gzip = name == "open" and any(
                isinstance(a, ast.Constant) and a.value in ("rt", "wt") for a in node.args
            )
            if (
                (name in ("read_text", "write_text") and isinstance(node.func, ast.Attribute)) or text_open or text_gzip
            ) and not told:
                missing.append(f"{path.name}:{node.lineno}")
    assert missing == []


@pytest.mark.parametrize(
    "setting",
    [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}],
    ids=["C without UTF-8", "ASCII output", "C"],
)
def test_a_run_in_any_locale_ends_well(setting: dict[str, str], tmp_path: Path) -> None:
    counts_adata(120, 40).write_h5ad(tmp_path / "c.h5ad")
    lines = [f"Zellen β {i}\t\t" + "\t".join(f"G{g}" for g in range(i, 40, 3)) for i in range(3)]
    (tmp_path / "s.gmt").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "cellprism", "run", "c.h5ad", "--rep", "X_emb", "--gene-sets", "s.gmt", "--labels",
               "cell_type", "--width", "8", "--k", "2", "--seeds", "1", "--epochs", "3", "-o", "out"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | setting, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"report.html" in done.stdout
    assert b"Traceback" not in done.stderr


def test_numbers_and_fields_of_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("l1: 1e-3\nlr: [1E5, 2.5, -3]\nname: c1e3\nnone:\n", encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml") == {"l1": 0.001, "lr": [100_000.0, 2.5, -3], "name": "c1e3", "none": None}
    for twice in ("width: 8\nwidth: 16\n", "grid:\n  width: 8\n  width: 16\n", "- {k: 1, k: 2}\n"):
        (tmp_path / "b.yaml").write_text(twice, encoding="utf-8")
        with pytest.raises(InputError, match="twice"):
            read_yaml(tmp_path / "b.yaml")
