import contextlib
import io
import json
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data.formats import voc
from data.records import Entry, Object, pack
from tests.conftest import make_records, read_split, write_coco
from utils.evaluation.metrics import COCO_NAMES, average_precision, coco_metrics, voc_metrics


def detected(*detections):
    """(left, top, right, bottom, score, label) ... of one image."""
    rows = np.array(detections, np.float32).reshape(-1, 6)
    return dict(boxes=rows[:, :4], scores=rows[:, 4], labels=rows[:, 5].astype(int))


RECORDS = make_records(
    [((100, 100), [(0, 0, 40, 40, "x"), (50, 50, 90, 90, "y")]), ((100, 100), [])]
)


def test_finding_everything_is_one():
    metrics, per_class, _ = coco_metrics(
        ["x", "y"],
        RECORDS,
        {0: detected((0, 0, 40, 40, 0.9, 0), (50, 50, 90, 90, 0.8, 1)), 1: detected()},
    )
    assert [metrics["AP"], metrics["AR_100"], per_class["x"]["AP50"]] == pytest.approx([1, 1, 1])


def test_finding_nothing_is_zero():
    metrics, per_class, _ = coco_metrics(["x", "y"], RECORDS, {0: detected(), 1: detected()})
    assert metrics["AP"] == per_class["y"]["AP"] == 0


def test_a_class_without_objects_has_no_number_and_no_say():
    metrics, per_class, _ = coco_metrics(
        ["x", "y", "z"], RECORDS, {0: detected((0, 0, 40, 40, 0.9, 0), (1, 1, 9, 9, 0.9, 2))}
    )
    assert math.isnan(per_class["z"]["AP"]) and [
        per_class["x"]["AP"],
        metrics["AP"],
    ] == pytest.approx([1, 0.5])


def test_without_any_object_there_is_no_number():
    empty = make_records([((100, 100), [])], ["x"])
    assert math.isnan(coco_metrics(["x"], empty, {0: detected((0, 0, 9, 9, 0.9, 0))})[0]["AP"])
    assert math.isnan(coco_metrics(["x"], empty, {0: detected()})[0]["AP"])


def test_objects_to_ignore_are_neither_missed_nor_found():
    records = make_records(
        [((100, 100), [(0, 0, 40, 40, "x", False), (50, 50, 90, 90, "x", True)])]
    )
    for detections in (
        detected((0, 0, 40, 40, 0.5, 0)),
        detected((0, 0, 40, 40, 0.5, 0), (50, 50, 90, 90, 0.9, 0)),
    ):
        assert coco_metrics(["x"], records, {0: detections})[0]["AP"] == pytest.approx(1)


