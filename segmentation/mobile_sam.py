"""MobileSAM: Segment Anything with a small encoder, made for processors.

Only the encoder differs from Segment Anything: TinyViT, which the timm library has. Source: Zhang et
al., Faster Segment Anything (2023).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from segmentation.sam import SamSegmenter, load_weights
from segmentation.sam_variants import MOBILE_SAM

IMAGE_SIDE = 1024
WIDTH = 256
_STRIDE = 16
_ENCODER = "image_encoder."
# The classifier that TinyViT was trained with; nothing in MobileSAM reads it.
_DROPPED = {f"{_ENCODER}head.weight", f"{_ENCODER}head.bias"}


def load_mobile_sam(*, checkpoint: Path | None = None, device: str = "cpu") -> SamSegmenter:
    """Load the published weights, downloading them once where no file is given.

    Args:
        checkpoint: a file to use instead of the download.
        device: a torch device name.

    Raises:
        CheckpointError: if the file is missing, damaged, of another model, or cannot be downloaded.
    """
    path = checkpoint or MOBILE_SAM.downloaded()
    model = build_mobile_sam()
    load_weights(model, path, convert=from_published_names)
    return SamSegmenter(model.to(device), spec=MOBILE_SAM.spec)


class MobileEncoder(nn.Module):
    """TinyViT and the neck that brings its features to the shape Segment Anything decodes.

    Args:
        img_size: side of the square input in pixels, a multiple of 16.
        out_chans: channels of the result.
    """

    def __init__(self, *, img_size: int = IMAGE_SIDE, out_chans: int = WIDTH) -> None:
        super().__init__()
        self.img_size = img_size
        backbone: Any = timm.create_model("tiny_vit_5m_224", pretrained=False, num_classes=0)
        # The last stage keeps its resolution: features of stride 16 instead of 32.
        backbone.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.backbone = backbone
        self.neck = nn.Sequential(
            nn.Conv2d(backbone.num_features, out_chans, kernel_size=1, bias=False),
            LayerNorm2d(out_chans),
            nn.Conv2d(out_chans, out_chans, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_chans),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalised images.

        Args:
            images: (B, 3, side, side).

        Returns:
            (B, out_chans, side / 16, side / 16).
        """
        return cast(Tensor, self.neck(cast(Any, self.backbone).forward_features(images)))


def build_mobile_sam(*, img_size: int = IMAGE_SIDE) -> Sam:
    """The published architecture with random weights.

    Args:
        img_size: side of the square that frames are scaled into; 1024 is the published one.
    """
    grid = img_size // _STRIDE
    decoder = MaskDecoder(
        transformer_dim=WIDTH,
        transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, mlp_dim=2048, num_heads=8),
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    prompts = PromptEncoder(WIDTH, (grid, grid), (img_size, img_size), mask_in_chans=16)
    return Sam(MobileEncoder(img_size=img_size), prompts, decoder)


def from_published_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published checkpoint under the names that timm gives the same layers.

    Args:
        weights: by published name.

    Returns:
        By the names of `build_mobile_sam`; the classifier is left out, unknown names stay as they are.
    """
    return {_our_name(name): tensor for name, tensor in weights.items() if name not in _DROPPED}


def _our_name(name: str) -> str:
    inner = name.removeprefix(_ENCODER)
    if inner == name or inner.startswith("neck."):
        return name
    inner = re.sub(r"^patch_embed\.seq\.([02])\.", lambda m: f"patch_embed.conv{int(m[1]) // 2 + 1}.", inner)
    inner = re.sub(r"^layers\.(\d+)\.downsample\.", lambda m: f"stages.{int(m[1]) + 1}.downsample.", inner)
    inner = re.sub(r"^layers\.", "stages.", inner)
    inner = re.sub(r"^norm_head\.", "head.norm.", inner)
    inner = re.sub(r"\.c\.", ".conv.", inner)
    return f"{_ENCODER}backbone.{inner}"
