from pathlib import Path

import numpy as np
import pytest

from data.reading import read_folder
from data.splits import choose_splits
from tests.conftest import read_split, write_image


def write_voc(folder, images, size=True):
    """images: name -> objects (class name, xmin, ymin, xmax, ymax[, difficult])."""
    for seed, (name, objects) in enumerate(images.items()):
        write_image(folder / f"JPEGImages/{name}.jpg", seed=seed)
        (folder / "Annotations").mkdir(exist_ok=True)
        boxes = "".join(
            f"<object><name>{one[0]}</name>"
            + (f"<difficult>{one[5]}</difficult>" if len(one) > 5 else "")
            + "<bndbox>"
            + "".join(
                f"<{side}>{value}</{side}>"
                for side, value in zip(("xmin", "ymin", "xmax", "ymax"), one[1:5])
            )
            + "</bndbox></object>"
            for one in objects
        )
        sides = "<size><width>96</width><height>64</height></size>" if size else ""
        (folder / f"Annotations/{name}.xml").write_text(f"<annotation>{sides}{boxes}</annotation>")


def write_list(folder, name, images):
    (folder / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    (folder / f"ImageSets/Main/{name}.txt").write_text("\n".join(images) + "\n")


def test_both_years_are_read_as_one(tmp_path):
    for year, name, image in (
        ("VOC2007", "trainval", "000001"),
        ("VOC2012", "trainval", "2008_000001"),
        ("VOC2007", "test", "000002"),
    ):
        write_voc(tmp_path / f"VOCdevkit/{year}", {image: [("dog", 1, 2, 30, 40)]})
        write_list(tmp_path / f"VOCdevkit/{year}", name, [image])
    classes, records = read_split("voc", tmp_path, "trainval")
    assert len(classes) == 20 and records.image_ids.tolist() == ["000001", "2008_000001"]
    assert records.labels.tolist() == [11, 11]
    assert read_split("voc", tmp_path / "VOCdevkit", "test")[1].image_ids.tolist() == ["000002"]


def test_a_missing_year_is_noted(tmp_path):
    write_voc(tmp_path / "VOC2007", {"000001": []})
    write_list(tmp_path / "VOC2007", "trainval", ["000001"])
    assert (
        "VOC2012/ImageSets/Main/trainval.txt: not there, left out"
        in read_split("voc", tmp_path, "trainval")[1].notes[0]
    )


def test_a_folder_of_ones_own_names_its_classes(tmp_path):
    write_voc(tmp_path, {"a": [("screw", 1, 2, 30.5, 40)], "b": [("nail", 1, 2, 30, 40, 1)]})
    write_list(tmp_path, "train", ["a"])
    write_list(tmp_path, "val", ["b"])
    classes, records = read_split("voc", tmp_path, "train")
    assert classes == ["nail", "screw"] and records.boxes.tolist() == [[1, 2, 30.5, 40]]
    classes, records = read_split("voc", tmp_path, "val")
    assert classes == ["nail", "screw"] and records.ignore.tolist() == [True]


def test_a_box_of_no_area_is_dropped_and_named(tmp_path):
    write_voc(tmp_path, {"a": [("screw", 5, 5, 5, 9)]})
    write_list(tmp_path, "train", ["a"])
    assert read_split("voc", tmp_path, "train")[1].notes == (
        "dropped boxes of no area or outside their image: 1, of a.jpg",
    )


def test_without_a_size_the_image_tells_it(tmp_path):
    write_voc(tmp_path, {"a": []}, size=False)
    write_list(tmp_path, "train", ["a"])
    assert read_split("voc", tmp_path, "train")[1].sizes.tolist() == [[64, 96]]


@pytest.mark.parametrize(
    "text, message",
    (
        ("<annotation>", "not valid xml"),
        (
            "<annotation><object><name>dog</name></object></annotation>",
            "object 1 has no name or no bndbox",
        ),
    ),
)
def test_a_broken_annotation_is_named(tmp_path, text, message):
    write_voc(tmp_path, {"a": []})
    write_list(tmp_path, "train", ["a"])
    (tmp_path / "Annotations/a.xml").write_text(text)
    assert f"a.xml: {message}" in read_split("voc", tmp_path, "train")[1].problems[0]


def test_a_missing_image_is_named(tmp_path):
    write_voc(tmp_path, {"a": []})
    write_list(tmp_path, "train", ["a"])
    (tmp_path / "JPEGImages/a.jpg").unlink()
    assert (
        "Annotations/a.xml: no such image: a" in read_split("voc", tmp_path, "train")[1].problems[0]
    )


@pytest.mark.parametrize(
    "annotation, picture",
    (("a.xml", "a.png"), ("train/a.xml", "train/a.JPG"), ("annotations/a.xml", "images/a.png")),
)
def test_annotations_may_lie_where_annotators_and_exporters_put_them(tmp_path, annotation, picture):
    write_image(tmp_path / picture)
    (tmp_path / annotation).parent.mkdir(exist_ok=True)
    (tmp_path / annotation).write_text(
        f"<annotation><filename>{picture.split('/')[-1]}</filename></annotation>"
    )
    assert read_split("voc", tmp_path, "train")[1].path(0) == str(tmp_path / picture)


def test_exported_splits_are_kept(tmp_path):
    for place in ("train/a", "train/b", "valid/c", "test/d"):
        write_image(tmp_path / f"{place}.jpg")
        (tmp_path / f"{place}.xml").write_text("<annotation/>")
    splits = read_folder("voc", tmp_path).splits
    assert {name: len(entries) for name, entries in splits.items()} == dict(train=2, val=1, test=1)


def test_names_in_lists_may_have_spaces_and_lists_of_a_class_a_second_column(tmp_path):
    write_voc(tmp_path, {"my photo 1": [], "b": []})
    write_list(tmp_path, "train", ["my photo 1", "b  -1"])
    assert read_split("voc", tmp_path)[1].image_ids.tolist() == ["my photo 1", "b"]


def test_what_no_list_names_and_what_has_no_annotation_is_said(tmp_path):
    write_voc(tmp_path, {"a": [("screw", 1, 2, 30, 40)], "b": []})
    write_list(tmp_path, "train", ["a", "z"])
    write_image(tmp_path / "JPEGImages/c.jpg")
    source = read_folder("voc", tmp_path)
    assert "not used: 1 xml files that no list names" in source.notes
    assert "not used: images without an xml file: 1, of c.jpg" in "".join(source.notes)
    assert source.problems == [f"{tmp_path}/ImageSets/Main/train.txt: no annotation of z"]


def test_the_image_of_the_annotation_s_own_name_is_taken_before_a_stale_filename(tmp_path):
    write_voc(tmp_path, {"a": [], "b": []})
    (tmp_path / "Annotations/a.xml").write_text(
        "<annotation><filename>b.jpg</filename></annotation>"
    )
    entry = next(e for e in read_folder("voc", tmp_path).splits["all"] if e.image_id == "a")
    assert entry.path.endswith("JPEGImages/a.jpg")


def test_a_coordinate_that_is_no_number_is_a_problem(tmp_path):
    write_voc(tmp_path, {"a": [("dog", "nan", 1, 2, 3)]})
    (problem,) = read_folder("voc", tmp_path).problems
    assert "a.xml: object 1: its bndbox is not readable" in problem


def test_the_box_of_a_rotated_rectangle_of_cvat_lies_around_it(tmp_path):
    write_voc(tmp_path, {"a": [("dog", 30, 20, 50, 30), ("dog", 1, 2, 3, 4)]})
    path = tmp_path / "Annotations/a.xml"
    rows = [("occluded", "0"), ("rotation", "45.0")]
    rows = [f"<attribute><name>{x}</name><value>{y}</value></attribute>" for x, y in rows]
    text = f"<attributes>{''.join(rows)}</attributes></object>"
    path.write_text(path.read_text().replace("</object>", text, 1))
    boxes = read_split("voc", tmp_path)[1].boxes
    half = 15 / 2**0.5
    around = [40 - half, 25 - half, 40 + half, 25 + half]
    np.testing.assert_allclose(boxes, [around, [1, 2, 3, 4]], rtol=1e-6)


@pytest.mark.parametrize("split", ("test", "val"))
def test_where_only_test_or_val_is_listed_the_others_are_trained_on(tmp_path, split):
    write_voc(tmp_path, {name: [("cat", 1, 1, 9, 9)] for name in "abcdef"})
    write_list(tmp_path, split, ["e", "f"])
    splits, _ = choose_splits(read_folder("voc", tmp_path).splits)
    names = {name: sorted(Path(e.path).stem for e in part) for name, part in splits.items()}
    assert names["train"] == ["a", "b", "c", "d"] and names["val"] == ["e", "f"]


def test_a_list_may_name_images_with_their_endings(tmp_path):
    write_voc(tmp_path, {name: [("cat", 10, 20, 40, 60)] for name in ("a", "b.c")})
    write_list(tmp_path, "train", ["a.jpg", "b.c.jpg"])
    source = read_folder("voc", tmp_path)
    assert len(source.splits["train"]) == 2 and not source.problems


def test_lists_of_ones_own_data_in_a_folder_of_voc_s_name_are_kept(tmp_path):
    root = tmp_path / "VOCdevkit/VOC2007"
    write_voc(root, {str(i): [("helmet", 1, 2, 30, 40)] for i in range(4)})
    for name, images in (("train", "01"), ("val", "2"), ("test", "3")):
        write_list(root, name, images)
    splits, _ = choose_splits(read_folder("voc", tmp_path).splits)
    ids = {split: [entry.image_id for entry in part] for split, part in splits.items()}
    assert ids == dict(train=["0", "1"], val=["2"], test=["3"])


def test_a_stale_name_with_the_folder_of_another_split_is_not_followed(tmp_path):
    for seed, split in enumerate(("train", "val")):
        write_image(tmp_path / split / "0.jpg", seed=seed)
        box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
        name = "<filename>train/0.jpg</filename>"
        text = f"<annotation>{name}<object><name>dog</name>{box}</object></annotation>"
        (tmp_path / split / "0.xml").write_text(text)
    splits = read_folder("voc", tmp_path).splits
    assert [entry.path for entry in splits["val"]] == [str(tmp_path / "val/0.jpg")]


def test_a_list_may_have_paths_of_windows(tmp_path):
    write_voc(tmp_path, {"a": [("dog", 1, 2, 30, 40)]})
    write_list(tmp_path, "train", [r"C:\photos\JPEGImages\a.jpg"])
    source = read_folder("voc", tmp_path)
    assert not source.problems and list(source.splits) == ["train"]


def test_a_list_is_of_its_own_folder_and_not_of_one_whose_name_goes_on(tmp_path):
    write_voc(tmp_path / "set10", {"a": [("dog", 1, 2, 30, 40)]})
    write_list(tmp_path / "set1", "train", ["a"])
    write_list(tmp_path / "set10", "train", ["a"])
    problems = read_folder("voc", tmp_path).problems
    assert len(problems) == 1 and "set1/ImageSets/Main/train.txt: no annotation of a" in problems[0]
