"""SAM 2.1 and EdgeTAM: video models of transformers, which follow an object by their own memory of it.

The published architectures are written down here, so that a model needs one file of weights.
Sources: Ravi et al., SAM 2 (2024); Zhou et al., EdgeTAM (2025).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    EdgeTamVisionConfig,
    Sam2HieraDetConfig,
    Sam2ImageProcessor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
    Sam2VisionConfig,
    TimmWrapperConfig,
)
from transformers.utils import logging

from segmentation.base import Frame, FrameMask, Frames, SegmenterSpec, check_frames, check_walk
from segmentation.clicks import Selection, check_selection
from segmentation.errors import CheckpointError, reason_of
from segmentation.propagation import with_inner_click
from segmentation.weights import WEIGHTS_NAME, Variant

OBJECT = 1  # The number by which the model's session knows the object.

# The tiny encoder is the default of transformers.
_ENCODERS: dict[str, dict[str, Any]] = {
    "sam2-tiny": {},
    "sam2-small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "sam2-base-plus": {
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "sam2-large": {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}


def load_sam2(variant: Variant, *, checkpoint: Path | None = None, device: str = "cpu") -> Sam2Segmenter:
    """Load one of `VIDEO_VARIANTS`, downloading it once if no checkpoint (file or folder) is given.

    Raises `CheckpointError` if the file is missing, damaged, of another model, or cannot be downloaded.
    """
    path = checkpoint or variant.downloaded()
    model = load_video_model(video_config(variant.name), path)
    return Sam2Segmenter(model.to(device), spec=variant.spec)


def video_config(name: str) -> Sam2VideoConfig | EdgeTamVideoConfig:
    """The published architecture of one of `VIDEO_VARIANTS`, by its name."""
    if name == "edgetam":
        return edgetam_config()
    encoder = Sam2HieraDetConfig(**_ENCODERS[name])
    channels = list(reversed(encoder.embed_dim_per_stage))
    vision = Sam2VisionConfig(backbone_config=encoder, backbone_channel_list=channels)
    return Sam2VideoConfig(vision_config=vision)


def edgetam_config(**changes: Any) -> EdgeTamVideoConfig:
    """The architecture of EdgeTAM, with other settings of `EdgeTamVideoConfig` for models of other sizes."""
    backbone = TimmWrapperConfig(
        architecture="repvit_m1",
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    )
    settings: dict[str, Any] = {
        "vision_config": EdgeTamVisionConfig(backbone_config=backbone),
        # Both came with SAM 2.1; EdgeTAM builds on SAM 2.0 and has no weights for them.
        "enable_temporal_pos_encoding_for_object_pointers": False,
        "enable_occlusion_spatial_embedding": False,
    }
    return EdgeTamVideoConfig(**(settings | changes))


def load_video_model(config: Sam2VideoConfig | EdgeTamVideoConfig, path: Path) -> Any:
    """A `Sam2VideoModel` or `EdgeTamVideoModel` on the processor, from a safetensors file or its folder.

    Raises `CheckpointError` if the file is missing, damaged, or of another architecture.
    """
    file = path / WEIGHTS_NAME if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(
            f"there are no weights at {file}; pass a .safetensors file or a folder with {WEIGHTS_NAME}"
        )
    kind = EdgeTamVideoModel if isinstance(config, EdgeTamVideoConfig) else Sam2VideoModel
    try:
        weights = load_file(file)
        model = _without_bar(
            lambda: kind.from_pretrained(
                None, config=config, state_dict=dict(weights), dtype=torch.float32, local_files_only=True
            )
        )
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{file} is damaged or holds other weights ({reason_of(error)}); delete it and download it "
            "again as safetensors, or choose the segmenter that it belongs to"
        ) from error
    # transformers would fill gaps with random numbers and ignore unknown tensors.
    found, expected = weights.keys(), model.state_dict().keys()
    missing, unknown = sorted(expected - found), sorted(found - expected)
    if missing or unknown:
        raise CheckpointError(
            f"{file} holds other weights: {len(missing)} tensors are missing and {len(unknown)} too many "
            f"({', '.join((missing + unknown)[:3])}); choose the segmenter that it belongs to"
        )
    return model


def _without_bar(load: Callable[[], Any]) -> Any:
    """Load without transformers' progress bar, which would mix with the caller's."""
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return load()
    finally:
        if was_on:
            logging.enable_progress_bar()


class Sam2Segmenter:
    """A `Sam2VideoModel` or `EdgeTamVideoModel` with weights, shared by all sessions."""

    def __init__(self, model: Any, *, spec: SegmenterSpec) -> None:
        self.spec = spec
        self.model = model.eval().requires_grad_(False)
        side = {"height": model.config.image_size, "width": model.config.image_size}
        self.processor = Sam2VideoProcessor(Sam2ImageProcessor(size=side), Sam2VideoVideoProcessor(size=side))
        # The number of frames back that the model looks.
        self.reach = max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder)
        self._lock = threading.Lock()

    def open(self, frames: Frames) -> Sam2Session:
        """Prepare a clip; see `Segmenter.open`."""
        check_frames(frames)
        return Sam2Session(self, frames)

    def start(self, frames: Frames) -> Any:
        """An empty `Sam2VideoInferenceSession` that prepares each frame when the model asks for it."""
        state = self.processor.init_video_session(inference_device=self.model.device)
        state.video_height, state.video_width = frames.shape[1:3]
        state.processed_frames = PreparedFrames(frames, self._prepare)
        return state

    def step(self, state: Any, *, index: int, is_backwards: bool = False) -> FrameMask:
        """The object on one frame, (H, W) bool, which then is part of the session's memory.

        Empty if the model says that the object is not there. `is_backwards` follows from later to earlier
        frames.
        """
        with self._lock:
            output = self.model(state, frame_idx=index, reverse=is_backwards)
            size = [state.video_height, state.video_width]
            masks = self.processor.post_process_masks([output.pred_masks], original_sizes=[size])[0]
        return np.asarray(masks[0, 0].cpu().numpy(), dtype=np.bool_)

    def _prepare(self, frame: Frame) -> Tensor:
        answer = self.processor.video_processor(
            videos=[frame[None]], input_data_format="channels_last", return_tensors="pt"
        )
        pixels: Tensor = answer.pixel_values_videos[0][0]
        return pixels


class PreparedFrames:
    """A clip as normalised (3, side, side) inputs of a video model, one frame at a time to save memory."""

    def __init__(self, frames: Frames, prepare: Callable[[Frame], Tensor]) -> None:
        self._frames = frames
        self._prepare = prepare

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Tensor:
        return self._prepare(self._frames[index])


class Sam2Session:
    """One clip in a video model; see `SegmentationSession`."""

    def __init__(self, segmenter: Sam2Segmenter, frames: Frames) -> None:
        self._segmenter = segmenter
        self._frames = frames
        # Keeps the encoded frame from one click to the next.
        self._clicked = segmenter.start(frames)
        self._lock = threading.Lock()

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        """The object on the clicked frame; see `SegmentationSession.mask_at`."""
        check_selection(selection, shape=self._frames.shape[:3], may_only_remove=prior is not None)
        # The model takes a mask or clicks but not both, so the mask becomes a click.
        if prior is not None:
            selection = with_inner_click(selection, prior)
        with self._lock:
            self._clicked.reset_tracking_data()
            self._point(self._clicked, selection)
            return self._segmenter.step(self._clicked, index=selection.frame_index)

    def propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        """The object on every frame; see `SegmentationSession.propagate`."""
        check_selection(selection, shape=self._frames.shape[:3])

        def begin(state: Any) -> FrameMask:
            self._point(state, selection)
            return self._segmenter.step(state, index=selection.frame_index)

        return self._stream(selection.frame_index, range(len(self._frames)), begin)

    def follow(
        self, start: int, mask: FrameMask, *, within: range | None = None
    ) -> Iterator[tuple[int, FrameMask]]:
        """Follow a given mask; see `SegmentationSession.follow`."""
        within = check_walk(self._frames, start, mask, within=within)

        def begin(state: Any) -> FrameMask:
            self._segmenter.processor.add_inputs_to_inference_session(state, start, OBJECT, input_masks=mask)
            self._segmenter.step(state, index=start)
            return mask

        return self._stream(start, within, begin)

    def _stream(
        self, start: int, within: range, begin: Callable[[Any], FrameMask]
    ) -> Iterator[tuple[int, FrameMask]]:
        """The masks of a range from one frame outwards; each direction remembers its own frames only."""
        state = self._segmenter.start(self._frames)
        yield start, begin(state)
        for is_backwards in (False, True):
            before, after = range(start - 1, within.start - 1, -1), range(start + 1, within.stop)
            for index in before if is_backwards else after:
                yield index, self._segmenter.step(state, index=index, is_backwards=is_backwards)
                _forget(state, index, reach=self._segmenter.reach)
            _forget(state, start, reach=0)

    def _point(self, state: Any, selection: Selection) -> None:
        clicks, box = selection.clicks, selection.box
        prompt: dict[str, Any] = {}
        if clicks:
            prompt["input_points"] = [[[[float(click.x), float(click.y)] for click in clicks]]]
            prompt["input_labels"] = [[[int(click.is_positive) for click in clicks]]]
        if box is not None:
            prompt["input_boxes"] = [[[float(box.x0), float(box.y0), float(box.x1), float(box.y1)]]]
        add = self._segmenter.processor.add_inputs_to_inference_session
        add(state, selection.frame_index, OBJECT, **prompt)


def _forget(state: Any, index: int, *, reach: int) -> None:
    """Drop the model's memory of frames `reach` or more away; prompted frames stay."""
    for outputs in state.output_dict_per_obj.values():
        found = outputs["non_cond_frame_outputs"]
        for far in [number for number in found if abs(number - index) >= reach]:
            del found[far]
