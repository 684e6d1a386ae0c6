"""Which images show the same: copies of a file, and what Roboflow makes of an image."""

import os
import zlib
from collections import Counter, defaultdict


def group_copies(entries):
    """The entries in groups, so that copies of one image are in one group."""
    counts = Counter(file_size(entry.path) for entry in entries)
    repeated = {size for size, count in counts.items() if count > 1}
    groups = defaultdict(list)
    for entry in entries:
        groups[copy_key(entry, repeated)].append(entry)
    return list(groups.values())


def without_copies(entries, others):
    """The entries that are copies of none of the others, and those that are."""
    sizes = [{file_size(entry.path) for entry in part} for part in (entries, others)]
    repeated = set.intersection(*sizes)
    taken = {copy_key(other, repeated) for other in others}
    copies = [entry for entry in entries if copy_key(entry, repeated) in taken]
    left_out = set(map(id, copies))
    return [entry for entry in entries if id(entry) not in left_out], copies


def copy_key(entry, repeated_sizes):
    """A value that copies of an image have in common: files that are equal byte for byte, and what
    Roboflow makes of an image, NAME.rf.HASH.jpg.

    Files are only read if their size is one of those that occur repeatedly.
    """
    stem = stem_of_entry(entry)
    if ".rf." in stem:
        return stem.split(".rf.")[0]
    size = file_size(entry.path)
    return size, content_hash(entry.path) if size in repeated_sizes else entry.path


def file_size(path):
    """The size of a file in bytes; without a file, the path, which is no other's."""
    return os.path.getsize(path) if os.path.isfile(path) else path


def content_hash(path):
    """A value that is the same for equal files and differs for others."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return path
    return zlib.crc32(data), zlib.adler32(data)


def stem_of_entry(entry):
    """The name of an entry's file without folders and ending, the same wherever the dataset is."""
    return os.path.splitext(os.path.basename(str(entry.path)))[0]
