"""Files that were cut, as by a download that broke off: refused, or said, never taken in silence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism import genesets
from cellprism.data.embedding import read_embedding
from cellprism.data.read import read_cells
from cellprism.data.text import cut_notes
from cellprism.errors import InputError
from cellprism.run import RunOptions, run

N = 40
X = np.random.default_rng(0).normal(size=(N, 4)).astype("f4")
TABLE = pd.DataFrame(X, columns=list("abcd"), index=pd.Index([f"cell{i}" for i in range(N)], name="cell"))

WRITERS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "e.npy": (lambda p: np.save(p, X), read_embedding),
    "e.npz": (lambda p: np.savez(p, embedding=X), read_embedding),
    "s.npz": (lambda p: sp.save_npz(p, sp.csr_array(X)), read_embedding),
    "e.pt": (lambda p: torch.save(torch.tensor(X), p), read_embedding),
    "e.parquet": (TABLE.to_parquet, read_embedding),
    "e.csv.gz": (TABLE.to_csv, read_embedding),
    "e.tsv.gz": (lambda p: TABLE.to_csv(p, sep="\t"), read_embedding),
    "a.h5ad": (lambda p: counts_adata(N).write_h5ad(p), read_cells),
    "sets.gmt.gz": (lambda p: p.write_bytes(gzip.compress(b"A\t\tG1\tG2\n" * 1)), lambda p: genesets.load(p)),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("lost", ["a byte", "eight bytes", "the last tenth", "half", "all but a byte", "all"])
def test_a_packed_or_binary_file_that_was_cut_is_refused(tmp_path: Path, name: str, lost: str) -> None:
    write, read = WRITERS[name]
    path = tmp_path / name
    write(path)
    read(path)  # whole, it is read
    data = path.read_bytes()
    n = len(data)
    left = {
        "a byte": n - 1,
        "eight bytes": n - 8,
        "the last tenth": 9 * n // 10,
        "half": n // 2,
        "all but a byte": 1,
        "all": 0,
    }
    path.write_bytes(data[: left[lost]])
    with pytest.raises(InputError):
        read(path)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_table_cut_anywhere_in_its_last_line_is_refused_or_said(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"e.{suffix}"
    TABLE.to_csv(path, sep="," if suffix == "csv" else "\t")
    data = path.read_bytes()
    assert not cut_notes([path])
    last = data[:-1].rindex(b"\n") + 1
    outcomes = set()
    for end in range(last + 1, len(data)):
        path.write_bytes(data[:end])
        assert cut_notes([path]) == [
            f"e.{suffix} ends within a line: it may have been cut; its last line is taken as it stands"
        ]
        fields = data[last:end].split(b"," if suffix == "csv" else b"\t")
        whole = len(fields) == 5 and fields[-1] not in (b"", b"-")
        outcomes.add(whole)
        if whole:
            assert read_embedding(path).values.shape == (N, 4)
        else:
            with pytest.raises(InputError, match=r"last line of .* breaks off"):
                read_embedding(path)
    assert outcomes == {True, False}


OBO = "format-version: 1.2\n\n[Term]\nid: T:1\nname: root\n\n[Term]\nid: T:2\nname: heme\nis_a: T:1\n\n[Term]\nid: T:3\nname: iron\nis_a: T:2\n"
GAF = "!gaf-version: 2.2\n" + "".join(
    f"DB\tid{i}\tG{i}\tinvolved_in\tT:{2 + i % 2}\tr\tIDA\t\tP\t\t\tprotein\ttaxon:9606\t20200101\tDB\n"
    for i in range(12)
)
GMT = "".join(f"{n}\t\t" + "\t".join(g) + "\n" for n, g in type_sets().items())


@pytest.mark.parametrize("which", ["gmt", "obo", "gaf"])
def test_gene_sets_cut_in_their_last_line_are_said(tmp_path: Path, which: str) -> None:
    pytest.importorskip("obonet", reason="obonet is not installed")
    texts = {"gmt": GMT, "obo": OBO, "gaf": GAF}
    for name, text in texts.items():
        (tmp_path / f"f.{name}").write_text(text)
    given = str(tmp_path / "f.gmt") if which == "gmt" else f"{tmp_path / 'f.obo'}+{tmp_path / 'f.gaf'}"
    said: list[str] = []
    genesets.load(given, said.append)
    assert not any("cut" in line for line in said)
    (tmp_path / f"f.{which}").write_text(texts[which][:-2])
    genesets.load(given, said.append)
    assert sum("cut" in line and f"f.{which}" in line for line in said) == 1


def test_each_text_file_of_a_run_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = counts_adata(60, 30)
    names = pd.Index(cells.obs_names, name="cell")
    pd.DataFrame(cells.obsm["X_emb"], index=names).add_prefix("z").to_csv(tmp_path / "emb.csv")
    cells.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "sets.gmt").write_text(GMT)
    (tmp_path / "ids.csv").write_text("ours,theirs\n" + "".join(f"G{i},G{i}\n" for i in range(30)))
    (tmp_path / "net.csv").write_text("source,target,weight\n" + "".join(f"TF{i % 3},G{i},1\n" for i in range(30)))
    files = ["emb.csv", "sets.gmt", "ids.csv"]
    files += ["net.csv"] if find_spec("decoupler") else []  # it scores regulators, an optional extra
    for name in files:
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-1])
    options = RunOptions(
        data=tmp_path / "a.h5ad", output=tmp_path / "out", embedding=tmp_path / "emb.csv", width=12, k=3, seeds=1, epochs=2,
        gene_sets=(str(tmp_path / "sets.gmt"),), id_table=tmp_path / "ids.csv", id_columns=("ours", "theirs"),
        networks=tuple(str(tmp_path / name) for name in files if name == "net.csv"),
    )  # fmt: skip
    kept = run(options).info["warnings"]
    for name in files:
        assert sum(line.startswith(f"{name} ends within a line") for line in kept) == 1, name
    fitted = call(capsys, "fit", tmp_path / "emb.csv", "--width", 12, "--k", 3, "--epochs", 1, "-o", tmp_path / "fit")
    assert (fitted.code, fitted.err.count("emb.csv ends within a line")) == (0, 1)
