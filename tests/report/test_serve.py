"""What the server gives, and what it refuses."""

import gzip

import pytest

from cellprism.errors import InputError
from cellprism.report.pack import unpack
from cellprism.report.serve import make_app, serve

testing = pytest.importorskip("starlette.testclient", reason="httpx is not installed")


@pytest.fixture(scope="module")
def client(small_run):
    return testing.TestClient(make_app(small_run), base_url="http://127.0.0.1:8765")


def test_page_and_blocks(client):
    page = client.get("/")
    assert page.status_code == 200
    assert 'data-blocks="data/"' in page.text
    assert page.headers["content-encoding"] == "gzip"
    block = client.get("/data/overview")
    assert block.headers["content-encoding"] == "gzip"
    assert unpack(gzip.compress(block.content))[1]["n_features"] == 48


def test_plain_bytes_for_who_cannot_unpack(client):
    answer = client.get("/data/overview", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert unpack(gzip.compress(answer.content))[1]["n_features"] == 48


def test_files_of_the_run_are_downloads(client, small_run):
    answer = client.get("/files/run.json")
    assert answer.content == (small_run / "run.json").read_bytes()
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"


OUTSIDE = [
    "../secret.txt",
    "%2e%2e/secret.txt",
    "..%2fsecret.txt",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "link.txt",
    "sub/../../secret.txt",
    "",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_the_folder(small_run, path):
    secret = small_run.parent / "secret.txt"
    secret.write_text("secret")
    link = small_run / "link.txt"
    if not link.is_symlink():
        link.symlink_to(secret)
    client = testing.TestClient(make_app(small_run), base_url="http://localhost")
    answer = client.get(f"/files/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:8765", 200), ("localhost", 200), ("evil.example", 400), ("", 400)]
)
def test_other_hosts_are_refused(client, host, status):
    assert client.get("/data/overview", headers={"host": host}).status_code == status


def test_allowed_host(small_run):
    client = testing.TestClient(make_app(small_run, allowed_hosts=["cells.example"]), base_url="http://cells.example")
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_only_reading(client, method):
    assert getattr(client, method)("/data/overview").status_code == 405


def test_unknown_block(client):
    assert client.get("/data/none").status_code == 404


def test_refuses_an_open_host_without_names_and_a_wrong_port(small_run):
    with pytest.raises(InputError, match="told by which names"):
        serve(small_run, host="0.0.0.0")
    with pytest.raises(InputError, match="0 to 65535"):
        serve(small_run, port=70000)
