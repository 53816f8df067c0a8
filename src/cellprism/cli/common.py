"""What several commands share: printing steps, tables of features."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cellprism.cli.ending import plain, tell
from cellprism.cli.voice import VOICE
from cellprism.cli.words import spoken
from cellprism.features.best import READS, best_features
from cellprism.run.folder import RunFolder

__all__ = [
    "console",
    "gene_list",
    "print_evaluation",
    "print_findings",
    "print_shares",
    "say",
]


class _Plain(Console):
    """A console that shows names as they are: no markup in brackets, no escape sequences."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Text without control characters."""
        return super().render_str(plain(text), **options)


class _Steps(_Plain):
    """Standard error. Rich would end the process where its reader is gone (``2>&1 | head``), and with it the work."""

    def on_broken_pipe(self) -> None:
        """Say so to the caller, who gives standard error up."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console() -> Console:
    """Standard output; as wide as the terminal, 120 columns in a pipe; silent where it is to hold JSON alone."""
    found = _Plain(markup=False, emoji=False, quiet=VOICE.json)
    return found if found.is_terminal else _Plain(width=120, markup=False, emoji=False, quiet=VOICE.json)


def say(step: str) -> None:
    """Keep a step, and show it on standard error, so that standard output stays clean."""
    line = VOICE.step(spoken(step))
    if line is None:
        return
    if VOICE.json:
        tell(line)
        return
    try:
        shown = _Steps(stderr=True, highlight=False, markup=False, emoji=False)
        shown.print(line, style="dim")
    except (OSError, ValueError):
        tell("")  # standard error is closed or full: it is given up, and the work goes on


def print_shares(records: list[dict[str, Any]], out: Console) -> None:
    """Print each headline share beside its nulls, and what follows from them."""
    nulls = list(dict.fromkeys(name for record in records for name in record["nulls"]))
    n = max((record["n"] for record in records), default=0)
    table = Table(title=f"Share of the {n:,} features that could be tested …", title_justify="left")
    table.add_column("… with", max_width=56)
    for name in ("these features", *nulls):
        table.add_column(name, justify="right", max_width=16)
    for record in records:
        claim = record["claim"].removeprefix("features with ")
        cells = [_percent(record["nulls"].get(name)) for name in nulls]
        table.add_row(claim, _percent(record["observed"]), *cells)
    out.print(table)
    below = [r["claim"].removeprefix("features with ") for r in records if r["verdict"].startswith("not above")]
    above = [r["claim"].removeprefix("features with ") for r in records if r["verdict"].startswith("above")]
    if above:
        out.print(f"  Above every null: {'; '.join(above)}.", highlight=False)
    if below:
        out.print(
            f"  Not above the nulls, which reach these as often, so they say nothing for this dictionary: "
            f"{'; '.join(below)}.",
            highlight=False,
        )


def print_evaluation(table: pd.DataFrame, headline: list[str], out: Console) -> None:
    """Print what single features read and no null reaches, then every dictionary beside the others."""
    from cellprism.evaluation.result import THIS, rival_words

    for line in headline:
        out.print(line, highlight=False, markup=False)
    first = (table["measure"] == "probe_auroc") & (table["k"] == 1)
    means = table[(table["target"] == "mean") & ((table["measure"] == "probe_f1") | first)]
    if means.empty:
        return
    shown = Table(
        title="The best k features, scored on cells that had no part in choosing them, mean over labels",
        title_justify="left",
    )
    asked = list(dict.fromkeys(zip(means["measure"], means["k"], strict=True)))
    value = means.set_index(["dictionary", "measure", "k"])["value"]
    ceiling = means.groupby("measure")["ceiling"].first()
    shown.add_column("")
    for measure, k in asked:
        shown.add_column(f"{'F1' if measure == 'probe_f1' else 'AUROC'}, k {k}", justify="right", no_wrap=True)
    for name in means["dictionary"].unique():
        found = [value.get((name, *pair), float("nan")) for pair in asked]
        words = "these features" if name == THIS else rival_words(name)
        shown.add_row(words, *(f"{v:.3f}" if pd.notna(v) else "" for v in found))
    shown.add_row("linear probe", *(f"{ceiling[measure]:.3f}" for measure, _ in asked))
    out.print(shown)


def print_findings(folder: RunFolder, n: int = 10) -> None:
    """Print what was found and no null reaches, the best-supported features, and the shares beside their nulls."""
    out, info = console(), folder.info
    out.print(f"\n{info['summary']}\n", highlight=False)
    if "evaluation" in info:
        print_evaluation(folder.evaluation, info["evaluation"]["headline"], out)
    table = Table(title=f"The {n} best-supported features that differ from each other", title_justify="left")
    for column, justify in (("feature", "right"), ("name", "left"), ("cells", "right"), ("stability", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for column in ("best label (AUROC)", "top genes", "gene set (q)"):
        table.add_column(column)
    features = folder.features
    shown = folder.codes.tocsc()[:, features["feature"].to_numpy()]
    for row in best_features(features, shown, n).to_dict("records"):
        label, found, stable = row["top_label"], row["top_set"], row["stability"]
        error = row.get("stability_error", np.nan)
        table.add_row(
            str(row["feature"]),
            str(row["name"]),
            f"{row['n_active']:,}",
            (f"{stable:.2f}" + (f" ± {error:.2f}" if pd.notna(error) else "")) if pd.notna(stable) else "",
            f"{label} ({row['top_label_auroc']:.2f})" if label and row["top_label_auroc"] >= READS else "",
            ", ".join(gene_list(row["top_genes"])[:5]),
            f"{found} ({row['top_set_qval']:.0e})" if found and pd.notna(found) else "",
        )
    out.print(table)
    null = folder.features.get("stability_null")
    if null is not None and null.notna().any():
        out.print(
            f"  Stability ± standard error over cells; by chance, with the cells permuted, {null.mean():.2f}. Features active in "
            "fewer than 10 cells have none.",
            highlight=False,
        )
    out.print()
    print_shares(info["shares"], out)
    if info["descriptive"]:
        out.print(
            "  p and q values are descriptive: the features were learned from the cells on which they are tested.",
            highlight=False,
        )
    for warning in info["warnings"]:
        out.print(f"  Note: {spoken(warning)}", highlight=False, markup=False)
    out.print(f"\nReport: {folder.path / 'report.html'}", highlight=False, soft_wrap=True)


def gene_list(value: Any) -> list[str]:
    """Genes of a ``top_genes`` entry."""
    return [g.strip() for g in value.split(",")] if isinstance(value, str) else [str(g) for g in value]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
