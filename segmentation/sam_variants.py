"""The published image models: names, sizes, addresses, checksums.

Deliberately absent: the models themselves, so that listing what there is loads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segmentation.base import SegmenterSpec
from segmentation.checkpoints import cache_folder, download_checkpoint

_META = "https://dl.fbaipublicfiles.com/segment_anything"
_MOBILE = "https://github.com/ChaoningZhang/MobileSAM/raw/34bbbfdface3c18e5221aa7de6032d7220c6c6a1/weights"


@dataclass(frozen=True)
class SamVariant:
    """One published set of weights.

    Attributes:
        registry_key: what its authors call the architecture.
        name: as `load_segmenter` takes it.
        label: for people.
        description: what it is good at.
        size_bytes: of the file.
        url: where it is published.
        sha256: of the file.
        requires: Python packages that it needs beside torch.
    """

    registry_key: str
    name: str
    label: str
    description: str
    size_bytes: int
    url: str
    sha256: str
    requires: tuple[str, ...] = ("segment_anything",)

    @property
    def path(self) -> Path:
        """Where it is kept on this machine."""
        return cache_folder() / self.url.rpartition("/")[2]

    @property
    def spec(self) -> SegmenterSpec:
        """What a user should know about it."""
        return SegmenterSpec(
            name=self.name,
            label=self.label,
            licence="Apache-2.0",
            size_bytes=self.size_bytes,
            source=self.url,
            description=self.description,
            checkpoint=self.path,
            requires=self.requires,
        )

    def download(self) -> Path:
        """Fetch it once and say where it lies.

        Raises:
            CheckpointError: as `download_checkpoint`.
        """
        return download_checkpoint(self.url, self.path, sha256=self.sha256)


_FINDS_ANYTHING = (
    "Finds almost any object in real footage from one click. "
    "The first click on a frame takes seconds on a processor, the next ones are instant."
)

SAM_VARIANTS = (
    SamVariant(
        registry_key="vit_b",
        name="sam-vit-b",
        label="Segment Anything (base)",
        description=_FINDS_ANYTHING,
        size_bytes=375_042_383,
        url=f"{_META}/sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    SamVariant(
        registry_key="vit_l",
        name="sam-vit-l",
        label="Segment Anything (large)",
        description=_FINDS_ANYTHING,
        size_bytes=1_249_524_607,
        url=f"{_META}/sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    SamVariant(
        registry_key="vit_h",
        name="sam-vit-h",
        label="Segment Anything (huge)",
        description=_FINDS_ANYTHING,
        size_bytes=2_564_550_879,
        url=f"{_META}/sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)

MOBILE_SAM = SamVariant(
    registry_key="vit_t",
    name="mobile-sam",
    label="MobileSAM",
    description="Segment Anything with a small encoder, made for computers without a GPU.",
    size_bytes=40_728_226,
    url=f"{_MOBILE}/mobile_sam.pt",
    sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    requires=("segment_anything", "timm"),
)
