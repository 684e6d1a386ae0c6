"""The detections of detect.py as JSON."""

from pathlib import Path

from data.formats.coco import is_official, names_by_id


def plain_results(found):
    """A list of dicts: image (or video and frame), class, score and box, xyxy in pixels.

    found: (what it is, its detections) of every image.
    """
    results = []
    for source, detections in found:
        columns = (detections[key] for key in ("boxes", "scores", "names"))
        for box, score, name in zip(*columns):
            box = [round(side, 1) for side in box.tolist()]
            results.append(source | {"class": name, "score": round(float(score), 4), "box": box})
    return results


def coco_results(found, classes, dataset=None):
    """COCO's result format: image_id, category_id, score and bbox, (left, top, width, height).

    The ids are the dataset's own where it has the image. Else an image's id is the number that it
    is named by, or its name, and a category's that of COCO, or for other classes its place among
    them, from 1.
    """
    image_ids, category_ids = {}, tuple(range(1, 1 + len(classes)))
    if is_official(classes):
        category_ids = [names_by_id().index(name) for name in classes]
    if dataset is not None:
        records = dataset.records
        category_ids = records.category_ids or category_ids
        image_ids = {path: records.image_id(i) for path, i in image_numbers(records).items()}
    results = []
    for source, detections in found:
        image_id = image_ids.get(Path(source.get("image", "")).resolve(), named_id(source))
        results += coco_rows(image_id, category_ids, detections)
    return results


def coco_rows(image_id, category_ids, detections):
    """The detections of one image in COCO's result format."""
    columns = (detections[key].tolist() for key in ("boxes", "scores", "labels"))
    for (left, top, right, bottom), score, label in zip(*columns):
        box = [round(side, 2) for side in (left, top, right - left, bottom - top)]
        result = dict(image_id=image_id, category_id=category_ids[label], bbox=box)
        yield result | dict(score=round(score, 5))


def image_numbers(records):
    """Resolved path of an image -> its number."""
    return {Path(records.path(i)).resolve(): i for i in range(len(records))}


def named_id(source):
    """The number that an image's file is named by, else the name; the frame of a video."""
    if "frame" in source:
        return source["frame"]
    stem = Path(source["image"]).stem
    return int(stem) if stem.isdecimal() else Path(source["image"]).name
