"""Readers under generated input: a result of the promised kind, or an InputError; never another exception."""

from __future__ import annotations

import contextlib
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellprism.data.arrays import read_dense, read_sparse
from cellprism.data.embedding import read_embedding
from cellprism.data.read import read_cells
from cellprism.errors import InputError
from cellprism.folder.manifest import read_manifest
from cellprism.folder.schema import check_info
from cellprism.genesets import read_gmt, read_id_table, read_network, read_ontology
from cellprism.sae import SAEConfig, load

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*SAEConfig.__dataclass_fields__, "nonsense", "format", "files", "format_version"])
MAPPINGS = st.dictionaries(FIELDS, JSON, max_size=4)
LINES = st.lists(
    st.text(max_size=20) | st.sampled_from(["a\t\tX\tY", "a\t\tX", "\t\t", "id: X:1", "[Term]", "is_a: X:1"]),
    max_size=8,
)
TEXT = LINES.map("\n".join).map(lambda text: text.encode("utf-8", "surrogatepass"))


def npy(values: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    import io

    held = io.BytesIO()
    np.save(held, values)
    return held.getvalue()


def spoilt(whole: bytes) -> st.SearchStrategy[bytes]:
    """A file with some bytes changed, cut or doubled."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        data = bytearray(whole)
        for _ in range(draw(st.integers(1, 4))):
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)

    return change()


def reads(suffix: str, reader: Callable[[Path], Any], data: bytes) -> None:
    """Read bytes as a file; anything but a result or an InputError passes through and fails the test."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas and numpy warn of what they then refuse
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(data)
        try:
            reader(path)
        except InputError as error:
            assert error.rule  # noqa: PT017
            assert error.remedy  # noqa: PT017


BYTES = st.binary(max_size=300)
READERS = {
    "gmt": (".gmt", read_gmt, TEXT | BYTES),
    "gmt.gz": (".gmt.gz", read_gmt, BYTES),
    "obo": (".obo", read_ontology, TEXT | BYTES),
    "ids": (".csv", lambda p: read_id_table(p, "a", "b"), TEXT | BYTES),
    "network": (".csv", read_network, TEXT | BYTES),
    "csv": (".csv", read_embedding, TEXT | BYTES),
    "tsv": (".tsv", read_embedding, TEXT | BYTES),
    "parquet": (".parquet", read_embedding, BYTES),
    "npy": (".npy", read_embedding, spoilt(npy(np.ones((4, 3)))) | BYTES),
    "npz": (".npz", read_embedding, BYTES),
    "pt": (".pt", read_embedding, BYTES),
    "dense": (".npy", read_dense, spoilt(npy(np.ones((4, 3), dtype=np.float32)))),
    "sparse": (".npz", read_sparse, BYTES),
    "h5ad": (".h5ad", read_cells, BYTES),
}


@pytest.mark.parametrize("kind", READERS)
def test_any_bytes(kind: str) -> None:
    suffix, reader, strategy = READERS[kind]
    if kind == "obo":
        pytest.importorskip("obonet")

    @SETTINGS
    @given(strategy)
    def check(data: bytes) -> None:
        reads(suffix, reader, data)

    check()


@pytest.mark.parametrize("reader", [read_dense, read_embedding])
@pytest.mark.parametrize(
    "header", [b"{'descr'[ '<f4', 'shape': (4, 3), }", b"(" * 60, b"{'descr': '", b"0x", b"1_", b"{}"]
)
def test_any_array_header(header: bytes, reader: Callable[[Path], Any]) -> None:
    header = header.ljust(117) + b"\n"
    for version in (b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x07\x00"):
        length = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
        reads(".npy", reader, b"\x93NUMPY" + version + length + header + bytes(48))


@SETTINGS
@given(MAPPINGS)
def test_any_config(content: dict[str, Any]) -> None:
    try:
        config = SAEConfig.from_dict(content)
    except InputError:
        return
    assert SAEConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@SETTINGS
@given(JSON | MAPPINGS)
def test_any_run_json_and_manifest(content: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "manifest.json").write_text(json.dumps(content))
        for read in (lambda: check_info(content), lambda: read_manifest(Path(name))):
            with contextlib.suppress(InputError):
                assert isinstance(read(), dict)


@SETTINGS
@given(JSON | MAPPINGS.map(lambda c: {"format": "cellprism-sae", "format_version": 1, "config": c, "d": 3}), BYTES)
def test_any_sae_folder(content: Any, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "config.json").write_text(json.dumps(content))
        (Path(name) / "sae.safetensors").write_bytes(data)
        with pytest.raises(InputError):
            load(name)
