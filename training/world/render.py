"""From scenes to clips with their exact masks, many at once on the device of the training."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.world.materials import MATERIALS, Material, Surface, ruffled
from training.world.nouns import NOUNS
from training.world.objects import Layer
from training.world.palette import COLOURS
from training.world.places import PLACES
from training.world.poses import Poses, companion_poses, object_poses, pixel_centres
from training.world.scene import Companion, Scene
from training.world.shot import USUAL_SHOT, Shot

CANVAS = 1.5
"""Width of the background canvas in frame widths, so that the camera can pan."""
LIGHT = (-0.45, 0.75)
"""Direction towards the light in the object's frame: from the upper left."""
SENSOR_NOISE = 0.008
GROUP = 16
"""Scenes drawn together; more gain nothing on a GPU and cost memory."""


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

    @property
    def boxes(self) -> Tensor:
        """(F, 4) int64: left, top, right and bottom in pixels, the last two exclusive; 0 if empty."""
        boxes = []
        for mask in self.mask:
            rows, columns = (mask.any(dim=d).nonzero()[:, 0] for d in (1, 0))
            ends = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0, 0, 0, 0]
            boxes.append(torch.as_tensor(ends))
        return torch.stack(boxes)


def render(scene: Scene, *, shot: Shot = USUAL_SHOT) -> Rendered:
    """Draw a scene.

    Args:
        scene: what to draw; equal scenes give equal clips on the same kind of device.
        shot: its length and size, and where to draw.
    """
    return render_batch([scene], shot=shot)[0]


def render_batch(scenes: Sequence[Scene], *, shot: Shot = USUAL_SHOT) -> list[Rendered]:
    """Draw many scenes; those of one noun and material are drawn together. See `render`."""
    rendered: dict[int, Rendered] = {}
    for indices in _alike(scenes):
        group = [scenes[index] for index in indices]
        images = torch.stack([_stage(scene, shot) for scene in group])
        poses = object_poses(group, shot=shot)
        images, coverage = _draw(images, group, poses)
        for index, image, covered, x, y in zip(indices, images, coverage, poses.x, poses.y, strict=True):
            centres = torch.stack([x + 1, 1 - y], dim=-1) * shot.resolution / 2
            rendered[index] = Rendered(_photographed(image, scenes[index]), covered > 0.5, centres)
    return [rendered[index] for index in range(len(scenes))]


def background(scene: Scene, *, shot: Shot = USUAL_SHOT) -> Tensor:
    """The frames of `render` without the object and its shadow, (F, H, W, 3) uint8 RGB."""
    return _photographed(_stage(scene, shot), scene)


def object_mask(scene: Scene, *, shot: Shot = USUAL_SHOT) -> Tensor:
    """The mask of `render` alone, (F, H, W) bool, without the cost of the picture."""
    poses = object_poses([scene], shot=shot)
    layers = _layers(scene, poses.object_frame(shot.resolution))
    return torch.stack([layer.distance for layer in layers]).amin(0)[0] < 0


