"""Download COCO, VOC or BCCD (364 photos of blood cells, MIT licence) and unpack it for training.

python -m tools.download coco
python -m tools.download bccd && python train.py --root data/bccd
python -m tools.download voc --root somewhere/else
"""

import shutil
import zlib
from functools import partial
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

from torchvision.datasets.utils import check_integrity, extract_archive

from data.text import UserError
from published.fetch import fetch
from utils.options import Parser
from utils.stop import run_script

# The server and the archives of each dataset, with their md5 sums: the publisher's or, where none
# is published, those that torchvision and other programs have long checked.
ARCHIVES = {
    "coco": (
        "http://images.cocodataset.org",
        (
            ("annotations/annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c"),
            ("zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80"),
            ("zips/train2017.zip", "cced6f7f71b7629ddf16f17bbcfab6b2"),
        ),
    ),
    "voc": (
        "http://host.robots.ox.ac.uk/pascal/VOC",
        (
            ("voc2007/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
            ("voc2007/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
            ("voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"),
        ),
    ),
    # The name of the commit says what is in it. The archive has no sum, for it is packed anew when
    # it is asked for.
    "bccd": (
        "https://github.com/Shenggan/BCCD_Dataset/archive",
        (("d272fb14cdff6e473fafeeeba32aba5f560e9e43.zip", None),),
    ),
}


def download(name, root, address=None, archives=None):
    """Download, check and unpack the archives of a dataset that are not unpacked yet."""
    known_address, known_archives = ARCHIVES[name]
    address = (address or known_address).rstrip("/")
    for path, md5 in archives or known_archives:
        file = root / path.rsplit("/", 1)[-1]
        done = file.with_name(f"{file.name}.done")
        if done.exists():
            print(f"{file}: unpacked before")
            continue
        # It may have been put there by hand, and then it stays.
        is_fetched = not file.exists()
        if is_fetched:
            fetch(f"{address}/{path}", file, partial(damage_of_archive, md5=md5), goes_on=True)
        elif damage_of_archive(file, md5):
            raise UserError(f"{file} exists, but is not the archive of this name: move it away")
        print(f"unpacking {file}")
        kept = unpack(file, root)
        if kept:
            print(f"{kept} files were there before, and are kept as they are")
        if is_fetched:
            file.unlink()
        done.touch()


def damage_of_archive(file, md5):
    """What is wrong with an archive that was fetched, or nothing."""
    is_whole = check_integrity(file, md5) if md5 else is_zipfile(file)
    return "" if is_whole else "what came is damaged; the same command fetches it again"


def unpack(archive, root):
    """Unpack an archive into a folder -> how many of its files were there before, and stay."""
    unpacked = root / f".unpacked-{archive.name}"
    kept = 0
    try:
        shutil.rmtree(unpacked, ignore_errors=True)  # of a run that was killed
        extract_archive(archive, unpacked)
        for path in sorted(unpacked.rglob("*")):
            target = root / path.relative_to(unpacked)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            elif target.exists():
                kept += 1
            else:
                path.rename(target)
    except (OSError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(f"{archive}: cannot be unpacked ({error})") from None
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return kept


def main():
    parser = Parser(__doc__)
    parser.add_argument("dataset", choices=ARCHIVES)
    parser.add_argument("--root", type=Path, help="the folder to unpack into: data/<dataset>")
    parser.add_argument("--address", help="the address of a mirror that has the same files")
    flags = parser.parse()
    download(flags.dataset, flags.root or Path("data", flags.dataset), flags.address)


if __name__ == "__main__":
    run_script(main)
