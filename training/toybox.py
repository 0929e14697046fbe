"""Training `toybox`: rendered pairs, the autoencoder, the transformer, and their manifest."""

from __future__ import annotations

from pathlib import Path

from dreammotion_core.models.frame_vae import FrameAutoencoder
from dreammotion_core.models.loading import FORMAT_VERSION
from training.autoencoder import train_autoencoder
from training.checks import load_trained
from training.data import RESOLUTION
from training.loop import Budget, Setting
from training.model_files import write_index
from training.pairs import CLIPS, PICTURES, Rendered, rendered_pairs
from training.run_folder import RunFolder
from training.text import vocabulary
from training.transformer import encoded, train_transformer

SETTINGS = {"guidance_scale": 4.0, "direction_weighting": "velocity", "learning_rate": 0.04}


def train_toybox(
    *,
    cache: Path,
    out: Path,
    text_folder: Path,
    num_pairs: tuple[int, int],
    runs: tuple[RunFolder, RunFolder],
    budgets: tuple[Budget, Budget],
    setting: Setting,
    processes: int = 2,
) -> None:
    """Train both parts, or go on from their checkpoints; write them and the manifest to `out`.

    Args:
        cache: where rendered pairs and latents are kept.
        out: the model's folder.
        text_folder: of a model whose text encoder is begun with.
        num_pairs: of pictures and of clips.
        runs: checkpoint and log of the autoencoder and of the transformer.
        budgets: how long each is trained.
        setting: device, seed and batch scale.
        processes: that render.
    """
    pictures = rendered_pairs(cache, PICTURES, num_pairs[0], processes=processes)
    if (out / "vae" / "config.json").exists():
        vae = load_trained(FrameAutoencoder.from_pretrained, out / "vae", remedy="train it anew with --again")
        vae = vae.float().to(setting.device).eval()
    else:
        vae = train_autoencoder(pictures, out=out / "vae", run=runs[0], budget=budgets[0], setting=setting)
    write_manifest(out)
    clips: Rendered = rendered_pairs(cache, CLIPS, num_pairs[1], processes=processes)
    train_transformer(
        encoded(pictures, PICTURES, vae=vae, folder=cache, device=setting.device),
        encoded(clips, CLIPS, vae=vae, folder=cache, device=setting.device),
        text_folder=text_folder,
        out=out,
        run=runs[1],
        budget=budgets[1],
        setting=setting,
    )


def write_manifest(out: Path) -> None:
    """`model_index.json`: what the loader needs to know beyond the weights of each part."""
    manifest = {
        "_class_name": "WanPipeline",
        "format_version": FORMAT_VERSION,
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["dreammotion_core", "FrameAutoencoder"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "resolution": [RESOLUTION, RESOLUTION],
        "num_frames": CLIPS.shot.num_frames,
        "max_frames": 16,
        "frame_step": 1,
        "fps": 8,
        "vocabulary": vocabulary(),
        "settings": SETTINGS,
    }
    write_index(out, manifest)
