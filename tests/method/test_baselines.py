"""Baselines: each is held to what its equations promise, on tiny real models and on one solved by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from dreammotion_core import ConfigError, DreamMotionPipeline, EditConfig, NumericsError
from dreammotion_core.cli.main import main
from dreammotion_core.config import CHOICES
from dreammotion_core.method.baselines import (
    METHODS,
    denoised,
    method_for,
    moved,
    reached,
    timesteps_down_to_zero,
)
from dreammotion_core.method.editing import EditState, EditTask, PromptEmbeds, advance, draw_timesteps
from dreammotion_core.method.parameterization import draw_noise
from dreammotion_core.values import StepDone
from tests.tiny import moving_square, save_tiny_unet3d, tiny_unet3d

SHAPE = (1, 2, 3, 4, 4)
EMBEDS = torch.zeros(1, 1, 1)
PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}


@dataclass
class GaussianModel:
    """The exact noise prediction where all clips are unit Gaussian noise: what denoising does is known."""

    is_flow: bool
    checkpointing: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(spare=lambda: False, relax=lambda: None)
    )
    device = torch.device("cpu")

    def signal_and_noise(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        level = (timestep.to(like.dtype) / 1000).reshape(-1, *[1] * (like.ndim - 1))
        if self.is_flow:
            return 1 - level, level
        return torch.cos(level * torch.pi / 2), torch.sin(level * torch.pi / 2)

    def predict_noise(self, noisy_latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        """The mean of the noise given the latents, moved along by the prompt's one number."""
        alpha, sigma = self.signal_and_noise(timestep, noisy_latents)
        return sigma * (noisy_latents - alpha * prompt_embeds) / (alpha**2 + sigma**2)


def task_of(config: EditConfig, *, target: float = 0.0, mask: Tensor | None = None) -> EditTask:
    source = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    embeds = PromptEmbeds(source=EMBEDS, target=EMBEDS + target, negative=EMBEDS)
    return EditTask(source, embeds, mask, config, ())


def edited(task: EditTask, backend: object) -> Tensor:
    """The latents after the last step."""
    steps = stepped(task, backend)
    assert [done.step for done, _ in steps] == list(range(1, task.config.num_optimization_steps + 1))
    assert all(isinstance(done, StepDone) and done.num_steps == len(steps) for done, _ in steps)
    return steps[-1][1]


def stepped(task: EditTask, backend: object) -> list[tuple[StepDone, Tensor]]:
    method, begun = METHODS[task.config.method].step, EditState(task.source_latents)
    steps = advance(backend, task, begun, method=method)  # type: ignore[arg-type]
    return [(done, state.latents) for done, state in steps]


class TestDenoising:
    @pytest.mark.parametrize("is_flow", [False, True])
    def test_the_path_of_a_gaussian_is_known(self, is_flow: bool) -> None:
        """The probability flow only rescales the latents: by 1 / sqrt(alpha^2 + sigma^2)."""
        model = GaussianModel(is_flow)
        noisy = torch.randn(SHAPE)
        timesteps = timesteps_down_to_zero(900, num_steps=300, device=model.device)
        task, alone = task_of(EditConfig(guidance_scale=1.0)), noisy
        for now, then in pairwise(timesteps[:, None]):
            alone, signal = denoised(model, task, alone, step=1, now=now, then=then)  # type: ignore[arg-type]
        alpha, sigma = model.signal_and_noise(timesteps[:1], noisy)

        assert int(now) == 3
        torch.testing.assert_close(signal, noisy / (alpha**2 + sigma**2).sqrt(), rtol=0.02, atol=0.02)

    def test_moving_to_the_same_level_changes_nothing(self) -> None:
        model, noisy, now = GaussianModel(is_flow=False), torch.randn(SHAPE), torch.tensor([400])
        same, signal = moved(model, noisy, noise_pred=torch.randn(SHAPE), now=now, then=now)  # type: ignore[arg-type]

        torch.testing.assert_close(same, noisy)
        assert not torch.allclose(signal, noisy)

    def test_infinite_latents_are_refused(self) -> None:
        with pytest.raises(NumericsError, match="timestep 7"):
            reached(EditState(torch.zeros(SHAPE)), torch.full(SHAPE, torch.inf), torch.tensor([7]))


