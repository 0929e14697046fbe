"""Masks of one object as a video, white on black, that every player shows.

H.264 without any loss is a profile that browsers refuse. The usual profile, quantised finely, moves a
level by a few of 255, and the object begins in the middle: what is read is exactly what was written.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.errors import MaskError, VideoError
from dreammotion_core.frame_conversion import FrameConverter, check_size
from dreammotion_core.media.decoding import guarded_stream
from dreammotion_core.media.mask_levels import MaskLevels
from dreammotion_core.mask_pictures import grey_levels
from dreammotion_core.mask_shapes import check_mask_shape
from dreammotion_core.mask_streams import MaskStream
from dreammotion_core.video_timeline import damaged, measure_timeline, opened_clip

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
_OPTIONS = {"qp": "4", "preset": "medium"}
_CODING_NOISE = 32


def read_mask_video(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read a video of masks, one a frame; its frame rate means nothing here.

    Args:
        path: a video file. Odd sides of the clip may be even here, with one more row or column.
        num_frames: frames F of the clip.
        size: (H, W) of the clip in pixels.

    Raises:
        MaskError: if it is no readable video, or its size, count or colours do not fit.
    """
    try:
        count = len(measure_timeline(path))
        check_mask_shape((count, *size), num_frames=num_frames, size=size)
        return _decoded(path, num_frames=num_frames, size=size)
    except VideoError as error:
        raise MaskError(f"the mask cannot be read: {error}") from error


def write_mask_video(masks: MaskStream, path: Path, *, fps: float) -> None:
    """Write masks as H.264 (yuv420p, High profile, index in front), white on black.

    Odd sides get their last row or column repeated once; `read_mask_video` takes it away again.

    Args:
        masks: bool, at least two frames.
        path: ends in ``.mp4``; an older file is replaced.
        fps: frames a second to play them at.

    Raises:
        MaskError: if these are numbers of objects, too few, or too small or large for a video.
        OutputError: if it cannot be written.
    """
    if masks.dtype != np.bool_:
        raise MaskError(
            "a video holds the mask of one object; write several objects to a folder, .zip or .npz"
        )
    if len(masks) < 2:
        raise MaskError("one mask is no video; write it to a folder, .zip or .npz")
    height, width = masks.size
    try:
        check_size(width, height)
    except VideoError as error:
        raise MaskError(f"these masks cannot be a video: {error}") from error
    with written_atomically(path) as temporary:
        try:
            _encode(masks, temporary, Fraction(fps).limit_denominator(1001))
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error


def _decoded(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    height, width = size
    values = np.empty((num_frames, height, width), np.uint8)
    converter: FrameConverter | None = None
    filled = 0
    with opened_clip(path) as container:
        stream = guarded_stream(container, path)
        for filled, frame in enumerate(container.decode(stream), start=1):
            if converter is None:
                converter = FrameConverter(frame, pixel_aspect=stream.sample_aspect_ratio)
                if converter.size not in (size, (height + height % 2, width + width % 2)):
                    check_mask_shape(converter.size, num_frames=num_frames, size=size)
            if frame.is_corrupt or filled > num_frames:
                raise damaged(path)
            picture = grey_levels(converter.to_rgb(frame), name=f"frame {filled - 1} of {path.name}")
            values[filled - 1] = picture[:height, :width]
    if filled < num_frames:
        raise damaged(path)
    return MaskLevels(values, are_objects=False, noise=_CODING_NOISE)


def _encode(masks: MaskStream, path: Path, fps: Fraction) -> None:
    height, width = masks.size
    with av.open(str(path.resolve()), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options=_OPTIONS)
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = Colorspace.ITU709
        for mask in masks:
            even = np.pad(mask, ((0, height % 2), (0, width % 2)), mode="edge")
            container.mux(stream.encode(_to_yuv(even)))
        container.mux(stream.encode(None))


def _to_yuv(mask: NDArray[np.generic]) -> VideoFrame:
    frame = VideoFrame.from_ndarray(mask.astype(np.uint8) * np.uint8(255), format="gray")
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
