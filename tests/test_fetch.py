"""Weights are fetched from a server on this machine, which answers in all the wrong ways."""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from data.text import UserError
from published import weights
from published.weights import checkpoint_path

FILE = io.BytesIO()
torch.save(dict(a=torch.zeros(1000)), FILE)
WHOLE = FILE.getvalue()
HEAD = b"HTTP/1.0 200 OK\r\n"
# What a server sends as the answer for a path.
ANSWERS = {
    "a/best.pth": HEAD + b"\r\nfirst",
    "b/best.pth": HEAD + b"\r\nsecond",
    "cut": HEAD + b"Content-Length: 9999\r\n\r\n" + WHOLE,
    "cut-without-length": HEAD + b"\r\n" + WHOLE[:-100],
    "cut-in-chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    "page": HEAD + b"\r\n<!DOCTYPE html>",
    "length": HEAD + b"Content-Length: many\r\n\r\n" + WHOLE,
    "status": b"nonsense\r\n\r\n",
    "code": b"HTTP/1.0 999999 OK\r\n\r\n",
    "nothing": b"",
    "missing": b"HTTP/1.0 404 Not Found\r\n\r\n",
    "away": b"HTTP/1.0 302 Found\r\nLocation: gopher://[x\r\n\r\n",
}


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(ANSWERS[self.path[1:].partition("?")[0]])

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_files_of_one_name_are_told_apart_by_their_urls_and_fetched_once(address, monkeypatch):
    first, second = (checkpoint_path(f"{address}/{folder}/best.pth?x=1") for folder in "ab")
    assert first.read_bytes() == b"first" and second.read_bytes() == b"second"
    assert first.match("weights/*-best.pth") and len(list(Path("weights").iterdir())) == 2
    monkeypatch.setattr("urllib.request.urlopen", None)
    assert checkpoint_path(f"{address}/a/best.pth?x=1") == first
    assert checkpoint_path("there/x.pth") == Path("there/x.pth")


@pytest.mark.parametrize("answer", list(ANSWERS)[2:])
def test_what_is_no_whole_file_is_one_line_and_is_not_kept(answer, address):
    with pytest.raises(UserError, match=f"/{answer}: cannot be fetched ") as mistake:
        checkpoint_path(f"{address}/{answer}")
    assert "\n" not in str(mistake.value) and not list(Path("weights").iterdir())


@pytest.mark.parametrize("url", ("http://[", "http://host:port/x", "https://", "http:///x\n"))
def test_an_address_that_is_none_is_one_line(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="cannot be fetched"):
        checkpoint_path(url)


def test_a_hash_in_torchvision_s_names_is_compared(address, monkeypatch):
    monkeypatch.setattr(weights, "TORCH_HUB", address)
    monkeypatch.setitem(ANSWERS, "x-a7937b64.pth", HEAD + b"\r\nfirst")
    monkeypatch.setitem(ANSWERS, "x-00000000.pth", HEAD + b"\r\nfirst")
    path = checkpoint_path(f"{address}/x-a7937b64.pth")
    assert path == Path("weights/x-a7937b64.pth"), "as it is called where it is put by hand"
    with pytest.raises(UserError, match="another hash"):
        checkpoint_path(f"{address}/x-00000000.pth")
