"""Published weights: what there is to know of them, how they arrive on this machine and are checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from segmentation.base import SegmenterSpec
from segmentation.errors import CheckpointError

CACHE_VARIABLE = "DREAMMOTION_CACHE"
_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Download:
    """How far a download has come.

    Attributes:
        received_bytes: so far.
        total_bytes: of the whole file.
    """

    received_bytes: int
    total_bytes: int


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One published set of weights.

    Attributes:
        name: as `load_segmenter` takes it.
        label: for people.
        description: what it is good at.
        url: of the file.
        source: where it is published, for people.
        file_name: in the cache folder.
        size_bytes: of the file.
        sha256: of the file.
        requires: Python packages that it needs beside torch.
    """

    name: str
    label: str
    description: str
    url: str
    source: str
    file_name: str
    size_bytes: int
    sha256: str
    requires: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it is kept on this machine."""
        return cache_folder() / self.file_name

    @property
    def spec(self) -> SegmenterSpec:
        """What a user should know about it."""
        return SegmenterSpec(
            name=self.name,
            label=self.label,
            licence="Apache-2.0",
            size_bytes=self.size_bytes,
            source=self.source,
            description=self.description,
            checkpoint=self.path,
            requires=self.requires,
        )

    def download(self) -> Generator[Download, None, None]:
        """Fetch it, unless it is here already; see `download_checkpoint`.

        Raises:
            CheckpointError: as `download_checkpoint`.
        """
        return download_checkpoint(self.url, self.path, sha256=self.sha256, size_bytes=self.size_bytes)

    def downloaded(self) -> Path:
        """Where it lies, after fetching it where it is not here yet.

        Raises:
            CheckpointError: as `download_checkpoint`.
        """
        for _ in self.download():
            pass
        return self.path


def cache_folder() -> Path:
    """Where downloaded weights are kept: ``$DREAMMOTION_CACHE``, else the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dreammotion"


def download_checkpoint(
    url: str, target: Path, *, sha256: str, size_bytes: int
) -> Generator[Download, None, None]:
    """Download a file once, telling how far it has come. Closing the iterator cancels it.

    It appears under its name only when complete and verified; what was cancelled or failed leaves nothing.

    Args:
        url: where it is published.
        target: where to keep it; nothing is done where it exists.
        sha256: its checksum, 64 hexadecimal digits.
        size_bytes: its size.

    Yields:
        About once for every megabyte.

    Raises:
        CheckpointError: if it cannot be reached or written, or its checksum differs.
    """
    if target.is_file():
        return
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as file:
            partial = Path(file.name)
            digest, received = hashlib.sha256(), 0
            yield Download(received, size_bytes)
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
                while block := answer.read(_BLOCK_BYTES):
                    digest.update(block)
                    file.write(block)
                    received += len(block)
                    yield Download(received, size_bytes)
        _check_digest(digest.hexdigest(), sha256, url)
        partial.replace(target)
    except (OSError, http.client.HTTPException) as error:
        raise CheckpointError(
            f"{url} could not be downloaded to {target.parent} ({explain_error(error)}); "
            "check the connection and the free space, or give a file that you have as the checkpoint"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def explain_error(error: Exception, *, most: int = 200) -> str:
    """What a library said, short enough for a sentence.

    Args:
        error: as raised while a file was read.
        most: longest result, in characters.

    Returns:
        Its text on one line; the name of its type where it has none.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _check_digest(received: str, expected: str, url: str) -> None:
    if received != expected:
        raise CheckpointError(
            f"the download of {url} has the checksum {received[:12]}…, expected {expected[:12]}…; "
            "try again, or give a file that you trust as the checkpoint"
        )
