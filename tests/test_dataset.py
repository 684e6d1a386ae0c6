from functools import partial
from itertools import islice
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from data.dataset import Dataset, TrainBatches, collate, eval_batches, padded_size
from data.images import read_image
from data.text import UserError
from data.transforms import Resize, RetinaNetAugmentation, Stretch
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
            collate_fn=partial(collate, colour=(0, 0, 0)),
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
    write_coco(tmp_path, [[(100, 200, 300, 400, 1)]], height=800, width=1200)
    large = Dataset(*read_split("coco", tmp_path), transform)
    image, target = large[0, 0, (0, 0)]
    small, whole = large.decode(0), large.read(0)
    assert small.shape[:2] == (100, 150) and whole[0].shape[:2] == (800, 1200)
    np.testing.assert_allclose(
        large.target(0, small)["boxes"] / (150, 100, 150, 100),
        whole[1]["boxes"] / (1200, 800, 1200, 800),
        rtol=1e-5,
    )
    assert image.shape[0] <= 48 and (target["boxes"][:, 2] <= image.shape[1]).all()


@pytest.mark.parametrize("height, width", ((400, 504), (401, 503), (402, 506), (201, 1001)))
def test_objects_of_a_photo_of_any_size_are_where_their_boxes_are(tmp_path, height, width):
    box = (300, 120, width - 20, height - 20)
    write_coco(
        tmp_path,
        [[(*box[:2], box[2] - box[0], box[3] - box[1], 1)]],
        "train",
        height=height,
        width=width,
    )
    image = np.zeros((height, width, 3), np.uint8)
    cv2.rectangle(image, box[:2], (box[2] - 1, box[3] - 1), (255, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "train2017/0.jpg"), image)
    large = Dataset(*read_split("coco", tmp_path), Resize(100, 130))
    image, target = large[0, 0, (0, 0)]
    assert image.shape[:2] == large.output_size(0, 0)
    # The sum of a side's grey values says where the object ends, to a part of a pixel.
    brightness = image[..., 0].astype(float) / 255
    left, top, right, bottom = target["boxes"][0]
    assert brightness.max(axis=0).sum() == pytest.approx(right - left, abs=0.35)
    assert brightness.max(axis=1).sum() == pytest.approx(bottom - top, abs=0.35)
    assert (brightness.max(axis=0) > 0.5).argmax() == pytest.approx(left, abs=1)
    assert (brightness.max(axis=1) > 0.5).argmax() == pytest.approx(top, abs=1)


@pytest.mark.parametrize("transform", (Resize(64, 100), Resize(25, 99), Stretch((64, 64))))
def test_a_whole_image_is_resized_to_what_one_decoded_smaller_becomes(tmp_path, transform):
    noise = np.random.default_rng(0).normal(128, 40, (520, 640, 3)).clip(0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), noise, [cv2.IMWRITE_JPEG_QUALITY, 100])
    whole, target = read_image(tmp_path / "a.jpg"), dict(boxes=np.float32([[0, 0, 640, 520]]))
    decoded_smaller = read_image(tmp_path / "a.jpg", (520, 640), transform.needed_size(520, 640))
    expected, _ = transform(decoded_smaller, target, None)
    image, resized = transform(whole, target, None)
    assert np.abs(image.astype(int) - expected).mean() < 1
    assert resized["boxes"][0].tolist() == [0, 0, image.shape[1], image.shape[0]]


def test_images_that_are_kept_are_decoded_once_and_give_the_same_samples(dataset, monkeypatch):
    keys = [(epoch, index, (0, 0)) for epoch in range(2) for index in range(len(dataset))]
    expected = [dataset[key] for key in keys]
    dataset.keep_images()
    monkeypatch.setattr("data.dataset.read_image", None)
    for (image, target), key in zip(expected, keys, strict=True):
        kept_image, kept_target = dataset[key]
        assert np.array_equal(kept_image, image)
        assert all(np.array_equal(kept_target[name], target[name]) for name in target)


class Sizes:
    """A dataset of which nothing but sizes is known."""

    def __init__(self, sizes, seed):
        self.records = SimpleNamespace(sizes=np.array(sizes))
        self.seed = seed

    def __len__(self):
        return len(self.records.sizes)

    def output_size(self, epoch, index):
        height, width = self.records.sizes[index]
        return height + epoch, width


def take(count, images, batch, seed, sizes=None, done=0, rank=0, world_size=1, accumulate=1):
    dataset = Sizes([[10, 20]] * images if sizes is None else sizes, seed)
    batches = TrainBatches(dataset, batch, accumulate, rank, world_size)
    batches.done = done
    return list(islice(batches, count))


def test_an_epoch_is_every_image_once():
    batches = take(5, 10, 2, seed=0)
    assert sorted(index for batch in batches for _, index, _ in batch) == list(range(10))


def test_epochs_differ_and_runs_do_not():
    batches = take(10, 10, 2, seed=0)
    assert [i for b in batches[:5] for _, i, _ in b] != [i for b in batches[5:] for _, i, _ in b]
    assert batches == take(10, 10, 2, seed=0) != take(10, 10, 2, seed=1)


