import numpy as np
import pytest
from torch.utils.data import DataLoader

from data.batch import Collate, TrainBatches
from data.dataset import Dataset
from data.transforms import Resize, RetinaNetAugmentation
from tests.conftest import read_split, write_coco


@pytest.fixture
def dataset(tmp_path):
    write_coco(tmp_path, [[(10, 20, 30, 40, 1)], [], [(0, 0, 50, 50, 0), (5, 5, 9, 9, 1)]])
    return Dataset(*read_split("coco", tmp_path), RetinaNetAugmentation((48, 64), 96), seed=3)


def test_a_sample_depends_on_epoch_and_index_alone(dataset):
    first, again, later = (dataset[key] for key in ((4, 2, (0, 0)), (4, 2, (0, 0)), (5, 2, (0, 0))))
    assert (first[0] == again[0]).all() and (first[1]["boxes"] == again[1]["boxes"]).all()
    assert first[0].shape != later[0].shape or (first[0] != later[0]).any()


@pytest.mark.parametrize("workers", (1, 2))
def test_workers_load_what_one_process_loads(dataset, workers):
    def first(workers):
        loader = DataLoader(
            dataset,
            batch_sampler=TrainBatches(dataset, 2),
            collate_fn=Collate((0, 0, 0)),
            num_workers=workers,
        )
        return [(images, targets) for (images, targets), _ in zip(loader, range(4))]

    for (images, targets), (others, other_targets) in zip(first(0), first(workers)):
        assert (images == others).all()
        assert [t["index"] for t in targets] == [t["index"] for t in other_targets]


def test_an_image_without_objects_has_empty_arrays(dataset):
    _, target = dataset[0, 1, (0, 0)]
    assert target["boxes"].shape == (0, 4) and target["labels"].shape == target["ignore"].shape == (
        0,
    )
    assert target["boxes"].dtype == np.float32


@pytest.mark.parametrize("transform", (Resize(48, 64), RetinaNetAugmentation((32, 48), 64)))
def test_boxes_follow_an_image_that_is_decoded_smaller(tmp_path, transform):
    write_coco(tmp_path, [[(100, 200, 300, 400, 1)]], height=801, width=1199)
    large = Dataset(*read_split("coco", tmp_path), transform)
    image, target = large[0, 0, (0, 0)]
    read, whole = large.read(0, (100, 100)), large.read(0)
    assert read[0].shape[:2] == (101, 150) and whole[0].shape[:2] == (801, 1199)
    np.testing.assert_allclose(
        read[1]["boxes"] / (150, 101, 150, 101),
        whole[1]["boxes"] / (1199, 801, 1199, 801),
        rtol=1e-5,
    )
    assert image.shape[0] <= 48 and (target["boxes"][:, 2] <= image.shape[1]).all()
