"""What an edit with each published model costs at least, on any device: ``python -m benchmarks.counted``.

Operations and memory are counted on tensors without values, so that no device and no weights are needed:
for the exact configurations, at their own number of frames and size, in the precision that a GPU computes in
by default. Each model is counted with the usual options, with those of `LoadOptions.low_memory`, and with
the step of a plain port of the paper (`benchmarks.step`). The text encoder, the autoencoder, a step and the
later stages of a cascade work one after the other; the largest decides, with the weights that lie beside it.
These figures are the `memory_bytes` of `dreammotion_core/models/catalog.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.arguments import described_parser, frames_of
from benchmarks.cost import (
    IMAGE_PARTS,
    MODELS,
    NUM_TOKENS,
    PUBLISHED,
    STRIDE,
    TEXT_WIDTH,
    Counter,
    StepInputs,
    as_loaded,
    fake_device,
    published_cascade,
    random_inputs,
    t5,
)
from benchmarks.step import naive_step
from dreammotion_core import LoadOptions
from dreammotion_core.method.editing import distill_step
from dreammotion_core.method.prior import Backend
from dreammotion_core.models.cascade.stages import KEY_FRAME_STEP, Guidance, PixelStage, networks
from dreammotion_core.models.catalog import KNOWN_MODELS, SHOW_1
from dreammotion_core.models.unet3d import UNet3DBackend

Size = tuple[int, int]  # (height, width) in pixels

COLUMNS = (
    "model",
    "frames",
    "size",
    "precision",
    "options",
    "TFLOP a step",
    "/ 5 forwards",
    "GB: text",
    "clip",
    "step",
    "later stages",
    "**most**",
)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What an edit needs of a device."""

    text_bytes: int  # held at the highest point while the prompts are encoded
    clip_bytes: int  # while the autoencoder encodes or decodes; 0 where it does neither
    step_bytes: int  # during an optimisation step
    later_bytes: int = 0  # during the later stages of a cascade; 0 without
    step_flops: int
    forward_flops: int

    @property
    def most_bytes(self) -> int:
        """Memory at the highest point of all."""
        return max(self.text_bytes, self.clip_bytes, self.step_bytes, self.later_bytes)


Step = Callable[[Backend, StepInputs], object]


def one_step(backend: Backend, inputs: StepInputs) -> None:
    """One step of the method; what is left of it dies at once."""
    distill_step(backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)


PROFILES: Sequence[tuple[str, Callable[..., LoadOptions], Step]] = (
    ("usual", LoadOptions, one_step),
    ("low memory", LoadOptions.low_memory, one_step),
    ("usual, plain port", LoadOptions, naive_step),
)
"""What is compared: a name, options that take a precision, and the step."""
COUNTED = [*PUBLISHED, SHOW_1.name]


def main() -> None:
    """Count every model with every profile and print one line of a table for each."""
    parser = described_parser("counted", __doc__)
    parser.add_argument("--models", nargs="+", choices=COUNTED, default=COUNTED, metavar="NAME")
    parser.add_argument(
        "--frames", type=frames_of, nargs="+", metavar="N", help="instead of each model's own number"
    )
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|")
    for name in options.models:
        for num_frames in options.frames or [None]:
            for line in lines(name, num_frames=num_frames):
                print(line, flush=True)


def lines(name: str, *, num_frames: int | None = None) -> Iterator[str]:
    """The lines of the table for a model of `COUNTED`; None takes its own number of frames."""
    (spec,) = (spec for spec in KNOWN_MODELS if spec.name == name)
    (height, width), num_frames = spec.resolution, num_frames or spec.num_frames
    count = counted_cascade if name == SHOW_1.name else partial(counted_edit, name)
    for profile, make_options, step in PROFILES:
        options = make_options(torch_dtype=getattr(torch, spec.gpu_precision))
        need = count(size=spec.resolution, num_frames=num_frames, options=options, step=step)
        memory = (need.text_bytes, need.clip_bytes, need.step_bytes, need.later_bytes)
        cells = (
            name,
            num_frames,
            f"{width}x{height}",
            spec.gpu_precision,
            profile,
            f"{need.step_flops / 1e12:.1f}",
            f"{need.step_flops / need.forward_flops / 5:.2f}",
            *(f"{value / 1e9:.1f}" if value else "" for value in memory),
            f"**{need.most_bytes / 1e9:.1f}**",
        )
        yield f"| {' | '.join(map(str, cells))} |"


