"""Download COCO, VOC or BCCD (364 photos of blood cells, MIT licence) and unpack it for training.

python -m tools.download coco
python -m tools.download bccd && python train.py --root data/bccd
python -m tools.download voc --root somewhere/else
"""

import urllib.error
import urllib.request
from pathlib import Path

from torchvision.datasets.utils import check_integrity, extract_archive
from tqdm import tqdm

from data.text import UserError
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
CHUNK_SIZE = 1 << 20  # bytes


def download(name, root, address=None, archives=None):
    """Download, check and unpack the archives of a dataset that are not unpacked yet."""
    known_address, known_archives = ARCHIVES[name]
    address = (address or known_address).rstrip("/")
    root.mkdir(parents=True, exist_ok=True)
    for path, md5 in archives or known_archives:
        file = root / path.rsplit("/", 1)[-1]
        done = file.with_name(f"{file.name}.done")
        if done.exists():
            print(f"{file}: unpacked before")
            continue
        fetch_archive(f"{address}/{path}", file)
        if not check_integrity(file, md5):
            file.unlink()
            raise UserError(f"{file}: damaged on its way; the same command fetches it again")
        print(f"unpacking {file}")
        extract_archive(file, root, remove_finished=True)
        done.touch()


def fetch_archive(url, file):
    """Download to a file; if it holds the first bytes already, only the others."""
    # COCO's images are 18 GB: too much to start again whenever the connection breaks off.
    have = file.stat().st_size if file.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            # 206 means that the answer is the part asked for. Some servers only send everything.
            if answer.status != 206:
                have = 0
            copy_answer(answer, file, have)
    except urllib.error.HTTPError as error:
        # 416 means that there are no other bytes: the download was complete.
        if error.code != 416:
            raise UserError(f"{url}: the server answers {error.code} {error.reason}") from None
    except OSError as error:
        raise UserError(
            f"{url}: cannot be fetched ({getattr(error, 'reason', error)}); "
            "the same command again goes on where this stopped"
        ) from None


def copy_answer(answer, file, have):
    """Append what the server sends to the first bytes of the file, as many as it already has."""
    total = have + int(answer.headers.get("Content-Length", 0))
    progress = tqdm(
        total=total, initial=have, unit="B", unit_scale=True, desc=file.name, disable=None
    )
    with open(file, "ab" if have else "wb") as target, progress:
        while chunk := answer.read(CHUNK_SIZE):
            target.write(chunk)
            progress.update(len(chunk))
    if file.stat().st_size < total:
        raise ConnectionError("the connection broke off")


def main():
    parser = Parser(__doc__)
    parser.add_argument("dataset", choices=ARCHIVES)
    parser.add_argument("--root", type=Path, help="the folder to unpack into: data/<dataset>")
    parser.add_argument("--address", help="the address of a mirror that has the same files")
    flags = parser.parse()
    download(flags.dataset, flags.root or Path("data", flags.dataset), flags.address)


if __name__ == "__main__":
    run_script(main)
