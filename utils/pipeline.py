"""Work in three places at once: the next images are read and the last ones written while the
network is busy."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

AHEAD = 4  # batches that are read, or wait to be written, at most


def read_ahead(items):
    """The same items; a thread makes the next ones while the caller works on the last."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        futures = deque(thread.submit(next, iterator, end) for _ in range(AHEAD))
        while (item := futures.popleft().result()) is not end:
            futures.append(thread.submit(next, iterator, end))
            yield item


def batches(items, size):
    """Lists of so many items; the last may have fewer."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Background:
    """Calls that a thread makes one after the other, while the caller goes on.

    An error in one of them is raised by a later call, or at the end.
    """

    def __enter__(self):
        self.thread, self.futures = ThreadPoolExecutor(max_workers=1), deque()
        return self

    def call(self, function, *arguments):
        if len(self.futures) == AHEAD:
            self.futures.popleft().result()
        self.futures.append(self.thread.submit(function, *arguments))

    def __exit__(self, kind, error, traceback):
        self.thread.shutdown()
        if error is None:
            for future in self.futures:
                future.result()
