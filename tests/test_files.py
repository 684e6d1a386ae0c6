"""Nothing under a path that the user names is ever removed or overwritten."""

import hashlib

import pytest

from data.text import UserError
from tests.conftest import write_coco, write_image
from tests.scripts import run_script
from utils.files import latest_name, must_be_new, new_name, write, write_new


def test_a_file_that_exists_is_kept_unless_it_is_ours(tmp_path):
    write(tmp_path / "new/a.txt", "one")
    with pytest.raises(UserError, match="a.txt exists already, and is not overwritten"):
        write(tmp_path / "new/a.txt", b"two")
    with pytest.raises(UserError, match="a.txt exists already, and is not overwritten"):
        write(tmp_path / "new/a.txt/b.txt", "two")
    assert (tmp_path / "new/a.txt").read_text() == "one"
    write(tmp_path / "new/a.txt", "two", replace=True)
    assert (tmp_path / "new/a.txt").read_text() == "two"


def test_a_file_s_name_in_another_encoding_keeps_its_bytes(tmp_path):
    write(tmp_path / "per_image.csv", "M\udcfcnchen")
    assert (tmp_path / "per_image.csv").read_bytes() == b"M\xfcnchen"


def test_ctrl_c_leaves_no_half_of_a_new_file(tmp_path):
    def save(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_new(tmp_path / "a.txt", save)
    assert not list(tmp_path.iterdir())


def test_what_exists_is_refused_before_any_work(tmp_path):
    (tmp_path / "a").touch()
    must_be_new(None, tmp_path / "b")
    with pytest.raises(UserError, match="a exists already"):
        must_be_new(tmp_path / "b", tmp_path / "a")


def test_what_cannot_be_made_in_its_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    must_be_new(tmp_path / "new/b/c")
    for path in ("a/b", "a/b/c"):
        with pytest.raises(UserError, match="a is not a folder"):
            must_be_new(tmp_path / path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="b: .* may not write into"):
        must_be_new(tmp_path / "b")


def test_names_are_numbered_until_one_is_new(tmp_path):
    assert latest_name(tmp_path / "found") == tmp_path / "found"
    for name in ("found", "found-2", "found-3"):
        assert new_name(tmp_path / "found") == tmp_path / name
        (tmp_path / name).mkdir()
        assert latest_name(tmp_path / "found") == tmp_path / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for split in ("train", "val"):
        write_coco(folder / "data", [[(10, 20, 30, 40, 1)]], split=split)
    run_script(
        "train.py",
        "--recipe",
        "shapes",
        "--dataset",
        "coco",
        "--root",
        folder / "data",
        "--resize",
        "64",
        "--batch",
        "1",
        "--workers",
        "0",
        "--iters",
        "1",
        "--save-folder",
        folder,
        "--name",
        "run",
    )
    return folder / "run/best.pth"


@pytest.fixture
def photos(tmp_path):
    """A folder such as the shapes have, but with the user's photos in it."""
    for name in ("train/a.jpg", "val/b.jpg", "c.jpg", "predictions.jpg"):
        write_image(tmp_path / "photos" / name)
    (tmp_path / "photos/detections.json").write_text("mine")
    return tmp_path / "photos"


def tree(folder):
    return {
        str(path): hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


CHECK = "tools/check.py"
DETECT = ("detect.py", "{best}", "{photos}", "--score-threshold", "0")


@pytest.mark.parametrize(
    "command",
    (
        ("train.py", "--root", "{photos}"),
        ("train.py", "--root", "{photos}", "--dataset", "shapes"),
        ("train.py", "--root", "{photos}", "--recipe", "shapes"),
        ("train.py", "--root", "{photos}", "--dataset", "yolo"),
        ("train.py", "--save-folder", "{photos}/..", "--name", "photos"),
        ("train.py", "--resume", "{photos}/c.jpg"),
        (CHECK, "--root", "{photos}"),
        (CHECK, "--root", "{photos}", "--dataset", "shapes"),
        (CHECK, "--dataset", "coco", "--root", "{best}/../../data", "--sheet", "{photos}/c.jpg"),
        ("eval.py", "{best}", "--root", "{photos}", "--dataset", "shapes"),
        ("eval.py", "{best}", "--output", "{photos}"),
        (*DETECT, "--output", "{photos}"),
        (*DETECT, "--json", "{photos}/c.jpg"),
        ("detect.py", "{best}", "{photos}/c.jpg", "--output", "{photos}"),
        ("detect.py", "{best}", "{photos}/train", "--output", "{photos}/train"),
    ),
    ids=lambda command: " ".join(command).replace("{", "").replace("}", ""),
)
def test_a_folder_of_photos_is_the_same_afterwards(command, photos, trained, tmp_path):
    before = tree(photos)
    script, *arguments = (part.format(best=trained, photos=photos) for part in command)
    printed = run_script(script, *arguments, code=2, cwd=tmp_path)
    assert tree(photos) == before and "Traceback" not in printed and "error: " in printed


def test_copies_go_to_a_folder_of_their_own_each_time(photos, trained, tmp_path):
    before = tree(photos)
    for name in ("detections", "detections-2"):
        run_script("detect.py", trained, photos, cwd=tmp_path)
        assert (tmp_path / name / "train/a.jpg").exists()
    assert tree(photos) == before


def test_two_new_files_of_one_name_are_an_error(tmp_path):
    with pytest.raises(UserError, match="two outputs would have this name"):
        must_be_new(tmp_path / "a.json", None, tmp_path / "b/../a.json")
    with pytest.raises(UserError, match="found: two outputs would have this name"):
        must_be_new(tmp_path / "found", tmp_path / "found/a.jpg")
