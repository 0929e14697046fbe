"""From scenes to clips with their exact masks, many at once on the device of the training."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.world.materials import COLOURS, MATERIALS, Material, Surface, ruffled
from training.world.objects import NOUNS, Layer
from training.world.places import PLACES
from training.world.scene import USUAL_SHOT, Companion, Scene, Shot


@dataclass(frozen=True)
class Poses:
    """The tracks of B objects over F frames."""

    x: Tensor  # (B, F) centre in [-1, 1]
    y: Tensor  # the same, up
    angle: Tensor  # (B, F) in radians, counter-clockwise
    size: Tensor  # (B, F) half width, in half frame heights
    facing: Tensor  # (B,) 1 to the right, -1 to the left
    camera: Tensor  # (B, F) how far the camera has moved to the right

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
    """True tracks (F, T, 2) of points (T, 2) of the object on the first frame, as `Poses.carried` counts."""
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
    for motion in (scene.motion, scene.second_motion):
        match motion:
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


CANVAS = 1.5  # width of the background canvas in frame widths, so that the camera can pan
LIGHT = (-0.45, 0.75)  # direction towards the light in the object's frame: from the upper left
SENSOR_NOISE = 0.008
GROUP = 16  # scenes drawn together; more gain nothing on a GPU and cost memory


@dataclass(frozen=True)
class Rendered:
    """A clip with its ground truth."""

    frames: Tensor  # (F, H, W, 3) uint8 RGB
    mask: Tensor  # (F, H, W) bool, the visible object
    centres: Tensor  # (F, 2) float, x and y of the object's centre in pixels

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
    """Draw a scene."""
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