def counted_edit(
    name: str, *, size: Size, num_frames: int, options: LoadOptions, step: Step = one_step
) -> Need:
    """Count an edit."""
    model = MODELS[name]
    with fake_device():
        parts = {part: as_loaded(make, options.dtype) for part, make in PUBLISHED[name].items()}
        backend: Any = model.build(device="cpu", options=options, parts=parts)
        vae = getattr(backend, "vae", None) or backend.codec.vae
        inputs = random_inputs(
            backend,
            text_shape=model.text_shape,
            num_frames=num_frames,
            latent_size=(size[0] // STRIDE, size[1] // STRIDE),
        )
        # What lies on the device beside the part at work; see `Placement`.
        resident = () if options.offload == "model" else (backend.denoiser, vae)
        peak = partial(_peak, resident)
        return Need(
            text_bytes=peak(backend.text_encoder, _encoding(backend.text_encoder, model.text_shape[0])),
            clip_bytes=max(
                peak(vae, lambda: backend.encode_video(torch.zeros(num_frames, 3, *size))),
                peak(vae, lambda: backend.decode_video(inputs.latents)),
            ),
            **_step_need(resident, backend, inputs, step),
        )


def counted_cascade(*, size: Size, num_frames: int, options: LoadOptions, step: Step = one_step) -> Need:
    """Count an edit with Show-1; its later stages count by one pass of each network, guidance included."""
    with fake_device():
        of_last = {name: as_loaded(make, options.dtype) for name, make in IMAGE_PARTS.items()}
        backend: Any = published_cascade(
            options, text_encoder=as_loaded(t5, options.dtype), latent_parts=of_last
        )
        latent, pixel_networks = backend.stages.latent, networks(backend.stages)
        offloads = options.offload == "model"
        # The last stage sends its own parts away and knows nothing of those in pixels, and so do they.
        kept_by_others = [pixel_networks[-1]] if offloads else [*pixel_networks, latent.denoiser, latent.vae]
        in_pixels = [latent.vae] if offloads else kept_by_others
        inputs = random_inputs(
            backend,
            text_shape=(NUM_TOKENS, TEXT_WIDTH),
            num_frames=num_frames,
            latent_size=backend.manifest.key_frames.size,
        )
        return Need(
            text_bytes=_peak(in_pixels, backend.text_encoder, _encoding(backend.text_encoder, NUM_TOKENS)),
            clip_bytes=0,  # key frames are only made smaller
            later_bytes=max(
                _pixel_stages_peak(backend, in_pixels),
                _latent_stage_peak(latent, kept_by_others, size=size, num_frames=num_frames),
            ),
            **_step_need(in_pixels, backend, inputs, step),
        )


def _step_need(
    resident: Sequence[nn.Module], backend: Backend, inputs: StepInputs, step: Step
) -> dict[str, int]:
    @torch.no_grad()
    def forward() -> None:
        backend.predict_noise(inputs.latents, inputs.timestep, inputs.task.prompt_embeds.target)

    counter = _counted(resident, backend.denoiser, lambda: step(backend, inputs))
    return {
        "step_bytes": counter.peak_bytes,
        "step_flops": counter.flops,
        "forward_flops": _counted(resident, backend.denoiser, forward).flops,
    }


def _pixel_stages_peak(backend: Any, resident: Sequence[nn.Module]) -> int:
    manifest, stages = backend.manifest, backend.stages
    larger: Any = manifest.super_resolution
    height, width = manifest.key_frames.size
    large = (height * larger.scale, width * larger.scale)
    of_pictures, of_clips = stages.super_resolution

    @torch.no_grad()
    def draw(stage: PixelStage, num_frames: int, size: Size, noise_level: int | None) -> None:
        clip = torch.zeros(num_frames, stage.unet.config.in_channels, *size)
        embeds = torch.zeros(1, NUM_TOKENS, TEXT_WIDTH)
        stage._run_unet(clip, torch.tensor(500), Guidance(embeds, embeds, scale=2.0).embeds, noise_level)

    return max(
        _peak(resident, stage.unet, partial(draw, stage, num_frames, size, level))
        for stage, num_frames, size, level in (
            (stages.interpolation, KEY_FRAME_STEP + 1, manifest.key_frames.size, None),
            (of_pictures, 1, large, larger.first_frame.noise_level),
            (of_clips, larger.window, large, larger.noise_level),
        )
    )


def _latent_stage_peak(
    latent: UNet3DBackend, resident: Sequence[nn.Module], *, size: Size, num_frames: int
) -> int:
    latents = torch.zeros(2, 4, num_frames, size[0] // STRIDE, size[1] // STRIDE)
    embeds = torch.zeros(2, NUM_TOKENS, latent.denoiser.config.cross_attention_dim)
    denoise = torch.no_grad()(partial(latent.predict_noise, latents, torch.tensor([500, 500]), embeds))
    return max(
        _peak(resident, latent.text_encoder, _encoding(latent.text_encoder, NUM_TOKENS)),
        _peak(resident, latent.vae, partial(latent.encode_video, torch.zeros(num_frames, 3, *size))),
        _peak(resident, latent.vae, partial(latent.decode_video, latents[:1])),
        _peak(resident, latent.denoiser, denoise),
    )


def _encoding(text_encoder: nn.Module, num_tokens: int) -> Callable[[], object]:
    tokens = torch.zeros(1, num_tokens, dtype=torch.long)
    return torch.no_grad()(partial(text_encoder, tokens))


def _peak(resident: Sequence[nn.Module], part: nn.Module, work: Callable[[], object]) -> int:
    return _counted(resident, part, work).peak_bytes


def _counted(resident: Sequence[nn.Module], part: nn.Module, work: Callable[[], object]) -> Counter:
    """Count some work of a part, with the weights of the networks that stay on the device beside it."""
    with Counter() as counter:
        counter.announce(part, *resident)
        work()
    return counter


if __name__ == "__main__":
    main()
