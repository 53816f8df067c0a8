import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from cellprism.errors import InputError
from cellprism.genesets import LIBRARIES, fetch_library, libraries, load

CONTENT = {
    "MSigDB_Hallmark_2020": "Apoptosis\t\tCASP3\tBAX\nHypoxia\t\tVEGFA\tCA9\n",
    "GO_Biological_Process_2023": "bicarbonate transport (GO:0015701)\t\tSLC4A1\tCA2\n",
}


@pytest.fixture
def service(tmp_path, monkeypatch):
    """A service on this machine that answers as the public one does; counts what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            name = query["libraryName"][0]
            asked.append(name)
            assert query["mode"] == ["text"]
            if name == "Not_There":
                self.send_error(404)
                return
            body = CONTENT.get(name, "<html>no such library</html>").encode()
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
    yield f"http://127.0.0.1:{server.server_port}/library", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_library_is_fetched_once(service, tmp_path):
    url, asked = service
    expected = {"Apoptosis": ["CASP3", "BAX"], "Hypoxia": ["VEGFA", "CA9"]}
    assert fetch_library("MSigDB_Hallmark_2020", url=url) == expected
    assert fetch_library("hallmark", url=url) == expected
    assert load("MSigDB_Hallmark_2020") == expected  # from disk, so it asks nobody
    assert asked == ["MSigDB_Hallmark_2020"]
    kept = {path.name for path in (tmp_path / "cache" / "genesets").iterdir()}
    assert kept == {"MSigDB_Hallmark_2020.gmt", "MSigDB_Hallmark_2020.gmt.sha256"}


def test_a_library_is_held_to_what_first_came(service, monkeypatch):
    url, asked = service
    fetch_library("hallmark", url=url)
    path = libraries.library_path("hallmark")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"CASP3", b"CASP8"))
    for _ in range(2):
        with pytest.raises(InputError, match=r"other content in .*remove it to fetch it again"):
            fetch_library("hallmark", url=url)
    assert path.is_file()
    path.unlink()  # as the remedy says
    assert fetch_library("hallmark", url=url)["Apoptosis"] == ["CASP3", "BAX"]
    assert asked == ["MSigDB_Hallmark_2020"] * 2
    path.write_bytes(whole.replace(b"CASP3", b"CASP8"))
    path.with_name(f"{path.name}.sha256").unlink()  # the other remedy
    assert fetch_library("hallmark", url=url)["Apoptosis"] == ["CASP8", "BAX"]
    path.unlink()
    monkeypatch.setitem(CONTENT, "MSigDB_Hallmark_2020", "Apoptosis\t\tCASP9\n")  # the service has another by now
    for _ in range(2):
        assert fetch_library("hallmark", url=url)["Apoptosis"] == ["CASP9"]


def test_an_unknown_library_is_said_and_not_kept(service, tmp_path):
    url, asked = service
    for _ in range(2):
        with pytest.raises(InputError, match=r"no gene sets under the name.*MSigDB_Hallmark_2020"):
            fetch_library("MSigDB_Hallmark_2021", url=url)
    assert len(asked) == 2
    with pytest.raises(InputError, match="fetching it failed"):
        fetch_library("Not_There", url=url)
    assert not list((tmp_path / "cache" / "genesets").iterdir())


def test_offline_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path))
    monkeypatch.setattr(libraries, "ENRICHR", "http://127.0.0.1:9/nobody")
    with pytest.raises(InputError, match=r"run once with a network.*'bundled'"):
        fetch_library("go_bp", url=libraries.ENRICHR)


@pytest.mark.parametrize("name", [*LIBRARIES, "go_bp", "KEGG", "ChEA_2022", "Human_Gene_Atlas"])
def test_names_of_libraries_are_told_from_paths(name):
    assert libraries.is_library_name(name)


@pytest.mark.parametrize("name", ["sets", "my sets", "../up_one/file", "C:_x", "", "folder/my_sets"])
def test_other_words_are_not_names_of_libraries(name):
    assert not libraries.is_library_name(name)


def test_the_cache_has_a_default_place(monkeypatch):
    monkeypatch.delenv("CELLPRISM_CACHE", raising=False)
    assert "cellprism" in str(libraries.cache_dir())
