import pytest
import torch

from dreammotion_core.errors import BackendError
from dreammotion_core.method.parameterization import (
    add_noise,
    draw_noise,
    flow_signal_and_noise_scale,
    noise_from_prediction,
    signal_and_noise_scale,
)

ALPHAS_CUMPROD = torch.linspace(0.999, 0.01, 1000, dtype=torch.float64)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_gives_back_the_drawn_noise(prediction_type: str) -> None:
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 3, 4, 5, 5, 5, dtype=torch.float64, generator=generator)[:2]
    alpha, sigma = signal_and_noise_scale(ALPHAS_CUMPROD, torch.tensor([10, 500, 990]), latents)
    noisy = add_noise(latents, noise, alpha, sigma)
    perfect = {"epsilon": noise, "v_prediction": alpha * noise - sigma * latents}[prediction_type]

    recovered = noise_from_prediction(perfect, noisy, alpha, sigma, prediction_type)

    torch.testing.assert_close(recovered, noise, rtol=1e-10, atol=1e-10)


def test_a_perfect_velocity_gives_back_the_drawn_noise() -> None:
    latents, noise = torch.randn(2, 3, 4, 5, 5, 5, dtype=torch.float64)
    alpha, sigma = flow_signal_and_noise_scale(torch.tensor([10, 500, 990]), latents)

    recovered = noise_from_prediction(
        noise - latents, add_noise(latents, noise, alpha, sigma), alpha, sigma, "flow_prediction"
    )

    torch.testing.assert_close(sigma.flatten(), torch.tensor([0.01, 0.5, 0.99], dtype=torch.float64))
    torch.testing.assert_close(recovered, noise, rtol=1e-10, atol=1e-10)


def test_signal_and_noise_preserve_variance() -> None:
    alpha, sigma = signal_and_noise_scale(
        ALPHAS_CUMPROD, torch.arange(1000), torch.empty(1000, 1, dtype=torch.float64)
    )

    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(1000, 1, dtype=torch.float64))


def test_an_unknown_prediction_type_is_refused_by_name() -> None:
    with pytest.raises(BackendError, match=r"'sample'.*'epsilon', 'v_prediction' and 'flow_prediction'"):
        noise_from_prediction(torch.ones(1), torch.ones(1), torch.ones(1), torch.ones(1), "sample")  # type: ignore[arg-type]


class TestDrawnNoise:
    def test_two_windows_that_share_a_frame_share_its_noise(self) -> None:
        like = torch.empty(1, 4, 5, 6, 7)
        first, second = (draw_noise(3, step=2, like=like, first_frame=begin) for begin in (0, 3))

        assert torch.equal(first[:, :, 3:], second[:, :, :2])

    def test_the_beginning_of_a_clip_draws_what_the_whole_clip_draws(self) -> None:
        whole = draw_noise(3, step=2, like=torch.empty(1, 4, 5, 6, 7))

        assert torch.equal(draw_noise(3, step=2, like=torch.empty(1, 4, 2, 6, 7)), whole[:, :, :2])

    def test_no_two_seeds_steps_or_frames_share_their_noise(self) -> None:
        like = torch.empty(1, 4, 2, 6, 7)
        places = [(seed, step) for seed in (0, 1, 2**32, 2**63 - 1) for step in (0, 1)]
        noises = [draw_noise(seed, step=step, like=like) for seed, step in places]

        frames = {frame.numpy().tobytes() for noise in noises for frame in noise[0].transpose(0, 1)}
        assert len(frames) == 2 * len(places)

    def test_it_is_gaussian(self) -> None:
        noise = draw_noise(3, step=2, like=torch.empty(1, 8, 8, 32, 32))

        assert abs(float(noise.mean())) < 0.02
        assert abs(float(noise.std()) - 1) < 0.02
