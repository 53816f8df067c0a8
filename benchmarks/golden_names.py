"""Write what the names of a run rest on, as the golden tables of tests/features/golden keep it.

Usage: python benchmarks/golden_names.py RUN_DIR --labels COL [--labels COL]… -o EVIDENCE.json

The cells of the run are annotated anew with the run's own options; the evidence of every feature (top genes with their
statistics, sets, labels with precision, recall and shares) is written, and the names that follow are printed for judging
by hand: the verdicts stand in the CSV beside the evidence.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellprism import genesets
from cellprism.features import naming, summary
from cellprism.features.annotate import annotate
from cellprism.run.folder import RunFolder


def rounded(value: Any) -> Any:
    """Numbers to four digits, so that the file stays small."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--labels", action="append", default=[])
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    folder = RunFolder.open(Path(args.run))
    cells = folder.cells
    kept: list[naming.Evidence] = []
    write = naming.feature_names

    def keep(evidence: Any) -> list[str]:
        kept.extend(evidence)
        return write(evidence)

    summary.naming.feature_names = keep  # type: ignore[assignment]
    genes = json.loads((folder.path / "expression_genes.json").read_text())
    given: dict[str, Any] = folder.info["arguments"]
    symbols = None
    if given["id_table"]:
        columns = given["id_columns"]
        table = genesets.read_id_table(
            given["id_table"], *(columns.split(",") if isinstance(columns, str) else columns)
        )
        symbols = list(genesets.map_ids(genes, table).names)
    numbers = [c for c in ("depth", "mitochondrial share") if c in cells]
    found = annotate(
        folder.codes,
        sp.load_npz(folder.path / "expression.npz"),
        genes,
        genesets.load("bundled"),
        cells[[*args.labels, *numbers]],
        depth=cells["depth"].to_numpy(np.float64) if "depth" in cells else None,
        embedding=folder.embedding,
        confounds=numbers,
        symbols=symbols,
        min_overlap=0.01,
    )
    Path(args.output).write_text(
        "[\n" + ",\n".join(json.dumps(rounded(asdict(e)), separators=(",", ":")) for e in kept) + "\n]\n"
    )
    for feature, name in zip(found.features["feature"], found.features["name"], strict=True):
        print(f"{feature},{name}")


if __name__ == "__main__":
    main()
