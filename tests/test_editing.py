"""The promises of the loop (method section 5), on real tiny classes."""

import itertools
from collections.abc import Generator, Iterator

import pytest
import torch
from torch import Tensor

from dreammotion_core.backends.unet3d import UNet3DBackend
from dreammotion_core.config import EditConfig
from dreammotion_core.editing import PromptEmbeds, distill_step, edit_latents
from dreammotion_core.errors import NumericsError
from dreammotion_core.events import StepDone
from dreammotion_core.values import StepLosses
from tests.tiny import tiny_unet3d

SHAPE = (1, 4, 3, 8, 8)
OFF = {"spatial_weight": 0.0, "temporal_weight": 0.0}


@pytest.fixture(scope="module")
def backend() -> UNet3DBackend:
    return tiny_unet3d()


@pytest.fixture
def source() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def mask() -> Tensor:
    region = torch.zeros(1, 1, 3, 8, 8)
    region[..., 2:6, 2:6] = 1
    return region


def config(**changes: object) -> EditConfig:
    return EditConfig(num_optimization_steps=3, seed=7, learning_rate=0.1, **changes)  # type: ignore[arg-type]


def embeds(backend: UNet3DBackend, target: str = "a blue car") -> PromptEmbeds:
    return PromptEmbeds(*(backend.encode_prompt(p) for p in ("a red car", target, "")))


def run(
    backend: UNet3DBackend,
    source: Tensor,
    mask: Tensor | None,
    config: EditConfig,
    target: str = "a blue car",
) -> Generator[tuple[StepDone, Tensor], None, None]:
    return edit_latents(backend, source, embeds(backend, target), mask, config, backend.key_sites)


def last(steps: Iterator[tuple[StepDone, Tensor]]) -> Tensor:
    return list(steps)[-1][1]


def test_equal_prompts_and_latents_give_exactly_no_direction_and_no_gradient(
    backend: UNet3DBackend, source: Tensor
) -> None:
    gradient, losses = distill_step(
        backend,
        source,
        source,
        embeds(backend, target="a red car"),
        None,
        torch.tensor([400]),
        torch.randn(SHAPE),
        config(),
        backend.key_sites,
    )

    assert losses == StepLosses(0.0, 0.0, 0.0)
    assert not gradient.any()


