import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import read_split, write_coco, write_image
from tests.scripts import run_script
from tools.check import hardest_images

OBJECTS = [[(10, 20, 30, 40, 1)], [], [(0, 0, 50, 50, 0), (5, 5, 9, 9, 1)]]


def test_a_clean_dataset_ends_with_zero_and_a_sheet(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    printed = run_script(
        "tools/check.py",
        "--dataset",
        "coco",
        "--root",
        tmp_path / "data",
        "--sheet",
        tmp_path / "sheet.png",
    )
    assert "0 problems" in printed and Image.open(tmp_path / "sheet.png").size[0] > 1000


def test_help_shows_only_the_flags_that_matter_and_the_others_are_taken(tmp_path):
    printed = run_script("tools/check.py", "--help")
    assert all(flag in printed for flag in ("--sheet", "--root", "--recipe", "--resize"))
    assert not any(flag in printed for flag in ("--visdom", "--lr", "--resume", "--box-weight"))
    write_coco(tmp_path / "data", OBJECTS)
    run_script("tools/check.py", "--root", tmp_path / "data", "--lr", "0.1", "--visdom")


def test_the_sheet_shows_as_little_augmentation_as_a_short_training_has(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    flags = ("--root", tmp_path / "data", "--model", "ssd300", "--weights", "none")
    for iterations in ("1", "5000"):
        sheet = tmp_path / f"{iterations}.png"
        length = ("--iterations", iterations, "--batch", "1")
        run_script("tools/check.py", *flags, *length, "--sheet", sheet)
    short, long = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("1", "5000"))
    assert (short != long).any()


def test_it_describes_the_training_that_will_be_and_names_its_recipe_first(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    flags = ("--root", tmp_path / "data", "--weights", "none", "--device", "cpu")
    flags += ("--momentum", "0.8", "--jitter", "256", "352")
    checked = run_script("tools/check.py", *flags).splitlines()
    run = ("--iters", "1", "--batch", "1", "--workers", "0")
    trained = run_script("train.py", *flags, *run, "--save-folder", tmp_path).splitlines()
    assert "retinanet_scratch: own data on a machine without a GPU" in checked[0]
    sizes = "objects are 191 to 191 px large as the network sees them, half of them over 191"
    useless = "--momentum has no effect: it is for sgd only"
    assert {checked[0], sizes, useless} <= set(checked) & set(trained)


@pytest.fixture
def spoilt(tmp_path):
    """A dataset with everything that can be wrong with its files."""
    content = write_coco(tmp_path / "data", [[(10, 20, 30, 30, 0)]] * 9)
    images = tmp_path / "data/train2017"
    (images / "0.jpg").write_bytes((images / "0.jpg").read_bytes()[:400])
    (images / "1.jpg").write_bytes(b"")
    (images / "2.jpg").write_text("text")
    (images / "3.jpg").unlink()
    write_image(images / "4.jpg", height=8, width=8)
    (images / "6.jpg").write_bytes((images / "5.jpg").read_bytes())
    content["annotations"][8]["image_id"] = 99
    (tmp_path / "data/annotations/instances_train2017.json").write_text(json.dumps(content))
    return tmp_path / "data"


def test_every_wrong_file_is_one_line(spoilt):
    printed = run_script("tools/check.py", "--dataset", "coco", "--root", spoilt, code=1)
    for words in (
        "0.jpg: ",
        "1.jpg: an empty file",
        "2.jpg: not a readable image",
        "no such image: 3.jpg",
        "no image has the id 99",
        "4.jpg: 8 x 8 pixels, but its annotation says 96 x 64",
    ):
        assert words in printed
    assert "duplicates, the same picture: " in printed and "5.jpg" in printed


def test_a_bad_image_that_is_not_trained_on_is_a_problem_as_for_a_training(tmp_path):
    for split in ("train", "val", "test"):
        write_coco(tmp_path, OBJECTS, split=split)
    write_image(tmp_path / "test2017/0.jpg", seed=2000)
    (tmp_path / "test2017/1.jpg").write_text("text")
    flags = ("--root", tmp_path, "--weights", "none")
    assert "test2017/1.jpg: not a readable" in run_script("train.py", *flags, code=2)
    printed = run_script("tools/check.py", *flags, code=1)
    assert "test2017/1.jpg: not a readable" in printed and "\n1 problem\n" in printed


def test_without_an_image_for_the_sheet_the_problems_are_listed_all_the_same(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    for path in (tmp_path / "data/train2017").iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    flags = ("--root", tmp_path / "data", "--weights", "none", "--sheet", tmp_path / "a.jpg")
    printed = run_script("tools/check.py", *flags, code=1)
    assert "3 problems" in printed and not (tmp_path / "a.jpg").exists()


def test_a_sheet_does_not_become_an_image_of_the_dataset(tmp_path):
    write_coco(tmp_path, OBJECTS)
    flags = ("--root", tmp_path, "--sheet", tmp_path / "sheet.jpg")
    assert "lies in the dataset" in run_script("tools/check.py", *flags, code=2)
    assert not (tmp_path / "sheet.jpg").exists()


def test_a_sheet_that_is_no_picture_is_refused_before_the_images_are_read(tmp_path):
    flags = ("--root", tmp_path / "nowhere", "--sheet", tmp_path / "sheet.txt")
    printed = run_script("tools/check.py", *flags, code=2)
    assert "sheet.txt: a picture's name must end with .png or .jpg" in printed


def test_a_smaller_copy_in_the_other_split_is_named(tmp_path):
    write_coco(tmp_path, OBJECTS, height=128, width=192)
    write_coco(tmp_path, OBJECTS[:2], split="val")
    with Image.open(tmp_path / "train2017/1.jpg") as image:
        image.resize((96, 64)).save(tmp_path / "val2017/0.jpg", quality=50)
    printed = run_script("tools/check.py", "--root", tmp_path, "--weights", "none")
    (line,) = (line for line in printed.splitlines() if "look alike" in line)
    assert ": 1, of " in line and "val2017/0.jpg and " in line and "train2017/1.jpg, alike" in line


def test_training_goes_on_without_bad_files_only_where_asked(spoilt, tmp_path):
    flags = (
        "--recipe",
        "shapes",
        "--dataset",
        "coco",
        "--root",
        spoilt,
        "--resize",
        "64",
        "--batch",
        "2",
        "--workers",
        "0",
        "--iters",
        "2",
        "--save-folder",
        tmp_path,
        "--name",
        "run",
    )
    assert (
        "error: " in (printed := run_script("train.py", *flags, code=2)) and "--skip-bad" in printed
    )
    assert "(6 problems, which" in run_script("train.py", *flags, "--skip-bad")


def test_a_picture_that_is_in_train_and_in_val_is_reported(tmp_path):
    for split, names in (("train", "ab"), ("val", "cd")):
        for name in names:
            # b and c hold the same pixels, in files that differ.
            write_image(
                tmp_path / f"{split}2017/{name}.png", seed=ord("b" if name == "c" else name)
            )
        images = [
            dict(id=i, file_name=f"{name}.png", height=64, width=96) for i, name in enumerate(names)
        ]
        boxes = [dict(id=i, image_id=i, category_id=1, bbox=[1, 2, 30, 40]) for i in (0, 1)]
        content = dict(images=images, annotations=boxes, categories=[dict(id=1, name="x")])
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    path = tmp_path / "val2017/c.png"
    path.write_bytes(path.read_bytes() + b"\0")
    printed = run_script("tools/check.py", "--root", tmp_path)
    line = next(line for line in printed.splitlines() if "the same picture" in line)
    assert "train2017/b.png" in line and "val2017/c.png" in line


@pytest.mark.long
def test_the_check_proposes_priors_and_draws_the_hardest_cases_last(tmp_path):
    objects = [[(10 + i, 5, 6, 6, 0)] for i in range(20)]
    objects[7] = [(0, 0, 2, 60, 1)]
    write_coco(tmp_path / "data", objects)
    flags = ("--root", tmp_path / "data", "--resize", "64")
    printed = run_script("tools/check.py", *flags)
    assert "priors: " in printed and "of the objects, instead of" in printed
    records = read_split("coco", tmp_path / "data")[1]
    assert 7 in hardest_images(records, 3) and len(hardest_images(records, 3)) == 3
    printed = run_script(
        "train.py", *flags, "--fit-priors", "--recipe", "shapes", "--iters", "1", "--batch", "2",
        "--workers", "0", "--save-folder", tmp_path, "--name", "run",
    )  # fmt: skip
    assert "priors: " in printed
    recipe = json.loads((tmp_path / "run/recipe.json").read_text())
    assert recipe["prior_ratios"] != [1.0] or recipe["prior_sizes"] != [12, 24, 48, 96, 192]
