"""From a scene to a clip with its exact mask."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.world.palette import COLOURS
from training.world.places import PLACES
from training.world.scene import Scene
from training.world.shapes import NOUNS, Layer

CANVAS = 1.5
"""Width of the background canvas in frame widths, so that the camera can pan."""

LIGHT = (-0.45, 0.75)
"""Direction towards the light in the object's frame: from the upper left."""


@dataclass(frozen=True)
class Rendered:
    """A clip with its ground truth.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W) bool, the visible object.
        centres: (F, 2) float, x and y of the object's centre in pixels.
    """

    frames: Tensor
    mask: Tensor
    centres: Tensor


@dataclass(frozen=True)
class _Pose:
    x: Tensor
    y: Tensor
    angle: Tensor
    size: Tensor
    facing: float
    camera: Tensor


def _poses(scene: Scene, num_frames: int, fps: float, device: torch.device) -> _Pose:
    """Where the object and the camera are in each frame; seconds run from -T/2 to T/2."""
    seconds = (torch.arange(num_frames, device=device) - (num_frames - 1) / 2) / fps
    cycle = 2 * math.pi * (scene.phase + seconds * scene.speed)
    x, y = torch.full_like(seconds, scene.x), torch.full_like(seconds, scene.y)
    angle, size, camera = (
        torch.zeros_like(seconds),
        torch.full_like(seconds, scene.size),
        torch.zeros_like(seconds),
    )
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
    return _Pose(x, y, angle, size, facing, camera)


def _background(scene: Scene, resolution: int, device: torch.device) -> Tensor:
    """(H, W * CANVAS, 3) in [0, 1]."""
    width = int(resolution * CANVAS)
    y = 1 - (torch.arange(resolution, device=device) + 0.5) * 2 / resolution
    x = ((torch.arange(width, device=device) + 0.5) / width * 2 - 1) * CANVAS
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return PLACES[scene.place].draw(grid_x, grid_y, random.Random(scene.seed))


def _seen_by_camera(canvas: Tensor, camera: Tensor, resolution: int) -> Tensor:
    """(F, H, W, 3): the canvas shifted by the camera, sub-pixel exact."""
    theta = torch.zeros(len(camera), 2, 3, device=canvas.device)
    theta[:, 0, 0], theta[:, 1, 1] = 1 / CANVAS, 1.0
    theta[:, 0, 2] = camera / CANVAS
    grid = F.affine_grid(theta, [len(camera), 3, resolution, resolution], align_corners=False)
    source = canvas.permute(2, 0, 1).expand(len(camera), -1, -1, -1)
    return F.grid_sample(source, grid, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)


def _object_frame(pose: _Pose, resolution: int) -> Tensor:
    """(F, H, W, 2) pixel centres in the object's own frame."""
    axis = (torch.arange(resolution, device=pose.x.device) + 0.5) * 2 / resolution - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    size, angle = pose.size[:, None, None], pose.angle[:, None, None]
    dx, dy = (x - pose.x[:, None, None]) / size, (y - pose.y[:, None, None]) / size
    u = torch.cos(angle) * dx + torch.sin(angle) * dy
    v = torch.cos(angle) * dy - torch.sin(angle) * dx
    return torch.stack([u * pose.facing, v], dim=-1)


def _colour(layer: Layer, body: Tensor) -> Tensor:
    if isinstance(layer.paint, tuple):
        return body.new_tensor(layer.paint)
    if layer.paint > 1:
        return body + (1 - body) * (layer.paint - 1)
    return body * layer.paint


def _shading(points: Tensor, distance: Tensor, facing: float) -> Tensor:
    """A soft light from the upper left and a darker rim, around 1."""
    lit = LIGHT[0] * points[..., 0] * facing + LIGHT[1] * points[..., 1]
    rim = (1 + distance / 0.35).clamp(0, 1) ** 2
    return 1.0 + 0.16 * lit.clamp(-1, 1) - 0.14 * rim


def render(
    scene: Scene,
    *,
    num_frames: int = 8,
    fps: float = 8.0,
    resolution: int = 128,
    device: str | torch.device = "cpu",
) -> Rendered:
    """Draw a scene.

    Args:
        scene: what to draw; equal scenes give equal clips.
        num_frames: frames F.
        fps: frames a second.
        resolution: height and width in pixels.
        device: where to draw.
    """
    device = torch.device(device)
    pose = _poses(scene, num_frames, fps, device)
    image = _seen_by_camera(_background(scene, resolution, device), pose.camera, resolution)
    points = _object_frame(pose, resolution)
    if PLACES[scene.place].has_ground:
        image = image * (1 - 0.38 * _shadow(pose, scene, resolution)[..., None])
    body = image.new_tensor(COLOURS[scene.colour])
    pixel = (2 / resolution) / pose.size[:, None, None]
    coverage = torch.zeros_like(points[..., 0])
    for layer in NOUNS[scene.noun](points):
        alpha = (0.5 - layer.distance / pixel).clamp(0, 1)
        tint = _colour(layer, body).expand_as(image)
        if layer.is_shaded:
            tint = tint * _shading(points, layer.distance, pose.facing)[..., None]
        image = image + (tint - image) * alpha[..., None]
        coverage = torch.maximum(coverage, alpha)
    generator = torch.Generator(device=device).manual_seed(scene.seed % 2**31)
    image = image + 0.008 * torch.randn(image.shape, generator=generator, device=device)
    centres = torch.stack([(pose.x + 1) * resolution / 2, (1 - pose.y) * resolution / 2], dim=-1)
    return Rendered((image.clamp(0, 1) * 255).round().to(torch.uint8), coverage > 0.5, centres)


def object_mask(
    scene: Scene,
    *,
    num_frames: int = 8,
    fps: float = 8.0,
    resolution: int = 128,
    device: str | torch.device = "cpu",
) -> Tensor:
    """The mask of `render` alone, (F, H, W) bool, without the cost of the picture."""
    pose = _poses(scene, num_frames, fps, torch.device(device))
    layers = NOUNS[scene.noun](_object_frame(pose, resolution))
    return torch.stack([layer.distance for layer in layers]).amin(0) < 0


def _shadow(pose: _Pose, scene: Scene, resolution: int) -> Tensor:
    """(F, H, W) in [0, 1]: a soft ellipse on the ground under the object, paler the higher it is."""
    axis = (torch.arange(resolution, device=pose.x.device) + 0.5) * 2 / resolution - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    ground = max(scene.y - scene.size * 1.0, -0.93)
    height = (pose.y - pose.size - ground).clamp_min(0)[:, None, None]
    radius = (pose.size * 0.9)[:, None, None] * (1 - 0.4 * height)
    distance = torch.hypot((x - pose.x[:, None, None]) / radius, (y - ground) / (radius * 0.2))
    return (1.25 - distance).clamp(0, 1) * (1 - 0.8 * height).clamp(0, 1)
