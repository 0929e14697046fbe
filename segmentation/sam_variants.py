"""The published image models: names, sizes, addresses, checksums.

Deliberately absent: the models themselves, so that listing what there is loads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from segmentation.weights import Variant

_META = "https://dl.fbaipublicfiles.com/segment_anything"
_MOBILE = "https://github.com/ChaoningZhang/MobileSAM/raw/34bbbfdface3c18e5221aa7de6032d7220c6c6a1/weights/mobile_sam.pt"


@dataclass(frozen=True, kw_only=True)
class SamVariant(Variant):
    """One size of Segment Anything.

    Attributes:
        registry_key: what its authors call the architecture.
    """

    registry_key: str


def _segment_anything(
    registry_key: str, *, label: str, file_name: str, size_bytes: int, sha256: str
) -> SamVariant:
    return SamVariant(
        registry_key=registry_key,
        name=f"sam-{registry_key.replace('_', '-')}",
        label=f"Segment Anything ({label})",
        description="Finds almost any object in real footage from one click. "
        "The first click on a frame takes seconds on a processor, the next ones are instant.",
        url=f"{_META}/{file_name}",
        source=f"{_META}/{file_name}",
        file_name=file_name,
        size_bytes=size_bytes,
        sha256=sha256,
        requires=("segment_anything",),
    )


SAM_VARIANTS = (
    _segment_anything(
        "vit_b",
        label="base",
        file_name="sam_vit_b_01ec64.pth",
        size_bytes=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    _segment_anything(
        "vit_l",
        label="large",
        file_name="sam_vit_l_0b3195.pth",
        size_bytes=1_249_524_607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    _segment_anything(
        "vit_h",
        label="huge",
        file_name="sam_vit_h_4b8939.pth",
        size_bytes=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)

MOBILE_SAM = Variant(
    name="mobile-sam",
    label="MobileSAM",
    description="Segment Anything with a small encoder, made for computers without a GPU.",
    url=_MOBILE,
    source=_MOBILE,
    file_name="mobile_sam.pt",
    size_bytes=40_728_226,
    sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    requires=("segment_anything", "timm"),
)
