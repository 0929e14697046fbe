import torch

from dreammotion_core.method.distillation import (
    classifier_free_guidance,
    masked_direction,
    shortened,
    velocity_direction,
)
from dreammotion_core.method.parameterization import add_noise, noise_from_prediction


def test_guidance_of_one_is_the_conditional_prediction() -> None:
    uncond, text = torch.randn(2, 1, 4, 2, 3, 3)

    torch.testing.assert_close(classifier_free_guidance(uncond, text, 1.0), text)
    assert torch.equal(classifier_free_guidance(uncond, text, 0.0), uncond)


def test_guidance_extrapolates_from_the_unconditional_prediction() -> None:
    guided = classifier_free_guidance(torch.tensor(1.0), torch.tensor(3.0), 7.5)

    assert guided == 1.0 + 7.5 * 2.0


def test_masked_direction_is_zero_outside_the_mask_and_the_difference_inside() -> None:
    target, source = torch.randn(2, 1, 4, 2, 3, 3)
    mask = torch.zeros(1, 1, 2, 3, 3)
    mask[..., 0, :] = 1

    direction = masked_direction(target, source, mask)

    assert torch.equal(direction[..., 1:, :], torch.zeros(1, 4, 2, 2, 3))
    assert torch.equal(direction[..., 0, :], (target - source)[..., 0, :])


def test_equal_predictions_give_exactly_no_direction() -> None:
    prediction = torch.randn(1, 4, 2, 3, 3)

    assert not masked_direction(prediction, prediction.clone(), None).any()


def test_the_direction_carries_no_graph_of_the_denoiser() -> None:
    prediction = torch.randn(1, 4, 2, 3, 3, requires_grad=True) * 2

    assert not masked_direction(prediction, torch.zeros_like(prediction), None).requires_grad


def test_the_surrogate_loss_has_the_direction_as_its_gradient() -> None:
    latents = torch.randn(1, 4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(1, 1, 2, 3, 3) > 0.5).double()
    direction = masked_direction(*torch.randn(2, 1, 4, 2, 3, 3, dtype=torch.float64), mask)
    surrogate = 0.5 * (latents - (latents - direction).detach()).square().sum()

    (gradient,) = torch.autograd.grad(surrogate, latents)

    torch.testing.assert_close(gradient, direction)


def test_the_velocity_direction_is_the_difference_of_a_flow_models_own_predictions() -> None:
    target, source, noise, velocity, source_velocity = torch.randn(5, 1, 4, 2, 3, 3, dtype=torch.float64)
    sigma = torch.tensor(0.7, dtype=torch.float64)
    alpha = 1 - sigma
    noise_pred, source_noise_pred = (
        noise_from_prediction(v, add_noise(z, noise, alpha, sigma), alpha, sigma, "flow_prediction")
        for v, z in ((velocity, target), (source_velocity, source))
    )

    direction = velocity_direction(noise_pred - source_noise_pred, target - source, alpha, sigma)

    torch.testing.assert_close(direction, velocity - source_velocity)


def test_the_velocity_direction_of_other_schedules_is_noise_less_signal() -> None:
    target, source, noise, noise_pred, source_noise_pred = torch.randn(5, 1, 4, 2, 3, 3, dtype=torch.float64)
    sigma = torch.tensor(0.6, dtype=torch.float64)
    alpha = (1 - sigma**2).sqrt()
    velocities = [
        pred - (add_noise(z, noise, alpha, sigma) - sigma * pred) / alpha
        for pred, z in ((noise_pred, target), (source_noise_pred, source))
    ]

    direction = velocity_direction(noise_pred - source_noise_pred, target - source, alpha, sigma)

    torch.testing.assert_close(direction, velocities[0] - velocities[1])


def test_a_gradient_is_shortened_to_the_limit_and_keeps_where_it_points() -> None:
    gradient, direction = torch.randn(2, 1, 4, 2, 3, 3)

    found = shortened(gradient * 100, direction=direction, limit=0.5)

    torch.testing.assert_close(found.norm(), 0.5 * direction.norm())
    torch.testing.assert_close(found / found.norm(), gradient / gradient.norm())


def test_a_gradient_within_the_limit_keeps_its_bits() -> None:
    gradient, direction = torch.randn(2, 1, 4, 2, 3, 3)

    assert torch.equal(shortened(gradient * 0.01, direction=direction, limit=1.0), gradient * 0.01)


def test_where_nothing_pulls_nothing_is_shortened_to_nan() -> None:
    nothing, gradient = torch.zeros(1, 4, 2, 3, 3), torch.randn(1, 4, 2, 3, 3)

    assert torch.equal(shortened(nothing, direction=nothing, limit=1.0), nothing)
    assert torch.equal(shortened(gradient, direction=nothing, limit=1.0), nothing)
    assert torch.equal(shortened(nothing, direction=gradient, limit=1.0), nothing)
