"""Take the rows that the docs show from the folder of a sweep.

Usage: cellprism sweep large --short --variants vanilla,relu,topk,batchtopk,jumprelu -o DIR
       python benchmarks/recovery_sweep.py DIR [DIR ...] [--into FILE]
Adds to benchmarks/results/recovery_sweep.json, a row an SAE and truth level.
"""

import argparse
from pathlib import Path

import pandas as pd
from recovery_common import Rows

KEY = ["simulation", "latent", "variant", "factor", "lr", "epochs", "l1", "k_percent", "seed", "level"]
KEPT = ["width", "n_live", "l0", "redundant", "mean_best_abs_r", "null_mean_best_abs_r", "mcc", "share_over_0.95"]
KEPT += ["ceiling_mean_abs_r", "ceiling_share_over_0.95"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, default="recovery_sweep.json", help="another file of rows")
    arguments = parser.parse_args()
    rows = Rows(arguments.into, KEY)
    for folder in arguments.folders:
        table = pd.read_parquet(folder / "sweep.parquet")
        table["simulation"] = "large" if "X2" in set(table["level"]) else "small"
        table = table[table["level"].isin(["T", "Y", "A", "B", "X2", "X1", "X0"])]
        table = table.astype(object).where(table.notna(), None)  # a key with NaN would never be found again
        rows.add([{name: row[name] for name in [*KEY, *KEPT]} for row in table.to_dict("records")])


if __name__ == "__main__":
    main()
