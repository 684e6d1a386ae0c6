"""The downloader against a server on this machine."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data.text import UserError
from tools.download import download


def zipped(name, text):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, text)
    return file.getvalue()


def tarred(name, text):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return file.getvalue()


FILES = {
    "/zips/images.zip": zipped("train2017/a.txt", "an image " * 1000),
    "/old/devkit.tar": tarred("VOCdevkit/b.txt", "b"),
}
ARCHIVES = tuple((path[1:], hashlib.md5(content).hexdigest()) for path, content in FILES.items())


@pytest.fixture
def server():
    """A server that breaks off the first answer of a file in the middle if it is told to, and
    knows ranges."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content, server.asked = (
                FILES.get(self.path),
                server.asked + [(self.path, self.headers.get("Range"))],
            )
            if content is None:
                self.send_error(404)
                return
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(
                content[start : len(content) // 2] if server.breaks else content[start:]
            )

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.breaks = [], False
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_archives_are_fetched_checked_and_unpacked_once(server, tmp_path):
    for _ in range(2):
        download("coco", tmp_path, server.address, ARCHIVES)
    assert (tmp_path / "train2017/a.txt").exists() and (
        tmp_path / "VOCdevkit/b.txt"
    ).read_text() == "b"
    assert len(server.asked) == 2 and not list(tmp_path.glob("*.zip"))


def test_a_broken_download_is_continued(server, tmp_path):
    server.breaks = True
    with pytest.raises(UserError):
        download("coco", tmp_path, server.address, ARCHIVES[:1])
    server.breaks = False
    download("coco", tmp_path, server.address, ARCHIVES[:1])
    half = len(FILES["/zips/images.zip"]) // 2
    assert server.asked[-1][1] == f"bytes={half}-" and (tmp_path / "train2017/a.txt").exists()


def test_a_damaged_archive_is_refused_and_removed(server, tmp_path):
    with pytest.raises(UserError, match="images.zip: cannot be fetched .*damaged"):
        download("coco", tmp_path, server.address, [("zips/images.zip", "0" * 32)])
    assert not list(tmp_path.iterdir())


def test_an_archive_of_the_user_s_is_used_or_left_alone(server, tmp_path):
    (tmp_path / "images.zip").write_bytes(FILES["/zips/images.zip"])
    (tmp_path / "devkit.tar").write_bytes(b"mine")
    with pytest.raises(UserError, match="devkit.tar exists, but is not the archive of this name"):
        download("coco", tmp_path, server.address, ARCHIVES)
    assert (tmp_path / "train2017/a.txt").exists() and (tmp_path / "images.zip").exists()
    assert (tmp_path / "devkit.tar").read_bytes() == b"mine" and not server.asked


def test_files_that_are_there_are_not_overwritten(server, tmp_path, capsys):
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit/b.txt").write_text("corrected by hand")
    download("voc", tmp_path, server.address, ARCHIVES[1:])
    assert (tmp_path / "VOCdevkit/b.txt").read_text() == "corrected by hand"
    assert "1 files were there before, and are kept" in capsys.readouterr().out


def test_a_missing_file_or_server_is_one_line(server, tmp_path):
    with pytest.raises(UserError, match="nothing.zip: cannot be fetched .the server answers 404"):
        download("coco", tmp_path, server.address, [("nothing.zip", "0" * 32)])
    with pytest.raises(UserError, match="a.zip: cannot be fetched"):
        download("coco", tmp_path, "http://127.0.0.1:9", [("a.zip", "0" * 32)])


def test_an_archive_without_a_known_digest_is_unpacked(server, tmp_path):
    download("bccd", tmp_path, server.address, [("zips/images.zip", None)])
    assert (tmp_path / "train2017/a.txt").exists()


def test_an_archive_without_a_known_digest_that_is_damaged_is_one_line(server, tmp_path):
    content = FILES["/zips/images.zip"]
    FILES["/damaged.zip"] = content[:60] + b"damaged" + content[67:]
    with pytest.raises(UserError, match="damaged.zip: cannot be unpacked"):
        download("bccd", tmp_path, server.address, [("damaged.zip", None)])
