"""What several commands share: printing steps, tables of features."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from cellprism.run.folder import RunFolder

__all__ = ["best_features", "console", "print_findings", "say"]


def console() -> Console:
    """Standard output; as wide as the terminal, 120 columns in a pipe."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=120)


def say(line: str) -> None:
    """Show a step on standard error, so that standard output stays clean."""
    Console(stderr=True, highlight=False).print(f"· {line}", style="dim")


def best_features(folder: RunFolder, n: int) -> pd.DataFrame:
    """The ``n`` best-supported features, strongest evidence first, no two with the same name.

    Evidence is ranked by how well a feature detects its label, then by its gene set's q value, then by stability.
    """
    table = folder.features.copy()
    table["evidence"] = table["top_label_auroc"].fillna(0.5) * table["stability"].fillna(1).clip(lower=0)
    table = table.sort_values(["evidence", "top_set_qval"], ascending=[False, True], kind="stable")
    return table.drop_duplicates("name").head(n)


def print_findings(folder: RunFolder, n: int = 10) -> None:
    """Print the headline, the shares beside their nulls, and the best-supported features."""
    out, info = console(), folder.info
    out.print(f"\n{info['summary']}\n", highlight=False)
    for record in info["shares"]:
        nulls = ", ".join(f"{name} {_percent(value)}" for name, value in record["nulls"].items())
        verdict = f"  ({record['verdict']})" if record.get("verdict") else ""
        out.print(f"  {record['claim']}: {_percent(record['observed'])}; nulls: {nulls}{verdict}", highlight=False)
    if info["descriptive"]:
        out.print(
            "  p and q values are descriptive: the features were learned from the cells on which they are tested.",
            highlight=False,
        )
    table = Table(title=f"The {n} best-supported features", title_justify="left")
    for column, justify in (("feature", "right"), ("name", "left"), ("cells", "right"), ("stability", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for column in ("best label (AUROC)", "top genes", "gene set (q)"):
        table.add_column(column)
    for row in best_features(folder, n).to_dict("records"):
        label, found, stable = row["top_label"], row["top_set"], row["stability"]
        table.add_row(
            str(row["feature"]),
            str(row["name"]),
            f"{row['n_active']:,}",
            f"{stable:.2f}" if pd.notna(stable) else "",
            f"{label} ({row['top_label_auroc']:.2f})" if label and pd.notna(label) else "",
            ", ".join(gene_list(row["top_genes"])[:5]),
            f"{found} ({row['top_set_qval']:.0e})" if found and pd.notna(found) else "",
        )
    out.print(table)
    for warning in info["warnings"]:
        out.print(f"  Note: {warning}", highlight=False)
    out.print(f"\nReport: {folder.path / 'report.html'}", highlight=False, soft_wrap=True)


def gene_list(value: Any) -> list[str]:
    """Genes of a ``top_genes`` entry."""
    return [g.strip() for g in value.split(",")] if isinstance(value, str) else [str(g) for g in value]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
