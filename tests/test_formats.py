"""Folders as they are downloaded and exported, each read without any word but where it is."""

import json
import re
import shutil
from pathlib import Path

import pytest

from data.reading import FORMATS, read_folder
from data.text import UserError
from tests.conftest import ROOT, write_coco, write_image
from tests.test_voc import write_list, write_voc

BOX = [10, 20, 40, 60]  # xyxy, in an image of 64 x 96 pixels
YOLO = "0 0.260417 0.625 0.3125 0.625"
XML = (
    "<annotation><filename>{0}</filename><size><width>96</width><height>64</height></size><object>"
    "<name>cat</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>"
    "</object></annotation>"
)
CSV = "filename,width,height,class,xmin,ymin,xmax,ymax"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def coco_json(*names, **image):
    images = [dict(id=i, file_name=name, height=64, width=96) for i, name in enumerate(names)]
    box = [10, 20, 30, 40]
    annotations = [dict(id=i, image_id=i, category_id=1, bbox=box) for i in range(len(names))]
    categories = [dict(id=1, name="cat")]
    return json.dumps(dict(images=images, annotations=annotations, categories=categories))


def roboflow_coco(root):
    for split in ("train", "valid", "test"):
        write_image(root / split / "a.jpg", seed=ord(split[0]))
        write(root / split / "_annotations.coco.json", coco_json("a.jpg"))
    write(root / "README.roboflow.txt", "cat")


def roboflow_voc(root):
    for split in ("train", "valid", "test"):
        write_image(root / split / "a.jpg", seed=ord(split[0]))
        write(root / split / "a.xml", XML.format("a.jpg"))


def roboflow_yolo(root):
    for split in ("train", "valid", "test"):
        write_image(root / split / "images/a.jpg", seed=ord(split[0]))
        write(root / split / "labels/a.txt", YOLO)
    lines = (
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: [cat]"
    )
    write(root / "data.yaml", lines)
    write(root / "README.dataset.txt", "a dataset")


def cvat_yolo(root):
    write_image(root / "obj_train_data/a.jpg")
    write(root / "obj_train_data/a.txt", YOLO)
    write(root / "obj.names", "cat")
    write(root / "obj.data", "classes = 1\ntrain = data/train.txt")
    write(root / "train.txt", "data/obj_train_data/a.jpg")


def cvat_voc(root):
    write_voc(root, {"a": [("cat", *BOX)]})
    write_list(root, "default", ["a"])
    write(root / "labelmap.txt", "# label:color_rgb:parts:actions\ncat:1,2,3::")


def cvat_coco(root):
    write_image(root / "images/default/a.jpg")
    write(root / "annotations/instances_default.json", coco_json("a.jpg"))


def label_studio_yolo(root):
    write_image(root / "images/a.jpg")
    write(root / "labels/a.txt", YOLO)
    write(root / "classes.txt", "cat")
    write(root / "notes.json", '{"categories": [], "info": {}}')


def label_studio_coco(root):
    write_image(root / "images/a.jpg")
    write(root / "result.json", coco_json("images\\a.jpg"))


def labelimg(root):
    write_image(root / "IMG_1.JPG".lower())
    (root / "img_1.jpg").rename(root / "IMG_1.JPG")
    write(root / "IMG_1.xml", XML.format("C:\\photos\\old name.jpg"))


def labelme_beside(root):
    write_image(root / "a.jpg")
    shape = dict(label="cat", points=[[10, 20], [40, 60]], shape_type="rectangle")
    write(root / "a.json", json.dumps(dict(shapes=[shape], imagePath="a.jpg", imageData=None)))


def tensorflow_csv(root):
    write_image(root / "images/train/a.jpg")
    write(root / "annotations/train_labels.csv", f"{CSV}\na.jpg,96,64,cat,10,20,40,60")


def semicolons(root):
    write_image(root / "imgs/a.jpg")
    rows = "\ufeffclass;xmin;ymin;xmax;ymax;image\r\ncat;10;20;40;60;a.jpg\r\n"
    write(root / "labels.csv", rows)


def kaggle_voc(root):
    write_image(root / "images/a.png")
    write(root / "annotations/a.xml", XML.format("a.png"))


def xml_folder(root):
    write_image(root / "imgs/a.jpg")
    write(root / "xml/a.xml", XML.format("a.jpg"))


def deep_coco(root):
    write_image(root / "set/JPEGImages/a.jpg")
    write(root / "set/labels/custom_train.json", coco_json("somewhere/else/a.jpg"))


