"""Write a small run folder of the present format: ``python tests/golden/make.py tests/golden/run-1``.

One is kept for each format that was ever written; a later version must read all of them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers import counts_adata, type_sets

from cellprism.genesets import write_gmt
from cellprism.run import RunOptions, run

if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # so that the folder names no path of this machine
        counts_adata(60, 24).write_h5ad("cells.h5ad")
        write_gmt(type_sets(24), "sets.gmt")
        options = RunOptions(
            data=Path("cells.h5ad"),
            output=Path("run"),
            embed="pca",
            components=4,
            gene_sets=("sets.gmt",),
            labels=("cell_type",),
            width=8,
            k=2,
            seeds=2,
            epochs=60,
        )
        run(options)
        (options.output / "report.html").unlink()
        shutil.copytree(options.output, target)
        os.chdir(target)