def test_latents_outside_the_mask_stay_bit_identical_without_matching(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    for optimizer in ("sgd", "adam"):
        latents = last(run(backend, source, mask, config(optimizer=optimizer, **OFF)))
        outside = (mask == 0).expand(SHAPE)

        assert torch.equal(latents[outside], source[outside])
        assert not torch.equal(latents[~outside], source[~outside])


def test_the_matching_gradient_is_confined_to_the_mask_only_if_asked(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    outside = (mask == 0).expand(SHAPE)

    confined = last(run(backend, source, mask, config(mask_matching=True)))
    free = last(run(backend, source, mask, config(mask_matching=False)))

    assert torch.equal(confined[outside], source[outside])
    assert not torch.equal(free[outside], source[outside])


def test_without_a_mask_everything_may_move(backend: UNet3DBackend, source: Tensor) -> None:
    assert (last(run(backend, source, None, config(**OFF))) != source).all()


def test_the_same_seed_gives_the_same_result_and_another_seed_another(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    first, again = (last(run(backend, source, mask, config())) for _ in range(2))

    assert torch.equal(first, again)
    assert not torch.equal(first, last(run(backend, source, mask, config().with_changes(seed=8))))


def test_the_source_is_left_alone(backend: UNet3DBackend, source: Tensor, mask: Tensor) -> None:
    before = source.clone()

    last(run(backend, source, mask, config()))

    assert torch.equal(source, before)


@pytest.mark.parametrize("switched_off", ["spatial_weight", "temporal_weight", "appearance_weight"])
def test_each_loss_can_be_switched_off(
    backend: UNet3DBackend, source: Tensor, mask: Tensor, switched_off: str
) -> None:
    changed = config(**{switched_off: 0.0})
    # The first step starts at the source, where matching has nothing to do yet unless noise differs.
    steps = list(run(backend, source + 0, mask, changed))
    full = list(run(backend, source, mask, config()))

    assert not torch.equal(steps[-1][1], full[-1][1])
    losses = steps[-1][0].losses
    assert (losses.spatial == 0) == (switched_off == "spatial_weight")
    assert (losses.temporal == 0) == (switched_off == "temporal_weight")


def test_matching_pulls_the_keys_back_towards_the_source(backend: UNet3DBackend, source: Tensor) -> None:
    pushed = source + 0.5 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    settings = config(appearance_weight=0.0, spatial_weight=1.0, temporal_weight=0.0)
    timestep, noise = torch.tensor([300]), torch.randn(SHAPE)

    def loss_and_gradient(latents: Tensor) -> tuple[float, Tensor]:
        gradient, losses = distill_step(
            backend, latents, source, embeds(backend), None, timestep, noise, settings, backend.key_sites
        )
        return losses.spatial, gradient

    loss, gradient = loss_and_gradient(pushed)
    later_loss, _ = loss_and_gradient(pushed - 0.05 * loss / gradient.square().sum() * gradient)

    assert later_loss < 0.98 * loss


def test_closing_the_stream_leaves_the_model_as_it_was_found(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    steps = run(backend, source, mask, config())
    for _ in itertools.islice(steps, 2):
        assert not any(module._forward_hooks for module in backend.denoiser.modules())
        assert torch.is_grad_enabled()
    steps.close()

    assert not any(module._forward_hooks for module in backend.denoiser.modules())
    assert all(p.grad is None and not p.requires_grad for p in backend.denoiser.parameters())
    assert not backend.denoiser.training
    assert torch.is_grad_enabled()


def test_a_consumer_that_forbids_gradients_gets_the_same_result(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    with torch.no_grad():
        result = last(run(backend, source, mask, config()))

    assert torch.equal(result, last(run(backend, source, mask, config())))


def test_a_gradient_that_is_not_finite_stops_the_run_and_says_where(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    broken = source.clone()
    broken[0, 0, 0, 3, 3] = float("nan")

    with pytest.raises(NumericsError, match=r"not finite at timestep \d+ .*lower the learning rate"):
        last(run(backend, broken, mask, config()))


def test_steps_are_numbered_and_timed(backend: UNet3DBackend, source: Tensor, mask: Tensor) -> None:
    done = [step for step, _ in run(backend, source, mask, config(timestep_range=(200, 210)))]

    assert [step.step for step in done] == [1, 2, 3]
    assert all(step.num_steps == 3 and step.seconds > 0 and step.gradient_norm > 0 for step in done)
    assert all(200 <= step.timestep < 210 for step in done)


def test_descending_order_takes_the_same_timesteps_from_the_noisiest_on(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    drawn, sorted_down = (
        [step.timestep for step, _ in run(backend, source, mask, config(timestep_order=order))]
        for order in ("random", "descending")
    )

    assert drawn != sorted_down
    assert sorted(drawn, reverse=True) == sorted_down


@pytest.mark.parametrize(("end_factor", "rates"), [(1.0, (0.1, 0.1, 0.1)), (0.4, (0.1, 0.08, 0.06))])
def test_the_learning_rate_falls_linearly_towards_its_end(
    backend: UNet3DBackend, source: Tensor, mask: Tensor, end_factor: float, rates: tuple[float, ...]
) -> None:
    before, found = source, []
    for step, latents in run(backend, source, mask, config(learning_rate_end_factor=end_factor)):
        found.append(float((latents - before).square().mean().sqrt()) / step.gradient_norm)
        before = latents.clone()

    assert found == pytest.approx(rates, rel=1e-3)
