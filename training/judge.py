"""The judge `toybox-clip`: a small contrastive image-text model that says whether clips show what was asked.

It is trained on pictures of scenes that no generator sees, and shares nothing with the models it judges.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    ConvNextConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from training.data import RESOLUTION, PairKind, Pairs, as_pictures, kept_for_each_clip, sample_pair
from training.loop import Budget, Recipe, Setting, train
from training.processes import made_once, rank
from training.run_folder import RunFolder
from training.text import MAX_TOKENS, build_tokenizer
from training.world import (
    ATTRIBUTES,
    NUM_FORMS,
    Scene,
    Shot,
    caption,
    object_mask,
    render_batch,
    sample_scene,
    variants,
)
from training.world.scene import FORMS, WORLD_VERSION

VIEW_SIZE = 128  # height and width in pixels of what the judge sees
CLOSE_UP_MARGIN = 1.15  # side of a close-up over the longer side of the object
SMALLEST_OBJECT = 0.12  # smallest object that is learned from, as a part of the frame
SENTENCE, THING = 1, FORMS.index("{thing}")
"""Caption forms: "a striped red car on a road" for whole frames, "a striped red car" for close-ups."""
WHOLE_FRAME = (0.0, 0.0, 1.0)
JUDGED_PAIRS = PairKind("judged", 200_000_000, Shot(2, 1.0, RESOLUTION))
"""Two frames of each scene, a second apart; no generator is trained on these seeds."""


def names(scene: Scene, attribute: str, form: int) -> bool:
    """Whether a caption of that form mentions the attribute."""
    return len({caption(other, form) for other in variants(scene, attribute=attribute).values()}) > 1


def square_around(mask: Tensor) -> Tensor:
    """The smallest square around each mask.

    Args:
        mask: (N, H, W) bool.

    Returns:
        (N, 3) float: centre x, centre y (downwards) and half side, where the frame spans [-1, 1]. The
        half side is 0 where the mask is empty.
    """
    ends = []
    for line in (mask.any(1), mask.any(2)):
        size = line.shape[1]
        first, last = line.int().argmax(1), size - line.flip(1).int().argmax(1)
        ends.append(torch.stack([first, last], dim=1) * 2 / size - 1)
    x, y = ends
    half = torch.maximum(x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]) / 2
    return torch.stack([x.mean(1), y.mean(1), half * mask.flatten(1).any(1)], dim=1)


def cut_out(frames: Tensor, squares: Tensor, *, mirrored: Tensor | None = None) -> Tensor:
    """Squares of frames, at twice the size that the judge sees.

    Args:
        frames: (N, H, W, 3) uint8 RGB.
        squares: (N, 3) as from `square_around`.
        mirrored: (N,) bool, which to flip left to right.

    Returns:
        (N, 3, 2 * VIEW_SIZE, 2 * VIEW_SIZE) in [-1, 1]; edges are repeated outside of the frame.
    """
    pictures = as_pictures(frames)
    theta = torch.zeros(len(frames), 2, 3, device=frames.device)
    theta[:, :, 2] = squares[:, :2]
    theta[:, 0, 0] = theta[:, 1, 1] = squares[:, 2]
    if mirrored is not None:
        theta[:, 0, 0] *= 1 - 2 * mirrored.float()
    grid = F.affine_grid(theta, [len(frames), 3, 2 * VIEW_SIZE, 2 * VIEW_SIZE], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def views(frames: Tensor, squares: Tensor, *, mirrored: Tensor | None = None) -> Tensor:
    """Views of the judge, (N, 3, VIEW_SIZE, VIEW_SIZE): `cut_out` averaged down by area."""
    return F.avg_pool2d(cut_out(frames, squares, mirrored=mirrored), 2)


def blurred(pictures: Tensor, size: int) -> Tensor:
    """Pictures (N, 3, H, W) scaled down to `size` pixels and up again, as soft as decoded pictures."""
    small = F.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
    return F.interpolate(small, pictures.shape[-2:], mode="bicubic")


def object_squares(folder: Path, pairs: Pairs) -> NDArray[np.float32]:
    """The square around the object in each frame of the pairs, (N, 2, F, 3); kept in `folder`."""
    count = len(pairs.frames)
    path = folder / f"{pairs.kind.name}-v{WORLD_VERSION}-{count}-squares.npy"
    return kept_for_each_clip(path, partial(_squares, kind=pairs.kind), num_clips=count)


def _squares(number: int, *, kind: PairKind) -> NDArray[np.float32]:
    shot = replace(kind.shot, resolution=64)
    masks = [object_mask(scene, shot=shot) for scene in sample_pair(kind.first_seed + number)]
    return np.stack([square_around(mask).float().numpy() for mask in masks])


@dataclass(frozen=True)
class Batch:
    """Pictures and the captions to choose from."""

    pictures: Tensor  # (B, 3, VIEW_SIZE, VIEW_SIZE) in [-1, 1], first close-ups, then whole frames
    captions: list[str]
    right: Tensor  # (B,) index of each picture's own caption
    choices: Tensor  # (B, U) bool, its own caption and those that differ in one attribute


@dataclass(frozen=True)
class JudgeSet:
    """Training pictures and the squares round their objects."""

    pairs: Pairs
    squares: NDArray[np.float32]  # (N, 2, F, 3) as from `square_around`

    def batch(self, seed: int, size: int, device: torch.device) -> Batch:
        """`size` pictures, half of them close-ups, all drawn from `seed`."""
        rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
        shown = np.argwhere(self.squares[..., 2] > SMALLEST_OBJECT)
        number, member, frame = shown[[rng.randrange(len(shown)) for _ in range(size)]].T
        squares = torch.from_numpy(self.squares[number, member, frame])
        squares[:, 2] *= CLOSE_UP_MARGIN * (0.9 + 0.25 * torch.rand(size, generator=generator))
        squares[size // 2 :] = torch.tensor(WHOLE_FRAME)
        scenes = [self.pairs.scenes(int(n))[m] for n, m in zip(number, member, strict=True)]
        asked = [_question(scene, rng, close_up=i < size // 2) for i, scene in enumerate(scenes)]
        captions = list(dict.fromkeys(text for texts, _ in asked for text in texts))
        index = {text: i for i, text in enumerate(captions)}
        choices = torch.zeros(size, len(captions), dtype=torch.bool)
        for row, (texts, _) in enumerate(asked):
            choices[row, [index[text] for text in texts]] = True
        sided = torch.tensor([not {"left", "right"}.isdisjoint(text.split()) for _, text in asked])
        mirrored = (torch.rand(size, generator=generator) < 0.5) & ~sided
        frames = torch.from_numpy(self.pairs.frames[number, member, frame]).to(device)
        pictures = views(frames, squares.to(device), mirrored=mirrored.to(device))
        right = torch.tensor([index[text] for _, text in asked])
        return Batch(_worn(pictures, rng), captions, right.to(device), choices.to(device))


def _question(scene: Scene, rng: random.Random, close_up: bool) -> tuple[list[str], str]:
    """The captions to choose from for a picture of a scene, and the right one.

    Held-out combinations are not offered: they would always be wrong, and be learned as wrong.
    """
    form = THING if close_up else rng.choice((SENTENCE, rng.randrange(NUM_FORMS)))
    said = [attribute for attribute in ATTRIBUTES if names(scene, attribute, form)]
    attribute = rng.choices(said, weights=[len(ATTRIBUTES[a]) for a in said])[0]  # nouns most, being hardest
    others = variants(scene, attribute=attribute).values()
    choices = [caption(other, form) for other in others if close_up or not other.is_held_out]
    return choices, caption(scene, form)


def _worn(pictures: Tensor, rng: random.Random) -> Tensor:
    """Pictures a little brighter or darker, noisier, and half of them blurred, as edited clips may look."""
    brightness = torch.tensor([rng.uniform(0.92, 1.08) for _ in pictures], device=pictures.device)
    sizes = [rng.choice((VIEW_SIZE, rng.randint(32, VIEW_SIZE))) for _ in pictures]
    soft = [p if s == VIEW_SIZE else blurred(p[None], s)[0] for p, s in zip(pictures, sizes, strict=True)]
    generator = torch.Generator().manual_seed(rng.getrandbits(31))
    noise = 0.03 * torch.randn(pictures.shape, generator=generator).to(pictures.device)
    return (torch.stack(soft) + 1) * brightness[:, None, None, None] - 1 + noise


RECIPE = Recipe(learning_rate=1e-3, weight_decay=5e-2, ema_decay=0.998, save_every=250, betas=(0.9, 0.98))
PICTURES = 32  # pictures in a batch; many small steps learn more in the same time
LARGEST_LOGIT_SCALE = 4.6052  # logarithm of 100, as in CLIP


def new_judge(tokenizer: CLIPTokenizer) -> VisionTextDualEncoderModel:
    """An untrained judge of 3.3 million parameters; convolutions learn from few pictures."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_act="gelu",
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    widths = [48, 96, 192, 256]
    vision = ConvNextConfig(
        hidden_sizes=widths,
        hidden_size=widths[-1],  # which the joint model asks for
        depths=[2, 2, 4, 2],
        image_size=VIEW_SIZE,
        layer_scale_init_value=0.1,
    )
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=128)
    return VisionTextDualEncoderModel(config)


