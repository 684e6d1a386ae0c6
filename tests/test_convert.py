import json

import pytest

from data.reading import read_folder
from tests.conftest import write_coco
from tests.scripts import run_script
from tests.test_detector import save_random_detector
from tests.test_kitti import write_label
from tools.convert import CHECKPOINTS
from utils import checkpoint

BOX = "0.00 0 -1.5 10.5 20.0 30.0 40.0 1 1 1 1 1 1 1"


@pytest.fixture
def root(tmp_path):
    """Three images in train, one of them without objects, and one in val."""
    write_coco(tmp_path / "set", [[(1, 2, 30, 40, 0)], [], [(5, 5, 9, 9, 1)]], ids=(7, 9))
    write_coco(tmp_path / "set", [[]], "val", ids=(7, 9))
    return tmp_path / "set"


def convert(*arguments, code=0):
    return run_script("tools/convert.py", *arguments, code=code)


@pytest.mark.parametrize("form", ("coco", "yolo", "voc"))
def test_a_dataset_in_another_format(form, root, tmp_path):
    printed = convert("--root", root, "--to", form, "--output", tmp_path / "a/b")
    assert "images: 3 in train, 1 in val; classes: 2" in printed
    source = read_folder(form, tmp_path / "a/b")
    counts = {split: len(entries) for split, entries in source.splits.items()}
    assert counts == dict(train=3, val=1) and source.classes == ["cat", "dog"]
    assert form != "coco" or source.category_ids == dict(cat=7, dog=9)


@pytest.mark.parametrize("form", ("coco", "yolo", "voc"))
def test_an_image_that_is_listed_twice_becomes_one_with_the_objects_of_both(form, tmp_path):
    content = write_coco(tmp_path / "set", [[(1, 2, 30, 40, 0)], [(5, 5, 9, 9, 1)]])
    content["images"][1]["file_name"] = "0.jpg"
    path = tmp_path / "set/annotations/instances_train2017.json"
    path.write_text(json.dumps(content))
    flags = ("--root", tmp_path / "set", "--to", form, "--output", tmp_path / "out")
    assert "objects are put together: 1" in convert(*flags)
    ((entry,),) = read_folder(form, tmp_path / "out").splits.values()
    assert [item.name for item in entry.objects] == ["cat", "dog"]


def test_classes_are_chosen_and_what_is_left_out_is_counted(tmp_path):
    lines = [f"{kind} {BOX}" for kind in ("Car", "Van", "DontCare")]
    write_label(tmp_path / "kitti", "0", *lines)
    flags = ("--root", tmp_path / "kitti", "--classes", "Van", "--to", "yolo")
    printed = convert(*flags, "--output", tmp_path / "out")
    assert "left out: 1 objects or areas" in printed
    text = (tmp_path / "out/labels/train/0.txt").read_text()
    assert text == "0 0.2109375 0.46875 0.203125 0.3125\n"


@pytest.mark.parametrize(
    "changes, message",
    (
        ({"--output": "set"}, "exists already, and is not overwritten"),
        ({"--output": "set/new"}, "lies in the dataset"),
        (
            {"--to": "torchvision"},
            "a dataset is converted --to coco or yolo or voc",
        ),
        ({"--to": None}, "a dataset is converted --to coco or yolo or voc"),
        ({"--output": None}, "name a new folder: --output FOLDER"),
        ({"--to": "pascal"}, "--to: invalid choice: 'pascal' (choose from"),
        ({"--root": "nowhere"}, "no such folder"),
        ({"--root": None}, "name a checkpoint, or a dataset: --root my/folder"),
        ({"--classes": "cow"}, "no class 'cow'; there are cat, dog"),
    ),
)
def test_a_mistake_is_one_line_and_nothing_is_written(changes, message, root, tmp_path):
    flags = {"--root": "set", "--to": "yolo", "--output": "out"} | changes
    words = [word for flag, value in flags.items() if value for word in (flag, value)]
    before = sorted(tmp_path.rglob("*"))
    printed = run_script("tools/convert.py", *words, code=2, cwd=tmp_path)
    assert printed.startswith("error: ") and message in printed and printed.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_classes_of_a_checkpoint_of_ours_get_other_names(tmp_path):
    save_random_detector(tmp_path / "best.pth", classes=("cat", "dog"))
    flags = ("--classes", "Katze", "Hund", "--output", tmp_path / "new.pth")
    assert "classes      2: Katze, Hund" in convert(tmp_path / "best.pth", *flags)
    content = checkpoint.load(tmp_path / "new.pth")
    assert content["classes"] == ["Katze", "Hund"] and not content["recipe"]["classes"]


@pytest.mark.parametrize("program", CHECKPOINTS)
def test_a_file_that_cannot_be_written_is_one_line(program, tmp_path):
    save_random_detector(tmp_path / "best.pth")
    name = "n" * 250  # to which .unfinished is added
    printed = convert(tmp_path / "best.pth", "--to", program, "--output", name, code=2)
    assert f"error: {name}: cannot be written (" in printed and "Traceback" not in printed


@pytest.mark.parametrize(
    "flags, message",
    (
        (("--classes", "cat"), "--classes names 1 class, but the detector has 2"),
        (("--classes", "cat", "cat"), "--classes cat cat: a name is there twice"),
        (("--prior-sizes", "30", "60"), "--prior-sizes: only for an SSD of another program"),
    ),
)
def test_what_cannot_be_changed_in_a_checkpoint_is_one_line(flags, message, tmp_path):
    save_random_detector(tmp_path / "best.pth")
    printed = convert(tmp_path / "best.pth", *flags, "--output", tmp_path / "new.pth", code=2)
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "new.pth").exists()


def test_an_image_of_two_splits_stays_in_one_and_is_counted(tmp_path):
    write_coco(tmp_path / "set", [[(1, 2, 30, 40, 0)], []])
    content = write_coco(tmp_path / "set", [[(5, 5, 9, 9, 1)], []], "val")
    content["images"][0]["file_name"] = "train2017/0.jpg"
    path = tmp_path / "set/annotations/instances_val2017.json"
    path.write_text(json.dumps(content))
    printed = convert("--root", tmp_path / "set", "--to", "coco", "--output", tmp_path / "out")
    assert "images in several splits, which stay in one of them: 1" in printed
