"""The five official datasets, with all the folders and files that their archives unpack, in small:
each is read by its name and recognised without it."""

import json

import numpy as np
import pytest
from PIL import Image

from data.reading import read_folder
from tests.conftest import write_image


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_mask(path, mode, height=64, width=96):
    """A PNG of flat areas: P, with a palette; L, of one channel; I;16, of 16 bits; or RGBA."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width), np.uint16 if mode == "I;16" else np.uint8)
    pixels[10:40, 20:60] = 15
    if mode == "RGBA":
        pixels = np.stack([pixels, pixels, pixels, np.full_like(pixels, 255)], axis=-1)
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(path)


def coco(root):
    """train2017.zip, val2017.zip and annotations_trainval2017.zip."""
    for split, count in dict(train=3, val=2).items():
        images, boxes, captions = [], [], []
        for number in range(count):
            name = f"{number:012}.jpg"
            write_image(root / f"{split}2017/{name}", seed=number)
            images.append(dict(id=number, file_name=name, height=64, width=96, license=1))
            for box in ([10, 20, 30, 40], [1, 2, 20, 20]):
                annotation = dict(image_id=number, category_id=1, bbox=box, area=400, iscrowd=0)
                corners = [box[:2], [box[0] + 9, box[1]], [box[0] + 9, box[1] + 9]]
                boxes.append(annotation | dict(id=len(boxes), segmentation=[sum(corners, [])]))
            captions.append(dict(id=number, image_id=number, caption="Two people."))
        keypoints = [box | dict(num_keypoints=1, keypoints=[15, 25, 2] * 17) for box in boxes]
        categories = [
            dict(id=number, name=name, supercategory="thing")
            for number, name in ((1, "person"), (3, "car"))
        ]
        head = dict(info=dict(year=2017), licenses=[dict(id=1)], images=images)
        for task, content in dict(
            instances=dict(annotations=boxes, categories=categories),
            person_keypoints=dict(annotations=keypoints[:2], categories=categories[:1]),
            captions=dict(annotations=captions),
        ).items():
            write(root / f"annotations/{task}_{split}2017.json", json.dumps(head | content))


PART = "<part><name>head</name>{0}</part>"
BOX = "<bndbox><xmax>{2}</xmax><xmin>{0}</xmin><ymax>{3}</ymax><ymin>{1}</ymin></bndbox>"
OBJECT = (
    "<object><name>{name}</name><pose>Left</pose><truncated>0</truncated>"
    "<difficult>{difficult}</difficult>{part}{box}</object>"
)
VOC_XML = (
    "<annotation><folder>{year}</folder><filename>{name}.jpg</filename><source>"
    "<database>The {year} Database</database></source><size><width>96</width><height>64</height>"
    "<depth>3</depth></size><segmented>1</segmented>{objects}</annotation>"
)


def voc_year(devkit, year, splits):
    """One year: three objects in each image, one of them difficult, and parts within a person."""
    folder = devkit / year
    for name in {name for names in splits.values() for name in names}:
        write_image(folder / f"JPEGImages/{name}.jpg", seed=int(name[-6:]))
        part = PART.format(BOX.format(12, 22, 20, 30))
        objects = [
            OBJECT.format(name="person", difficult=0, part=part, box=BOX.format(10, 20, 40, 60)),
            OBJECT.format(name="dog", difficult=0, part="", box=BOX.format(50, 20, 90, 60)),
            OBJECT.format(name="dog", difficult=1, part="", box=BOX.format(1, 1, 9, 9)),
        ]
        text = VOC_XML.format(year=year, name=name, objects="".join(objects))
        write(folder / f"Annotations/{name}.xml", text)
        write_mask(folder / f"SegmentationClass/{name}.png", "P")
        write_mask(folder / f"SegmentationObject/{name}.png", "P")
    for split, names in splits.items():
        for task in ("Main", "Layout", "Segmentation", "Action"):
            write(folder / f"ImageSets/{task}/{split}.txt", *names)
        marks = [f"{name} {mark:2}" for name, mark in zip(names, (1, -1, 0, 1, -1))]
        write(folder / f"ImageSets/Main/dog_{split}.txt", *marks)
        write(folder / f"ImageSets/Main/person_{split}.txt", *marks)
        write(folder / f"ImageSets/Action/jumping_{split}.txt", *(f"{name} 1  1" for name in names))


def voc(root):
    """VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and VOCtrainval_11-May-2012.tar."""
    years = {
        "VOC2007": dict(
            train=["000005"],
            val=["000007", "000009"],
            trainval=["000005", "000007", "000009"],
            test=["000001", "000002"],
        ),
        "VOC2012": dict(
            train=["2008_000002", "2008_000003"],
            val=["2008_000007"],
            trainval=["2008_000002", "2008_000003", "2008_000007"],
        ),
    }
    for year, splits in years.items():
        voc_year(root / "VOCdevkit", year, splits)


def cityscapes(root):
    """gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip; test's polygons are dummies."""
    for split, city, count in (
        ("train", "aachen", 40),
        ("val", "munster", 20),
        ("test", "bonn", 10),
    ):
        for number in range(count):
            name = f"{city}_{number:06}_000019"
            write_image(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", seed=number)
            truth = f"gtFine/{split}/{city}/{name}_gtFine"
            write_mask(root / f"{truth}_color.png", "RGBA")
            write_mask(root / f"{truth}_instanceIds.png", "I;16")
            write_mask(root / f"{truth}_labelIds.png", "L")
            labels = ("out of roi",) if split == "test" else ("road", "car", "persongroup", "rider")
            square = [[10, 20], [40, 20], [40, 60], [10, 60]]
            objects = [dict(label=label, polygon=square) for label in labels]
            content = dict(imgHeight=64, imgWidth=96, objects=objects)
            write(root / f"{truth}_polygons.json", json.dumps(content))
    write(root / "README", "The Cityscapes Dataset")
    write(root / "license.txt", "for academic and non-academic entities")


def kitti(root):
    """data_object_image_2.zip, and those of label_2, calib and the devkit."""
    numbers = " ".join(["7.215377e+02"] * 12)
    calibration = [f"{name}: {numbers}" for name in ("P0", "P1", "P2", "P3", "Tr_velo_to_cam")]
    for part, count in dict(training=4, testing=6).items():
        for number in range(count):
            write_image(root / f"{part}/image_2/{number:06}.png", seed=number)
            write(root / f"{part}/calib/{number:06}.txt", *calibration)
    for number in range(4):
        lines = [
            f"{kind} 0.00 0 -1.57 {corners} 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"
            for kind, corners in (("Car", "10.0 20.0 40.0 60.0"), ("Truck", "1.0 1.0 9.0 9.0"))
        ]
        corners = "50.00 10.00 80.00 40.00"
        lines.append(f"DontCare -1 -1 -10 {corners} -1 -1 -1 -1000 -1000 -1000 -10")
        write(root / f"training/label_2/{number:06}.txt", *lines)
    write(root / "devkit_object/readme.txt", "The KITTI Vision Benchmark Suite")
    write(root / "devkit_object/mapping/train_rand.txt", "3,1,4,2")
    write(root / "devkit_object/mapping/train_mapping.txt", "2011_09_26 drive_0005_sync 0000000109")


def widerface(root):
    """WIDER_train.zip, WIDER_val.zip, WIDER_test.zip and wider_face_split.zip."""
    flags = "0 0 0 0 0 0"
    for split, count in dict(train=3, val=2, test=2).items():
        names = [f"0--Parade/0_Parade_marchingband_1_{number}.jpg" for number in range(count)]
        for number, name in enumerate(names):
            write_image(root / f"WIDER_{split}/images/{name}", seed=number)
        faces = ("2", f"10 20 30 20 {flags}", f"5 5 8 8 {flags}")
        lists = root / "wider_face_split"
        if split == "test":
            write(lists / "wider_face_test_filelist.txt", *names)
        else:
            lines = [line for name in names for line in (name, *faces)]
            write(lists / f"wider_face_{split}_bbx_gt.txt", *lines)
        write(lists / f"wider_face_{split}.mat", "MATLAB 5.0 MAT-file")
    write(root / "wider_face_split/readme.txt", "WIDER FACE")


# Images and boxes, those to ignore included, of each split.
ARCHIVES = {
    coco: dict(train=(3, 6), val=(2, 4)),
    voc: dict(trainval=(6, 18), test=(2, 6)),
    cityscapes: dict(train=(40, 120), val=(20, 60), test=(10, 0)),
    kitti: dict(all=(4, 12)),
    widerface: dict(train=(3, 6), val=(2, 4)),
}


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.__name__)
def test_an_official_dataset_is_read_as_its_archives_unpack_it(archive, tmp_path):
    archive(tmp_path)
    for name in (archive.__name__, "auto"):
        source = read_folder(name, tmp_path)
        assert not source.problems
        counts = {
            split: (len(entries), sum(len(entry.objects) for entry in entries))
            for split, entries in source.splits.items()
        }
        assert counts == ARCHIVES[archive]
        if name == "auto":
            assert f"is read as --dataset {archive.__name__}: " in source.notes[0]


def test_the_photo_of_each_annotation_of_voc_is_that_in_jpegimages(tmp_path):
    voc(tmp_path)
    for entries in read_folder("voc", tmp_path).splits.values():
        for entry in entries:
            assert entry.path.endswith(f"/JPEGImages/{entry.image_id}.jpg")
            assert [item.name for item in entry.objects] == ["person", "dog", "dog"]
            assert entry.objects[0][:4] == (10, 20, 40, 60), "its own box, not that of its part"


def test_the_photos_of_kitti_s_right_camera_are_not_those_of_its_labels(tmp_path):
    kitti(tmp_path)
    for number in range(4):
        write_image(tmp_path / f"training/image_3/{number:06}.png", seed=number)
    (entries,) = read_folder("kitti", tmp_path).splits.values()
    assert all("/training/image_2/" in entry.path for entry in entries)
