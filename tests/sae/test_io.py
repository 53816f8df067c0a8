import json
from pathlib import Path

import numpy as np
import pytest
from sae.cases import VARIANTS, embedding
from safetensors.numpy import load_file, save_file

from cellprism.errors import InputError
from cellprism.sae import fit, load


@pytest.mark.parametrize("name", VARIANTS)
def test_saved_and_loaded_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    sae = fit(embedding(), VARIANTS[name], epochs=3, batch_size=64).sae
    sae.save(tmp_path / "a" / "sae")
    back = load(tmp_path / "a")  # a run folder: the SAE lies in its sae/
    assert back.config == sae.config
    X = embedding(80, seed=5)
    before, after = sae.encode(X), back.encode(X)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(before, part), getattr(after, part))
    np.testing.assert_array_equal(sae.decode(before), back.decode(after))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fit(embedding(), VARIANTS["batchtopk"], epochs=1).sae.save(tmp_path / "sae")
    return tmp_path / "sae"


def truncate(folder: Path) -> None:
    file = folder / "sae.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def change(folder: Path, **fields: object) -> None:
    about = json.loads((folder / "config.json").read_text())
    about.update(fields)
    (folder / "config.json").write_text(json.dumps(about))


def drop(folder: Path, tensor: str) -> None:
    tensors = load_file(folder / "sae.safetensors")
    del tensors[tensor]
    save_file(tensors, folder / "sae.safetensors")


BAD = {
    "truncated": (truncate, "must be readable"),
    "newer format": (lambda f: change(f, format_version=99), "reads SAE format 1 or older; met format 99.*upgrade"),
    "format not a number": (lambda f: change(f, format_version="x"), "format_version"),
    "another program's": (lambda f: change(f, format="other"), "must describe a cellprism SAE"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "must be JSON"),
    "config of another width": (lambda f: change(f, config={"width": 7, "k": 2}), "must fit config.json"),
    "config gone": (lambda f: change(f, config=None), "`config`"),
    "no weights": (lambda f: (f / "sae.safetensors").unlink(), "no sae.safetensors in"),
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json in"),
    "no scaling": (lambda f: drop(f, "forward_map"), "must hold the model's scaling"),
    "no decoder": (lambda f: drop(f, "decoder"), "must fit config.json"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_folders_are_refused(name: str, folder: Path) -> None:
    spoil, message = BAD[name]
    spoil(folder)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_nothing_is_pickled(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "sae.safetensors"]
