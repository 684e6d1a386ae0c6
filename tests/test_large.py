"""A dataset of COCO's size."""

import json
import time
import tracemalloc

import numpy as np
import pytest

from tests.conftest import read_split


@pytest.mark.long
def test_a_hundred_thousand_images_are_read_in_seconds(tmp_path):
    rng = np.random.default_rng(0)
    images = 118_287
    owners = np.sort(rng.integers(0, images, 860_001)).tolist()
    content = dict(
        images=[
            dict(id=i, file_name=f"{i:012d}.jpg", height=480, width=640) for i in range(images)
        ],
        annotations=[
            dict(
                id=i,
                image_id=owner,
                category_id=1 + i % 80,
                bbox=[10.5, 20.5, 100, 200],
                area=20000,
                iscrowd=0,
            )
            for i, owner in enumerate(owners)
        ],
        categories=[dict(id=i, name=f"class {i}") for i in range(1, 81)],
    )
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    (tmp_path / "train2017").mkdir()
    for i in range(images):
        (tmp_path / f"train2017/{i:012d}.jpg").touch()
    del content
    began = time.perf_counter()
    _, records = read_split("coco", tmp_path)
    seconds = time.perf_counter() - began
    assert seconds < 60
    assert len(records) == images and len(records.boxes) == 860_001
    # What a worker process would add by looking at all of it: arrays are views, nothing is copied
    # for good.
    tracemalloc.start()
    for index in range(images):
        records.path(index), records.boxes[records.objects(index)]
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
