"""The judge `toybox-clip`: a small contrastive image-text model that says whether clips show what was asked.

It is trained on rendered clips alone and shares nothing with the generator it judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from training.judge_data import (
    CLOSE_UP_MARGIN,
    SENTENCE,
    THING,
    VIEW_SIZE,
    WHOLE_FRAME,
    Batch,
    JudgeSet,
    blurred,
    names,
    object_squares,
    square_around,
    views,
)
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.model_files import written_together
from training.processes import agree, rank
from training.run_folder import RunFolder
from training.text import MAX_TOKENS, build_tokenizer
from training.world import ATTRIBUTES, Shot, caption, render_batch, sample_scene, variants

RECIPE = Recipe(learning_rate=1e-3, weight_decay=5e-2, ema_decay=0.998, save_every=250, betas=(0.9, 0.98))
PICTURES = 32
"""Pictures in a batch of one process; few, since many small steps learn more in the same time."""
LARGEST_LOGIT_SCALE = 4.6052
"""Logarithm of 100, as in CLIP."""


def new_judge(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained judge of 3 million parameters."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "image_size": VIEW_SIZE,
        "patch_size": 8,
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
    }
    judge = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))
    judge.set_attn_implementation("eager")  # over 65 tokens faster than the fused kernel on a CPU
    return judge


def new_processor() -> CLIPImageProcessor:
    """Brings whole frames and close-ups to what the judge sees in training, but for a filter's difference."""
    return CLIPImageProcessor(
        size={"height": VIEW_SIZE, "width": VIEW_SIZE},
        do_center_crop=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def picture_features(judge: CLIPModel, pictures: Tensor) -> Tensor:
    """Unit vectors (N, D) of pictures (N, 3, VIEW_SIZE, VIEW_SIZE) in [-1, 1]."""
    features = judge.get_image_features(pixel_values=pictures).pooler_output
    return F.normalize(features.float(), dim=-1)


def text_features(judge: CLIPModel, tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Unit vectors (N, D) of texts; words beyond the tokenizer's limit are cut off."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(judge.device)
    return F.normalize(judge.get_text_features(**tokens).pooler_output.float(), dim=-1)


def contrastive_loss(judge: CLIPModel, tokenizer: CLIPTokenizer, batch: Batch) -> Tensor:
    """How badly pictures and captions find one another.

    Every picture looks for its caption in the batch and every caption for its picture (pictures with
    equal captions share them); and every picture for the right one of captions that differ in one
    attribute.
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
    clips: NDArray[np.uint8], cache: Path, out: Path, run: RunFolder, budget: Budget, setting: Setting
) -> CLIPModel:
    """Train, or go on from the run's checkpoint; write the averaged weights to `out` and return them."""
    device, seed = setting.device, setting.seed
    torch.manual_seed(seed)
    if rank() == 0:
        object_squares(cache, len(clips))
    agree(0.0)  # the others wait until the file is there
    data = JudgeSet(clips, object_squares(cache, len(clips)))
    tokenizer = build_tokenizer()
    judge = new_judge(tokenizer).to(device)

    def loss_at(step: int, _progress: float) -> Tensor:
        batch_seed = int(np.random.default_rng((seed, step, rank())).integers(2**31))
        batch = data.batch(batch_seed, PICTURES * setting.batch_scale, device)
        with torch.autocast(device.type, torch.bfloat16):
            return contrastive_loss(judge, tokenizer, batch)

    finished = train(judge, loss_at, recipe=RECIPE, run=run, budget=budget)
    if rank() == 0:
        save_judge(finished, tokenizer, out)
        plot_log(run.log, run.log.with_suffix(".png"), "loss")
    return finished.float()


def save_judge(judge: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a folder that `CLIPModel`, `CLIPTokenizer` and `CLIPImageProcessor` load, in half precision."""
    with written_together(folder) as whole:
        judge.half().save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        new_processor().save_pretrained(whole)


@torch.inference_mode()
def accuracy(
    judge: CLIPModel,
    tokenizer: CLIPTokenizer,
    *,
    seeds: Sequence[int],
    held_out: bool | None,
    close_up: bool,
    sharpness: int = VIEW_SIZE,
) -> dict[str, float]:
    """How often the right value of each attribute is chosen, in fresh renders.

    Args:
        judge: the model.
        tokenizer: its tokenizer.
        seeds: of the scenes; the benchmarks' start at 3,000,000,000.
        held_out: as for `sample_scene`.
        close_up: ask about close-ups of the object instead of whole frames (and not about the place).
        sharpness: pixels that the views are blurred to.
    """
    scenes = [sample_scene(seed, held_out=held_out) for seed in seeds]
    clips = render_batch(scenes, shot=Shot(1, device=judge.device))
    frames, masks = torch.cat([c.frames for c in clips]), torch.cat([c.mask for c in clips])
    squares = square_around(masks) * torch.tensor((1, 1, CLOSE_UP_MARGIN), device=judge.device)
    if not close_up:
        squares = torch.tensor(WHOLE_FRAME, device=judge.device).expand(len(scenes), 3)
    pictures = picture_features(judge, blurred(views(frames, squares), sharpness))
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
