import pytest

from data.reading import read_folder
from data.records import ANY_CLASS
from data.text import UserError
from tests.conftest import read_split, write_image


def write_label(root, name, *lines):
    write_image(root / f"training/image_2/{name}.png")
    (root / "training/label_2").mkdir(parents=True, exist_ok=True)
    (root / f"training/label_2/{name}.txt").write_text("\n".join(lines))


def test_dontcare_and_what_is_too_like_a_class_are_ignored(tmp_path):
    box = "0.00 0 -1.5 10.5 20.0 30.0 40.0 1 1 1 1 1 1 1"
    write_label(tmp_path, "0", *(f"{kind} {box}" for kind in ("Car", "Van", "Truck", "DontCare")))
    classes, records = read_split("kitti", tmp_path)
    assert classes == ["Car", "Pedestrian", "Cyclist"]
    assert records.labels.tolist() == [0, 0, ANY_CLASS]
    assert records.ignore.tolist() == [False, True, True]
    _, both = read_split("kitti", tmp_path, names=["Car", "Van"])
    assert both.labels.tolist() == [0, 1, ANY_CLASS]
    assert both.ignore.tolist() == [False, False, True]
    _, chosen = read_split("kitti", tmp_path, names=["Van", "Truck"])
    assert chosen.labels.tolist() == [0, 1, ANY_CLASS]


@pytest.mark.parametrize(
    "line, problem",
    (
        ("Car 0 0 0 1 2", "line 1: no left, top, right, bottom"),
        ("Dog 0 0 0 1 2 3 4", "'Dog' is not one of"),
    ),
)
def test_a_wrong_line_is_named(tmp_path, line, problem):
    write_label(tmp_path, "000000", line)
    problems = read_folder("kitti", tmp_path).problems
    assert len(problems) == 1 and problem in problems[0]


def test_a_folder_without_labels_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="no KITTI labels in .*; expected training/image_2"):
        read_folder("kitti", tmp_path)


def test_folders_of_splits_are_splits(tmp_path):
    for split in ("train", "val"):
        write_label(tmp_path, split, "Car 0 0 0 10 20 30 40 1 1 1 1 1 1 1")
        for place, ending in (("image_2", "png"), ("label_2", "txt")):
            (tmp_path / split / place).mkdir(parents=True)
            file = tmp_path / f"training/{place}/{split}.{ending}"
            file.rename(tmp_path / f"{split}/{place}/{split}.{ending}")
    assert sorted(read_folder("kitti", tmp_path).splits) == ["train", "val"]
