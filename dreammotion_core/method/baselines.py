"""The methods known by name: ours, and those it is compared with on the same model and clips.

The baselines share deterministic steps along the noise levels: DDIM (Song et al., ICLR 2021, equation 12
without noise), or Euler's method with flow matching (docs/method.md, equation 18).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import ConfigError, NumericsError
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.method.distillation import (
    classifier_free_guidance,
    masked_direction,
    velocity_direction,
)
from dreammotion_core.method.editing import (
    EditState,
    EditTask,
    Method,
    Stepped,
    descended,
    dreammotion,
    part_of,
    refuse_infinite,
)
from dreammotion_core.method.parameterization import add_noise, draw_noise
from dreammotion_core.method.prior import Backend
from dreammotion_core.method.source_cache import SourceBranch
from dreammotion_core.method.windows import joined
from dreammotion_core.values import StepLosses


def check_timesteps(config: EditConfig, backend: Backend) -> None:
    """Raise `ConfigError` if a timestep in the range is noise alone, as CogVideoX's last one is."""
    last = config.timestep_range[1] - 1
    alpha, _ = backend.signal_and_noise(torch.tensor([last]), torch.zeros(1))
    if alpha == 0:
        raise ConfigError(
            f"timestep_range ends at {last + 1}, and at timestep {last} {backend.spec.label} sees noise "
            f"alone; end it at {last} or below"
        )


def timesteps_down_to_zero(start: float, *, num_steps: int, device: torch.device) -> Tensor:
    """(num_steps + 1,) whole timesteps from `start` to 0, evenly spaced."""
    return torch.linspace(start, 0, num_steps + 1).round().long().to(device)


def timesteps_from_strength(config: EditConfig, *, device: torch.device) -> Tensor:
    """The timesteps from the share of the range that `strength` names down to 0."""
    start = config.strength * (config.timestep_range[1] - 1)
    return timesteps_down_to_zero(start, num_steps=config.num_optimization_steps, device=device)


@device_failures_explained()
@torch.no_grad()
def guided_noise(
    backend: Backend,
    noisy: Tensor,
    timestep: Tensor,
    prompt: Tensor,
    negative: Tensor,
    scale: float,
    *,
    windows: Sequence[range] | None = None,
) -> Tensor:
    """The noise prediction under guidance (docs/method.md, equation 2); a scale of 1 costs one prediction.

    Latents are (1, C, f, h, w), timesteps (1,) and embeddings (1, L, D), here and below. In windows, each is
    predicted by itself.
    """

    def predicted(part: Tensor) -> Tensor:
        with_text = backend.predict_noise(part, timestep, prompt)
        if scale == 1:
            return with_text
        return classifier_free_guidance(backend.predict_noise(part, timestep, negative), with_text, scale)

    windows, num_frames = windows or [range(noisy.shape[2])], noisy.shape[2]
    return joined(((window, predicted(part_of(noisy, window))) for window in windows), num_frames=num_frames)


def moved(
    backend: Backend, noisy: Tensor, *, noise_pred: Tensor, now: Tensor, then: Tensor
) -> tuple[Tensor, Tensor]:
    """One step along a noise prediction, to a lower or higher timestep (docs/method.md, equation 18).

    The latents at `then` come with the clean latents that the prediction implies.
    """
    alpha, sigma = backend.signal_and_noise(now, noisy)
    signal = (noisy - sigma * noise_pred) / alpha
    return add_noise(signal, noise_pred, *backend.signal_and_noise(then, noisy)), signal


def reached(state: EditState, latents: Tensor, timestep: Tensor, **carried: Tensor) -> Stepped:
    """The step of a baseline that led to these clean latents; `NumericsError` if they are not finite."""
    if not torch.isfinite(latents).all():
        raise NumericsError(
            f"the latents are not finite at timestep {int(timestep)}; "
            "lower the guidance scale, or load the model in float32"
        )
    change = float((latents - state.latents).square().mean().sqrt())
    losses = StepLosses(appearance=change, spatial=0.0, temporal=0.0)
    return Stepped(latents, int(timestep), losses, change, carried)


