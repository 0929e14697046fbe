"""The benchmarks of a step run, and compare steps that do the same."""

import pytest
import torch

from benchmarks import gpu, step
from benchmarks.naive_step import naive_step
from benchmarks.random_models import MODELS, RandomModel, StepInputs, random_inputs
from dreammotion_core import LoadOptions
from dreammotion_core.backends.base import Backend
from dreammotion_core.editing import distill_step

TINY_UNET = {
    "block_out_channels": (32, 32),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "attention_head_dim": 16,
}


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = RandomModel(TINY_UNET, MODELS["unet3d-64"].backend_of, (5, 8))
    monkeypatch.setitem(MODELS, "tiny", tiny)  # type: ignore[attr-defined]


@pytest.fixture
def prepared() -> tuple[Backend, StepInputs]:
    backend = MODELS["tiny"].build(device="cpu", options=LoadOptions(torch_dtype=torch.float32))
    return backend, random_inputs(backend, text_shape=(5, 8), num_frames=2, latent_size=(8, 8))


def test_the_naive_step_gives_the_gradient_of_the_real_one(prepared: tuple[Backend, StepInputs]) -> None:
    backend, inputs = prepared

    naive = naive_step(backend, inputs)
    gradient, _ = distill_step(backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)

    torch.testing.assert_close(naive, gradient, rtol=1e-3, atol=1e-5)
    assert all(p.grad is None and not p.requires_grad for p in backend.denoiser.parameters())


def test_all_variants_are_timed_in_turn(prepared: tuple[Backend, StepInputs]) -> None:
    seconds = step.timed(step.variants(*prepared), repeats=2, device="cpu")

    assert list(seconds) == [step.NAIVE, step.OURS, step.CACHED, step.FIVE]
    assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())


def test_the_source_branch_is_cached_after_the_first_round(prepared: tuple[Backend, StepInputs]) -> None:
    backend, _ = prepared
    work = step.variants(*prepared)[step.CACHED]
    calls: list[None] = []
    handle = backend.denoiser.register_forward_hook(lambda *_: calls.append(None))

    work()
    work()

    handle.remove()
    assert len(calls) == 4 + 2


def test_the_gpu_benchmark_runs_on_a_cpu_at_tiny_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "gpu --models tiny --device cpu --precision float32 --size 64 64 --frames 2 3 --repeats 1"
    monkeypatch.setattr("sys.argv", [*words.split(), "--matrix-size", "64"])

    gpu.main()

    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    assert [line.split(" | ")[:3] for line in table] == [["| tiny", "64x64", "2"], ["| tiny", "64x64", "3"]]


def test_the_profiles_of_the_gpu_benchmark_are_load_options() -> None:
    parser = gpu._parser()
    loaded = [gpu._load_options(parser.parse_args(["--profile", p])) for p in (*gpu.PROFILES, "low-memory")]

    assert [options.gradient_checkpointing for options in loaded] == [False, False, False, True]
    assert [options.compile for options in loaded] == [False, False, True, False]


def test_zeroscopes_configuration_is_exact() -> None:
    with torch.device("meta"):
        backend = MODELS["zeroscope"].backend_of(MODELS["zeroscope"].config, LoadOptions())

    assert sum(p.numel() for p in backend.denoiser.parameters()) == 1_411_233_860