def linked_images(root):
    write_image(root / "elsewhere/a.jpg")
    (root / "set").mkdir()
    (root / "set/images").symlink_to(root / "elsewhere")
    write(root / "set/labels/a.txt", YOLO)
    write(root / "set/classes.txt", "cat")
    for junk in ("._a.jpg", "__MACOSX/a.jpg", "Thumbs.db"):
        write(root / "set" / junk, "junk")


def yaml_with_lists(root):
    for part in ("one", "two"):
        write_image(root / f"{part}/images/{part}.jpg", seed=ord(part[0]))
        write(root / f"{part}/labels/{part}.txt", YOLO)
    text = "path: /somewhere\ntrain:\n  - one/images\nval:\n  - two/images\nnames: {0: cat}"
    write(root / "dataset.yaml", text)


def annots_folder(root):
    write_image(root / "train/images/a.jpg")
    write(root / "annots/a.xml", XML.format("a.jpg"))


def labels_folder(root):
    write_image(root / "JPEGImages/a.jpg")
    write(root / "Labels/a.xml", XML.format("a.jpg"))


def tabs(root):
    write_image(root / "photos/a.jpg")
    header = "class\txmax\tymax\txmin\tymin\tfilename"
    write(root / "tables/boxes.tsv", f"\ufeff{header}\r\ncat\t40\t60\t10\t20\ta.jpg\r\n")


def several_json(root):
    for name in "ab":
        write_image(root / f"images/{name}.jpg", seed=ord(name))
        write(root / f"{name}.json", coco_json(f"{name}.jpg"))


def polygons_only(root):
    write_image(root / "a.jpg")
    content = json.loads(coco_json("a.jpg"))
    content["annotations"][0] |= dict(bbox=None, segmentation=[[10, 20, 40, 30, 25, 60]])
    write(root / "instances.json", json.dumps(content))


def names_with_spaces(root):
    write_voc(root, {"my photo 1": [("cat", *BOX)]})
    write_list(root, "default", ["my photo 1"])


def yolo_pose(root):
    write_image(root / "images/a.jpg")
    write(root / "labels/a.txt", f"{YOLO.strip()} 0.1 0.1 2 0.9 0.9 2")
    write(root / "data.yaml", "train: images\nkpt_shape: [2, 3]\nnames: [cat]")


def labelme_polygon(root):
    write_image(root / "images/a.jpg")
    shape = dict(label="cat", points=[[10, 20], [40, 30], [25, 60]], shape_type="polygon")
    content = dict(shapes=[shape], imagePath="..\\images\\a.jpg", imageData=None)
    write(root / "json/a.json", json.dumps(content))


def via_region(name, x):
    shape = dict(name="polygon", all_points_x=x, all_points_y=[20, 30, 60])
    return dict(shape_attributes=shape, region_attributes=dict(name=name))


def via_project(root):
    write_image(root / "a.jpg")
    image = dict(filename="a.jpg", size=1, regions=[via_region("cat", [10, 40, 25])])
    content = {"_via_settings": {}, "_via_img_metadata": {"a.jpg1": image}}
    write(root / "project.json", json.dumps(content))


def via_csv(root):
    write_image(root / "train/a.jpg")
    region = via_region("cat", [10, 40, 25])
    shape, name = (json.dumps(part).replace('"', '""') for part in region.values())
    header = "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
    row = f'a.jpg,1,"{{}}",1,0,"{shape}","{name}"'
    write(root / "train/via_region_data.csv", f"{header},region_attributes\n{row}\n")


