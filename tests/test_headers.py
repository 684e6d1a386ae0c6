import json
import os

import cv2
import numpy as np
import pytest

from data import headers
from data.headers import unreadable_images

NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


@pytest.fixture
def images(tmp_path):
    """Good and bad files, and where the good ones are remembered."""
    for name in ("good.jpg", "good.png", "cut.jpg", "cut.png", "trailing.jpg"):
        cv2.imwrite(str(tmp_path / name), NOISE)
    for name in ("cut.jpg", "cut.png"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 4])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("text")
    with open(tmp_path / "trailing.jpg", "ab") as file:
        file.write(b"\0" * 900)
    return tmp_path, tmp_path / "cache/images.json"


def test_cut_empty_and_missing_images_are_found_and_good_ones_are_not(images):
    folder, cache = images
    names = ("good.jpg", "good.png", "trailing.jpg", "cut.png", "empty.jpg", "text.png", "none.jpg")
    problems = unreadable_images([str(folder / name) for name in names], cache)
    assert {path.rsplit("/", 1)[-1] for path in problems} == set(names[3:])
    assert all(path in problem for path, problem in problems.items())


def test_what_was_good_is_not_looked_at_again_until_it_changes(images, monkeypatch):
    folder, cache = images
    path, looked_at = str(folder / "good.jpg"), []
    look_at = headers.look_at
    monkeypatch.setattr(headers, "look_at", lambda path: looked_at.append(path) or look_at(path))
    for _ in range(3):
        assert not unreadable_images([path], cache)
    assert looked_at == [path]
    (folder / "good.jpg").write_bytes((folder / "cut.png").read_bytes())
    assert list(unreadable_images([path], cache)) == [path] and looked_at == [path, path]


@pytest.mark.parametrize("text", ("", "[]", "{"))
def test_a_broken_memory_is_begun_anew(images, text):
    folder, cache = images
    cache.parent.mkdir()
    cache.write_text(text)
    assert not unreadable_images([str(folder / "good.jpg")], cache)
    assert list(json.loads(cache.read_text())) == [str(folder / "good.jpg")]


@pytest.mark.skipif(os.name == "nt", reason="there is no /dev/null")
def test_where_nothing_can_be_remembered_it_works_all_the_same(images):
    assert not unreadable_images([str(images[0] / "good.jpg")], "/dev/null/images.json")