def test_a_later_start_continues_the_same_list():
    sizes = np.array([[10, 20], [20, 10]] * 8)
    assert take(20, 16, 3, seed=5, sizes=sizes)[7:] == take(13, 16, 3, seed=5, sizes=sizes, done=7)


@pytest.mark.parametrize("wide, tall, batch", ((104, 7, 8), (100, 10, 16), (16, 10, 16)))
def test_every_image_is_trained_on_in_some_epoch(wide, tall, batch):
    sizes = [[10, 20]] * wide + [[20, 10]] * tall
    batches = take(50 * ((wide + tall) // batch), wide + tall, batch, seed=0, sizes=sizes)
    assert {key[1] for keys in batches for key in keys} == set(range(wide + tall))


def test_tall_and_wide_images_rarely_share_a_batch():
    sizes = np.array([[10, 20], [20, 10]] * 50)
    mixed = sum(
        len({index % 2 for _, index, _ in batch}) > 1
        for batch in take(25, 100, 4, seed=0, sizes=sizes)
    )
    assert mixed <= 1


def test_processes_share_each_batch():
    parts = [take(4, 16, 4, seed=0, rank=rank, world_size=2) for rank in range(2)]
    for first, second, whole in zip(*parts, take(4, 16, 4, seed=0)):
        assert sorted(first + second) == sorted(whole) and len(first) == len(second) == 2


def test_fewer_images_than_a_batch_come_again():
    assert sorted(index for _, index, _ in take(1, 3, 8, seed=0)[0]) == [0, 0, 0, 1, 1, 2, 2, 2]


def test_evaluation_sees_every_image_once_in_all_processes_together():
    sizes = np.random.default_rng(0).integers(10, 90, (13, 2))
    seen = [
        index
        for rank in range(2)
        for batch in eval_batches(sizes, 3, rank, 2)
        for _, index, _ in batch
    ]
    assert sorted(seen) == list(range(13))


def test_evaluation_never_pads_an_image_to_the_size_of_another():
    sizes = padded_size([[40, 64], [64, 33], [33, 64], [64, 64], [64, 60]], size_divisor=32)
    batches = eval_batches(sizes, 3)
    assert sorted(index for batch in batches for _, index, _ in batch) == list(range(5))
    for batch in batches:
        assert len({tuple(sizes[index]) for _, index, _ in batch}) == 1


def test_processes_evaluate_equally_many_images_of_whatever_sizes():
    sizes = np.arange(32).reshape(16, 2)
    parts = [eval_batches(sizes, 4, rank, world_size=8) for rank in range(8)]
    assert [sum(map(len, part)) for part in parts] == [2] * 8


def test_collate_pads_with_the_colour_to_a_multiple_of_32():
    def sample(height, width, count):
        return np.full((height, width, 3), 9, np.uint8), dict(
            boxes=np.ones((count, 4), np.float32),
            labels=np.zeros(count, int),
            ignore=np.zeros(count, bool),
            index=count,
        )

    samples = [sample(40, 50, 2), sample(64, 20, 0)]
    images, targets = collate(samples, (1.2, 2.7, 3), size_divisor=32)
    assert images.shape == (2, 3, 64, 64) and images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images[0, :, 63, 0].tolist() == images[1, :, 0, 20].tolist() == [1, 3, 3]
    assert (images[0, :, :40, :50] == 9).all()
    assert [target["size"] for target in targets] == [(40, 50), (64, 20)]
    assert targets[1]["boxes"].shape == (0, 4) and targets[0]["index"] == 2


def test_a_batch_is_cut_into_equal_micro_batches():
    whole, parts = take(2, 16, 4, seed=0), take(4, 16, 4, seed=0, accumulate=2)
    assert [parts[0] + parts[1], parts[2] + parts[3]] == whole


def test_a_batch_that_cannot_be_shared_is_the_user_s_mistake():
    with pytest.raises(UserError, match="--batch 6: must be a multiple of 4 processes"):
        take(1, 16, 6, seed=0, world_size=4)


def sample(size):
    nothing = dict(
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, int),
        ignore=np.zeros(0, bool),
        index=0,
    )
    return np.zeros((*size, 3), np.uint8), nothing


def test_all_parts_of_a_batch_are_padded_to_its_largest_image():
    sizes = [[10, 20], [30, 15], [12, 40], [11, 11]]
    for accumulate, world_size in ((1, 1), (4, 1), (2, 2), (1, 4)):
        for rank in range(world_size):
            keys = take(2 * accumulate, 4, 4, 0, sizes, 0, rank, world_size, accumulate)
            assert {(epoch, pad_to) for part in keys for epoch, _, pad_to in part} == {
                (0, (30, 40)),
                (1, (31, 40)),
            }


def test_a_sample_is_padded_to_what_its_batch_needs():
    image, target = sample((40, 50))
    images, _ = collate([(image, target | dict(pad_to=(70, 10)))], (0, 0, 0), size_divisor=32)
    assert images.shape == (1, 3, 96, 64)