def _alike(scenes: Sequence[Scene]) -> list[list[int]]:
    """Indices of scenes with the same noun and material, in groups of bounded size."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        groups[scene.noun, scene.material].append(index)
    return [same[k : k + GROUP] for same in groups.values() for k in range(0, len(same), GROUP)]


def _stage(scene: Scene, shot: Shot) -> Tensor:
    """(F, H, W, 3) in [0, 1]: the place as the camera sees it, with the companion if there is one."""
    height, width = shot.resolution, int(shot.resolution * CANVAS)
    y = 1 - (torch.arange(height, device=shot.device) + 0.5) * 2 / height
    x = ((torch.arange(width, device=shot.device) + 0.5) / width * 2 - 1) * CANVAS
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    canvas = PLACES[scene.place].draw(grid_x, grid_y, random.Random(scene.seed))
    camera = object_poses([scene], shot=shot).camera[0]
    image = _seen_by_camera(canvas, camera, height)
    if scene.companion:
        poses = companion_poses([scene], shot=shot)
        image = _draw(image[None], [scene.companion], poses, scene.place)[0][0]
    return image


def _seen_by_camera(canvas: Tensor, camera: Tensor, resolution: int) -> Tensor:
    """(F, H, W, 3): the canvas shifted by the camera, sub-pixel exact."""
    theta = torch.zeros(len(camera), 2, 3, device=canvas.device)
    theta[:, 0, 0], theta[:, 1, 1] = 1 / CANVAS, 1.0
    theta[:, 0, 2] = camera / CANVAS
    grid = F.affine_grid(theta, [len(camera), 3, resolution, resolution], align_corners=False)
    source = canvas.permute(2, 0, 1).expand(len(camera), -1, -1, -1)
    return F.grid_sample(source, grid, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)


def _draw(
    images: Tensor, things: Sequence[Scene] | Sequence[Companion], poses: Poses, place: str | None = None
) -> tuple[Tensor, Tensor]:
    """The pictures with one thing each and its shadow, and (B, F, H, W) how much of a pixel it covers."""
    resolution = images.shape[-2]
    throws_shadow = [PLACES[place or thing.place].has_ground for thing in things]
    shadow = 0.38 * _shadow(poses, resolution) * images.new_tensor(throws_shadow)[:, None, None, None]
    images = images * (1 - shadow[..., None])
    points, material = poses.object_frame(resolution), MATERIALS[things[0].material]
    body = images.new_tensor([COLOURS[thing.colour] for thing in things])[:, None, None, None]
    pixel = (2 / resolution) / poses.size[..., None, None]
    coverage = torch.zeros_like(points[..., 0])
    for layer in _layers(things[0], points):
        alpha = (0.5 - layer.distance / pixel).clamp(0, 1)
        tint = _paint(layer, material, points, body, poses.facing)
        images = images + (tint - images) * alpha[..., None]
        coverage = torch.maximum(coverage, alpha)
    return images, coverage


def _layers(thing: Scene | Companion, points: Tensor) -> list[Layer]:
    """The noun's layers; those in the object's own colour have the outline of its material."""
    tufts = MATERIALS[thing.material].tufts
    return [
        Layer(ruffled(layer.distance, points, tufts), layer.paint, layer.is_shaded)
        if layer.paint == 1.0
        else layer
        for layer in NOUNS[thing.noun](points)
    ]


def _paint(layer: Layer, material: Material, points: Tensor, body: Tensor, facing: Tensor) -> Tensor:
    """(B, F, H, W, 3): the layer's colour under the light."""
    if isinstance(layer.paint, tuple):
        tint = body.new_tensor(layer.paint).expand(*points.shape[:-1], 3)
    else:
        tint = material.albedo(Surface(points[..., 0], points[..., 1], layer.distance, body))
        tint = tint * layer.paint if layer.paint <= 1 else tint + (1 - tint) * (layer.paint - 1)
    if not layer.is_shaded or (layer.paint == 1.0 and not material.is_shaded):
        return tint
    lit = LIGHT[0] * points[..., 0] * facing[:, None, None, None] + LIGHT[1] * points[..., 1]
    rim = (1 + layer.distance / 0.35).clamp(0, 1) ** 2
    return tint * (1.0 + 0.16 * lit.clamp(-1, 1) - 0.14 * rim)[..., None]


def _shadow(poses: Poses, resolution: int) -> Tensor:
    """(B, F, H, W) in [0, 1]: a soft ellipse on the ground under the object, paler the higher it is."""
    x, y = pixel_centres(resolution, poses.x.device)
    ground = (poses.y - poses.size).amin(dim=1, keepdim=True).clamp_min(-0.93)
    height = (poses.y - poses.size - ground).clamp_min(0)[..., None, None]
    radius = (poses.size * 0.9)[..., None, None] * (1 - 0.4 * height)
    distance = torch.hypot(
        (x - poses.x[..., None, None]) / radius, (y - ground[..., None, None]) / (radius * 0.2)
    )
    return (1.25 - distance).clamp(0, 1) * (1 - 0.8 * height).clamp(0, 1)


def _photographed(image: Tensor, scene: Scene) -> Tensor:
    """(F, H, W, 3) uint8 with the noise of a sensor."""
    generator = torch.Generator(device=image.device).manual_seed(scene.seed % 2**31)
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    return ((image + SENSOR_NOISE * noise).clamp(0, 1) * 255).round().to(torch.uint8)
