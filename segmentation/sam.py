"""Segment Anything and MobileSAM: image models; optical flow carries the object between the frames.

The slow image encoder runs once per clicked frame; every click then costs only the mask decoder.
Sources: Kirillov et al., Segment Anything (ICCV 2023); Zhang et al., Faster Segment Anything (2023).
"""

from __future__ import annotations

import pickle
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from segment_anything import sam_model_registry
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn

from segmentation.base import FrameMask, Frames, SegmenterSpec, check_frames, check_walk, follow_selection
from segmentation.clicks import Selection, check_selection
from segmentation.errors import CheckpointError, reason_of
from segmentation.propagation import CarriedMask, follow, selection_from_mask, with_inner_click
from segmentation.weights import MOBILE_SAM, Variant

CACHED_EMBEDDINGS = 4  # Clicked frames whose features are kept.
MASK_PROMPT_LOGIT = 8.0  # Logit of the object in a mask to start from; the rest has its negative.
LOWEST_AGREEMENT = 0.4  # IoU of the model's mask with the carried one, below which the object counts as lost.
MOBILE_SIDE, MOBILE_WIDTH = 1024, 256  # Pixels of the square input, and channels of the features.
_STRIDE = 16
_PIXEL_MEAN, _PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
Convert = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""From tensors by the names in a file to the same tensors by the names of the model."""


def load_sam(variant: Variant, *, checkpoint: Path | None = None, device: str = "cpu") -> SamSegmenter:
    """Load one of `SAM_VARIANTS` or `MOBILE_SAM`, downloading it once if no file is given.

    Raises `CheckpointError` if the file is missing, damaged, of another model, or cannot be downloaded.
    """
    path = checkpoint or variant.downloaded()
    if variant == MOBILE_SAM:
        model = build_mobile_sam()
        load_weights(model, path, convert=from_published_names)
    else:
        # Its authors call the architecture "vit_b" and so on.
        model = build_sam(variant.name.removeprefix("sam-").replace("-", "_"))
        load_weights(model, path)
    return SamSegmenter(model.to(device), spec=variant.spec)


def build_sam(architecture: str) -> Sam:
    """Segment Anything ("vit_b", "vit_l" or "vit_h") without weights: it takes no memory until loaded."""
    with torch.device("meta"):
        model = sam_model_registry[architecture](checkpoint=None)
    # These constants are no part of a checkpoint, so nothing else would fill them in.
    for name, values in (("pixel_mean", _PIXEL_MEAN), ("pixel_std", _PIXEL_STD)):
        model.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
    return model


def build_mobile_sam(*, side: int = MOBILE_SIDE) -> Sam:
    """MobileSAM's published architecture with random weights; smaller sides are for tests."""
    grid = side // _STRIDE
    decoder = MaskDecoder(
        transformer_dim=MOBILE_WIDTH,
        transformer=TwoWayTransformer(depth=2, embedding_dim=MOBILE_WIDTH, mlp_dim=2048, num_heads=8),
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    prompts = PromptEncoder(MOBILE_WIDTH, (grid, grid), (side, side), mask_in_chans=16)
    return Sam(MobileEncoder(side), prompts, decoder)


def load_weights(model: Sam, path: Path, *, convert: Convert = dict) -> None:
    """Fill a model from a file of plain tensors, in any precision; code in it is refused, never run.

    Raises `CheckpointError` if the file is missing, damaged, or of another architecture.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; pass the path of a .pth file")
    try:
        weights = convert(torch.load(path, map_location="cpu", weights_only=True))
        # The model computes in single precision; whole numbers, which count something, stay.
        single = {name: each.float() if each.is_floating_point() else each for name, each in weights.items()}
        model.load_state_dict(single, strict=True, assign=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no file of weights, or holds more than tensors, which is never run; "
            "delete it and download it from its publisher"
        ) from error
    except (RuntimeError, EOFError, TypeError, AttributeError, LookupError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or holds other weights ({reason_of(error)}); "
            "delete it and download it again, or choose the segmenter that it belongs to"
        ) from error


class SamSegmenter:
    """A Segment Anything model with weights, shared by all sessions."""

    def __init__(self, model: Sam, *, spec: SegmenterSpec) -> None:
        self.spec = spec
        self.model = model.eval().requires_grad_(False)
        self._resize = ResizeLongestSide(model.image_encoder.img_size)
        self._lock = threading.Lock()

    def open(self, frames: Frames) -> SamSession:
        """Prepare a clip; see `Segmenter.open`."""
        check_frames(frames)
        return SamSession(self, frames)

    @torch.inference_mode()
    def embed(self, frame: NDArray[np.uint8]) -> Tensor:
        """The image encoder's features of one (H, W, 3) uint8 RGB frame: (1, C, h, w)."""
        image = torch.as_tensor(self._resize.apply_image(frame), device=self.model.device)
        with self._lock:
            features = self.model.image_encoder(self.model.preprocess(image.permute(2, 0, 1)[None].float()))
        return cast(Tensor, features)

    @torch.inference_mode()
    def decode(
        self, embedding: Tensor, selection: Selection, *, size: tuple[int, int], prior: FrameMask | None
    ) -> FrameMask:
        """The (H, W) bool mask for a selection that the model scores highest; `prior` is a rough start."""
        is_ambiguous = selection.box is None and len(selection.clicks) == 1
        with self._lock:
            sparse, dense = self.model.prompt_encoder(**self._prompt(selection, size, prior))
            logits, scores = self.model.mask_decoder(
                image_embeddings=embedding,
                image_pe=self.model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=is_ambiguous,
            )
            best = logits[:, int(scores[0].argmax())][:, None]
            inner = self._resize.get_preprocess_shape(*size, self._resize.target_length)
            full = self.model.postprocess_masks(best, inner, size)
        return np.asarray((full[0, 0] > self.model.mask_threshold).cpu().numpy(), dtype=np.bool_)

    def _prompt(self, selection: Selection, size: tuple[int, int], prior: FrameMask | None) -> dict[str, Any]:
        device, points, boxes, masks = self.model.device, None, None, None
        if selection.clicks:
            spots = np.array([[click.x, click.y] for click in selection.clicks])
            coordinates = torch.as_tensor(self._resize.apply_coords(spots, size), dtype=torch.float32)
            labels = torch.tensor([int(click.is_positive) for click in selection.clicks])
            points = coordinates[None].to(device), labels[None].to(device)
        if selection.box is not None:
            corners = np.array([[selection.box.x0, selection.box.y0, selection.box.x1, selection.box.y1]])
            boxes = torch.as_tensor(self._resize.apply_boxes(corners, size), dtype=torch.float32).to(device)
        if prior is not None:
            masks = self._mask_prompt(prior).to(device)
        return {"points": points, "boxes": boxes, "masks": masks}

    def _mask_prompt(self, prior: FrameMask) -> Tensor:
        side = self.model.prompt_encoder.mask_input_size[0]
        height, width = self._resize.get_preprocess_shape(*prior.shape, side)
        small = cv2.resize(prior.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        logits = torch.full((1, 1, side, side), -MASK_PROMPT_LOGIT)
        logits[0, 0, :height, :width] = torch.from_numpy((2 * small - 1) * MASK_PROMPT_LOGIT)
        return logits


class SamSession:
    """One clip in Segment Anything; see `SegmentationSession`."""

    def __init__(self, segmenter: SamSegmenter, frames: Frames) -> None:
        self._segmenter = segmenter
        self._frames = frames
        self._size = int(frames.shape[1]), int(frames.shape[2])
        self._embeddings: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, frame_index: int) -> None:
        """Encode a frame, which is most of its first answer; see `PreparingSession`."""
        self._embedding(frame_index)

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        """The object on the clicked frame; see `SegmentationSession.mask_at`."""
        check_selection(selection, shape=self._frames.shape[:3], may_only_remove=prior is not None)
        embedding = self._embedding(selection.frame_index)
        if prior is not None:
            selection = with_inner_click(selection, prior)
            # As a prompt an empty mask would say that nothing is there.
            prior = prior if prior.any() else None
        return self._segmenter.decode(embedding, selection, size=self._size, prior=prior)

    def propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        """The object on every frame; see `SegmentationSession.propagate`."""
        return follow_selection(self, frames=self._frames, selection=selection)

    def follow(
        self, start: int, mask: FrameMask, *, within: range | None = None
    ) -> Iterator[tuple[int, FrameMask]]:
        """Follow a given mask; see `SegmentationSession.follow`."""
        within = check_walk(self._frames, start, mask, within=within)
        return follow(self._frames, start, mask, correct=self._correct, within=within)

    def _correct(self, index: int, carried: CarriedMask) -> FrameMask:
        """The model's mask if it confirms the carried one, else an empty one: the object is lost."""
        selection = selection_from_mask(carried.mask, frame_index=index)
        embedding = self._segmenter.embed(self._frames[index])
        mask = self._segmenter.decode(embedding, selection, size=self._size, prior=carried.mask)
        overlap, union = (mask & carried.mask).sum(), (mask | carried.mask).sum()
        return mask if overlap >= LOWEST_AGREEMENT * union else np.zeros_like(mask)

    def _embedding(self, index: int) -> Tensor:
        with self._lock:
            if index not in self._embeddings:
                self._embeddings[index] = self._segmenter.embed(self._frames[index])
            self._embeddings.move_to_end(index)
            while len(self._embeddings) > CACHED_EMBEDDINGS:
                self._embeddings.popitem(last=False)
            return self._embeddings[index]


class MobileEncoder(nn.Module):
    """TinyViT and the neck that brings its features to the shape Segment Anything decodes."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.img_size = side
        backbone: Any = timm.create_model("tiny_vit_5m_224", pretrained=False, num_classes=0)
        # The last stage keeps its resolution: features of stride 16 instead of 32.
        backbone.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.backbone = backbone
        self.neck = nn.Sequential(
            nn.Conv2d(backbone.num_features, MOBILE_WIDTH, kernel_size=1, bias=False),
            LayerNorm2d(MOBILE_WIDTH),
            nn.Conv2d(MOBILE_WIDTH, MOBILE_WIDTH, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(MOBILE_WIDTH),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 256, side / 16, side / 16) features of normalised (B, 3, side, side) images."""
        return cast(Tensor, self.neck(cast(Any, self.backbone).forward_features(images)))


def from_published_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """MobileSAM's checkpoint under the names of `build_mobile_sam`, without TinyViT's classifier."""
    classifier = {"image_encoder.head.weight", "image_encoder.head.bias"}
    return {_our_name(name): tensor for name, tensor in weights.items() if name not in classifier}


def _our_name(name: str) -> str:
    inner = name.removeprefix("image_encoder.")
    if inner == name or inner.startswith("neck."):
        return name
    for pattern, ours in (
        (r"^patch_embed\.seq\.([02])\.", lambda m: f"patch_embed.conv{int(m[1]) // 2 + 1}."),
        (r"^layers\.(\d+)\.downsample\.", lambda m: f"stages.{int(m[1]) + 1}.downsample."),
        (r"^layers\.", "stages."),
        (r"^norm_head\.", "head.norm."),
        (r"\.c\.", ".conv."),
    ):
        inner = re.sub(pattern, ours, inner)
    return f"image_encoder.backbone.{inner}"
