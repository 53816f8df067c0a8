"""Long work: silent unless asked, lines where there is no terminal, no failure where standard error is closed."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import counts_adata

import cellprism as prism
from cellprism import progress
from cellprism.progress import Steps


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    with Steps("training", 3, True) as steps:
        for i in range(3):
            steps.advance(f"loss {i}")
    assert capsys.readouterr().err.splitlines() == [f"· training: {i + 1} of 3 epochs, loss {i}" for i in range(3)]
    with Steps("training", 3, False) as steps:
        steps.advance()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress, "SECONDS", 1000.0)
    with Steps("training", 3, True) as steps:
        steps.advance()
    assert capsys.readouterr().err == ""  # short work needs no line


def test_a_closed_standard_error_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", Closed())
    with Steps("training", 2, True) as steps:
        steps.advance()


@pytest.mark.parametrize("model", ["autoencoder", "dgd"])
def test_embedding_models_tell_their_epochs(model: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    cells = counts_adata(80, 30)
    prism.embed.train(model, cells, epochs=2, progress=True)
    assert "2 of 2 epochs" in capsys.readouterr().err
    prism.embed.train(model, cells, epochs=2)
    assert capsys.readouterr().err == ""


def test_training_tells_its_epochs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    X = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    prism.fit(X, prism.SAEConfig(8, k=2), epochs=2, progress=True)
    assert "· training SAE: 2 of 2 epochs" in capsys.readouterr().err


def test_files_can_be_read_by_others_where_the_folder_can(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    fit = prism.fit(X, prism.SAEConfig(8, "topk", k=2), epochs=1)
    fit.sae.save(tmp_path / "sae")
    prism.embed.train("pca", counts_adata(60), n_components=3).save(tmp_path / "model")
    prism.export_sae(fit.sae, tmp_path / "a", "saelens")
    prism.export_sae(fit.sae, tmp_path / "b", "sparsify")
    (tmp_path / "plain").write_text("")
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert stat.S_IMODE(file.stat().st_mode) == usual, file
