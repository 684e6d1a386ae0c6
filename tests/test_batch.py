from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.batch import Collate, EvalBatches, TrainBatches
from data.text import UserError


class Sizes:
    """A dataset of which nothing but sizes is known."""

    def __init__(self, sizes):
        self.records = SimpleNamespace(sizes=np.array(sizes))

    def __len__(self):
        return len(self.records.sizes)

    def output_size(self, epoch, index):
        height, width = self.records.sizes[index]
        return height + epoch, width


def take(count, images, batch, seed, sizes=None, done=0, rank=0, world_size=1, accumulate=1):
    dataset = Sizes([[10, 20]] * images if sizes is None else sizes)
    batches = TrainBatches(dataset, batch, accumulate, seed, rank, world_size)
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
        for batch in EvalBatches(sizes, 3, rank, 2)
        for _, index, _ in batch
    ]
    assert sorted(seen) == list(range(13))


def test_collate_pads_with_the_colour_to_a_multiple_of_32():
    def sample(height, width, count):
        return np.full((height, width, 3), 9, np.uint8), dict(
            boxes=np.ones((count, 4), np.float32),
            labels=np.zeros(count, int),
            ignore=np.zeros(count, bool),
            index=count,
        )

    images, targets = Collate((1.2, 2.7, 3), size_divisor=32)(
        [sample(40, 50, 2), sample(64, 20, 0)]
    )
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
    with pytest.raises(UserError, match="--batch 6 cannot be shared by 4 processes"):
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
    images, _ = Collate((0, 0, 0), size_divisor=32)([(image, target | dict(pad_to=(70, 10)))])
    assert images.shape == (1, 3, 96, 64)