LAYOUTS = {
    via_project: ("via", dict(all=1)),
    via_csv: ("via", dict(train=1)),
    annots_folder: ("voc", dict(all=1)),
    labels_folder: ("voc", dict(all=1)),
    tabs: ("csv", dict(all=1)),
    several_json: ("coco", dict(all=2)),
    polygons_only: ("coco", dict(all=1)),
    names_with_spaces: ("voc", dict(all=1)),
    yolo_pose: ("yolo", dict(train=1)),
    labelme_polygon: ("labelme", dict(all=1)),
    roboflow_coco: ("coco", dict(train=1, val=1, test=1)),
    roboflow_voc: ("voc", dict(train=1, val=1, test=1)),
    roboflow_yolo: ("yolo", dict(train=1, val=1, test=1)),
    cvat_yolo: ("yolo", dict(train=1)),
    cvat_voc: ("voc", dict(all=1)),
    cvat_coco: ("coco", dict(all=1)),
    label_studio_yolo: ("yolo", dict(all=1)),
    label_studio_coco: ("coco", dict(all=1)),
    labelimg: ("voc", dict(all=1)),
    labelme_beside: ("labelme", dict(all=1)),
    tensorflow_csv: ("csv", dict(train=1)),
    semicolons: ("csv", dict(all=1)),
    kaggle_voc: ("voc", dict(all=1)),
    xml_folder: ("voc", dict(all=1)),
    deep_coco: ("coco", dict(train=1)),
    linked_images: ("yolo", dict(all=1)),
    yaml_with_lists: ("yolo", dict(train=1, val=1)),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_folder_is_read_as_it_was_downloaded(layout, tmp_path):
    layout(tmp_path)
    root = tmp_path / "set" if layout is linked_images else tmp_path
    name, counts = LAYOUTS[layout]
    source = read_folder("auto", root)
    assert f"is read as --dataset {name}: " in source.notes[0]
    assert {split: len(entries) for split, entries in source.splits.items()} == counts
    assert not source.problems and source.classes == ["cat"]
    for entry in (entry for entries in source.splits.values() for entry in entries):
        (item,) = entry.objects
        assert [round(side, 2) for side in item[:4]] == BOX and Path(entry.path).is_file()


def test_a_split_s_images_are_its_own(tmp_path):
    for layout in (roboflow_coco, roboflow_voc, roboflow_yolo):
        root = tmp_path / layout.__name__
        layout(root)
        splits = read_folder("auto", root).splits
        for split, folder in dict(train="train", val="valid", test="test").items():
            assert f"/{folder}/" in splits[split][0].path


def test_of_two_plausible_formats_both_are_named(tmp_path):
    write_coco(tmp_path, [[(1, 1, 9, 9, 0)]])
    write(tmp_path / "train2017/0.xml", XML.format("0.jpg"))
    message = r"could be read in 2 ways; choose one: --dataset coco \(.*\); --dataset voc \(.*\)"
    with pytest.raises(UserError, match=message):
        read_folder("auto", tmp_path)


def test_without_annotations_it_is_said_what_is_there(tmp_path):
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "notes.txt", "text")
    message = (
        "no annotations of a known format in its 2 files, 1 of them images; known are coco, voc"
    )
    with pytest.raises(UserError, match=message):
        read_folder("auto", tmp_path)


FOREIGN = (
    ("a.xml", '<page><region x="1"/></page>'),
    ("a.xml", "<annotations><image id='0' name='a.jpg'/></annotations>"),
    ("a.json", '{"regions": []}'),
    ("gtFine/a_polygons.json", '{"regions": []}'),
    ("label_2/a.txt", "P0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"),
    ("set_a_/wider_face_train_bbx_gt.txt", "a list of faces\nthree\n"),
    ("labels/a.txt", "two cats on a mat"),
    ("a.csv", "name,age\ncat,3\n"),
)


@pytest.mark.parametrize("count", (1, 70))
@pytest.mark.parametrize("file, text", FOREIGN)
def test_files_of_another_program_are_of_no_format_however_many_there_are(
    file, text, count, tmp_path
):
    write(tmp_path / "classes.txt", "cat\ndog\n")
    for number in range(count):
        path = tmp_path / file.replace("a.", f"a{number}.").replace("a_", f"a{number}_")
        write_image(tmp_path / f"images/{path.stem}.jpg")
        write(path, text)
    with pytest.raises(UserError, match="no annotations of a known format in its .*; the other fi"):
        read_folder("auto", tmp_path)


@pytest.mark.parametrize("name", ("auto", "voc"))
def test_files_of_another_program_in_folders_of_their_own_are_not_read(name, tmp_path):
    write_voc(tmp_path, {f"{number:03}": [("cat", *BOX)] for number in range(60)})
    write(tmp_path / "a.json", '{"regions": []}')
    for number in range(60):
        write(tmp_path / f".idea/{number}.xml", "<project/>")
    source = read_folder(name, tmp_path)
    assert len(source.splits["all"]) == 60 and not source.problems


@pytest.mark.parametrize("name", ("coco", "voc"))
def test_of_an_image_at_the_top_and_one_in_images_the_latter_is_meant(name, tmp_path):
    write_image(tmp_path / "a.jpg", seed=1)
    write_image(tmp_path / "images/a.jpg")
    if name == "coco":
        write(tmp_path / "annotations/instances_default.json", coco_json("a.jpg"))
    else:
        write(tmp_path / "annotations/a.xml", XML.format("a.jpg"))
    source = read_folder("auto", tmp_path)
    (entry,) = source.splits["all"]
    assert entry.path == str(tmp_path / "images/a.jpg") and not source.problems


