"""Devices that run out of memory or are lost: what is said, what is let go, and what goes on all the same."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from dreammotion_core import (
    DeviceLostError,
    DreamMotionPipeline,
    EditConfig,
    Finished,
    LoadOptions,
    Notice,
    OutOfMemoryError,
    Preflight,
    Preview,
    StepDone,
    describe_preflight,
    measure_edit,
    read_video,
    write_video,
)
from dreammotion_core.cli.main import main
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.models.placement import Checkpointing
from dreammotion_core.pipeline import SPARING
from dreammotion_core.values import EditEvent
from tests.tiny import moving_square, save_tiny_unet3d, tiny_unet3d

PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}
CONFIG = EditConfig(num_optimization_steps=3, preview_interval=1, seed=11, learning_rate=0.2)
LOST = torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")


def fail(error: Exception) -> None:
    raise error


def failing(pipe: DreamMotionPipeline, when: Callable[[], bool], error: Exception) -> DreamMotionPipeline:
    """The pipeline, whose denoiser fails when it is asked at a moment that is wrong."""
    pipe.backend.denoiser.register_forward_pre_hook(lambda *_: fail(error) if when() else None)
    return pipe


def edited(pipe: DreamMotionPipeline, config: EditConfig = CONFIG) -> Iterator[EditEvent]:
    video, mask = moving_square()
    return pipe.stream(video, **PROMPTS, mask=mask, config=config)


# What is said.


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_all_ways_of_running_out_of_memory_are_one_error_with_advice(error: Exception) -> None:
    with (
        pytest.raises(OutOfMemoryError, match="ran out of memory; use fewer frames"),
        device_failures_explained(),
    ):
        raise error


@pytest.mark.parametrize("error", [LOST, RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED")])
def test_a_lost_device_is_said_with_its_reason_and_what_to_do(error: Exception) -> None:
    with (
        pytest.raises(DeviceLostError, match=r"failed or is gone \(CUDA error: .*; start the program again"),
        device_failures_explained(),
    ):
        raise error


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not fit"), ValueError("CUDA error"), OutOfMemoryError("no")]
)
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, device_failures_explained():
        raise error

    assert raised.value is error


# What is let go.


def test_what_the_failed_work_held_is_free_while_the_error_is_still_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(held[0]() is None))

    @device_failures_explained()
    def work() -> None:
        activations = torch.zeros(4)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("no more")

    with pytest.raises(OutOfMemoryError) as raised:
        work()

    assert raised.value.__cause__ is not None
    assert held[0]() is None
    assert emptied == [True]


def test_no_activation_of_a_failed_step_is_left() -> None:
    pipe = DreamMotionPipeline(tiny_unet3d())
    made: list[weakref.ref[torch.Tensor]] = []

    def remember_and_fail(_module: object, _inputs: object, output: torch.Tensor) -> None:
        if output.requires_grad:
            made.append(weakref.ref(output))
        if len(made) >= 5:
            raise torch.OutOfMemoryError("no more")

    for layer in pipe.backend.denoiser.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(remember_and_fail)

    with pytest.raises(OutOfMemoryError) as raised:
        list(edited(pipe))

    assert raised.value.__traceback__ is not None
    assert len(made) >= 5
    assert [ref for ref in made if ref() is not None] == []


# What goes on.


def test_a_step_that_does_not_fit_is_done_again_in_less_memory_with_the_same_result() -> None:
    usual = [event for event in edited(DreamMotionPipeline(tiny_unet3d())) if isinstance(event, Finished)]
    pipe = DreamMotionPipeline(tiny_unet3d())
    modes: list[bool] = []

    def is_full() -> bool:
        modes.append(pipe.backend.checkpointing.is_sparing)
        return torch.is_grad_enabled() and not modes[-1]

    failing(pipe, is_full, torch.OutOfMemoryError("no more"))

    for _ in range(2):
        modes.clear()
        *events, finished = edited(pipe)

        notices = [event for event in events if isinstance(event, Notice)]
        assert isinstance(finished, Finished)
        assert (finished.output.frames == usual[0].output.frames).all()
        assert notices.count(SPARING) == 1
        assert SPARING in finished.output.video.notices
        # Only the first step was tried in vain: up to its second pass, the first that records for autograd.
        # The next run begins as the options ask.
        assert modes.count(False) == 2
        assert not pipe.backend.checkpointing.is_sparing


def test_where_less_memory_is_still_too_much_the_edit_ends_with_advice() -> None:
    pipe = failing(
        DreamMotionPipeline(tiny_unet3d()), torch.is_grad_enabled, torch.OutOfMemoryError("no more")
    )

    with pytest.raises(OutOfMemoryError, match="fewer frames"):
        list(edited(pipe))
    assert not pipe.backend.checkpointing.is_sparing


@pytest.mark.parametrize("options", [{"compile": True}, {"gradient_checkpointing": True}])
def test_what_is_compiled_or_spares_already_cannot_spare_more(options: dict[str, bool]) -> None:
    checkpointing = Checkpointing([torch.nn.Identity()], options=LoadOptions(**options))

    assert not checkpointing.spare()
    assert not checkpointing.is_sparing


def test_a_measurement_says_that_it_fits_only_so() -> None:
    pipe = DreamMotionPipeline(tiny_unet3d())
    failing(
        pipe,
        lambda: torch.is_grad_enabled() and not pipe.backend.checkpointing.is_sparing,
        torch.OutOfMemoryError("no more"),
    )

    *_, found = measure_edit(pipe, video=moving_square()[0], config=CONFIG)

    assert isinstance(found, Preflight)
    assert found.asked.fits
    assert found.asked.is_sparing
    assert "computed twice instead of being kept; the result is the same" in describe_preflight(found)[1]


# A device lost in the middle.


def test_previews_before_a_loss_are_whole_and_the_model_is_left_clean() -> None:
    pipe, steps = DreamMotionPipeline(tiny_unet3d()), []
    failing(pipe, lambda: len(steps) == 2, LOST)
    previews = []

    def watch() -> None:
        for event in edited(pipe):
            if isinstance(event, StepDone):
                steps.append(event)
            if isinstance(event, Preview):
                previews.append(event.frames)

    with pytest.raises(DeviceLostError, match="unspecified launch failure"):
        watch()

    assert [frames.shape for frames in previews] == [moving_square()[0].frames.shape] * 2
    assert not any(module._forward_hooks for module in pipe.backend.denoiser.modules())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LOST, ["Error: the device failed or is gone (CUDA error: unspecified launch failure)"]),
        (
            torch.OutOfMemoryError("no more"),
            ["`preflight` with the same options finds", "Error: the device ran out of memory"],
        ),
    ],
)
def test_the_command_line_writes_the_latest_preview_of_a_run_that_failed(
    error: Exception,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip, out = write_video(moving_square(3)[0], tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    model, load = save_tiny_unet3d(tmp_path / "model"), DreamMotionPipeline.from_pretrained
    calls: list[None] = []

    def load_failing(*args: object, **options: object) -> DreamMotionPipeline:
        pipe = load(*args, **options)  # type: ignore[arg-type]
        return failing(pipe, lambda: calls.append(None) or len(calls) > 6, error)

    monkeypatch.setattr(DreamMotionPipeline, "from_pretrained", load_failing)
    words = ["edit", str(clip), "--source-prompt", "a red car", "--target-prompt", "a blue car"]
    words += [
        "--model",
        str(model),
        "--device",
        "cpu",
        "--no-mask",
        "--preview-interval",
        "1",
        "--out",
        str(out),
    ]

    assert main(words) == 1

    said = capsys.readouterr().err
    assert "shows the clip as of step 1" in said
    assert all(words in said for words in told)
    assert len(read_video(out)) == 3
