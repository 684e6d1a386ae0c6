"""From single images to batches: which go together, and how they become one tensor."""

import numpy as np
import torch

from data.text import UserError


class TrainBatches(torch.utils.data.Sampler):
    """Micro-batch after micro-batch without end: lists of a dataset's keys (epoch, index, pad_to).

    Every epoch is a new permutation of the images, the same for the same seed. By their sizes,
    wide images go with wide ones, tall with tall, so that little is padded. Images that fill no
    batch are left out of their epoch. Of several processes, each yields its own part of a batch;
    all parts are padded to the batch's largest image, so that it does not matter how it is cut.
    """

    def __init__(self, dataset, batch, accumulate=1, seed=0, rank=0, world_size=1):
        if batch % (world_size * accumulate):
            raise UserError(
                f"--batch {batch} cannot be shared by {world_size} processes "
                f"and --accumulate {accumulate}"
            )
        height, width = dataset.records.sizes.T
        self.dataset, self.tall = dataset, height > width
        self.batch, self.accumulate, self.seed = batch, accumulate, seed
        self.rank, self.world_size = rank, world_size
        self.per_epoch = max(len(dataset) // batch, 1)  # batches
        self.done = 0  # batches that are left out, for they were trained on before

    def __iter__(self):
        epoch, first = divmod(self.done, self.per_epoch)
        while True:
            for indices in self.epoch(epoch)[first:]:
                pad_to = self.largest(epoch, indices)
                own_part = indices[self.rank :: self.world_size]
                for micro_batch in np.split(own_part, self.accumulate):
                    yield [(epoch, index, pad_to) for index in micro_batch.tolist()]
            epoch, first = epoch + 1, 0

    def epoch(self, epoch):
        """The batches of one epoch: [per_epoch, batch] image numbers."""
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.tall))
        wide, tall = order[~self.tall[order]], order[self.tall[order]]
        # Full batches of one kind, then what remains of both.
        wide_rest, tall_rest = len(wide) % self.batch, len(tall) % self.batch
        wide, wide_rest = np.split(wide, [len(wide) - wide_rest])
        tall, tall_rest = np.split(tall, [len(tall) - tall_rest])
        order = np.concatenate([wide, tall, wide_rest, tall_rest])
        # Fewer images than one batch holds come more than once.
        order = np.resize(order, self.per_epoch * self.batch)
        return random.permutation(order.reshape(self.per_epoch, self.batch))

    def largest(self, epoch, indices):
        """The largest height and the largest width among a batch's images."""
        sizes = [self.dataset.output_size(epoch, index) for index in indices.tolist()]
        return max(height for height, _ in sizes), max(width for _, width in sizes)


class EvalBatches(torch.utils.data.Sampler):
    """Every image once, like sizes together; of several processes, each takes its share."""

    def __init__(self, sizes, batch, rank=0, world_size=1):
        order = np.lexsort((sizes[:, 1], sizes[:, 0] / sizes[:, 1]))[rank::world_size].tolist()
        keys = [(0, index, (0, 0)) for index in order]
        self.batches = [keys[start : start + batch] for start in range(0, len(keys), batch)]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


class Collate:
    """Images, padded at the right and below with one colour to a common size, become one tensor.

    The sides of the common size are multiples of size_divisor, at least min_padding pixels over the
    largest image, and at least the targets' pad_to. Where some of the allowed_sizes (height, width)
    hold them, it is the smallest of those. The tensor holds bytes, unless an image does not or the
    colour is to be exact.

    Targets stay a list, for every image has its own number of boxes. Each learns the size (height,
    width) in pixels that its image has within the batch.
    """

    def __init__(self, colour, size_divisor=1, min_padding=0, exact_colour=False, allowed_sizes=()):
        self.colour, self.exact_colour = np.array(colour), exact_colour
        self.size_divisor, self.min_padding = size_divisor, min_padding
        self.allowed_sizes = sorted(allowed_sizes, key=np.prod)

    def __call__(self, samples):
        height, width = self.common_size(samples)
        types = [image.dtype for image, _ in samples]
        pixel_type = np.result_type(np.float32 if self.exact_colour else np.uint8, *types)
        colour = self.colour if self.exact_colour else np.round(self.colour)
        images = np.empty((len(samples), height, width, 3), pixel_type)
        targets = []
        for canvas, (image, target) in zip(images, samples):
            rows, columns = image.shape[:2]
            canvas[:rows, :columns] = image
            canvas[rows:] = colour
            canvas[:rows, columns:] = colour
            tensors = {
                name: torch.from_numpy(target[name]) for name in ("boxes", "labels", "ignore")
            }
            targets.append(tensors | dict(index=target["index"], size=(rows, columns)))
        # Channels last in memory, first in shape: what convolutions like best, for free.
        return torch.from_numpy(images).permute(0, 3, 1, 2), targets

    def common_size(self, samples):
        """(height, width) that all the samples are padded to."""
        sides = []
        for side in (0, 1):
            needed = [image.shape[side] + self.min_padding for image, _ in samples]
            needed += [
                target.get("pad_to", (0, 0))[side] + self.min_padding for _, target in samples
            ]
            sides.append(round_up(max(needed), self.size_divisor))
        for size in self.allowed_sizes:
            if size[0] >= sides[0] and size[1] >= sides[1]:
                return size
        return sides


def round_up(number, divisor):
    """The smallest multiple of the divisor that is not below the number."""
    return -(-number // divisor) * divisor
