"""Where a run's dictionary comes from, and options from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runner import call
from helpers import counts_adata

from cellprism.errors import InputError
from cellprism.run import RunOptions
from cellprism.sae import default_config

X = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)


def options(**given: object) -> RunOptions:
    return RunOptions(data=Path("c.h5ad"), output=Path("out"), rep="X", **given)  # type: ignore[arg-type]


def test_recipes_by_name() -> None:
    assert options().sae_config(X) is None
    assert options(recipe="default").sae_config(X) == default_config(X)
    reading = options(recipe="reading").sae_config(X)
    assert reading is not None
    assert (reading.init, reading.kinds > 0) == ("geometry", True)


def test_a_recipe_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("width: 12\nk: 3\nscaling: wiener\n", encoding="utf-8")
    config = options(recipe=str(tmp_path / "r.yaml")).sae_config(X)
    assert config is not None
    assert (config.width, config.k, config.scaling) == (12, 3, "wiener")


@pytest.mark.parametrize("given", [{"recipe": "best"}, {"recipe": "reading", "width": 8}, {"recipe": "no/such.yaml"}])
def test_wrong_recipes_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(InputError, match="recipe"):
        options(**given)


def test_nothing_is_read_off_few_cells() -> None:
    with pytest.raises(InputError, match="100 cells"):
        options(recipe="reading").sae_config(X[:50])


def test_options_from_a_file_and_the_command_line_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts_adata().write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "o.yaml").write_text("rep: X_other\nseeds: 1\nwidht: 8\n", encoding="utf-8")
    result = call(capsys, "run", tmp_path / "cells.h5ad", "--config", tmp_path / "o.yaml", "-o", tmp_path / "out")
    assert result.code == 2
    assert "widht" in result.err
    (tmp_path / "o.yaml").write_text("rep: X_other\n", encoding="utf-8")
    result = call(capsys, "run", tmp_path / "cells.h5ad", "--config", tmp_path / "o.yaml", "-o", tmp_path / "out")
    assert "'X_other'" in result.err
    more = ("--rep", "X_third", "-o", tmp_path / "out")
    result = call(capsys, "run", tmp_path / "cells.h5ad", "--config", tmp_path / "o.yaml", *more)
    assert "'X_third'" in result.err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("labels: nowhere", "'nowhere'"),  # one value where several may stand
        ("labels: [nowhere]", "'nowhere'"),
        ("labels: [[nowhere]]", "takes one value, or a list"),
        ("rep: [X_emb, X_umap]", "takes one value"),
        ("seeds: 2.7", "--seeds"),  # never cut to a whole number
        ("seeds: true", "--seeds"),
        ("id-columns: 'mouse'", "FROM,TO"),
        ("gene-sets: bundled\ngene-sets: b.gmt", "'gene-sets' twice"),  # YAML itself keeps the last
        ("gene-sets: bundled\ngene_sets: b.gmt", "'gene_sets' twice"),
    ],
)
def test_a_file_of_options_is_read_as_it_would_be_typed(
    line: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts_adata().write_h5ad(tmp_path / "cells.h5ad")
    base = "" if line.startswith("rep") else "rep: X_emb\n"
    (tmp_path / "o.yaml").write_text(f"{base}{line}\n", encoding="utf-8")
    result = call(capsys, "run", tmp_path / "cells.h5ad", "--config", tmp_path / "o.yaml", "-o", tmp_path / "out")
    assert result.code == 2
    assert told in " ".join(result.err.split())
    assert not (tmp_path / "out").exists()
