import pytest

from data.errors import UserError
from data.formats import voc
from tests.conftest import write_image


def write_voc(folder, images, size=True):
    """images: name -> objects (class name, xmin, ymin, xmax, ymax[, difficult])."""
    for name, objects in images.items():
        write_image(folder / f"JPEGImages/{name}.jpg")
        (folder / "Annotations").mkdir(exist_ok=True)
        boxes = "".join(
            f"<object><name>{one[0]}</name>" + (f"<difficult>{one[5]}</difficult>" if len(one) > 5 else "") + "<bndbox>"
            + "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), one[1:5]))
            + "</bndbox></object>" for one in objects)
        sides = "<size><width>96</width><height>64</height></size>" if size else ""
        (folder / f"Annotations/{name}.xml").write_text(f"<annotation>{sides}{boxes}</annotation>")


def write_list(folder, name, images):
    (folder / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    (folder / f"ImageSets/Main/{name}.txt").write_text("\n".join(images) + "\n")


def test_both_years_are_read_as_one(tmp_path):
    for year, name, image in (("VOC2007", "trainval", "000001"), ("VOC2012", "trainval", "2008_000001"),
                              ("VOC2007", "test", "000002")):
        write_voc(tmp_path / f"VOCdevkit/{year}", {image: [("dog", 1, 2, 30, 40)]})
        write_list(tmp_path / f"VOCdevkit/{year}", name, [image])
    classes, records = voc.read(tmp_path, "train")
    assert len(classes) == 20 and records.image_ids.tolist() == ["000001", "2008_000001"]
    assert records.labels.tolist() == [11, 11]
    assert voc.read(tmp_path / "VOCdevkit", "val")[1].image_ids.tolist() == ["000002"]


def test_a_missing_year_is_noted(tmp_path):
    write_voc(tmp_path / "VOC2007", {"000001": []})
    write_list(tmp_path / "VOC2007", "trainval", ["000001"])
    assert "VOC2012/ImageSets/Main/trainval.txt: not there, left out" in voc.read(tmp_path, "train")[1].notes[0]


def test_a_folder_of_ones_own_names_its_classes(tmp_path):
    write_voc(tmp_path, {"a": [("screw", 1, 2, 30.5, 40)], "b": [("nail", 1, 2, 30, 40, 1)]})
    write_list(tmp_path, "train", ["a"])
    write_list(tmp_path, "val", ["b"])
    classes, records = voc.read(tmp_path, "train")
    assert classes == ["nail", "screw"] and records.boxes.tolist() == [[1, 2, 30.5, 40]]
    classes, records = voc.read(tmp_path, "val")
    assert classes == ["nail", "screw"] and records.ignore.tolist() == [True]


def test_without_lists_it_splits_and_says_so(tmp_path):
    write_voc(tmp_path, {f"image{i}": [("screw", 1, 2, 30, 40)] for i in range(20)})
    (_, train), (_, val) = voc.read(tmp_path, "train"), voc.read(tmp_path, "val")
    assert len(train) + len(val) == 20 and len(val) > 0 and "one image in five" in train.notes[0]
    assert not set(train.image_ids) & set(val.image_ids)


def test_a_box_of_no_area_is_dropped_and_named(tmp_path):
    write_voc(tmp_path, {"a": [("screw", 5, 5, 5, 9)]})
    write_list(tmp_path, "train", ["a"])
    assert voc.read(tmp_path, "train")[1].notes == ("dropped boxes of no area or outside their image: 1, of a.jpg",)


def test_without_a_size_the_image_tells_it(tmp_path):
    write_voc(tmp_path, {"a": []}, size=False)
    write_list(tmp_path, "train", ["a"])
    assert voc.read(tmp_path, "train")[1].sizes.tolist() == [[64, 96]]


@pytest.mark.parametrize("text, message", (
    ("<annotation>", "not valid xml"),
    ("<annotation><object><name>dog</name></object></annotation>", "object 1 has no readable name or bndbox"),
))
def test_a_broken_annotation_is_named(tmp_path, text, message):
    write_voc(tmp_path, {"a": []})
    write_list(tmp_path, "train", ["a"])
    (tmp_path / "Annotations/a.xml").write_text(text)
    assert f"a.xml: {message}" in voc.read(tmp_path, "train")[1].problems[0]


def test_a_missing_image_is_named(tmp_path):
    write_voc(tmp_path, {"a": []})
    write_list(tmp_path, "train", ["a"])
    (tmp_path / "JPEGImages/a.jpg").unlink()
    assert "JPEGImages/a.jpg: no such image" in voc.read(tmp_path, "train")[1].problems[0]


@pytest.mark.parametrize("annotation, picture", (("a.xml", "a.png"), ("train/a.xml", "train/a.JPG"), ("annotations/a.xml", "images/a.png")))
def test_annotations_may_lie_where_annotators_and_exporters_put_them(tmp_path, annotation, picture):
    write_image(tmp_path / picture)
    (tmp_path / annotation).parent.mkdir(exist_ok=True)
    (tmp_path / annotation).write_text(f"<annotation><filename>{picture.split('/')[-1]}</filename></annotation>")
    assert voc.read(tmp_path, "train")[1].path(0) == str(tmp_path / picture)


def test_exported_splits_are_kept(tmp_path):
    for place in ("train/a", "train/b", "valid/c"):
        write_image(tmp_path / f"{place}.jpg")
        (tmp_path / f"{place}.xml").write_text("<annotation/>")
    assert [voc.read(tmp_path, split)[1].image_ids.tolist() for split in ("train", "val")] == [["a", "b"], ["c"]]
    with pytest.raises(UserError, match="no split 'test' in this dataset"):
        voc.read(tmp_path, "test")
