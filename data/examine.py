"""What only reading every image of a dataset tells."""

import hashlib
from collections import defaultdict

from tqdm import tqdm

from data.errors import UserError
from data.images import is_exif_rotated, read_image


def examine(records, pictures=None):
    """Decode every image -> image number: what is wrong with it; and notes on equal and rotated
    ones.

    pictures (content -> paths) may hold those of another split, and learns these.
    """
    problems, rotated = {}, 0
    pictures = defaultdict(list) if pictures is None else pictures
    for index in tqdm(range(len(records)), desc="reading every image", disable=None, leave=False):
        path = records.path(index)
        try:
            image = read_image(path, records.sizes[index])
        except UserError as problem:
            problems[index] = str(problem)
            continue
        content = hashlib.md5(image.tobytes(), usedforsecurity=False).digest()
        pictures[content].append(path)
        rotated += is_exif_rotated(path)
    paths = {records.path(index) for index in range(len(records))}
    duplicates = [same for same in pictures.values() if len(same) > 1 and paths & set(same)]
    notes = [f"duplicates, the same picture: {', '.join(same)}" for same in duplicates]
    if rotated:
        notes.append(
            f"photos rotated by their EXIF data: {rotated}; their boxes must fit the "
            "picture as shown"
        )
    return problems, notes
