"""Files of weights from the network."""

from pathlib import Path

import torch

from data.errors import UserError

FOLDER = Path("weights")


def checkpoint_path(name):
    """The path that a name on the command line means; a URL is fetched first."""
    return fetch_url(name) if name.startswith(("http://", "https://")) else Path(name)


def fetch_url(url):
    """The path of a file from the network, fetched into weights/ if it is not there."""
    path = FOLDER / url.rsplit("/", 1)[-1]
    if not path.exists():
        print(f"fetching {path}")
        # torchvision's names end with the first digits of their hash, which is then checked.
        end = path.stem.rsplit("-", 1)[-1]
        prefix = end if len(end) == 8 and "torch" in url else None
        try:
            FOLDER.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"{path} is missing and cannot be fetched from {url} ({reason}): put it there, or, "
                "to train from scratch, use --weights none"
            ) from None
    return path
