"""Fetch COCO, VOC or BCCD (364 photos of blood cells, MIT) into the layout that readers expect.

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

# Archive, and the md5 that its publisher or, where none is published, long use has given it.
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
    # A commit's name is the digest of its content; the archive around it has none that stays.
    "bccd": (
        "https://github.com/Shenggan/BCCD_Dataset/archive",
        (("d272fb14cdff6e473fafeeeba32aba5f560e9e43.zip", None),),
    ),
}
CHUNK = 1 << 20


def download(name, root, address=None, archives=None):
    """Every archive of the dataset, fetched, checked and unpacked; what is there already is not
    fetched again."""
    default, known = ARCHIVES[name]
    root.mkdir(parents=True, exist_ok=True)
    for part, digest in archives or known:
        file = root / part.rsplit("/", 1)[-1]
        done = file.with_name(f"{file.name}.done")
        if done.exists():
            print(f"{file}: done before")
            continue
        fetch_archive(f"{(address or default).rstrip('/')}/{part}", file)
        if not check_integrity(file, digest):
            file.unlink()
            raise UserError(f"{file}: damaged on its way; fetch it again")
        print(f"unpacking {file}")
        extract_archive(file, root, remove_finished=True)
        done.touch()


def fetch_archive(url, file):
    """Fetch to file; what an interrupted try has left of it is not fetched again."""
    have = file.stat().st_size if file.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            # A server that knows no ranges starts from the beginning.
            have = have if answer.status == 206 else 0
            total = int(answer.headers.get("Content-Length", 0)) + have
            with (
                open(file, "ab" if have else "wb") as target,
                tqdm(
                    total=total,
                    initial=have,
                    unit="B",
                    unit_scale=True,
                    desc=file.name,
                    disable=None,
                ) as bar,
            ):
                while data := answer.read(CHUNK):
                    target.write(data)
                    bar.update(len(data))
            if file.stat().st_size < total:
                raise ConnectionError("the connection broke off")
    except urllib.error.HTTPError as error:
        # Nothing is left to fetch.
        if error.code != 416:
            raise UserError(f"{url}: the server answers {error.code} {error.reason}") from None
    except OSError as error:
        raise UserError(
            f"{url}: cannot be fetched ({getattr(error, 'reason', error)}); "
            "the same command again goes on where this stopped"
        ) from None


def main():
    parser = Parser(__doc__)
    parser.add_argument("dataset", choices=ARCHIVES)
    parser.add_argument("--root", type=Path, help="where to; data/<dataset> if not given")
    parser.add_argument("--address", help="of a mirror that has the same files")
    flags = parser.parse()
    download(flags.dataset, flags.root or Path("data", flags.dataset), flags.address)


if __name__ == "__main__":
    run_script(main)