def denoised(
    backend: Backend, task: EditTask, noisy: Tensor, *, step: int, now: Tensor, then: Tensor
) -> tuple[Tensor, Tensor]:
    """One guided step towards the target prompt, to a lower timestep; it gives what `moved` gives."""
    embeds, scale, windows = task.prompt_embeds, task.config.guidance_scale, task.windows_at(step)
    noise_pred = guided_noise(backend, noisy, now, embeds.target, embeds.negative, scale, windows=windows)
    return moved(backend, noisy, noise_pred=noise_pred, now=now, then=then)


def score_distillation(
    backend: Backend, task: EditTask, state: EditState, *, source_branch: SourceBranch
) -> Stepped:
    """V-SDS: descend along predicted minus added noise, without matching (docs/method.md, equation 19).

    With `direction_weighting` "velocity" it is the predicted minus the true velocity of flow matching. The
    direction contains the model's error, which DDS removes by its source branch; so results blur and
    saturate. It follows `Method` and caches nothing.

    Source: Poole et al., DreamFusion (ICLR 2023), for images; "V-SDS" in DreamMotion (ECCV 2024).
    """
    del source_branch
    return descended(task, state, partial(_step, backend))


@torch.no_grad()
def _step(
    backend: Backend, task: EditTask, latents: Tensor, timestep: Tensor, noise: Tensor
) -> tuple[Tensor, StepLosses]:
    scales = backend.signal_and_noise(timestep, noise)
    noisy, embeds, scale = add_noise(latents, noise, *scales), task.prompt_embeds, task.config.guidance_scale
    noise_pred = guided_noise(backend, noisy, timestep, embeds.target, embeds.negative, scale)
    direction = masked_direction(noise_pred, noise, task.latent_mask)
    if task.config.direction_weighting == "velocity":
        # Both noises belong to the same noisy latents, so there is no difference to a source.
        direction = velocity_direction(direction, torch.zeros_like(direction), *scales)
    refuse_infinite(direction, backend=backend, timestep=timestep)
    losses = StepLosses(float(direction.square().mean().sqrt()), spatial=0.0, temporal=0.0)
    return task.config.appearance_weight * direction, losses


def sdedit(backend: Backend, task: EditTask, state: EditState, *, source_branch: SourceBranch) -> Stepped:
    """SDEdit: noise the clip, then denoise it towards the target prompt.

    ``config.strength`` is the share of the timestep range that the noise reaches: 0.3 changes little, 0.9
    leaves little of the source. It follows `Method` and caches nothing.

    Source: Meng et al., SDEdit (ICLR 2022).
    """
    del source_branch
    config, source = task.config, task.source_latents
    timesteps = timesteps_from_strength(config, device=source.device)
    noisy = state.carried.get("noisy")
    if noisy is None:
        noise = draw_noise(config.seed, step=0, like=source)
        noisy = add_noise(source, noise, *backend.signal_and_noise(timesteps[:1], source))
    now, then = timesteps[state.step : state.step + 2, None]
    noisy, signal = denoised(backend, task, noisy, step=state.step + 1, now=now, then=then)
    return reached(state, signal, now, noisy=noisy)


def check_inversion(backend: Backend, config: EditConfig) -> None:
    """Raise `ConfigError` for fewer than two steps: one up and one down."""
    del backend
    if config.num_optimization_steps < 2:
        raise ConfigError("ddim-inversion takes at least 2 steps: one up to the noise and one back")


def inversion_word_swap(
    backend: Backend, task: EditTask, state: EditState, *, source_branch: SourceBranch
) -> Stepped:
    """DDIM inversion and word swap: up to the noise with the source prompt, down with the target prompt.

    Half of the steps go up without guidance, which would lead away from the clip. The others go down with
    guidance. It follows `Method` and caches nothing.

    Source: Song et al., DDIM (ICLR 2021), section 4.3; the word swap as in DreamMotion's comparison on
    Show-1, without attention injection.
    """
    del source_branch
    config, embeds = task.config, task.prompt_embeds
    noisy = state.carried.get("noisy", task.source_latents)
    top, steps_up = config.timestep_range[1] - 1, config.num_optimization_steps // 2
    if state.step < steps_up:
        up = timesteps_down_to_zero(top, num_steps=steps_up, device=noisy.device).flip(0)
        now, then = up[state.step : state.step + 2, None]
        # The prediction is made at the level it leads to, like that of the step back down.
        windows = task.windows_at(state.step + 1)
        noise_pred = guided_noise(backend, noisy, then, embeds.source, embeds.negative, 1.0, windows=windows)
        noisy, signal = moved(backend, noisy, noise_pred=noise_pred, now=now, then=then)
        return reached(state, signal, then, noisy=noisy)
    steps_down, done = config.num_optimization_steps - steps_up, state.step - steps_up
    now, then = timesteps_down_to_zero(top, num_steps=steps_down, device=noisy.device)[done : done + 2, None]
    noisy, signal = denoised(backend, task, noisy, step=state.step + 1, now=now, then=then)
    return reached(state, signal, now, noisy=noisy)


