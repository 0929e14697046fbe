"""The DreamMotion loop; one step predicts, matches keys and updates (docs/method.md, equation 8).

An edit is a small state that any process can take further: a step depends on nothing but the state before it
and on what the whole edit shares. Nothing stays open between two steps: no hook, no autograd mode, no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import NumericsError
from dreammotion_core.memory import device_failures_explained, tried_again
from dreammotion_core.method.distillation import (
    classifier_free_guidance,
    masked_direction,
    shortened,
    velocity_direction,
)
from dreammotion_core.method.keys import KeyCapture, KeySite
from dreammotion_core.method.parameterization import add_noise, draw_noise, seeded_generator
from dreammotion_core.method.prior import Backend
from dreammotion_core.method.similarity import match_keys
from dreammotion_core.method.source_cache import (
    UNCACHED,
    Prediction,
    SourceBranch,
    SourceCache,
    source_branch,
)
from dreammotion_core.method.windows import Windows, joined, mean_losses
from dreammotion_core.values import StepDone, StepLosses


@dataclass(frozen=True)
class PromptEmbeds:
    """Text embeddings of both branches and of the unconditional one, each (1, L, D)."""

    source: Tensor
    target: Tensor
    negative: Tensor


@dataclass(frozen=True, eq=False)
class EditTask:
    """What stays the same in every step.

    Latents are (1, C, F, h, w) float32; the mask is (1, 1, F, h, w) in [0, 1], None for the whole frame. The
    settings have a drawn seed. Without `windows` the clip is one. Of several objects, `further` has the
    target's embeddings (1, L, D) of each but the first, and its share (1, 1, F, h, w) of every latent.
    """

    source_latents: Tensor
    prompt_embeds: PromptEmbeds
    latent_mask: Tensor | None
    config: EditConfig
    key_sites: Sequence[KeySite]
    windows: Windows | None = None
    further: Sequence[tuple[Tensor, Tensor]] = ()

    @property
    def matched_sites(self) -> Sequence[KeySite]:
        """`key_sites`, or none with matching switched off."""
        return self.key_sites if self.config.uses_matching else ()

    @property
    def num_frames(self) -> int:
        """Latent frames."""
        return self.source_latents.shape[2]

    def windows_at(self, step: int) -> list[range]:
        """The windows of a step, in latent frames."""
        return self.windows.at(step) if self.windows else [range(self.num_frames)]

    def within(self, window: range) -> EditTask:
        """The part of the task in a window."""
        source = part_of(self.source_latents, window)
        mask = None if self.latent_mask is None else part_of(self.latent_mask, window)
        further = [(embeds, part_of(share, window)) for embeds, share in self.further]
        return replace(self, source_latents=source, latent_mask=mask, windows=None, further=further)


def part_of(clip: Tensor, window: range) -> Tensor:
    """The frames of a window; the whole clip as it lies in memory, since the last bits depend on that."""
    return clip if len(window) == clip.shape[2] else clip[:, :, window.start : window.stop].contiguous()


@dataclass(frozen=True, eq=False)
class EditState:
    """An edit after some of its steps; the first state holds the source's latents.

    Attributes:
        latents: (1, C, F, h, w) float32, the clean latents so far. Do not change them in place.
        carried: what a method or an optimiser needs besides, such as Adam's moments.
        losses: of each step so far.
    """

    latents: Tensor
    carried: Mapping[str, Tensor] = field(default_factory=dict)
    losses: tuple[StepLosses, ...] = ()

    @property
    def step(self) -> int:
        """How many steps are done."""
        return len(self.losses)


@dataclass(frozen=True, eq=False)
class Stepped:
    """What a step came to; `gradient_norm` is the root mean square of the update before the learning rate."""

    latents: Tensor
    timestep: int
    losses: StepLosses
    gradient_norm: float
    carried: Mapping[str, Tensor] = field(default_factory=dict)


class Method(Protocol):
    """A way to edit latents, step by step, with any model family."""

    def __call__(
        self, backend: Backend, task: EditTask, state: EditState, *, source_branch: SourceBranch
    ) -> Stepped:
        """Take one step from a state, which stays as it is; `NumericsError` if the result is not finite."""


def advance(
    backend: Backend,
    task: EditTask,
    state: EditState,
    *,
    method: Method,
    source_cache: SourceCache | None = None,
) -> Generator[tuple[StepDone, EditState], None, None]:
    """Take a state to the last step of its edit: the one place that computes, for all methods.

    If a step does not fit into memory, activations are computed again in the backward pass from then on,
    where possible. The cache keeps the answers of the source branch for other target prompts. The result is
    the same bits either way, and wherever the edit was interrupted and went on.

    Yields:
        After every step, what happened and the state.
    """
    config, sites = task.config, task.matched_sites
    scale, num_steps = config.guidance_scale, config.num_optimization_steps
    branch = source_branch(source_cache, backend=backend, guidance_scale=scale, key_sites=sites)
    step = tried_again(
        partial(method, backend, task, source_branch=branch), spare=backend.checkpointing.spare
    )
    try:
        while state.step < num_steps:
            started, done = time.perf_counter(), step(state)
            state = EditState(done.latents, done.carried, (*state.losses, done.losses))
            figures = (done.timestep, done.losses, done.gradient_norm, time.perf_counter() - started)
            yield StepDone(state.step, num_steps, *figures), state
    finally:
        backend.checkpointing.relax()


def dreammotion(
    backend: Backend, task: EditTask, state: EditState, *, source_branch: SourceBranch
) -> Stepped:
    """A step of DreamMotion: one timestep, in each window the gradient, then one update of the whole clip."""
    return descended(task, state, partial(distill_step, backend, source_branch=source_branch))


GradientOfStep = Callable[[EditTask, Tensor, Tensor, Tensor], tuple[Tensor, StepLosses]]
"""(task, latents, timestep (1,), noise) -> (gradient on the latents, losses)."""


def descended(task: EditTask, state: EditState, gradient_of: GradientOfStep) -> Stepped:
    """One step down a gradient, in windows. Timestep and noise follow from the seed, step and frame."""
    config, step, latents = task.config, state.step + 1, state.latents
    timestep = draw_timesteps(config)[step - 1 : step].to(latents.device)
    windows, losses = task.windows_at(step), list[StepLosses]()

    def gradient_in(window: range) -> Tensor:
        here, now = task.within(window), part_of(latents, window)
        noise = draw_noise(config.seed, step=step, like=now, first_frame=window.start)
        gradient, found = gradient_of(here, now, timestep, noise)
        losses.append(found)
        return gradient

    gradient = joined(((window, gradient_in(window)) for window in windows), num_frames=task.num_frames)
    norm = float(gradient.square().mean().sqrt())
    latents, carried = _updated(state, gradient, config)
    return Stepped(latents, int(timestep), mean_losses(losses, windows), norm, carried)


def draw_timesteps(config: EditConfig) -> Tensor:
    """(N,) timesteps for N steps, drawn uniformly from the range by the seed, in the order they are used."""
    generator = seeded_generator(config.seed)
    timesteps = torch.randint(*config.timestep_range, (config.num_optimization_steps,), generator=generator)
    return timesteps.sort(descending=True).values if config.timestep_order == "descending" else timesteps


def learning_rate(config: EditConfig, *, step: int) -> float:
    """The learning rate of a step, counted from 1: it falls linearly, with the bits of torch's `LinearLR`."""
    rate, fall = config.learning_rate, config.learning_rate_end_factor - 1.0
    for done in range(step - 1):
        rate *= 1.0 + fall / (config.num_optimization_steps + done * fall)
    return rate


