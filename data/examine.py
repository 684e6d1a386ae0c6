"""What only reading every image of a dataset tells."""
import hashlib
from collections import defaultdict

from tqdm import tqdm

from data.errors import UserError
from data.images import read_image, turned


def examine(records):
    """Decode every image -> image number: what is wrong with it; and notes on equal pictures and turned photos."""
    problems, same, turns = {}, defaultdict(list), 0
    for index in tqdm(range(len(records)), desc="reading every image", disable=None, leave=False):
        path = records.path(index)
        try:
            image = read_image(path, records.sizes[index])
        except UserError as problem:
            problems[index] = str(problem)
            continue
        same[hashlib.md5(image.tobytes(), usedforsecurity=False).digest()].append(path)
        turns += turned(path)
    notes = [f"the same picture: {', '.join(paths)}" for paths in same.values() if len(paths) > 1]
    if turns:
        notes.append(f"photos turned by their EXIF data: {turns}; their boxes must fit the picture as it is shown")
    return problems, notes
