"""From records to batches: samples, which of them go together, and how they become one tensor."""

from multiprocessing.pool import ThreadPool

import numpy as np
import torch

from data.images import read_image
from data.text import UserError


class Dataset(torch.utils.data.Dataset):
    """Images and their targets, read from files and transformed one at a time.

    All that is random about a sample depends on (seed, epoch, index) only, so it is the same in
    whichever process the sample is loaded, and again after a run has been resumed.
    """

    def __init__(self, classes, records, transform, seed=0):
        self.classes = list(classes)
        self.records = records
        self.transform = transform
        self.seed = seed
        self.kept_images = None

    def keep_images(self):
        """Decode all images now and keep them in memory; processes that load them share it."""
        # OpenCV lets other threads work while it decodes.
        with ThreadPool() as pool:
            self.kept_images = pool.map(self.decode, range(len(self)))

    def decode(self, index):
        """An image [H, W, 3] uint8, as large as its transform needs it or larger."""
        size = self.records.sizes[index]
        return read_image(self.records.path(index), size, self.transform.needed_size(*size))

    def __len__(self):
        return len(self.records)

    def __getitem__(self, key):
        """The image [H, W, 3] of a key (epoch, index, pad_to), and its target.

        The target holds boxes [N, 4], labels [N], ignore [N], the index, and pad_to, the smallest
        size (height, width) that its batch may have.
        """
        epoch, index, pad_to = key
        image = self.kept_images[index] if self.kept_images else self.decode(index)
        target = self.target(index, image)
        image, target = self.transform(image, target, self.rng(epoch, index))
        return image, target | dict(pad_to=pad_to)

    def rng(self, epoch, index):
        """The generator of all random numbers for one sample."""
        return np.random.default_rng((self.seed, epoch, index))

    def output_size(self, epoch, index):
        """(height, width) of a sample, known without reading its image: the transform draws it
        before anything else."""
        height, width = self.records.sizes[index]
        return self.transform.output_size(height, width, self.rng(epoch, index))

    def read(self, index):
        """The whole image and its target before any transform."""
        image = read_image(self.records.path(index), self.records.sizes[index])
        return image, self.target(index, image)

    def target(self, index, image):
        """The objects of an image, their boxes in pixels of this image, which may have been decoded
        smaller."""
        records = self.records
        rows = records.objects(index)
        boxes = records.boxes[rows]
        size = records.sizes[index]
        if image.shape[:2] != tuple(size):
            y_scale, x_scale = np.divide(image.shape[:2], size)
            boxes = (boxes * [x_scale, y_scale, x_scale, y_scale]).astype(np.float32)
        labels, ignore = records.labels[rows], records.ignore[rows]
        return dict(boxes=boxes, labels=labels, ignore=ignore, index=index)