def new_processor() -> CLIPImageProcessor:
    """The image processor that gives the judge the views of its training, but for the filter."""
    return CLIPImageProcessor(
        size={"height": VIEW_SIZE, "width": VIEW_SIZE},
        do_center_crop=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def picture_features(judge: VisionTextDualEncoderModel, pictures: Tensor) -> Tensor:
    """Unit vectors (N, D) of pictures (N, 3, VIEW_SIZE, VIEW_SIZE) in [-1, 1]."""
    features = judge.get_image_features(pixel_values=pictures).pooler_output
    return F.normalize(features.float(), dim=-1)


def text_features(
    judge: VisionTextDualEncoderModel, tokenizer: CLIPTokenizer, texts: Sequence[str]
) -> Tensor:
    """Unit vectors (N, D) of texts; words beyond the tokenizer's limit are cut off."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(judge.device)
    return F.normalize(judge.get_text_features(**tokens).pooler_output.float(), dim=-1)


def contrastive_loss(judge: VisionTextDualEncoderModel, tokenizer: CLIPTokenizer, batch: Batch) -> Tensor:
    """Symmetric contrastive loss, and cross-entropy of captions that differ in one attribute.

    Pictures with equal captions share them.
    """
    texts = text_features(judge, tokenizer, batch.captions)
    scale = judge.logit_scale.clamp(max=LARGEST_LOGIT_SCALE).exp()
    logits = scale * picture_features(judge, batch.pictures) @ texts.T
    own = logits[:, batch.right]
    same = (batch.right[:, None] == batch.right).float()
    match = same / same.sum(1)
    symmetric = (F.cross_entropy(own, match) + F.cross_entropy(own.T, match)) / 2
    return symmetric + F.cross_entropy(logits.masked_fill(~batch.choices, -torch.inf), batch.right)


def train_judge(
    pairs: Pairs, *, cache: Path, out: Path, run: RunFolder, budget: Budget, setting: Setting
) -> VisionTextDualEncoderModel:
    """Train or resume; write the averaged judge to `out` and return it."""
    device, seed = setting.device, setting.seed
    torch.manual_seed(seed)
    data = JudgeSet(pairs, made_once(lambda: object_squares(cache, pairs)))
    tokenizer = build_tokenizer()
    judge = new_judge(tokenizer).to(device, memory_format=torch.channels_last)

    def loss_at(step: int, _progress: float) -> Tensor:
        batch_seed = int(np.random.default_rng((seed, step, rank())).integers(2**31))
        batch = data.batch(batch_seed, PICTURES * setting.batch_scale, device)
        with torch.autocast(device.type, torch.bfloat16):
            return contrastive_loss(judge, tokenizer, batch)

    def on_save(average: nn.Module) -> None:
        if rank() == 0:
            save_judge(average, tokenizer, out)

    finished = train(judge, loss_at, recipe=RECIPE, run=run, budget=budget, on_save=on_save)
    return finished.float()


def save_judge(judge: Any, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a folder for `ClipJudge`, in half precision."""
    judge.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    new_processor().save_pretrained(folder)


@torch.inference_mode()
def accuracy(
    judge: VisionTextDualEncoderModel,
    tokenizer: CLIPTokenizer,
    *,
    seeds: Sequence[int],
    held_out: bool | None,
    close_up: bool,
    sharpness: int = VIEW_SIZE,
) -> dict[str, float]:
    """Part of fresh renders, blurred to `sharpness` pixels, in which each attribute is chosen rightly."""
    scenes = [sample_scene(seed, held_out=held_out) for seed in seeds]
    clips = render_batch(scenes, shot=Shot(1, device=judge.device))
    frames, masks = torch.cat([c.frames for c in clips]), torch.cat([c.mask for c in clips])
    squares = square_around(masks) * torch.tensor((1, 1, CLOSE_UP_MARGIN), device=judge.device)
    if not close_up:
        squares = torch.tensor(WHOLE_FRAME, device=judge.device).expand(len(scenes), 3)
    seen, size = blurred(views(frames, squares), sharpness), judge.config.vision_config.image_size
    pictures = picture_features(judge, F.interpolate(seen, (size, size), mode="bilinear", antialias=True))
    form = THING if close_up else SENTENCE
    result = {}
    for attribute, values in ATTRIBUTES.items():
        hits = [
            values[int((text_features(judge, tokenizer, texts) @ picture).argmax())]
            == getattr(scene, attribute)
            for scene, picture in zip(scenes, pictures, strict=True)
            if names(scene, attribute, form)
            for texts in [[caption(other, form) for other in variants(scene, attribute=attribute).values()]]
        ]
        if hits:
            result[attribute] = sum(hits) / len(hits)
    return result