def test_the_numbers_are_pycocotools_own(tmp_path):
    rng = np.random.default_rng(0)
    objects = [
        [
            (
                *rng.integers(0, 40, 2).tolist(),
                *rng.integers(5, 24, 2).tolist(),
                int(rng.integers(2)),
            )
            for _ in range(rng.integers(0, 6))
        ]
        for _ in range(12)
    ]
    write_coco(tmp_path, objects, ids=(7, 3))
    classes, records = read_split("coco", tmp_path)
    detections = {
        i: detected(
            *[
                (*(records.boxes[j] + rng.normal(0, 2, 4)), rng.random(), rng.integers(2))
                for j in range(*records.offsets[i : i + 2])
            ]
        )
        for i in range(12)
    }
    results = [
        dict(
            image_id=i,
            category_id=records.category_ids[label],
            score=float(score),
            bbox=[float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
        )
        for i, one in detections.items()
        for box, score, label in zip(one["boxes"], one["scores"], one["labels"])
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "annotations/instances_train2017.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "bbox")
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    metrics, _, _ = coco_metrics(classes, records, detections)
    expected = [math.nan if value < 0 else value for value in evaluation.stats]
    assert [metrics[name] for name in COCO_NAMES] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def voc_by_hand(truth, ignore, guesses, eleven_points):
    """VOC's definition once more, written after the development kit: all of a class's detections
    in one ranking.

    truth and ignore: image -> objects; guesses: (score, image, box).
    """
    seen, true, false = {image: set() for image in truth}, [], []
    for _, image, (left, top, right, bottom) in sorted(guesses, key=lambda guess: -guess[0]):
        best, which = 0.0, None
        for i, (x1, y1, x2, y2) in enumerate(truth.get(image, [])):
            width, height = min(right, x2) - max(left, x1), min(bottom, y2) - max(top, y1)
            if width > 0 and height > 0:
                shared = width * height
                overlap = shared / (
                    (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - shared
                )
                if overlap > best:
                    best, which = overlap, i
        if best >= 0.5 and ignore[image][which]:
            continue
        first = best >= 0.5 and which not in seen[image]
        true.append(int(first))
        false.append(int(not first))
        if first:
            seen[image].add(which)
    objects = sum(not hidden for image in ignore for hidden in ignore[image])
    if objects == 0:
        return math.nan
    points = [(sum(true[:i]) / objects, sum(true[:i]) / i) for i in range(1, len(true) + 1)]
    if eleven_points:
        return (
            sum(max([p for r, p in points if r >= t / 10 - 1e-9], default=0) for t in range(11))
            / 11
        )
    area, recalls = 0.0, [0.0, *(r for r, _ in points)]
    for i, (recall, _) in enumerate(points):
        area += (recall - recalls[i]) * max(p for _, p in points[i:])
    return area


@pytest.fixture(scope="module")
def voc100():
    """Real images, objects and detections -> classes, records, found."""
    from tests.figures import figures

    numbers = figures("voc2012_100")
    offsets = numbers["offsets"]
    columns = [numbers[name] for name in ("boxes", "labels", "ignore")]
    entries = []
    for i, size in enumerate(numbers["sizes"].tolist()):
        rows = zip(*(column[offsets[i] : offsets[i + 1]] for column in columns))
        objects = [Object(*box, voc.CLASSES[label], bool(hidden)) for box, label, hidden in rows]
        entries.append(Entry(f"{i}", size, i, objects))
    records = pack(entries, voc.CLASSES)
    rows = numbers["detections"]
    mine = [rows[rows[:, 0] == i] for i in range(len(records))]
    return (
        voc.CLASSES,
        records,
        {
            i: dict(boxes=one[:, 3:], scores=one[:, 2], labels=one[:, 1].astype(int))
            for i, one in enumerate(mine)
        },
    )


@pytest.mark.parametrize("metric", ("voc07", "voc12"))
def test_voc_precision_is_what_a_second_computation_finds(voc100, metric):
    classes, records, detections = voc100
    metrics, per_class, _ = voc_metrics(classes, records, detections, metric)
    expected = {}
    for label, name in enumerate(classes):
        rows = {i: records.objects(i) for i in range(len(records))}
        mine = {i: records.labels[row] == label for i, row in rows.items()}
        guesses = [
            (score, i, box)
            for i, one in detections.items()
            for score, box in zip(
                one["scores"][one["labels"] == label], one["boxes"][one["labels"] == label].tolist()
            )
        ]
        expected[name] = voc_by_hand(
            {i: records.boxes[row][mine[i]].tolist() for i, row in rows.items()},
            {i: records.ignore[row][mine[i]].tolist() for i, row in rows.items()},
            guesses,
            metric == "voc07",
        )
    assert {name: one["AP50"] for name, one in per_class.items()} == pytest.approx(expected)
    assert metrics["mAP"] == pytest.approx(np.mean(list(expected.values())))


def test_coco_numbers_of_real_detections_are_pycocotools_own(voc100, tmp_path):
    classes, records, detections = voc100
    metrics, _, _ = coco_metrics(classes, records, detections)
    truth = dict(
        images=[dict(id=i) for i in range(len(records))],
        categories=[dict(id=i, name=n) for i, n in enumerate(classes)],
        annotations=[
            dict(
                id=j + 1,
                image_id=i,
                category_id=int(records.labels[j]),
                iscrowd=int(records.ignore[j]),
                bbox=[
                    float(v)
                    for v in (*records.boxes[j][:2], *(records.boxes[j][2:] - records.boxes[j][:2]))
                ],
                area=float((records.boxes[j][2:] - records.boxes[j][:2]).prod()),
            )
            for i in range(len(records))
            for j in range(*records.offsets[i : i + 2])
        ],
    )
    results = [
        dict(
            image_id=i,
            category_id=int(label),
            score=float(score),
            bbox=[float(v) for v in (*box[:2], *(box[2:] - box[:2]))],
        )
        for i, one in detections.items()
        for box, score, label in zip(one["boxes"], one["scores"], one["labels"])
    ]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "truth.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "bbox")
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    assert [metrics[name] for name in COCO_NAMES] == pytest.approx(list(evaluation.stats), abs=1e-6)


def test_voc_difficult_objects_are_neither_found_nor_missed():
    records = make_records(
        [((100, 100), [(0, 0, 40, 40, "x", False), (50, 50, 90, 90, "x", True)])]
    )
    for detections in (
        detected((0, 0, 40, 40, 0.5, 0)),
        detected((0, 0, 40, 40, 0.5, 0), (50, 50, 90, 90, 0.9, 0)),
    ):
        assert voc_metrics(["x"], records, {0: detections})[0]["mAP"] == 1


def test_voc_classes_without_objects_have_no_say_and_those_without_detections_are_zero():
    metrics, per_class, _ = voc_metrics(
        ["x", "y", "z"],
        RECORDS,
        {0: detected((0, 0, 40, 40, 0.9, 0), (1, 1, 9, 9, 0.9, 2)), 1: detected()},
    )
    assert (
        per_class["x"]["AP50"] == 1
        and per_class["y"]["AP50"] == 0
        and math.isnan(per_class["z"]["AP50"])
    )
    assert metrics["mAP"] == 0.5
    assert math.isnan(voc_metrics(["x"], make_records([((9, 9), [])], ["x"]), {})[0]["mAP"])


def test_voc_takes_an_iou_of_exactly_a_half_for_a_hit():
    records = make_records([((100, 100), [(0, 0, 40, 40, "x", False)])])
    assert voc_metrics(["x"], records, {0: detected((0, 0, 40, 20, 0.5, 0))})[0]["mAP"] == 1


def test_voc_finding_an_object_twice_is_one_mistake():
    one = detected((0, 0, 40, 40, 0.9, 0), (0, 0, 40, 39, 0.8, 0), (50, 50, 90, 90, 0.7, 0))
    records = make_records(
        [((100, 100), [(0, 0, 40, 40, "x", False), (50, 50, 90, 90, "x", False)])]
    )
    assert voc_metrics(["x"], records, {0: one})[0]["mAP"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def ap(*hits, objects, **options):
    return average_precision(np.array(hits, bool), objects, **options)


def test_finding_every_object_first_is_one():
    assert ap(1, 1, 1, objects=3) == ap(1, 1, 1, 0, 0, objects=3) == 1


def test_half_of_the_objects_at_full_precision_is_a_half():
    assert ap(1, 1, objects=4) == 0.5, "recall counts the objects that were missed"


def test_the_best_precision_at_a_recall_or_a_larger_one_counts():
    # Precision 1, 1/2, 2/3: between the recalls of a half and one it is 2/3, not 1/2.
    message = "at every recall, the best precision at this or a larger recall counts"
    assert ap(1, 0, 1, objects=2) == pytest.approx((1 + 2 / 3) / 2), message
    assert ap(0, 1, 1, objects=2) == pytest.approx(2 / 3), message


def test_a_miss_at_the_end_costs_nothing_and_one_at_the_start_does():
    assert ap(1, 0, objects=1) == 1 and ap(0, 1, objects=1) == 0.5


def test_eleven_points_are_the_mean_at_eleven_recalls():
    # Recalls 0 to 0.5 have a precision of 1, those beyond are never reached.
    assert ap(1, objects=2, metric="voc07") == pytest.approx(6 / 11)


def test_no_detections_are_worth_nothing_and_no_objects_have_no_number():
    assert ap(objects=2) == ap(objects=2, metric="voc07") == 0
    assert math.isnan(ap(0, objects=0)) and math.isnan(ap(objects=0))
