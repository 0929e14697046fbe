"""CoTracker as a tracker of points, for those who have installed it.

Source: Karaev et al., CoTracker: It is Better to Track Together (ECCV 2024). Its code is not on PyPI; its
weights are CC BY-NC 4.0.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreammotion_core.errors import ModelLoadError, reason_of
from dreammotion_core.evaluation.pixels import check_frames
from dreammotion_core.metrics.loading import LOAD_ERRORS
from dreammotion_core.metrics.tracks import Points, PointTracks
from dreammotion_core.values import Frames

ADVICE = (
    "install it with: pip install git+https://github.com/facebookresearch/co-tracker, fetch "
    "scaled_offline.pth of facebook/cotracker3 from the hub and pass its path"
)


class CoTracker:
    """Follows points with a CoTracker predictor.

    Args:
        predictor: called as ``predictor(video, queries=queries)`` with a (1, F, 3, H, W) float clip in
            [0, 255] and (1, T, 3) queries (frame, x, y), it gives (1, F, T, 2) positions in pixels and
            (1, F, T) visibility.
        device: where it computes.
    """

    name = "CoTracker"

    def __init__(self, predictor: Any, *, device: str | torch.device = "cpu") -> None:
        self.predictor, self.device = predictor, device

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, device: str | torch.device = "cpu") -> CoTracker:
        """Load the offline model, version 3.

        Raises:
            ModelLoadError: if CoTracker is not installed, or the file cannot be loaded.
        """
        if find_spec("cotracker") is None:
            raise ModelLoadError(f"CoTracker is not installed; {ADVICE}")
        if not Path(path).is_file():
            raise ModelLoadError(f"there is no file {path}; {ADVICE}")
        from cotracker.predictor import CoTrackerPredictor

        try:
            predictor = CoTrackerPredictor(checkpoint=str(path), offline=True, v2=False, window_len=60)
        except LOAD_ERRORS as error:
            raise ModelLoadError(
                f"{path} cannot be loaded as CoTracker 3 ({reason_of(error)}); {ADVICE}"
            ) from error
        return cls(predictor.to(device), device=device)

    @torch.inference_mode()
    def __call__(self, frames: Frames, *, points: Points) -> PointTracks:
        """Tracks of (T, 2) points of the first frame.

        Raises:
            VideoError: if the clip has fewer than two frames, or is no clip.
        """
        check_frames(frames, fewest=2)
        video = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)[None].float().to(self.device)
        queries = torch.from_numpy(np.pad(points, ((0, 0), (1, 0))))[None].float().to(self.device)
        positions, visible = self.predictor(video, queries=queries)
        return PointTracks(
            positions[0].double().cpu().numpy(), visible[0].bool().cpu().numpy(), frames.shape[1:3]
        )
