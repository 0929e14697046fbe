"""Where objects and the camera are in each frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.world.scene import Companion, Scene
from training.world.shot import Shot


@dataclass(frozen=True)
class Poses:
    """The tracks of B objects over F frames.

    Attributes:
        x, y: (B, F) centre in [-1, 1], y up.
        angle: (B, F) in radians, counter-clockwise.
        size: (B, F) half width, in half frame heights.
        facing: (B,) 1 to the right, -1 to the left.
        camera: (B, F) how far the camera has moved to the right.
    """

    x: Tensor
    y: Tensor
    angle: Tensor
    size: Tensor
    facing: Tensor
    camera: Tensor

    def object_frame(self, resolution: int) -> Tensor:
        """(B, F, H, W, 2) pixel centres in the objects' own frames."""
        x, y = pixel_centres(resolution, self.x.device)
        dx, dy = (
            (axis - centre[..., None, None]) / self.size[..., None, None]
            for axis, centre in ((x, self.x), (y, self.y))
        )
        cos, sin = torch.cos(self.angle)[..., None, None], torch.sin(self.angle)[..., None, None]
        u, v = cos * dx + sin * dy, cos * dy - sin * dx
        return torch.stack([u * self.facing[:, None, None, None], v], dim=-1)

    def carried(self, points: Tensor, *, resolution: int) -> Tensor:
        """Where points of the objects' first frames are on all frames.

        Args:
            points: (B, T, 2) in pixels, x right then y down; whole numbers are centres of pixels.
            resolution: height and width of the frames in pixels.

        Returns:
            (B, F, T, 2) in pixels.
        """
        x, y = (points[..., 0] + 0.5) * 2 / resolution - 1, 1 - (points[..., 1] + 0.5) * 2 / resolution
        dx, dy = ((axis - centre[:, :1]) / self.size[:, :1] for axis, centre in ((x, self.x), (y, self.y)))
        turn, growth = (self.angle - self.angle[:, :1])[..., None], self.size[..., None]
        cos, sin = torch.cos(turn), torch.sin(turn)
        x = self.x[..., None] + growth * (cos * dx[:, None] - sin * dy[:, None])
        y = self.y[..., None] + growth * (sin * dx[:, None] + cos * dy[:, None])
        return torch.stack([(x + 1) * resolution / 2 - 0.5, (1 - y) * resolution / 2 - 0.5], dim=-1)


def pixel_centres(resolution: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """X and y, (H, W) each, in [-1, 1], y up."""
    axis = (torch.arange(resolution, device=device) + 0.5) * 2 / resolution - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    return x, y


def object_poses(scenes: Sequence[Scene], *, shot: Shot) -> Poses:
    """The tracks of the scenes' objects; seconds run from -T/2 to T/2."""
    return _stacked([_object_pose(scene, shot) for scene in scenes], shot)


def object_tracks(scene: Scene, *, points: Tensor, shot: Shot) -> Tensor:
    """The true tracks of points of a scene's object.

    Args:
        scene: the scene.
        points: (T, 2) on the first frame, in pixels, x right then y down; whole numbers are centres.
        shot: how it is filmed.

    Returns:
        (F, T, 2) in pixels.
    """
    return object_poses([scene], shot=shot).carried(points[None], resolution=shot.resolution)[0]


def companion_poses(scenes: Sequence[Scene], *, shot: Shot) -> Poses:
    """The tracks of the scenes' companions, which rest while the camera may move."""
    poses = [_companion_pose(s.companion, _object_pose(s, shot).camera) for s in scenes if s.companion]
    return _stacked(poses, shot)


def _stacked(poses: Sequence[Poses], shot: Shot) -> Poses:
    fields = ("x", "y", "angle", "size", "facing", "camera")
    return Poses(*(torch.stack([getattr(pose, name) for pose in poses]).to(shot.device) for name in fields))


def _seconds(shot: Shot) -> Tensor:
    return (torch.arange(shot.num_frames) - (shot.num_frames - 1) / 2) / shot.fps


def _object_pose(scene: Scene, shot: Shot) -> Poses:
    seconds = _seconds(shot)
    cycle = 2 * math.pi * (scene.phase + seconds * scene.speed)
    x, y = torch.full_like(seconds, scene.x), torch.full_like(seconds, scene.y)
    angle, size = torch.zeros_like(seconds), torch.full_like(seconds, scene.size)
    camera = torch.zeros_like(seconds)
    facing = -1.0 if scene.motion == "left" else 1.0
    match scene.motion:
        case "right" | "left":
            x = x + facing * 0.6 * scene.speed * seconds
        case "bounce":
            y = y - 0.1 + 0.35 * torch.sin(cycle).abs()
        case "spin":
            angle = cycle * 0.5
        case "zoom":
            size = size * (1 + 0.4 * scene.speed * seconds)
        case "arc":
            x = x + 0.55 * scene.speed * seconds
            y = y + 0.25 - 1.2 * seconds**2
        case "wobble":
            angle = 0.3 * torch.sin(cycle)
        case "pan":
            camera = 0.5 * scene.speed * seconds
    return Poses(x, y, angle, size, torch.tensor(facing), camera)


def _companion_pose(companion: Companion, camera: Tensor) -> Poses:
    return Poses(
        companion.x - camera,
        torch.full_like(camera, companion.y),
        torch.zeros_like(camera),
        torch.full_like(camera, companion.size),
        torch.tensor(1.0),
        camera,
    )
