"""What the server gives, and what it refuses."""

import gzip
import importlib
import re
import socket
import webbrowser

import pytest
from cli_runner import call

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
    with pytest.raises(InputError, match="at most 65,535"):
        serve(small_run, port=70000)


@pytest.mark.parametrize("path", ["%00", "a%00b", "n" * 300, "n" * 60_000, "loop", "loop/x", "run.json/x", "%ff%fe"])
def test_names_that_no_file_can_have_are_not_found(small_run, path):
    loop = small_run / "loop"
    if not loop.is_symlink():
        loop.symlink_to(loop)
    client = testing.TestClient(make_app(small_run), base_url="http://localhost")
    try:
        assert client.get(f"/files/{path}").status_code == 404
    finally:
        loop.unlink()


@pytest.mark.parametrize(
    ("given", "sent"),
    [("::1", "[::1]"), ("[::1]", "[::1]:8765"), ("*.cells.example", "a.cells.example"), ("192.0.2.7", "192.0.2.7:80")],
)
def test_allowed_hosts_are_met_as_they_are_sent(small_run, given, sent):
    client = testing.TestClient(make_app(small_run, allowed_hosts=[given]), base_url="http://localhost")
    assert client.get("/data/overview", headers={"host": sent}).status_code == 200
    assert client.get("/data/overview", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("name", ["a*b", "*a", "", "name:80", "a b", "http://x", "*.*"])
def test_names_that_are_none_are_refused(small_run, name):
    with pytest.raises(InputError, match="allowed host"):
        make_app(small_run, allowed_hosts=[name])


@pytest.fixture
def live(small_run, monkeypatch):
    """Port of a server in a thread."""
    import threading
    import time

    import uvicorn

    module = importlib.import_module("cellprism.report.serve")  # the package has a function of this name
    monkeypatch.setattr(module, "PATIENCE_S", 0.3)
    held, said = [], []
    real = uvicorn.Server.__init__
    monkeypatch.setattr(uvicorn.Server, "__init__", lambda self, config: (real(self, config), held.append(self))[0])
    thread = threading.Thread(target=serve, args=[small_run], kwargs={"port": 0, "say": said.append}, daemon=True)
    thread.start()
    while not (held and held[0].started):
        time.sleep(0.01)
    yield int(re.search(r"http://127\.0\.0\.1:(\d+)/", said[0]).group(1))
    held[0].should_exit = True
    thread.join()


@pytest.mark.parametrize("browser", ["there", "none", "broken"])
@pytest.mark.parametrize(
    ("host", "wanted"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://localhost:")],
)
def test_it_opens_the_browser_on_request(small_run, monkeypatch, browser, host, wanted):
    """The page is there when the browser asks; where there is none, the address is said again."""
    import threading
    import urllib.request

    import uvicorn

    said, opened, done, held = [], [], threading.Event(), []

    def visit(address):
        with urllib.request.urlopen(address, timeout=60) as answer:
            opened.append((address, answer.status, b"<html" in answer.read()[:4000].lower()))
        if browser == "broken":
            raise webbrowser.Error("could not locate runnable browser")
        return browser == "there"

    def say(line):
        said.append(line)
        if line.startswith("no browser"):
            done.set()

    monkeypatch.setattr(
        webbrowser, "open", lambda address: (visit(address), done.set())[0] if browser == "there" else visit(address)
    )
    real = uvicorn.Server.__init__
    monkeypatch.setattr(uvicorn.Server, "__init__", lambda self, config: (real(self, config), held.append(self))[0])
    options = {"port": 0, "host": host, "open_browser": True, "say": say, "allowed_hosts": ["cells.example"]}
    thread = threading.Thread(target=serve, args=[small_run], kwargs=options, daemon=True)
    thread.start()
    assert done.wait(60)
    held[0].should_exit = True
    thread.join()
    ((address, status, is_page),) = opened
    assert (address.startswith(wanted), status, is_page) == (True, 200, True)
    assert any(address in line for line in said[1:]) == (browser != "there")


def test_the_command_opens_no_browser_unasked(small_run, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        importlib.import_module("cellprism.report.serve"), "serve", lambda *_, **options: asked.append(options)
    )
    for given in ([], ["--open"]):
        assert call(capsys, "serve", small_run, *given).code == 0
    assert [options["open_browser"] for options in asked] == [False, True]


def test_a_taken_port_is_told(live, small_run):
    with pytest.raises(InputError, match="free port"):
        serve(small_run, port=live)


def test_who_asks_nothing_is_let_go(live):
    with socket.create_connection(("127.0.0.1", live), timeout=30) as half:
        half.sendall(b"GET / HT")
        assert half.recv(100) == b""  # closed from the other side


def test_a_long_body_is_not_waited_for(live):
    with socket.create_connection(("127.0.0.1", live), timeout=30) as sender:
        sender.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 130000000\r\n\r\n" + b"x" * 1000)
        answer = b""
        while part := sender.recv(4096):  # an end, though the body never came
            answer += part
    assert answer.startswith(b"HTTP/1.1 405")
