"""What is counted of random models is exact, and the same without values as with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from benchmarks import cost, counted
from benchmarks.cost import MODELS, PUBLISHED, Counter, fake_device, random_inputs
from benchmarks.counted import COLUMNS, counted_cascade, counted_edit, lines, one_step
from benchmarks.step import naive_step
from dreammotion_core import LoadOptions
from dreammotion_core.method.editing import distill_step
from dreammotion_core.models.catalog import ZEROSCOPE
from tests.benchmarks.conftest import TINY_UNET
from tests.tiny_cascade import TINY as TINY_PIXELS


@pytest.mark.parametrize(
    ("model", "num_parameters"),
    [("zeroscope", 1_411_233_860), ("wan-1.3b", 1_418_996_800), ("cogvideox-2b", 1_693_783_872)],
)
def test_the_configurations_are_exact(model: str, num_parameters: int) -> None:
    with torch.device("meta"):
        backend = MODELS[model].backend_of(MODELS[model].config, LoadOptions())

    assert sum(p.numel() for p in backend.denoiser.parameters()) == num_parameters


@pytest.mark.parametrize(
    ("model", "clip", "latents"),
    [("tiny", 3, 3), ("wan-small", 9, 3), ("cogvideox-small", 9, 3)],
)
def test_every_small_model_takes_a_step(model: str, clip: int, latents: int) -> None:
    backend = MODELS[model].build(device="cpu", options=LoadOptions(torch_dtype=torch.float32))
    inputs = random_inputs(backend, text_shape=MODELS[model].text_shape, num_frames=clip, latent_size=(4, 6))

    gradient, _ = distill_step(backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)

    assert gradient.shape == inputs.latents.shape
    assert gradient.shape[2] == latents
    assert gradient.any()


def test_operations_and_memory_are_counted_in_backward_passes_too() -> None:
    weight = torch.randn(32, 64, requires_grad=True)
    rows = torch.randn(16, 32)

    with Counter() as counter:
        product = rows @ weight
        (gradient,) = torch.autograd.grad(product, weight, torch.ones_like(product))
        held = counter.live_bytes
        del product, gradient
        freed = counter.live_bytes

    assert counter.flops == 2 * (2 * 16 * 32 * 64)
    assert held == (16 * 64 + 32 * 64) * 4
    assert freed == 0
    # The highest point holds the ones that the gradient began with, too.
    assert counter.peak_bytes == (16 * 64 + 16 * 64 + 32 * 64) * 4


def test_weights_count_where_they_are_announced() -> None:
    layer = torch.nn.Linear(8, 4, bias=False)

    with Counter() as counter:
        counter.announce(layer)

    assert counter.peak_bytes == 8 * 4 * 4


def test_without_a_device_the_same_is_counted_as_with_values() -> None:
    def count() -> Counter:
        backend = MODELS["tiny-wan"].build(device="cpu", options=LoadOptions(torch_dtype=torch.float32))
        inputs = random_inputs(backend, text_shape=(5, 8), num_frames=5, latent_size=(8, 8))
        with Counter() as counter:
            counter.announce(backend.denoiser)
            one_step(backend, inputs)
        return counter

    real = count()
    with fake_device():
        fake = count()

    assert fake.flops == real.flops > 0
    assert fake.peak_bytes == pytest.approx(real.peak_bytes, rel=0.02)


def test_every_model_has_a_line_for_each_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(ZEROSCOPE, name="tiny", resolution=(64, 64), num_frames=2, gpu_precision="bfloat16")
    monkeypatch.setattr(counted, "KNOWN_MODELS", [spec])
    monkeypatch.setitem(PUBLISHED, "tiny", tiny_parts())  # type: ignore[attr-defined]

    found = [line.strip("| ").split(" | ") for line in lines("tiny")]

    assert [cells[:5] for cells in found] == [
        ["tiny", "2", "64x64", "bfloat16", profile] for profile, _, _ in counted.PROFILES
    ]
    assert {len(cells) for cells in found} == {len(COLUMNS)}


@pytest.mark.parametrize(
    ("model", "part", "num_parameters"),
    [
        ("zeroscope", "vae", 83_653_863),
        ("zeroscope", "text_encoder", 340_387_840),
        ("wan-1.3b", "vae", 126_892_531),
        ("wan-14b", "text_encoder", 5_680_910_336),
        ("cogvideox-2b", "text_encoder", 4_762_310_656),
    ],
)
def test_the_parts_beside_the_denoiser_are_exact(model: str, part: str, num_parameters: int) -> None:
    with torch.device("meta"):
        network = PUBLISHED[model][part]()

    assert sum(p.numel() for p in network.parameters()) == num_parameters


def small_clip() -> CLIPTextModel:
    """Whose words are most of its memory."""
    width = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    words = {"vocab_size": 20_000, "bos_token_id": 0, "eos_token_id": 1}
    return CLIPTextModel(CLIPTextConfig(**width, **words, num_hidden_layers=1))


def tiny_parts() -> dict[str, object]:
    return {"vae": PUBLISHED["zeroscope"]["vae"], "text_encoder": small_clip}


def test_a_whole_edit_is_counted_by_its_hungriest_part(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tiny_parts()
    monkeypatch.setitem(PUBLISHED, "tiny", parts)  # type: ignore[attr-defined]

    usual, low = (
        counted_edit("tiny", size=(64, 64), num_frames=2, options=options)
        for options in (
            LoadOptions(torch_dtype=torch.float32),
            LoadOptions.low_memory(torch_dtype=torch.float16),
        )
    )

    weights = {name: sum(p.numel() for p in make().parameters()) * 4 for name, make in parts.items()}
    assert usual.text_bytes > weights["vae"] + weights["text_encoder"]
    assert weights["text_encoder"] / 2 < low.text_bytes < weights["text_encoder"]
    assert usual.clip_bytes > usual.step_bytes > weights["vae"]
    assert low.step_bytes < usual.step_bytes - weights["vae"]
    assert usual.most_bytes == max(usual.text_bytes, usual.clip_bytes, usual.step_bytes)


def test_a_step_needs_less_than_a_plain_port_and_less_still_without_its_activations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = tiny_parts() | {"vae": PUBLISHED["wan-1.3b"]["vae"]}
    monkeypatch.setitem(PUBLISHED, "tiny-wan", parts)  # type: ignore[attr-defined]
    dtype = torch.bfloat16

    usual, checkpointed, naive = (
        counted_edit("tiny-wan", size=(64, 64), num_frames=5, options=options, step=step)
        for options, step in (
            (LoadOptions(torch_dtype=dtype), one_step),
            (LoadOptions(torch_dtype=dtype, gradient_checkpointing=True), one_step),
            (LoadOptions(torch_dtype=dtype), naive_step),
        )
    )

    assert checkpointed.step_bytes < usual.step_bytes < naive.step_bytes
    assert usual.step_flops < checkpointed.step_flops
    assert usual.step_flops < naive.step_flops
    assert usual.forward_flops == naive.forward_flops


@pytest.fixture
def tiny_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the cascade that is counted tiny, but for the width of its text encoder."""
    in_pixels = TINY_PIXELS | {"encoder_hid_dim": cost.TEXT_WIDTH}
    with_level = in_pixels | {"in_channels": 6, "class_embed_type": "timestep"}
    for name, config in {
        "BASE": in_pixels | {"in_channels": 3},
        "INTERPOLATION": in_pixels | {"in_channels": 7},
        "SUPER_RESOLUTION": with_level,
        "FIRST_FRAME": with_level,
        "LATENT": TINY_UNET,
    }.items():
        monkeypatch.setattr(cost, name, config)
    t5 = T5Config(vocab_size=8, d_model=cost.TEXT_WIDTH, d_ff=16, num_layers=1, num_heads=2)
    parts = {"vae": AutoencoderKL, "text_encoder": small_clip}
    monkeypatch.setattr(counted, "t5", lambda: T5EncoderModel(t5))
    monkeypatch.setattr(counted, "IMAGE_PARTS", parts)


@pytest.mark.usefixtures("tiny_cascade")
def test_a_cascade_is_counted_over_all_of_its_stages() -> None:
    usual, low = (
        counted_cascade(size=(16, 24), num_frames=5, options=make(torch_dtype=torch.float16))
        for make in (LoadOptions, LoadOptions.low_memory)
    )

    t5 = 2 * 8 * cost.TEXT_WIDTH  # no less than its embeddings in float16
    assert usual.text_bytes > low.text_bytes > t5
    assert usual.step_bytes > low.step_bytes > 0
    assert usual.later_bytes > low.later_bytes > low.step_bytes
    assert usual.most_bytes == max(usual.text_bytes, usual.step_bytes, usual.later_bytes)
