"""From single images to batches: which go together, and how they become one tensor."""
import numpy as np
import torch

from data.errors import UserError


class TrainBatches(torch.utils.data.Sampler):
    """Batch after batch without end; of each, the part that one of several processes has to load, cut into `parts`.

    Every epoch is a new permutation of the images, the same for the same seed. By their sizes [M, 2], wide images go
    with wide ones, tall with tall, so that little is padded. An epoch leaves out the images that fill no batch.
    """

    def __init__(self, sizes, batch, parts=1, seed=0):
        self.tall = sizes[:, 0] > sizes[:, 1]
        self.batch, self.parts, self.seed = batch, parts, seed
        self.per_epoch = max(len(sizes) // batch, 1)  # batches
        self.start()

    def start(self, done=0, rank=0, world=1):
        """Go on behind so many batches, as one of so many processes."""
        if self.batch % (world * self.parts):
            raise UserError(f"--batch {self.batch} cannot be shared by {world} processes and --accumulate {self.parts}")
        self.done, self.rank, self.world = done, rank, world

    def __iter__(self):
        epoch, first = divmod(self.done, self.per_epoch)
        while True:
            for indices in self.epoch(epoch)[first:]:
                for part in np.split(indices[self.rank::self.world], self.parts):
                    yield [(epoch, index) for index in part.tolist()]
            epoch, first = epoch + 1, 0

    def epoch(self, epoch):
        """The batches of one epoch: [per_epoch, batch] image numbers."""
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.tall))
        wide, tall = order[~self.tall[order]], order[self.tall[order]]
        # Full batches of one kind, then what remains of both.
        cut = [len(group) // self.batch * self.batch for group in (wide, tall)]
        order = np.concatenate([wide[:cut[0]], tall[:cut[1]], wide[cut[0]:], tall[cut[1]:]])
        # Fewer images than one batch holds come more than once.
        order = np.resize(order, self.per_epoch * self.batch)
        return random.permutation(order.reshape(self.per_epoch, self.batch))


class EvalBatches(torch.utils.data.Sampler):
    """Every image once, like sizes together; of several processes, each takes its share."""

    def __init__(self, sizes, batch, rank=0, world=1):
        order = np.lexsort((sizes[:, 1], sizes[:, 0] / sizes[:, 1]))[rank::world]
        self.batches = [[(0, int(index)) for index in order[i:i + batch]] for i in range(0, len(order), batch)]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


class Collate:
    """Images, padded at the right and below with one colour to a common size, become one tensor.

    The sides of the common size are multiples of a number of pixels, and leave at least `border` pixels to be padded.
    Where some of `sizes` (height, width) hold them, it is the smallest of those.
    The tensor holds bytes, unless an image does not or the colour is to be exact.
    Targets stay a list, for every image has its own number of boxes. Each learns the size (height, width) in pixels
    that its image has within the batch.
    """

    def __init__(self, colour, multiple=1, border=0, exact=False, sizes=()):
        self.colour, self.multiple, self.border, self.exact = np.array(colour), multiple, border, exact
        self.sizes = sorted(sizes, key=np.prod)

    def __call__(self, samples):
        height, width = (-(-max(image.shape[side] + self.border for image, _ in samples) // self.multiple)
                         * self.multiple for side in (0, 1))
        height, width = next((size for size in self.sizes if size[0] >= height and size[1] >= width), (height, width))
        kind = np.result_type(np.float32 if self.exact else np.uint8, *(image.dtype for image, _ in samples))
        colour = self.colour.astype(kind) if self.exact else np.round(self.colour).astype(kind)
        images = np.empty((len(samples), height, width, 3), kind)
        targets = []
        for canvas, (image, target) in zip(images, samples):
            rows, columns = image.shape[:2]
            canvas[:rows, :columns] = image
            canvas[rows:], canvas[:rows, columns:] = colour, colour
            targets.append(dict(
                boxes=torch.from_numpy(target["boxes"]), labels=torch.from_numpy(target["labels"]),
                ignore=torch.from_numpy(target["ignore"]), index=target["index"], size=(rows, columns)))
        # Channels last in memory, first in shape: what convolutions like best, for free.
        return torch.from_numpy(images).permute(0, 3, 1, 2), targets
