import os

import pytest

from data.errors import UserError
from data.folder import Folder, distance, file_split, folder_split, split_in


@pytest.mark.parametrize(
    "name, split",
    (
        ("train", "train"),
        ("train2017", "train"),
        ("my_train-set", "train"),
        ("instances_val2014", "val"),
        ("Valid", "val"),
        ("trainval", "trainval"),
        ("testing", "test"),
        ("trainer", None),
        ("latest", None),
        ("values", None),
    ),
)
def test_a_name_speaks_of_a_split_by_whole_words(name, split):
    assert split_in(name) == split


def test_an_image_s_own_name_says_nothing_and_the_last_folder_counts():
    assert folder_split("train/test_1.jpg") == "train"
    assert folder_split("train/valid/a.jpg") == "val" and folder_split("a/b.jpg") is None
    assert file_split("train/val.json") == "val" and file_split("train/boxes.json") == "train"


@pytest.mark.parametrize(
    "folder, other, steps",
    (("", "", 0), ("a", "a", 0), ("labels", "images", 2), ("labels/x", "images/x", 2),
     ("labels/x", "images/y", 4), ("a/b", "a", 1)),
)  # fmt: skip
def test_folders_are_near_that_share_names_at_their_start_or_end(folder, other, steps):
    assert distance(folder, other) == steps


def test_every_file_is_listed_once_through_links_and_without_junk(tmp_path):
    (tmp_path / "a/__MACOSX").mkdir(parents=True)
    for name in ("a/1.jpg", "a/._1.jpg", "a/__MACOSX/1.jpg", ".DS_Store", "b.txt"):
        (tmp_path / name).touch()
    os.symlink(tmp_path, tmp_path / "a/circle")
    folder = Folder(tmp_path)
    assert folder.files == ["a/1.jpg", "b.txt"] and folder.images == ["a/1.jpg"]
    assert folder.matching(r".*\.TXT") == ["b.txt"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder: .*/none"):
        Folder(tmp_path / "none")