def test_copies_of_an_image_in_equally_near_folders_are_that_image(tmp_path):
    for folder in ("a", "b"):
        write_image(tmp_path / folder / "1.jpg")
    write(tmp_path / "boxes.json", coco_json("1.jpg"))
    source = read_folder("coco", tmp_path)
    assert len(source.splits["all"]) == 1 and not source.problems


def test_a_table_of_other_things_is_no_second_format(tmp_path):
    kaggle_voc(tmp_path)
    write(tmp_path / "log.csv", "epoch,train_loss,val_loss,precision,recall,map\n1,2,3,4,5,6\n")
    assert "read as --dataset voc" in read_folder("auto", tmp_path).notes[0]


def test_an_image_of_one_name_in_two_equally_near_folders_is_an_error(tmp_path):
    for seed, folder in enumerate(("a", "b")):
        write_image(tmp_path / folder / "1.jpg", seed=seed)
    write(tmp_path / "boxes.json", coco_json("1.jpg"))
    (problem,) = read_folder("coco", tmp_path).problems
    assert problem == f"{tmp_path}/boxes.json: two images could be meant: a/1.jpg and b/1.jpg"
    write(tmp_path / "boxes.json", coco_json("b/1.jpg"))
    assert read_folder("coco", tmp_path).splits["all"][0].path == str(tmp_path / "b/1.jpg")


def test_the_readme_s_format_of_one_s_own_works_as_pasted(tmp_path, monkeypatch):
    text = (ROOT / "docs/data.md").read_text()
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "def read" in block
    )
    module = {}
    exec(compile(code, "docs/data.md", "exec"), module)
    monkeypatch.setitem(FORMATS, "boxes", type("Format", (), module))
    write_image(tmp_path / "photos/a.jpg")
    write(tmp_path / "boxes.txt", "a.jpg 10 20 40 60 cat\na.jpg 1 2 3 4 dog\n")
    source = read_folder("auto", tmp_path)
    assert source.classes == ["cat", "dog"] and len(source.splits["all"][0].objects) == 2


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_folder_is_one_clear_error(name, tmp_path):
    with pytest.raises(UserError, match=f"no such folder: {tmp_path}/nowhere"):
        read_folder(name, tmp_path / "nowhere")


def test_what_is_known_of_a_readers_file_is_not_lost_by_case(tmp_path):
    write_image(tmp_path / "Train/IMG_7.jpg")
    shutil.move(tmp_path / "Train/IMG_7.jpg", tmp_path / "Train/IMG_7.JPG")
    write(tmp_path / "train.json", coco_json("train\\img_7.jpg"))
    assert len(read_folder("auto", tmp_path).splits["train"]) == 1


@pytest.mark.parametrize(
    "name, text, program",
    (
        ("annotations.xml", "<annotations><image id='0' name='a.jpg'/></annotations>", "CVAT"),
        ("boxes.csv", "ImageID,Source,LabelName,Confidence,XMin\na,x,/m/1,1,0.1", "OpenImages"),
        ("tasks.json", '[{"annotations": [{"result": [{"from_name": "label"}]}]}]', "Label Studio"),
        ("ann/a.jpg.json", '{"objects": [{"classTitle": "cat"}]}', "Supervisely"),
        ("default.json", '{"info": {}, "items": [{"annotations": [{"label_id": 0}]}]}', "Datumaro"),
        ("a-asset.json", '{"asset": {"name": "a.jpg"}, "regions": []}', "VoTT"),
        ("c.json", '[{"image": "a.jpg", "annotations": [{"coordinates": {"x": 1}}]}]', "CreateML"),
        ("labelTxt/a.txt", "1.0 2.0 9.0 2.0 9.0 8.0 1.0 8.0 small-vehicle 0\n", "DOTA"),
        ("rows.json", '{"image": "a.jpg"}\n{"image": "b.jpg"}\n', "ndjson"),
        ("set.zip", "PK\x03\x04", "an archive: unpack it"),
    ),
)
def test_a_file_of_another_program_is_named_with_what_to_do(tmp_path, name, text, program):
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "README.md", "text")
    write(tmp_path / name, text)
    with pytest.raises(UserError, match=f"no annotations of a known format.*{name} .*{program}"):
        read_folder("auto", tmp_path)


def test_a_csv_that_is_not_utf8_is_the_cause(tmp_path):
    write_image(tmp_path / "a.jpg")
    (tmp_path / "b.csv").write_bytes("path,x1,y1,x2,y2,class\na.jpg,1,2,3,4,größe".encode("latin1"))
    with pytest.raises(UserError, match="b.csv: not UTF-8 at byte"):
        read_folder("auto", tmp_path)
