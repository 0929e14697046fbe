"""The promises of the loop (docs/method.md, "Promises"), on real tiny classes."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import NumericsError
from dreammotion_core.method.editing import (
    EditState,
    EditTask,
    PromptEmbeds,
    advance,
    distill_step,
    dreammotion,
)
from dreammotion_core.method.keys import KeyLayout, KeySite
from dreammotion_core.method.source_cache import DiskSourceCache, MemorySourceCache, SourceCache
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.models.unet3d import UNet3DBackend
from dreammotion_core.values import StepDone, StepLosses
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
    cache: SourceCache | None = None,
) -> Generator[tuple[StepDone, Tensor], None, None]:
    task = EditTask(source, embeds(backend, target), mask, config, backend.key_sites)
    return stepped(backend, task, cache)


def stepped(
    backend: UNet3DBackend, task: EditTask, cache: SourceCache | None = None
) -> Generator[tuple[StepDone, Tensor], None, None]:
    begun = EditState(task.source_latents)
    for done, state in advance(backend, task, begun, method=dreammotion, source_cache=cache):
        yield done, state.latents


def last(steps: Iterator[tuple[StepDone, Tensor]]) -> Tensor:
    return list(steps)[-1][1]


def test_equal_prompts_and_latents_give_exactly_no_direction_and_no_gradient(
    backend: UNet3DBackend, source: Tensor
) -> None:
    gradient, losses = distill_step(
        backend,
        EditTask(source, embeds(backend, target="a red car"), None, config(), backend.key_sites),
        source,
        torch.tensor([400]),
        torch.randn(SHAPE),
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


def test_a_weight_that_is_far_too_large_cannot_outweigh_the_direction(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    absurd = config(spatial_weight=1e5, temporal_weight=1e6)

    for step, latents in run(backend, source, mask, absurd):
        assert torch.isfinite(latents).all()
        assert step.gradient_norm <= 3.001 * step.losses.appearance
    free, _ = list(run(backend, source, mask, absurd.with_changes(matching_limit=0.0)))[-1]
    assert free.gradient_norm > 100 * free.losses.appearance


def test_matching_pulls_the_keys_back_towards_the_source(backend: UNet3DBackend, source: Tensor) -> None:
    pushed = source + 0.5 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    settings = config(appearance_weight=0.0, spatial_weight=1.0, temporal_weight=0.0)
    timestep, noise = torch.tensor([300]), torch.randn(SHAPE)

    def loss_and_gradient(latents: Tensor) -> tuple[float, Tensor]:
        gradient, losses = distill_step(
            backend,
            EditTask(source, embeds(backend), None, settings, backend.key_sites),
            latents,
            timestep,
            noise,
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


@pytest.mark.parametrize("layout", list(KeyLayout)[:2])
def test_the_cache_changes_no_bit_and_saves_the_source_branch(
    backend: UNet3DBackend, source: Tensor, mask: Tensor, layout: KeyLayout, tmp_path: Path
) -> None:
    kinds = {KeyLayout.FRAMES_OF_TOKENS: "attentions", KeyLayout.TOKENS_OF_FRAMES: "temp_attentions"}
    pattern = f"up_blocks.*.{kinds[layout]}.*.attn1.to_k"
    site = KeySite(pattern, layout)
    plain = [run_at(backend, source, mask, site, target) for target in TARGETS]

    for cache in (MemorySourceCache(), DiskSourceCache(tmp_path)):
        with counted_calls(backend.denoiser) as first:
            assert torch.equal(run_at(backend, source, mask, site, TARGETS[0], cache), plain[0])
        with counted_calls(backend.denoiser) as second:
            assert torch.equal(run_at(backend, source, mask, site, TARGETS[1], cache), plain[1])
        assert (len(first), len(second)) == (2 * 4, 2 * 2)


TARGETS = ("a blue car", "a blue ball")


def run_at(
    backend: UNet3DBackend,
    source: Tensor,
    mask: Tensor,
    site: KeySite,
    target: str,
    cache: SourceCache | None = None,
) -> Tensor:
    task = EditTask(
        source,
        embeds(backend, target),
        mask,
        config(spatial_weight=1.0).with_changes(num_optimization_steps=2),
        (site,),
    )
    return last(stepped(backend, task, cache))


@contextlib.contextmanager
def counted_calls(module: torch.nn.Module) -> Iterator[list[None]]:
    calls: list[None] = []
    handle = module.register_forward_hook(lambda *_: calls.append(None))
    yield calls
    handle.remove()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 8},
        {"guidance_scale": 3.0},
        {"negative_prompt": "a ball"},
        {"spatial_weight": 0.0, "temporal_weight": 0.0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_the_source_branch_depends_on_is_computed_again(
    backend: UNet3DBackend, source: Tensor, mask: Tensor, changes: dict[str, object]
) -> None:
    cache = MemorySourceCache()
    last(run(backend, source, mask, config(), cache=cache))
    settings = config().with_changes(**changes)
    prompts = PromptEmbeds(
        *(backend.encode_prompt(p) for p in ("a red car", "a blue car", settings.negative_prompt))
    )

    with counted_calls(backend.denoiser) as calls:
        task = EditTask(source, prompts, mask, settings, backend.key_sites)
        list(stepped(backend, task, cache))

    assert len(calls) == 3 * 4


def retrained(model: UNet3DBackend) -> None:
    for parameter in model.denoiser.parameters():
        parameter.data += 1e-3


def with_other_predictions(model: UNet3DBackend) -> None:
    model.prediction_type = "v_prediction"


def with_other_heads(model: UNet3DBackend) -> None:
    for attention in (module for module in model.denoiser.modules() if hasattr(module, "heads")):
        attention.heads *= 2


@pytest.mark.parametrize("change", [retrained, with_other_predictions, with_other_heads])
def test_another_model_finds_nothing_in_the_cache(
    source: Tensor, mask: Tensor, change: Callable[[UNet3DBackend], None]
) -> None:
    cache, model = MemorySourceCache(), tiny_unet3d()
    last(run(model, source, mask, config(), cache=cache))
    change(model)

    with counted_calls(model.denoiser) as calls:
        last(run(model, source, mask, config(), cache=cache))

    assert len(calls) == 3 * 4


def test_another_clip_finds_nothing_in_the_cache(
    backend: UNet3DBackend, source: Tensor, mask: Tensor
) -> None:
    cache = MemorySourceCache()
    last(run(backend, source, mask, config(), cache=cache))

    with counted_calls(backend.denoiser) as calls:
        last(run(backend, source + 1e-3, mask, config(), cache=cache))

    assert len(calls) == 3 * 4


def test_gradient_checkpointing_changes_no_bit(source: Tensor, mask: Tensor) -> None:
    plain = tiny_unet3d()
    thrifty = tiny_unet3d(options=LoadOptions(gradient_checkpointing=True))

    assert torch.equal(last(run(thrifty, source, mask, config())), last(run(plain, source, mask, config())))
