"""Where the published Show-1 cascade lies, and the settings its authors run it with.

Settings from `run_inference.py` of showlab/Show-1; the revisions are the newest of the hub's main branches.
"""

from __future__ import annotations

from dreammotion_core.models.cascade.manifest import (
    CascadeManifest,
    FirstFrameSettings,
    KeyFrameSettings,
    LatentSuperResolutionSettings,
    SampledSettings,
    SuperResolutionSettings,
    TextSettings,
)
from dreammotion_core.models.catalog import SHOW_1, SHOW_1_STAGES

BASE, BASE_REVISION = SHOW_1.source, SHOW_1.revision

SHOW_1_MANIFEST = CascadeManifest(
    text=TextSettings(source=BASE, revision=BASE_REVISION, max_tokens=77, mask_padding=True),
    key_frames=KeyFrameSettings(source=BASE, revision=BASE_REVISION, size=(40, 64)),
    interpolation=SampledSettings(
        source=SHOW_1_STAGES["interpolation"].source,
        revision=SHOW_1_STAGES["interpolation"].revision,
        num_inference_steps=75,
        guidance_scale=4.0,
    ),
    super_resolution=SuperResolutionSettings(
        source=SHOW_1_STAGES["super-resolution"].source,
        revision=SHOW_1_STAGES["super-resolution"].revision,
        num_inference_steps=125,
        guidance_scale=7.0,
        noise_level=250,
        scale=4,
        window=8,
        first_frame=FirstFrameSettings(
            source=SHOW_1_STAGES["first frame"].source,
            revision=SHOW_1_STAGES["first frame"].revision,
            num_inference_steps=70,
            guidance_scale=4.0,
            noise_level=150,
        ),
    ),
    latent_super_resolution=LatentSuperResolutionSettings(
        source=SHOW_1_STAGES["latent-super-resolution"].source,
        revision=SHOW_1_STAGES["latent-super-resolution"].revision,
        num_inference_steps=50,
        guidance_scale=15.0,
        strength=0.8,
        negative_prompt="low resolution, blur",
    ),
)
