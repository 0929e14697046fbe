"""The published Segment Anything weights: names, sizes, addresses, checksums.

Deliberately absent: the model itself, so that listing what there is loads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from segmentation.base import SegmenterSpec
from segmentation.checkpoints import cache_folder


@dataclass(frozen=True)
class SamVariant:
    """One published set of weights.

    Attributes:
        registry_key: its name in `sam_model_registry`.
        size_name: for people.
        size_bytes: of the file.
        file_name: under which it is published.
        sha256: of the file.
    """

    registry_key: str
    size_name: str
    size_bytes: int
    file_name: str
    sha256: str

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"https://dl.fbaipublicfiles.com/segment_anything/{self.file_name}"

    @property
    def spec(self) -> SegmenterSpec:
        """What a user should know about it."""
        return SegmenterSpec(
            name=f"sam-{self.registry_key.replace('_', '-')}",
            label=f"Segment Anything ({self.size_name})",
            licence="Apache-2.0",
            size_bytes=self.size_bytes,
            source=self.url,
            description="Finds almost any object in real footage from one click. "
            "The first click on a frame takes seconds on a processor, the next ones are instant.",
            checkpoint=cache_folder() / self.file_name,
        )


SAM_VARIANTS = (
    SamVariant(
        registry_key="vit_b",
        size_name="base",
        size_bytes=375_042_383,
        file_name="sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    SamVariant(
        registry_key="vit_l",
        size_name="large",
        size_bytes=1_249_524_607,
        file_name="sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    SamVariant(
        registry_key="vit_h",
        size_name="huge",
        size_bytes=2_564_550_879,
        file_name="sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)
