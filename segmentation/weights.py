"""Published weights: names, sizes, addresses and checksums of each set, and its download."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from downloads import Download as Download
from downloads import Transfer, check_room, follow
from segmentation.base import SegmenterSpec
from segmentation.errors import CheckpointError, reason_of

CACHE_VARIABLE = "DREAMMOTION_CACHE"
WEIGHTS_NAME = "model.safetensors"
_HUB = "https://huggingface.co/"
_BLOCK_BYTES = 1 << 16  # Small enough to stop soon on a slow line.
_TIMEOUT_SECONDS = 30


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
        # Unlike `Path.is_file`, this does not raise for a place that cannot be looked into.
        if os.path.isfile(own) or self._on_hub is None:
            return own
        from huggingface_hub import try_to_load_from_cache

        repository, revision, name = self._on_hub
        file = try_to_load_from_cache(repository, name, revision=revision)
        return Path(file) if isinstance(file, str) else own

    @property
    def _on_hub(self) -> tuple[str, str, str] | None:
        """Repository, revision and name of a file on the hub."""
        repository, found, place = self.url.removeprefix(_HUB).partition("/resolve/")
        revision, _, name = place.partition("/")
        return (repository, revision, name) if found and self.url.startswith(_HUB) else None

    def is_reachable(self, *, seconds: float = 2.0) -> bool:
        """Whether its publisher answers within some seconds."""
        address = self.url
        if self._on_hub is not None:
            from huggingface_hub import constants

            if constants.HF_HUB_OFFLINE:
                return False
            address = constants.ENDPOINT
        place = urlsplit(address)
        try:
            port = place.port or (80 if place.scheme == "http" else 443)
            socket.create_connection((place.hostname, port), timeout=seconds).close()
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
        """Download the file once, unless it is here already, and yield the progress a few times a second.

        It appears under its name only when complete and verified; a cancelled or failed download leaves
        nothing. Closing the iterator cancels it. Raises `CheckpointError` if the file cannot be reached or
        written, or its checksum differs.
        """
        if os.path.isfile(self.path):
            return
        try:
            yield from follow(self._fetch)
        except CheckpointError:
            raise
        except Exception as error:  # of the libraries that fetch, and of the disk
            raise CheckpointError(
                f"{self.url} could not be downloaded to {cache_folder()} ({reason_of(error)}); "
                "check the connection and the free space, or give a file that you have as the checkpoint"
            ) from error

    def _fetch(self, transfer: Transfer) -> None:
        from huggingface_hub import hf_hub_download
        from pooch import file_hash

        folder, transfer.total = cache_folder(), self.size_bytes
        folder.mkdir(parents=True, exist_ok=True)
        check_room(folder, self.size_bytes)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as place:
            if self._on_hub is None:
                arrived = self._from_server(place, transfer)
            else:
                repository, revision, name = self._on_hub
                bar = transfer.bar()
                arrived = hf_hub_download(
                    repository, name, revision=revision, local_dir=place, tqdm_class=bar
                )
            transfer.check()
            if (found := file_hash(arrived)) != self.sha256:
                raise CheckpointError(
                    f"the download of {self.url} has the checksum {found[:12]}…, not {self.sha256[:12]}…; "
                    "try again, or give a file that you trust as the checkpoint"
                )
            Path(arrived).replace(folder / self.file_name)
        transfer.received = self.size_bytes

    def _from_server(self, place: str, transfer: Transfer) -> str:
        from pooch import HTTPDownloader

        arrived, bar = str(Path(place) / self.file_name), transfer.bar()(unit="B")
        with ExitStack() as opened:

            def close_at_the_end(answer: Any, **_: Any) -> None:  # which pooch does not do
                opened.callback(answer.close)

            hooks = {"response": close_at_the_end}
            fetch = HTTPDownloader(bar, chunk_size=_BLOCK_BYTES, timeout=_TIMEOUT_SECONDS, hooks=hooks)
            fetch(self.url, arrived, None)
        return arrived

    def downloaded(self) -> Path:
        """The file on this machine, downloaded if it is not here yet; raises as `download`."""
        for _ in self.download():
            pass
        return self.path


def cache_folder() -> Path:
    """The folder of downloaded weights: ``$DREAMMOTION_CACHE``, else one in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dreammotion"


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
