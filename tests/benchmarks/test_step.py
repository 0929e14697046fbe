"""The benchmarks of a step run, and compare steps that do the same."""

from types import ModuleType

import pytest
import torch

from benchmarks import gpu, half_precision, measures, step
from benchmarks.cost import MODELS, StepInputs, random_inputs
from benchmarks.step import naive_step
from dreammotion_core import LoadOptions
from dreammotion_core.method.editing import distill_step
from dreammotion_core.method.prior import Backend


@pytest.fixture
def prepared() -> tuple[Backend, StepInputs]:
    backend = MODELS["tiny"].build(device="cpu", options=LoadOptions(torch_dtype=torch.float32))
    return backend, random_inputs(backend, text_shape=(5, 8), num_frames=2, latent_size=(8, 8))


def test_the_naive_step_gives_the_gradient_of_the_real_one(prepared: tuple[Backend, StepInputs]) -> None:
    backend, inputs = prepared
    usual = backend.checkpointing

    naive = naive_step(backend, inputs)
    gradient, _ = distill_step(backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)

    torch.testing.assert_close(naive, gradient, rtol=1e-3, atol=1e-5)
    assert backend.checkpointing is usual
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
    words = "gpu --models tiny-wan --device cpu --precision float32 --size 64 64 --frames 5 9 --repeats 1"
    monkeypatch.setattr("sys.argv", [*words.split(), "--matrix-size", "64"])

    gpu.main()

    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny-wan")]
    assert [line.split(" | ")[:3] for line in table] == [
        ["| tiny-wan", "64x64", frames] for frames in ("5", "9")
    ]


@pytest.mark.parametrize(
    ("benchmark", "words", "message"),
    [
        (measures, "--frames 0", "whole number above 0"),
        (measures, "--frames 1", "at least 2"),
        (measures, "--size 0 0", "whole number above 0"),
        (step, "--frames 0", "whole number above 0"),
        (step, "--latents 0 4", "whole number above 0"),
        (step, "--repeats 0", "whole number above 0"),
        (step, "--device cuda:99", "there is no device 'cuda:99'"),
        (half_precision, "--frames 0", "whole number above 0"),
        (half_precision, "--steps 0", "whole number above 0"),
        (gpu, "--device cuda:99", "there is no device 'cuda:99'"),
        (gpu, "--device tpu", "there is no device 'tpu'"),
        (gpu, "--device cpu --size 0 8", "whole number above 0"),
    ],
)
def test_wrong_words_are_explained(
    benchmark: ModuleType,
    words: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", [benchmark.__name__, *words.split()])

    with pytest.raises(SystemExit):
        benchmark.main()

    assert message in capsys.readouterr().err


def test_the_profiles_of_the_gpu_benchmark_are_load_options() -> None:
    parser = gpu._parser()
    loaded = [
        gpu._load_options(parser.parse_args(["--device", "cpu", "--profile", p]))
        for p in (*gpu.PROFILES, "low-memory")
    ]

    assert [options.gradient_checkpointing for options in loaded] == [False, False, False, True]
    assert [options.compile for options in loaded] == [False, False, True, False]


def test_the_naive_step_keeps_every_activation(
    prepared: tuple[Backend, StepInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a plain port computes nothing again")

    backend, inputs = prepared
    monkeypatch.setattr("dreammotion_core.models.placement.checkpoint", refuse)

    assert naive_step(backend, inputs).any()


def test_the_peak_of_a_step_is_taken_in_a_process_of_its_own() -> None:
    before, beyond = step.peak_bytes(step.FIVE, ("wan-small", 5, (4, 6), "cpu", "float32"))

    assert before > beyond > 0
