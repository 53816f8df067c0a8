import dataclasses
import hashlib
import io
import json
import threading
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
from cli_runner import call
from scipy import sparse

from cellprism import datasets
from cellprism.datasets import Dataset, File, download
from cellprism.datasets.download import obtain
from cellprism.errors import InputError


def made(n=5, g=4, prefix="g"):
    X = sparse.csr_matrix(np.arange(n * g, dtype=np.float32).reshape(n, g))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(n)])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"{prefix}{i}" for i in range(g)]))


@pytest.fixture
def cells(tmp_path):
    """Bytes of a small h5ad."""
    made().write_h5ad(tmp_path / "made.h5ad")
    return (tmp_path / "made.h5ad").read_bytes()


@pytest.fixture
def site(monkeypatch, tmp_path):
    """Files by path on a server of this machine, and what it was asked."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = files.get(self.path.split("?")[0])
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path / "cache"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", files, asked
    server.shutdown()
    thread.join()
    server.server_close()


def zipped(name, content):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.writestr(f"__MACOSX/._{name}", b"shadow")
    return out.getvalue()


def test_a_file_is_fetched_once_and_checked(site, cells, tmp_path):
    url, files, asked = site
    files["/made.h5ad"] = cells
    digest = hashlib.sha256(cells).hexdigest()
    file = File("made.h5ad", "h5ad", f"{url}/made.h5ad", digest, shape=(5, 4))
    path = obtain(file, tmp_path / "kept")
    assert path.read_bytes() == cells
    assert obtain(file, tmp_path / "kept") == path
    assert asked == ["/made.h5ad"]
    assert [p.name for p in (tmp_path / "kept").iterdir()] == ["made.h5ad"]  # nothing half-done beside it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "another checksum than the published one"),
        ({"shape": (5, 5)}, r"5 cells x 5 features.*\(5, 4\)"),
        ({"format": "10x"}, "must be a file of the format 10x"),
        ({"format": "json"}, "must be a file of the format json"),
    ],
)
def test_what_is_not_as_published_is_not_kept(site, cells, tmp_path, change, message):
    url, files, _ = site
    files["/made.h5ad"] = cells
    file = File(**({"name": "made.h5ad", "format": "h5ad", "url": f"{url}/made.h5ad"} | change))
    with pytest.raises(InputError, match=message):
        obtain(file, tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_a_file_put_there_by_hand_is_checked_too(tmp_path, cells):
    (tmp_path / "made.h5ad").write_bytes(cells)
    good = File("made.h5ad", "h5ad", "http://127.0.0.1:9/none", hashlib.sha256(cells).hexdigest())
    assert obtain(good, tmp_path) == tmp_path / "made.h5ad"
    (tmp_path / "made.h5ad").write_bytes(b"<html>not here</html>")
    with pytest.raises(InputError, match="must have the published SHA-256"):
        obtain(good, tmp_path)
    with pytest.raises(InputError, match=r"must be a file of the format h5ad.*delete it and fetch it again"):
        obtain(File("made.h5ad", "h5ad", "http://127.0.0.1:9/none"), tmp_path)


def test_offline_says_the_address_and_the_place(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path))
    monkeypatch.setitem(
        datasets.DATASETS, "tiny", Dataset("tiny", "made", (File("a.h5ad", "h5ad", "http://127.0.0.1:9/a.h5ad"),))
    )
    with pytest.raises(InputError) as error:
        datasets.load("tiny")
    assert "http://127.0.0.1:9/a.h5ad on another machine" in str(error.value)
    assert str(tmp_path / "datasets" / "tiny" / "a.h5ad") in str(error.value)
    with pytest.raises(InputError, match=r"figshare\.com/articles/.*23796198.*human_bonemarrow\.h5ad"):
        obtain(datasets.DATASETS["human_bonemarrow"].files[0], tmp_path, api="http://127.0.0.1:9/v2")


class TestArchive:
    """A figshare article: its record gives address and MD5, files may be zipped."""

    def put(self, files, url, name, content, number="7", md5=None):
        record = {
            "name": name,
            "download_url": f"{url}/{number}",
            "computed_md5": md5 or hashlib.md5(content).hexdigest(),
        }
        files[f"/v2/articles/1/files/{number}"] = json.dumps(record).encode()
        files["/v2/articles/1/files"] = json.dumps([record, {"name": "other.txt"}]).encode()
        files[f"/{number}"] = content

    @pytest.mark.parametrize("item", ["7", "*made*.h5ad*"])
    def test_by_number_or_name_and_unzipped(self, site, cells, tmp_path, item):
        url, files, _ = site
        self.put(files, url, "made.h5ad.zip", zipped("made.h5ad", cells))
        file = File("made.h5ad", "h5ad", article="1", item=item)
        assert obtain(file, tmp_path / "kept", api=f"{url}/v2").read_bytes() == cells
        assert [p.name for p in (tmp_path / "kept").iterdir()] == ["made.h5ad"]

    def test_another_md5_is_refused(self, site, cells, tmp_path):
        url, files, _ = site
        self.put(files, url, "made.h5ad", cells, md5="0" * 32)
        with pytest.raises(InputError, match="another checksum"):
            obtain(File("made.h5ad", "h5ad", article="1", item="7"), tmp_path / "kept", api=f"{url}/v2")

    def test_a_name_that_is_not_there(self, site, cells, tmp_path):
        url, files, _ = site
        self.put(files, url, "made.h5ad", cells)
        with pytest.raises(InputError, match=r"0 among made\.h5ad, other\.txt"):
            obtain(File("b.h5mu", "h5mu", article="1", item="*b*.h5mu"), tmp_path / "kept", api=f"{url}/v2")

    def test_weights_stay_zipped(self, site, tmp_path):
        url, files, _ = site
        content = zipped("archive/data.pkl", b"weights")
        self.put(files, url, "w.pt", content)
        assert obtain(File("w.pt", "weights", article="1", item="7"), tmp_path, api=f"{url}/v2").read_bytes() == content


def tenx(path, kinds):
    with h5py.File(path, "w") as f:
        X = sparse.csc_matrix(np.arange(3 * len(kinds)).reshape(len(kinds), 3))
        m = f.create_group("matrix")
        for k in ("data", "indices", "indptr"):
            m[k] = getattr(X, k)
        m["shape"], m["barcodes"] = X.shape, np.array([b"c0", b"c1", b"c2"])
        features = m.create_group("features")
        features["name"] = features["id"] = np.array([f"f{i}".encode() for i in range(len(kinds))])
        features["feature_type"] = np.array([k.encode() for k in kinds])
        features["genome"] = np.array([b"x"] * len(kinds))


def test_each_format_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path))

    def known(name, form):
        folder = tmp_path / "datasets" / name
        folder.mkdir(parents=True)
        monkeypatch.setitem(datasets.DATASETS, name, Dataset(name, "made", (File("a", form, "http://127.0.0.1:9/a"),)))
        return folder / "a"

    tenx(known("one", "10x"), ["Gene Expression"] * 4)
    tenx(known("two", "10x"), ["Gene Expression", "Peaks", "Antibody Capture", "Peaks"])
    with h5py.File(known("paul", "paul15"), "w") as f:
        f["data.debatched"] = np.arange(6).reshape(2, 3)
        f["data.debatched_rownames"], f["data.debatched_colnames"] = [b"Hba-a1;Hba", b"Car2"], [b"w1", b"w2", b"w3"]
        f["cluster.id"] = np.array([[1], [7], [19]])
    assert datasets.load("one").shape == (3, 4)
    two = datasets.load("two")
    assert {m: a.n_vars for m, a in two.mod.items()} == {"rna": 1, "protein": 1, "atac": 2}
    np.testing.assert_array_equal(two["atac"].X.toarray(), [[3, 9], [4, 10], [5, 11]])
    paul = datasets.load("paul")
    assert list(paul.obs["cluster"]) == ["1Ery", "7MEP", "19Lymph"]
    assert list(paul.var_names) == ["Hba-a1", "Car2"]
    np.testing.assert_array_equal(paul.X.toarray(), [[0, 3], [1, 4], [2, 5]])


def test_columns_of_kang_are_called_as_here(tmp_path, monkeypatch):
    """The published layout: `label`, `replicate`, `cell_type`; what lacks them is refused."""
    known = datasets.DATASETS["kang2018"]
    (file,) = known.files
    assert file.shape == (24673, 15706)
    put = dataclasses.replace(file, sha256="", shape=(5, 4))
    monkeypatch.setitem(datasets.DATASETS, "kang2018", dataclasses.replace(known, files=(put,)))
    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path))
    at = tmp_path / "datasets" / "kang2018"
    at.mkdir(parents=True)
    cells = made()
    cells.obs["label"] = pd.Categorical(["ctrl", "stim", "ctrl", "stim", "stim"])
    cells.obs["replicate"] = pd.Categorical(["patient_101"] * 5)
    cells.obs["cell_type"] = pd.Categorical(["B cells"] * 5)
    cells.write_h5ad(at / "kang2018.h5ad")
    found = datasets.load("kang2018")
    assert list(found.obs.columns) == ["condition", "donor", "cell_type"]
    assert found.obs["condition"].tolist() == ["ctrl", "stim", "ctrl", "stim", "stim"]
    np.testing.assert_array_equal(found.X.toarray(), cells.X.toarray())
    made().write_h5ad(at / "kang2018.h5ad")
    with pytest.raises(InputError, match="no label, replicate in obs"):
        datasets.load("kang2018")


def test_h5mu_shape_is_read_without_loading(tmp_path):
    with mudata.set_options(pull_on_update=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mudata.MuData({"rna": made(), "atac": made(5, 3, "p")}).write(tmp_path / "a.h5mu")
    assert obtain(File("a.h5mu", "h5mu", "x", shape=(5, 7)), tmp_path)
    with pytest.raises(InputError, match=r"\(5, 7\)"):
        obtain(File("a.h5mu", "h5mu", "x", shape=(5, 8)), tmp_path)


def test_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path))
    table = datasets.available().set_index("name")
    assert {"human_bonemarrow", "human_brain", "mouse_gastrulation", "pbmc3k", "pbmc_10k_multiome"} <= set(table.index)
    assert table.loc["pbmc3k", "checked"] == "sha256"
    assert not table["cached"].any()
    for known in datasets.DATASETS.values():
        for file in known.files:
            assert bool(file.url) != bool(file.article), file
            assert not file.sha256 or len(file.sha256) == 64, file
    with pytest.raises(InputError, match="pbmc3k"):
        datasets.fetch("pbmc3")
    with pytest.raises(InputError, match="read_multidgd"):
        datasets.load("human_brain_model")


def test_the_command_lists_and_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path))
    shown = call(capsys, "datasets")
    assert shown.code == 0
    assert "human_bonemarrow" in shown.out
    wrong = call(capsys, "datasets", "nothing")
    assert wrong.code == 2
    assert "data set must be known" in wrong.err


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_larger_than_any_data_set_is_not_kept(site, cells, tmp_path, monkeypatch, packed):
    address, files, _ = site
    body = zipped("a.h5ad", cells + bytes(200_000)) if packed else cells
    files["/a.h5ad"] = body
    # of the zip, only what it holds is too large
    monkeypatch.setattr(download, "LARGEST", 150_000 if packed else len(cells) - 1)
    assert not packed or len(body) <= download.LARGEST
    with pytest.raises(InputError, match="at most"):
        obtain(File("a.h5ad", "h5ad", f"{address}/a.h5ad"), tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []
    monkeypatch.setattr(download, "LARGEST", 10**7)
    files["/a.h5ad"] = cells
    assert obtain(File("a.h5ad", "h5ad", f"{address}/a.h5ad"), tmp_path / "kept").read_bytes() == cells


@pytest.mark.parametrize(
    "file", [file for known in datasets.DATASETS.values() for file in known.files], ids=lambda file: file.name
)
def test_each_download_has_what_tells_that_it_is_the_right_one(file):
    pinned = len(file.sha256) == 64 and set(file.sha256) <= set("0123456789abcdef")
    told_on_arrival = bool(file.article and file.item)  # its archive's record gives size and MD5
    sized = file.shape is not None and all(n > 0 for n in file.shape)  # its publisher states no checksum
    assert pinned or told_on_arrival or sized
    assert not file.url or file.url.startswith("https://")
    assert bool(file.url) != bool(file.article)
