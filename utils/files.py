"""Writing files so that a full disk or a forbidden folder is one clear line."""
from pathlib import Path

from data.errors import UserError


def write(path, content):
    """Text or bytes into a file, its folder made if need be."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