def _updated(state: EditState, gradient: Tensor, config: EditConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The latents after the optimiser's step, and what the optimiser carries to the next one."""
    latents, rate = state.latents.clone(), learning_rate(config, step=state.step + 1)
    latents.grad = gradient
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[config.optimizer]
    optimizer = kind([latents], lr=rate)
    if state.carried:
        optimizer.state[latents] = {name: value.clone() for name, value in state.carried.items()}
    optimizer.step()
    return latents.detach(), dict(optimizer.state[latents])


@device_failures_explained()
@torch.enable_grad()  # a caller may have switched it off
def distill_step(
    backend: Backend,
    task: EditTask,
    latents: Tensor,
    timestep: Tensor,
    noise: Tensor,
    *,
    source_branch: SourceBranch = UNCACHED,
) -> tuple[Tensor, StepLosses]:
    """The gradient of the edit on the latents (docs/method.md, equation 8), and the losses.

    Both branches and all losses share the (1,) timestep and the noise. Latents, noise and gradient are
    (1, C, F, h, w) float32; the losses are not weighted. `NumericsError` if the gradient is not finite.
    """
    config, embeds, sites = task.config, task.prompt_embeds, task.matched_sites
    variable = latents.detach().clone().requires_grad_(config.uses_matching)
    scales = backend.signal_and_noise(timestep, noise)
    of_source = (add_noise(task.source_latents, noise, *scales), timestep, embeds.source, embeds.negative)
    of_target = (add_noise(variable, noise, *scales), timestep, embeds.target, embeds.negative)
    source = source_branch(of_source, lambda: predict(backend, *of_source, config, sites))
    target = predict(backend, *of_target, config, sites, further=task.further)

    direction = masked_direction(target.noise_pred, source.noise_pred, task.latent_mask)
    if config.direction_weighting == "velocity":
        difference = masked_direction(latents, task.source_latents, task.latent_mask)
        direction = velocity_direction(direction, difference, *scales)
    weights = {"spatial_weight": config.spatial_weight, "temporal_weight": config.temporal_weight}
    spatial, temporal, matching_gradient = match_keys(target.keys, source.keys, variable, **weights)
    if task.latent_mask is not None and config.mask_matching:
        matching_gradient = matching_gradient * task.latent_mask
    if config.matching_limit > 0:
        matching_gradient = shortened(matching_gradient, direction=direction, limit=config.matching_limit)
    gradient = config.appearance_weight * direction + matching_gradient
    refuse_infinite(gradient, backend=backend, timestep=timestep)
    return gradient, StepLosses(float(direction.square().mean().sqrt()), spatial, temporal)


def refuse_infinite(gradient: Tensor, *, backend: Backend, timestep: Tensor) -> None:
    """Raise `NumericsError` if a gradient is not finite."""
    if not torch.isfinite(gradient).all():
        raise NumericsError(
            f"the gradient is not finite at timestep {int(timestep)} (model in {backend.denoiser.dtype}); "
            "lower the learning rate or the matching weights, or load the model in a wider precision: "
            "bfloat16 instead of float16, or float32"
        )


def predict(
    backend: Backend,
    noisy_latents: Tensor,
    timestep: Tensor,
    prompt_embeds: Tensor,
    negative_embeds: Tensor,
    config: EditConfig,
    key_sites: Sequence[KeySite],
    *,
    further: Sequence[tuple[Tensor, Tensor]] = (),
) -> Prediction:
    """One branch: the guided noise prediction, and the keys of its conditional half from the same pass.

    Further objects cost one pass each: their prompts decide where their shares lie (see `EditTask`).

    Every pass has the same shape, so that equal inputs give equal bits and both branches cancel exactly; rows
    of one batch do not promise that. Autograd records only if `noisy_latents` requires it, and only up to the
    last key. Latents are (1, C, F, h, w), timesteps (1,), embeddings (1, L, D); key sites may be empty.
    """
    with torch.no_grad():
        noise_pred_uncond = backend.predict_noise(noisy_latents, timestep, negative_embeds)
    capture = KeyCapture(
        backend.denoiser, key_sites, batch_size=1, num_frames=noisy_latents.shape[2], stop_recording=True
    )
    with capture:
        noise_pred_text = backend.predict_noise(noisy_latents, timestep, prompt_embeds)
    first = noise_pred_text.detach()
    for embeds, share in further:
        with torch.no_grad():
            other = backend.predict_noise(noisy_latents, timestep, embeds)
        noise_pred_text = noise_pred_text + share * (other - first)
    noise_pred = classifier_free_guidance(noise_pred_uncond, noise_pred_text, config.guidance_scale)
    return Prediction(noise_pred, capture.keys())
