"""Published weights: names, sizes, addresses and checksums of each set, and its download.

One loop downloads from all publishers: it tells its progress, stops between two blocks, and checks the whole
file, which neither huggingface_hub nor torch.hub can do in one call.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import socket
import tempfile
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from segmentation.base import SegmenterSpec
from segmentation.errors import CheckpointError, reason_of

CACHE_VARIABLE = "DREAMMOTION_CACHE"
WEIGHTS_NAME = "model.safetensors"
_HUB = "https://huggingface.co/"
_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Download:
    """Progress of a download."""

    received_bytes: int
    total_bytes: int


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One published set of weights, under a name as `load_segmenter` takes it.

    `source` is for people, `file_name` in the cache folder, `sha256` of the file in hexadecimal digits;
    `requires` are Python packages that it needs beside torch.
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
        """The file on this machine, perhaps not there yet: downloaded, or where the hub's library put it."""
        own = cache_folder() / self.file_name
        return own if own.is_file() else self._in_hub_cache() or own

    def _in_hub_cache(self) -> Path | None:
        address, found, place = self.url.partition("/resolve/")
        if not found or not address.startswith(_HUB):
            return None
        from huggingface_hub import try_to_load_from_cache

        revision, _, name = place.partition("/")
        file = try_to_load_from_cache(address.removeprefix(_HUB), name, revision=revision)
        return Path(file) if isinstance(file, str) else None

    def is_reachable(self, *, seconds: float = 2.0) -> bool:
        """Whether its publisher answers within some seconds."""
        place = urlsplit(self.url)
        try:
            socket.create_connection((place.hostname, place.port or 443), timeout=seconds).close()
        except OSError:
            return False
        return True

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
        """Download it, unless it is here already; see `download_checkpoint`."""
        return download_checkpoint(self.url, self.path, sha256=self.sha256, size_bytes=self.size_bytes)

    def downloaded(self) -> Path:
        """The file on this machine, downloaded if it is not here yet; raises as `download_checkpoint`."""
        for _ in self.download():
            pass
        return self.path


def cache_folder() -> Path:
    """The folder of downloaded weights: ``$DREAMMOTION_CACHE``, else one in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dreammotion"


def download_checkpoint(
    url: str, target: Path, *, sha256: str, size_bytes: int
) -> Generator[Download, None, None]:
    """Download a file once, unless `target` exists, and yield the progress about once for every megabyte.

    The file appears under its name only when complete and verified; a cancelled or failed download leaves
    nothing. Closing the iterator cancels it. Raises `CheckpointError` if the file cannot be reached or
    written, or its checksum differs.
    """
    if target.is_file():
        return
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < size_bytes:
            raise OSError(f"it needs {size_bytes / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free")
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
        if digest.hexdigest() != sha256:
            raise CheckpointError(
                f"the download of {url} has the checksum {digest.hexdigest()[:12]}…, not {sha256[:12]}…; "
                "try again, or give a file that you trust as the checkpoint"
            )
        partial.replace(target)
    except (OSError, http.client.HTTPException) as error:
        raise CheckpointError(
            f"{url} could not be downloaded to {target.parent} ({reason_of(error)}); "
            "check the connection and the free space, or give a file that you have as the checkpoint"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _segment_anything(size: str, label: str, file_name: str, *, size_bytes: int, sha256: str) -> Variant:
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{file_name}"
    return Variant(
        name=f"sam-vit-{size}",
        label=f"Segment Anything ({label})",
        description="Finds almost any object in real footage from one click. "
        "The first click on a frame takes seconds on a processor, the next ones are instant.",
        url=url,
        source=url,
        file_name=file_name,
        size_bytes=size_bytes,
        sha256=sha256,
        requires=("segment_anything",),
    )


SAM_VARIANTS = (
    _segment_anything(
        *("b", "base", "sam_vit_b_01ec64.pth"),
        size_bytes=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    _segment_anything(
        *("l", "large", "sam_vit_l_0b3195.pth"),
        size_bytes=1_249_524_607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    _segment_anything(
        *("h", "huge", "sam_vit_h_4b8939.pth"),
        size_bytes=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)

_MOBILE_SAM_URL = (
    "https://github.com/ChaoningZhang/MobileSAM/raw/"
    "34bbbfdface3c18e5221aa7de6032d7220c6c6a1/weights/mobile_sam.pt"
)
MOBILE_SAM = Variant(
    name="mobile-sam",
    label="MobileSAM",
    description="Segment Anything with a small encoder, made for computers without a GPU.",
    url=_MOBILE_SAM_URL,
    source=_MOBILE_SAM_URL,
    file_name="mobile_sam.pt",
    size_bytes=40_728_226,
    sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    requires=("segment_anything", "timm"),
)


def _on_hub(
    name: str,
    label: str,
    best_at: str,
    repository: str,
    revision: str,
    *,
    size_bytes: int,
    sha256: str,
    requires: tuple[str, ...] = ("transformers",),
) -> Variant:
    """Weights on the Hugging Face hub, at one commit, which nobody can change."""
    return Variant(
        name=name,
        label=label,
        description="Follows an object through real footage by its own memory of it, forwards and backwards; "
        f"an object that leaves and returns is found again. {best_at}",
        url=f"https://huggingface.co/{repository}/resolve/{revision}/{WEIGHTS_NAME}",
        source=f"{repository}@{revision[:12]}",
        file_name=f"{name}.safetensors",
        size_bytes=size_bytes,
        sha256=sha256,
        requires=requires,
    )


SAM2_VARIANTS = (
    _on_hub(
        *("sam2-tiny", "SAM 2.1 (tiny)", "The quickest of the four sizes."),
        *("facebook/sam2.1-hiera-tiny", "de431c4043854a71d8101e17995dfe596bf101a5"),
        size_bytes=155_908_064,
        sha256="48c14467e5cf9e51870511feb72c89688e82dd74523142c0538b663e193ac2a7",
    ),
    _on_hub(
        *("sam2-small", "SAM 2.1 (small)", "A little slower than tiny."),
        *("facebook/sam2.1-hiera-small", "ee5bba1d82bb8749febdf90f45e84b687142ba03"),
        size_bytes=184_305_280,
        sha256="0a4067b11ce1e23d5229203f11c718a823060d15a4b23fa2372a7d4b77cbbc60",
    ),
    _on_hub(
        *("sam2-base-plus", "SAM 2.1 (base plus)", "Better on a GPU."),
        *("facebook/sam2.1-hiera-base-plus", "b7320756a13354e7530a63935656d35b2f91a290"),
        size_bytes=323_476_296,
        sha256="2012733a0de5d03efd1bba550a2847c4551be9ef2e0d497c83074df66189f780",
    ),
    _on_hub(
        *("sam2-large", "SAM 2.1 (large)", "The most exact of the four sizes; for a GPU."),
        *("facebook/sam2.1-hiera-large", "665f8e2ad61cf5f53d65644ff27c8ee525124610"),
        size_bytes=897_897_416,
        sha256="dc407dce21301fd94abb395c5099b4f2c455fdc8a8f261ac3d0ea6d4cd197230",
    ),
)

EDGETAM = _on_hub(
    *("edgetam", "EdgeTAM", "Made for small devices."),
    *("yonigozlan/EdgeTAM-hf", "c266ce53b3fc00f0f495b583f6a116c4e57f53bb"),
    size_bytes=55_912_824,
    sha256="8858f8e4757b0b96dab8763f296ecffd845efbbbf698f64163cfa20a63d5fff4",
    requires=("transformers", "timm"),
)

VIDEO_VARIANTS = (*SAM2_VARIANTS, EDGETAM)
