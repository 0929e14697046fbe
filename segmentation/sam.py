"""Segment Anything, one image at a time; optical flow carries the object between the frames.

The slow image encoder runs once per clicked frame and its result stays in the session; every click
then costs only the mask decoder. Source: Kirillov et al., Segment Anything (ICCV 2023).

MobileSAM: Segment Anything with a small encoder, made for processors.

Only the encoder differs from Segment Anything: TinyViT, which the timm library has. Source: Zhang et
al., Faster Segment Anything (2023).
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

from segmentation.base import (
    FrameMask,
    Frames,
    SegmenterSpec,
    check_clicks,
    check_frames,
    check_walk,
    follow_selection,
)
from segmentation.clicks import Selection
from segmentation.errors import CheckpointError
from segmentation.propagation import CarriedMask, follow, selection_from_mask, with_inner_click
from segmentation.weights import MOBILE_SAM, SamVariant, explain_error

CACHED_EMBEDDINGS = 4
MASK_PROMPT_LOGIT = 8.0
LOWEST_AGREEMENT = 0.4
Convert = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
_PIXEL_MEAN, _PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def load_sam(variant: SamVariant, *, checkpoint: Path | None = None, device: str = "cpu") -> SamSegmenter:
    """Load published weights, downloading them once where no file is given.

    Args:
        variant: which size.
        checkpoint: a file to use instead of the download.
        device: a torch device name.

    Raises:
        CheckpointError: if the file is missing, damaged, of another size, or cannot be downloaded.
    """
    path = checkpoint or variant.downloaded()
    model = build_sam(variant.registry_key)
    load_weights(model, path)
    return SamSegmenter(model.to(device), spec=variant.spec)


def build_sam(registry_key: str) -> Sam:
    """The published architecture without weights: its parameters take no memory until loaded."""
    with torch.device("meta"):
        model = sam_model_registry[registry_key](checkpoint=None)
    # These constants are no part of a checkpoint, so nothing would ever fill them in.
    for name, values in (("pixel_mean", _PIXEL_MEAN), ("pixel_std", _PIXEL_STD)):
        model.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
    return model


def load_weights(model: Sam, path: Path, *, convert: Convert = dict) -> None:
    """Fill a model from a checkpoint; every tensor must be there and fit.

    Args:
        model: to be filled.
        path: of a file of plain tensors, in any precision; code in it is refused, never run.
        convert: from the names in the file to those of the model.

    Raises:
        CheckpointError: if the file is missing, damaged, or of another architecture.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; pass the path of a .pth file")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(_in_single_precision(convert(weights)), strict=True, assign=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no file of weights, or has something other than tensors in it, which is never run; "
            "delete it and download it from its publisher"
        ) from error
    except (RuntimeError, EOFError, TypeError, AttributeError, LookupError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or holds other weights ({explain_error(error)}); "
            "delete it and download it again, or choose the segmenter that it belongs to"
        ) from error


def _in_single_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Frames and prompts are computed with in it; numbers that count something stay whole."""
    return {name: each.float() if each.is_floating_point() else each for name, each in weights.items()}


class SamSegmenter:
    """A Segment Anything model, shared by all sessions.

    Args:
        model: with weights, on its device.
        spec: what a user should know about it.
    """

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
        """The image encoder's features of one frame.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            (1, C, h, w) on the model's device.
        """
        image = torch.as_tensor(self._resize.apply_image(frame), device=self.model.device)
        with self._lock:
            features = self.model.image_encoder(self.model.preprocess(image.permute(2, 0, 1)[None].float()))
        return cast(Tensor, features)

    @torch.inference_mode()
    def decode(
        self, embedding: Tensor, selection: Selection, *, size: tuple[int, int], prior: FrameMask | None
    ) -> FrameMask:
        """The best mask for a selection.

        Args:
            embedding: of the frame, from `embed`.
            selection: clicks and box in pixels of the frame.
            size: (H, W) of the frame.
            prior: (H, W) bool, the rough mask to start from; None where there is none.

        Returns:
            (H, W) bool: of the proposals, the one that the model itself scores highest.
        """
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
    """One clip in Segment Anything; see `SegmentationSession`.

    Args:
        segmenter: the shared model.
        frames: (F, H, W, 3) uint8 RGB.
    """

    def __init__(self, segmenter: SamSegmenter, frames: Frames) -> None:
        self._segmenter = segmenter
        self._frames = frames
        self._size = int(frames.shape[1]), int(frames.shape[2])
        self._embeddings: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, frame_index: int) -> None:
        """Encode a frame, which is nearly all of its first answer; see `PreparingSession`."""
        self._embedding(frame_index)

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        """The object on the clicked frame; see `SegmentationSession.mask_at`."""
        check_clicks(self._frames, selection, may_only_remove=prior is not None)
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
        """The model's mask where it confirms the carried one, else nothing: the object is lost."""
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