class TrainBatches(torch.utils.data.Sampler):
    """Micro-batches without end, as lists of keys (epoch, index, pad_to) of a Dataset.

    Every epoch has a new permutation of the images, which depends on the dataset's seed and the
    epoch alone. Images that do not fill a batch are left out of that epoch. Wide images go with
    wide ones and tall with tall ones, so that there is little padding.

    Each of several processes yields its own part of every batch. All parts are padded to the
    largest image of the whole batch, so that results do not depend on how it is divided.
    """

    def __init__(self, dataset, batch, accumulate=1, rank=0, world_size=1):
        if batch % (world_size * accumulate):
            raise UserError(
                f"--batch {batch}: must be a multiple of {world_size} processes "
                f"x --accumulate {accumulate}"
            )
        height, width = dataset.records.sizes.T
        self.dataset = dataset
        self.is_tall = height > width
        self.batch, self.accumulate = batch, accumulate
        self.rank, self.world_size = rank, world_size
        self.per_epoch = max(len(dataset) // batch, 1)  # batches
        # Batches that a resumed run has been trained on already, and that are skipped.
        self.done = 0

    def __iter__(self):
        epoch, first = divmod(self.done, self.per_epoch)
        while True:
            for indices in self.batches_of(epoch)[first:]:
                sizes = [self.dataset.output_size(epoch, index) for index in indices.tolist()]
                # The largest height and the largest width.
                pad_to = tuple(np.max(sizes, axis=0).tolist())
                own_part = indices[self.rank :: self.world_size]
                for micro_batch in np.split(own_part, self.accumulate):
                    yield [(epoch, index, pad_to) for index in micro_batch.tolist()]
            epoch += 1
            first = 0

    def batches_of(self, epoch):
        """The batches of one epoch, [per_epoch, batch] image numbers."""
        rng = np.random.default_rng((self.dataset.seed, epoch))
        # np.resize cuts off what does not fill a batch; as the permutation changes, every image has
        # its turn. If there are fewer images than in a batch, it repeats them.
        order = np.resize(rng.permutation(len(self.is_tall)), self.per_epoch * self.batch)
        wide = order[~self.is_tall[order]]
        tall = order[self.is_tall[order]]
        # Full batches of wide and of tall images come first, then at most one of the rest of both.
        wide, wide_rest = np.split(wide, [len(wide) - len(wide) % self.batch])
        tall, tall_rest = np.split(tall, [len(tall) - len(tall) % self.batch])
        order = np.concatenate([wide, tall, wide_rest, tall_rest])
        return rng.permutation(order.reshape(self.per_epoch, self.batch))


def eval_batches(sizes, batch, rank=0, world_size=1):
    """Batches of every image once, shared among the processes: lists of keys (epoch, index, pad_to)
    of a Dataset.

    sizes [M, 2]: those of the images as the network sees them. All images of a batch have the same:
    padded to a larger one, an image would get other detections, which would depend on the batch.
    """
    order = np.lexsort(sizes.T)[rank::world_size]
    is_new_size = (np.diff(sizes[order], axis=0) != 0).any(axis=1)
    batches = []
    for same_size in np.split(order, np.flatnonzero(is_new_size) + 1):
        keys = [(0, index, (0, 0)) for index in same_size.tolist()]
        batches += [keys[start : start + batch] for start in range(0, len(keys), batch)]
    return batches


def padded_size(size, size_divisor=1, min_padding=0):
    """The size (height, width) to which an image is padded: at least min_padding more pixels, and
    multiples of size_divisor. size may be an array [..., 2]."""
    return -(-(np.asarray(size) + min_padding) // size_divisor) * size_divisor  # rounded up


def collate(samples, colour, size_divisor=1, min_padding=0, exact_colour=False, allowed_sizes=()):
    """One tensor of several images, padded on the right and below to a common size; and a list of
    their targets, as images have different numbers of boxes.

    Both sides of the common size are multiples of size_divisor, and large enough for every image
    and every pad_to with min_padding more pixels. If some of the allowed_sizes (height, width) are
    large enough, it is the first of them. The padding has one colour. The tensor is of bytes,
    unless an image is not or exact_colour asks for a colour that is not rounded. Each target also
    gets the size (height, width) of its image within the batch.
    """
    needed = [image.shape[:2] for image, _ in samples]
    needed += [target.get("pad_to", (0, 0)) for _, target in samples]
    common_size = padded_size(np.max(needed, axis=0), size_divisor, min_padding)
    large_enough = [size for size in allowed_sizes if np.all(size >= common_size)]
    height, width = large_enough[0] if large_enough else common_size

    types = [image.dtype for image, _ in samples]
    pixel_type = np.result_type(np.float32 if exact_colour else np.uint8, *types)
    colour = np.array(colour) if exact_colour else np.round(colour)
    images = np.empty((len(samples), height, width, 3), pixel_type)
    targets = []
    for canvas, (image, target) in zip(images, samples):
        rows, columns = image.shape[:2]
        canvas[:rows, :columns] = image
        canvas[rows:] = colour
        canvas[:rows, columns:] = colour
        tensors = {name: torch.from_numpy(target[name]) for name in ("boxes", "labels", "ignore")}
        targets.append(tensors | dict(index=target["index"], size=(rows, columns)))
    # The shape is that of PyTorch, but in memory the channels stay last, because convolutions on
    # GPUs are fastest that way.
    return torch.from_numpy(images).permute(0, 3, 1, 2), targets
