"""Fetching files: under a temporary name, until it is known that they are whole."""

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException

from tqdm import tqdm

from data.text import UserError

CHUNK_SIZE = 1 << 20  # bytes
TIMEOUT = 60  # seconds without a byte


def short_hash(url):
    """Eight letters that tell files of equal names apart by their whole URLs."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def fetch(url, path, problem_of, goes_on=False):
    """Fetch a file to a path where none is.

    problem_of(path): what is wrong with the file that came, or "". goes_on: the part that came
    before a connection broke off is kept, and the next call fetches only the rest.
    """
    part = path.with_name(f".{short_hash(url)}.part-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch_part(url, part, goes_on)
        problem = problem_of(part)
        if problem:
            part.unlink()
            raise ValueError(problem)
        part.rename(path)
    except (OSError, ValueError, HTTPException) as error:
        if not goes_on:
            part.unlink(missing_ok=True)
        # What a server sends may be in it.
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        reason = reason or type(error).__name__
        if isinstance(error, urllib.error.HTTPError):
            reason = f"the server answers {error.code} {reason}"
        raise UserError(f"{url}: cannot be fetched ({reason})") from None


def fetch_part(url, part, goes_on):
    """Fetch what is missing of a part; all of it, if the server knows no parts."""
    have = part.stat().st_size if goes_on and part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        # 416 means that there are no other bytes: nothing is missing.
        if have and error.code == 416:
            return
        raise
    # 206 means that the answer is the part asked for.
    have = have if answer.status == 206 else 0
    total = have + int(answer.headers.get("Content-Length", 0))
    name = url.rsplit("/", 1)[-1]
    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=None)
    with answer, open(part, "ab" if have else "wb") as file, bar:
        while chunk := answer.read(CHUNK_SIZE):
            file.write(chunk)
            bar.update(len(chunk))
    if part.stat().st_size < total:
        raise ConnectionError("the connection broke off")
