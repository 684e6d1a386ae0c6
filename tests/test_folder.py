import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.folder import Folder, distance
from data.text import UserError
from tests.conftest import write_image
from utils.files import mark_as_own


@pytest.mark.parametrize(
    "folder, other, steps",
    (("", "", 0), ("a", "a", 0), ("labels", "images", 2), ("labels/x", "images/x", 2),
     ("labels/x", "images/y", 4), ("a/b", "a", 1)),
)  # fmt: skip
def test_folders_are_near_that_share_names_at_their_start_or_end(folder, other, steps):
    assert distance(folder, other) == steps


def test_every_file_is_listed_once_through_links_and_without_junk(tmp_path):
    junk = (
        "._1.jpg",
        "__MACOSX/1.jpg",
        ".ipynb_checkpoints/1.jpg",
        "@eaDir/1.jpg",
        ".hidden/1.jpg",
    )
    for name in ("a/1.jpg", *(f"a/{name}" for name in junk), ".DS_Store", "b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path, tmp_path / "a/circle")
    folder = Folder(tmp_path)
    assert folder.files == ["a/1.jpg", "b.txt"] and folder.images == ["a/1.jpg"]
    assert folder.matching(r".*\.TXT") == ["b.txt"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder: .*/none"):
        Folder(tmp_path / "none")


@pytest.mark.parametrize(
    "files, beside, name, expected",
    (
        # The format's own folder comes before others that are as near, and before its neighbours.
        ("JPEGImages/a.jpg drawings/a.jpg", "Annotations/a.xml", "", "JPEGImages/a.jpg"),
        ("JPEGImages/a.jpg Annotations/a.jpg", "Annotations/a.xml", "", "JPEGImages/a.jpg"),
        ("x/images/a.jpg y/images/a.jpg", "x/labels/a.txt", "", "x/images/a.jpg"),
        ("images/a.jpg train/a.jpg", "train/a.xml", "", "train/a.jpg"),
        # A name with its ending comes before other endings, unless its stem is another one.
        ("a.jpg a.png", "a.json", "a.png", "a.png"),
        ("a.jpg a.png", "a.json", "..\\images\\A.PNG", "a.png"),
        ("a.jpg b.jpg", "a.json", "b.jpg", "a.jpg"),
        ("x/a.jpg y/a.jpg", "json/a.json", "..\\y\\a.jpg", "y/a.jpg"),
    ),
)
def test_of_several_images_of_one_stem_the_one_that_is_meant_is_taken(
    tmp_path, files, beside, name, expected
):
    for file in files.split():
        write_image(tmp_path / file)
    assert Folder(tmp_path).find_by_stem(beside, name=name) == str(tmp_path / expected)


def write_mask(path, mode="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((64, 96), np.uint8)
    mask[10:40, 20:50] = 1
    Image.fromarray(mask).convert(mode).save(path)


@pytest.mark.parametrize("mode", ("1", "L", "P"))
def test_a_mask_is_no_photo_unless_it_alone_is_named_or_lies_among_photos(tmp_path, mode):
    write_image(tmp_path / "photos/a.jpg")
    write_mask(tmp_path / "boxes/a.png", mode)
    folder = Folder(tmp_path)
    assert folder.images == ["photos/a.jpg"] and folder.masks == {"boxes/a.png"}
    assert folder.find_by_stem("boxes/a.xml") == str(tmp_path / "photos/a.jpg")
    assert folder.find_by_stem("x/a.xml", name="a.png") == str(tmp_path / "photos/a.jpg")
    assert folder.find_by_stem("boxes/a.xml", name="a.png") == str(tmp_path / "boxes/a.png")
    assert folder.find_image("a.png", "boxes.json") == str(tmp_path / "boxes/a.png")
    write_mask(tmp_path / "images/a.png", mode)
    write_mask(tmp_path / "boxes/b.png", mode)
    assert Folder(tmp_path).images == ["boxes/b.png", "images/a.png", "photos/a.jpg"]


def test_a_mask_is_drawn_for_a_photo_of_its_own_split(tmp_path):
    write_image(tmp_path / "train/a.jpg")
    for place in ("train/masks", "val"):
        write_mask(tmp_path / place / "a.png")
    assert Folder(tmp_path).images == ["train/a.jpg", "val/a.png"]


def test_two_photos_of_one_stem_that_are_equally_near_are_an_error(tmp_path):
    for seed, folder in enumerate(("x", "y")):
        write_image(tmp_path / folder / "a.jpg", seed=seed)
    with pytest.raises(UserError, match="a.xml: two images could be meant: x/a.jpg and y/a.jpg"):
        Folder(tmp_path).find_by_stem("a.xml")


@pytest.mark.parametrize(
    "written",
    (
        "my%20photo%20%231.jpg",
        "https://host/images/my%20photo%20%231.jpg?size=1",
        "/data/local-files/?d=images/my%20photo%20%231.jpg",
    ),
)
def test_an_image_is_found_by_its_name_in_a_url(tmp_path, written):
    write_image(tmp_path / "images/my photo #1.jpg")
    write_image(tmp_path / "images/100%25.jpg")
    folder = Folder(tmp_path)
    assert folder.find_image(written, "a.json") == str(tmp_path / "images/my photo #1.jpg")
    assert folder.find_image("100%25.jpg", "a.json") == str(tmp_path / "images/100%25.jpg")


def test_a_name_is_found_however_its_accents_are_written(tmp_path):
    write_image(tmp_path / unicodedata.normalize("NFD", "café.jpg"))
    folder = Folder(tmp_path)
    assert Path(folder.find_image("café.jpg", "a.json")).is_file()
    assert Path(folder.find_by_stem("café.xml")).is_file()


def test_of_two_names_that_differ_in_case_only_the_one_that_is_written_is_meant(tmp_path):
    write_image(tmp_path / "images/A.jpg", seed=1)
    write_image(tmp_path / "images/a.jpg", seed=2)
    if len(os.listdir(tmp_path / "images")) == 1:
        pytest.skip("case makes no difference in this folder")
    folder = Folder(tmp_path)
    for name in ("A.jpg", "a.jpg", "images/A.jpg", "b\\a.jpg"):
        expected = str(tmp_path / "images" / name[-5:])
        assert folder.find_image(name, "all.json") == expected


def test_what_this_program_wrote_belongs_to_no_dataset(tmp_path):
    write_image(tmp_path / "a.jpg")
    for name in ("detections", "images"):
        # A folder of the user's is not marked, even if detections are written into it.
        (tmp_path / "images").mkdir(exist_ok=True)
        mark_as_own(tmp_path / name)
        write_image(tmp_path / name / "b.jpg")
    assert Folder(tmp_path).images == ["a.jpg", "images/b.jpg"]
    assert Folder(tmp_path / "detections").images == ["b.jpg"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """os.walk would leave it out, and its images with it."""
    write_image(tmp_path / "train/a.jpg")
    write_image(tmp_path / "val/b.jpg")
    scandir = os.scandir

    def refuse_val(place):
        if str(place).endswith("val"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse_val)
    with pytest.raises(UserError, match=r"val: cannot be read \(Permission denied\)"):
        Folder(tmp_path)