SOURCE_GUIDANCE = 3.5
"""Guidance scale of the source branch; the authors' value with Stable Diffusion 3."""


def check_flow_model(backend: Backend, config: EditConfig) -> None:
    """Raise `ConfigError` unless the model is one of flow matching, where signal and noise add up to 1."""
    del config
    middle = torch.tensor([500], device=backend.device)
    alpha, sigma = backend.signal_and_noise(middle, torch.zeros(1, 1, 1, 1, 1, device=backend.device))
    if abs(float(alpha + sigma) - 1) > 1e-3:
        raise ConfigError(
            f"flowedit needs a flow-matching model, and {backend.spec.label} is not one; "
            "choose another method, or a model such as Wan"
        )


def flowedit(backend: Backend, task: EditTask, state: EditState, *, source_branch: SourceBranch) -> Stepped:
    """FlowEdit: integrate v(target) - v(source) down to no noise (docs/method.md, equation 20).

    Both branches share one new noise a step. ``config.strength`` is the share of the timestep range at which
    it begins; ``config.guidance_scale`` guides the target branch. It follows `Method` and caches nothing.

    Source: Kulikov et al., FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models (ICCV
    2025), algorithm 1 with one noise a step.
    """
    del source_branch
    config, embeds, source, edited = task.config, task.prompt_embeds, task.source_latents, state.latents
    timesteps = timesteps_from_strength(config, device=source.device)
    now, then = timesteps[state.step : state.step + 2, None]
    alpha, sigma = backend.signal_and_noise(now, source)
    noisy_source = add_noise(source, draw_noise(config.seed, step=state.step + 1, like=source), alpha, sigma)
    noisy_edited, scale = noisy_source + (edited - source), config.guidance_scale
    source_scale = min(SOURCE_GUIDANCE, scale)
    guided = partial(guided_noise, backend, windows=task.windows_at(state.step + 1))
    of_edited = guided(noisy_edited, now, embeds.target, embeds.negative, scale)
    of_source = guided(noisy_source, now, embeds.source, embeds.negative, source_scale)
    # A velocity is (noise - noisy) / alpha; the part that both noisy latents share cancels.
    velocity_difference = (of_edited - of_source - (edited - source)) / alpha
    sigma_then = backend.signal_and_noise(then, source)[1]
    return reached(state, edited + (sigma_then - sigma) * velocity_difference, now)


@dataclass(frozen=True)
class MethodEntry:
    """A method by name; `check` raises `ConfigError` for models and settings that it cannot work with."""

    label: str
    step: Method
    check: Callable[[Backend, EditConfig], None] | None = None


METHODS: Mapping[str, MethodEntry] = {
    "dreammotion": MethodEntry("DreamMotion: V-DDS with matching", dreammotion),
    "v-sds": MethodEntry("V-SDS", score_distillation),
    "sdedit": MethodEntry("SDEdit", sdedit),
    "ddim-inversion": MethodEntry("DDIM inversion and word swap", inversion_word_swap, check_inversion),
    "flowedit": MethodEntry("FlowEdit", flowedit, check_flow_model),
}
"""All methods by the names of `EditConfig.method`."""


def method_for(config: EditConfig, *, backend: Backend) -> Method:
    """The method that the settings name; `ConfigError` if it needs another model, more steps or timesteps."""
    check_timesteps(config, backend)
    entry = METHODS[config.method]
    if entry.check is not None:
        entry.check(backend, config)
    return entry.step