class TestMethods:
    def test_every_name_of_the_settings_has_its_method(self) -> None:
        assert tuple(METHODS) == CHOICES["method"]
        with pytest.raises(ConfigError, match="'dreammotion' or 'v-sds'"):
            EditConfig(method="magic")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="strength"):
            EditConfig(strength=0.0)

    @pytest.mark.parametrize("is_flow", [False, True])
    def test_inversion_without_a_swap_comes_back(self, is_flow: bool) -> None:
        def distance(num_steps: int) -> float:
            config = EditConfig(
                method="ddim-inversion", num_optimization_steps=num_steps, guidance_scale=1.0, seed=0
            )
            task = task_of(config)
            return float((edited(task, GaussianModel(is_flow)) - task.source_latents).abs().max())

        assert distance(200) < 0.25 * distance(20)
        assert distance(200) < 0.08

    @pytest.mark.parametrize("method", ["sdedit", "ddim-inversion", "flowedit"])
    def test_latents_move_towards_the_target(self, method: str) -> None:
        config = EditConfig(
            method=method,  # type: ignore[arg-type]
            num_optimization_steps=40,
            guidance_scale=1.0,
            strength=0.9,
            seed=0,
        )
        task = task_of(config, target=5.0)
        shift = float((edited(task, GaussianModel(is_flow=True)) - task.source_latents).mean())

        assert 2 < shift < 7

    def test_flowedit_between_equal_prompts_changes_nothing(self) -> None:
        task = task_of(EditConfig(method="flowedit", num_optimization_steps=5, guidance_scale=3.0, seed=0))

        assert torch.equal(edited(task, GaussianModel(is_flow=True)), task.source_latents)

    def test_sdedit_forgets_more_with_more_strength(self) -> None:
        def distance(strength: float) -> float:
            config = EditConfig(method="sdedit", num_optimization_steps=20, strength=strength, seed=0)
            task = task_of(config)
            result = edited(task, GaussianModel(is_flow=False))
            return float((result - task.source_latents).square().mean())

        assert distance(0.002) < 1e-3 < distance(0.4) < distance(0.9)

    def test_sds_moves_even_without_a_change_of_words_and_stays_in_the_mask(self) -> None:
        mask = torch.zeros(1, 1, *SHAPE[2:])
        mask[..., :2] = 1
        config = EditConfig(method="v-sds", num_optimization_steps=3, learning_rate=0.1, seed=0)
        task = task_of(config, mask=mask)
        change = (edited(task, GaussianModel(is_flow=False)) - task.source_latents).abs()

        assert change[..., :2].max() > 1e-3
        assert change[..., 2:].max() == 0

    @pytest.mark.parametrize("weighting", ["noise", "velocity"])
    def test_sds_is_a_descent_along_predicted_minus_added_noise_or_velocity(self, weighting: str) -> None:
        config = EditConfig(
            method="v-sds",
            direction_weighting=weighting,  # type: ignore[arg-type]
            num_optimization_steps=1,
            learning_rate=0.5,
            learning_rate_end_factor=1.0,
            guidance_scale=1.0,
            seed=3,
        )
        task, model = task_of(config, target=2.0), GaussianModel(is_flow=True)
        steps = stepped(task, model)
        timestep = draw_timesteps(config)
        noise = draw_noise(3, step=1, like=task.source_latents)
        alpha, sigma = model.signal_and_noise(timestep, noise)
        noisy = alpha * task.source_latents + sigma * noise
        noise_pred = model.predict_noise(noisy, timestep, task.prompt_embeds.target)
        predicted, true = noise_pred, noise
        if weighting == "velocity":
            predicted = noise_pred - (noisy - sigma * noise_pred) / alpha
            true = noise - task.source_latents

        torch.testing.assert_close(steps[0][1], task.source_latents - 0.5 * (predicted - true))


class TestPipeline:
    @pytest.mark.parametrize("method", ["v-sds", "sdedit", "ddim-inversion"])
    def test_each_baseline_edits_within_the_mask_and_repeats(self, method: str) -> None:
        pipe, (video, mask) = DreamMotionPipeline(tiny_unet3d()), moving_square()
        config = EditConfig(method=method, num_optimization_steps=2, seed=4)  # type: ignore[arg-type]
        first, again = (pipe(video, **PROMPTS, mask=mask, config=config) for _ in range(2))

        assert np.array_equal(first.frames, again.frames)
        assert first.max_difference_outside == 0
        assert not np.array_equal(first.frames, video.frames)
        assert first.config.method == method
        assert len(first.losses) == 2

    def test_flowedit_needs_a_flow_model(self) -> None:
        pipe, (video, mask) = DreamMotionPipeline(tiny_unet3d()), moving_square()
        with pytest.raises(ConfigError, match="flow-matching"):
            pipe(video, **PROMPTS, mask=mask, config=EditConfig(method="flowedit"))

    def test_inversion_needs_two_steps(self) -> None:
        config = EditConfig(method="ddim-inversion", num_optimization_steps=1)
        with pytest.raises(ConfigError, match="at least 2"):
            method_for(config, backend=tiny_unet3d())

    def test_the_command_line_takes_a_baseline(self, tmp_path: Path) -> None:
        from dreammotion_core import write_video

        clip = write_video(moving_square(6, (64, 96))[0], tmp_path / "clip.mp4")
        words = ["edit", clip, "--source-prompt", "a red car", "--target-prompt", "a blue car", "--no-mask"]
        words += ["--model", save_tiny_unet3d(tmp_path / "model"), "--device", "cpu", "--steps", 2]
        words += ["--method", "sdedit", "--strength", 0.4, "--out", tmp_path / "out.mp4"]

        assert main([str(word) for word in words]) == 0
        assert '"method": "sdedit"' in (tmp_path / "out.json").read_text()
