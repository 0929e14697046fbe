"""CogVideoX 2B and 5B: v-prediction over the latents of a video autoencoder.

The denoiser attends to text and to all tokens of space and time at once, the text in front.
"""

from __future__ import annotations

from typing import Any, Self

from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor

from dreammotion_core.errors import ModelLoadError
from dreammotion_core.method.parameterization import PredictionType
from dreammotion_core.models.loading import ModelFiles
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.models.video_transformer import VideoTransformerBackend, load_parts
from dreammotion_core.spec import ModelSpec

PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")


class CogVideoXBackend(VideoTransformerBackend):
    """A CogVideoX transformer over a video autoencoder, with a text encoder; parts as from `load_parts`.

    Only the noise levels of the scheduler are used.
    """

    def __init__(self, spec: ModelSpec, *, scheduler: CogVideoXDDIMScheduler, **parts: Any) -> None:
        config = parts["transformer"].config
        super().__init__(
            spec,
            blocks="transformer_blocks",
            patch_size=config.patch_size,
            max_tokens=config.max_text_seq_length,
            num_text_tokens=config.max_text_seq_length,
            **parts,
        )
        self.scheduler = scheduler
        self.prediction_type: PredictionType = scheduler.config.prediction_type

    @classmethod
    def from_pretrained(cls, spec: ModelSpec, *, options: LoadOptions) -> Self:
        """Load all parts from a folder, or at the pinned revision from the hub; errors as in `ModelFiles`."""
        files = ModelFiles(spec, parts=PARTS)
        _check_variant(files)
        return cls(
            spec,
            scheduler=files.load("scheduler", CogVideoXDDIMScheduler.from_pretrained),
            **load_parts(files, CogVideoXTransformer3DModel, options=options),
        )

    def _predict(self, noisy_latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        rotary = None
        if self.denoiser.config.use_rotary_positional_embeddings:
            rotary = self._rotary_embeddings(noisy_latents)
        # Unlike the other families, this one puts frames before channels.
        frames_first = noisy_latents.transpose(1, 2)
        return self._ask(frames_first, prompt_embeds, timestep, image_rotary_emb=rotary).transpose(1, 2)

    def _rotary_embeddings(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, each (tokens, head width), for (B, C, f, h, w) latents.

        Other shapes are fitted into the trained grid, so that positions stay in the trained range.
        """
        config, (num_frames, height, width) = self.denoiser.config, latents.shape[-3:]
        patch = config.patch_size
        grid = (height // patch, width // patch)
        trained = config.sample_width // patch, config.sample_height // patch
        cosines, sines = get_3d_rotary_pos_embed(
            config.attention_head_dim,
            get_resize_crop_region_for_grid(grid, *trained),
            grid_size=grid,
            temporal_size=num_frames,
            device=latents.device,
        )
        return cosines, sines


def _check_variant(files: ModelFiles) -> None:
    config, source = files.read_json("transformer/config.json"), files.spec.source
    if config.get("patch_size_t") is not None:
        raise ModelLoadError(
            f"{source} is CogVideoX 1.5, whose tokens span two latent frames; pass CogVideoX 2B or 5B"
        )
    if config.get("in_channels") != config.get("out_channels"):
        raise ModelLoadError(
            f"{source} is a variant of CogVideoX that wants a picture beside the text; pass "
            "CogVideoX 2B or 5B"
        )
