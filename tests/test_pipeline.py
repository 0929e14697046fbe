import pickle
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dreammotion_core import (
    ConfigError,
    DreamMotionPipeline,
    EditConfig,
    Finished,
    MaskError,
    MemorySourceCache,
    Notice,
    NumericsError,
    OutOfMemoryError,
    Preview,
    PromptError,
    StageDone,
    Started,
    StepDone,
    Video,
    VideoError,
)
from dreammotion_core.errors import KeySiteError
from dreammotion_core.finishing import Finishing, grown_mask, to_model
from dreammotion_core.method.prior import RenderedStage
from dreammotion_core.models.unet3d import UNet3DBackend
from dreammotion_core.values import EditEvent
from tests.tiny import moving_square, tiny_parts, tiny_spec, tiny_unet3d

PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}
CONFIG = EditConfig(num_optimization_steps=4, preview_interval=2, seed=11, learning_rate=0.2)


@pytest.fixture(scope="module")
def pipe() -> DreamMotionPipeline:
    return DreamMotionPipeline(tiny_unet3d())


def events_of(pipe: DreamMotionPipeline, **changes: object) -> list[EditEvent]:
    video, mask = moving_square()
    return list(pipe.stream(video, **{**PROMPTS, "mask": mask, "config": CONFIG, **changes}))  # type: ignore[arg-type]


def test_events_come_in_order(pipe: DreamMotionPipeline) -> None:
    kinds = [type(event) for event in events_of(pipe)]

    assert kinds == [Started, StepDone, Preview, StepDone, Preview, StepDone, StepDone, Finished]


def test_every_event_survives_pickling(pipe: DreamMotionPipeline) -> None:
    for event in events_of(pipe):
        assert type(pickle.loads(pickle.dumps(event))) is type(event)


def test_calling_returns_what_the_stream_finishes_with(pipe: DreamMotionPipeline) -> None:
    video, mask = moving_square()

    output = pipe(video, **PROMPTS, mask=mask, config=CONFIG)

    finished = events_of(pipe)[-1]
    assert isinstance(finished, Finished)
    assert np.array_equal(output.frames, finished.output.frames)
    assert len(output.losses) == 4


def test_a_cache_of_the_source_branch_changes_no_frame_of_a_second_edit(pipe: DreamMotionPipeline) -> None:
    cache = MemorySourceCache()
    cached = DreamMotionPipeline(pipe.backend, source_cache=cache)
    events_of(cached, target_prompt="a blue ball")
    kept = cache.num_bytes

    second, plain = (events_of(each)[-1] for each in (cached, pipe))

    assert isinstance(second, Finished)
    assert isinstance(plain, Finished)
    assert np.array_equal(second.output.frames, plain.output.frames)
    assert cache.num_bytes == kept > 0


@pytest.mark.parametrize("size", [(16, 16), (30, 50), (17, 33)])
def test_nothing_changes_outside_the_mask_in_any_preview_and_the_result_says_so(
    pipe: DreamMotionPipeline, size: tuple[int, int]
) -> None:
    video, mask = moving_square(size=size)

    events = list(pipe.stream(video, **PROMPTS, mask=mask, config=CONFIG))

    output = events[-1].output  # type: ignore[union-attr]
    assert np.array_equal(output.mask, grown_mask(mask, pixels=CONFIG.mask_edge))
    assert np.array_equal(output.mask, events[0].mask)  # type: ignore[union-attr]
    for result in (*(e for e in events if isinstance(e, Preview)), output):
        assert result.frames.shape == video.frames.shape
        assert np.array_equal(result.frames[~output.mask], video.frames[~output.mask])
        assert not np.array_equal(result.frames[mask], video.frames[mask])
    assert output.max_difference_outside == 0


def test_without_the_clean_edge_nothing_changes_outside_the_mask_itself(pipe: DreamMotionPipeline) -> None:
    video, mask = moving_square()

    output = pipe(video, **PROMPTS, mask=mask, config=CONFIG.with_changes(mask_edge=0))

    assert np.array_equal(output.mask, mask)
    assert np.array_equal(output.frames[~mask], video.frames[~mask])
    assert output.max_difference_outside == 0


def test_unchanged_latents_give_the_source_exactly_when_detail_is_kept() -> None:
    backend = tiny_unet3d()
    video, mask = moving_square(size=(30, 50))
    latents = backend.encode_video(to_model(video.frames, backend.spec.fit_size(video.size)))

    kept, lost = (
        Finishing.prepare(backend, video, latents, mask, CONFIG.with_changes(keep_detail=choice))(latents)
        for choice in (True, False)
    )

    assert np.array_equal(kept, video.frames)
    assert not np.array_equal(lost, video.frames)


def test_a_grown_mask_is_reported_and_measured_against(pipe: DreamMotionPipeline) -> None:
    video, mask = moving_square()

    output = pipe(video, **PROMPTS, mask=mask, config=CONFIG.with_changes(mask_grow=2))

    assert output.mask.sum() > mask.sum()
    assert output.max_difference_outside == 0


def test_without_a_mask_the_whole_frame_may_change(pipe: DreamMotionPipeline) -> None:
    output = events_of(pipe, mask=None, config=CONFIG.with_changes(use_mask=False))[-1].output  # type: ignore[union-attr]

    assert output.max_difference_outside is None
    assert output.mask.all()


def test_a_drawn_seed_is_shown_and_reproduces_the_run(pipe: DreamMotionPipeline) -> None:
    first = events_of(pipe, config=CONFIG.with_changes(seed=-1))
    assert isinstance(first[0], Started)
    assert first[0].seed >= 0

    again = events_of(pipe, config=CONFIG.with_changes(seed=first[0].seed))

    assert np.array_equal(first[-1].output.frames, again[-1].output.frames)  # type: ignore[union-attr]
    assert first[-1].output.config == first[0].config  # type: ignore[union-attr]


def test_a_change_of_size_is_a_notice(pipe: DreamMotionPipeline) -> None:
    video, mask = moving_square(size=(30, 50))

    notices = [e for e in pipe.stream(video, **PROMPTS, mask=mask, config=CONFIG) if isinstance(e, Notice)]

    assert [n.code for n in notices] == ["resized"]
    assert "50x30" in notices[0].text


def test_unknown_words_and_the_videos_own_notices_are_passed_on(pipe: DreamMotionPipeline) -> None:
    video, mask = moving_square()
    video = Video(video.frames, video.fps, notices=(Notice("rotated", "Rotated."),))

    events = list(
        pipe.stream(video, source_prompt="a red car", target_prompt="a blue dragon", mask=mask, config=CONFIG)
    )

    notices = {e.code: e.text for e in events if isinstance(e, Notice)}
    assert notices["rotated"] == "Rotated."
    assert "dragon" in notices["unknown_words"]
    assert "blue" not in notices["unknown_words"]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"source_prompt": ""}, "source prompt is empty"),
        ({"target_prompt": " \n"}, "target prompt is empty"),
        ({"target_prompt": "a  red car "}, "both prompts are the same"),
        ({"target_prompt": "car " * 1250}, "5,000 characters"),
        ({"target_prompt": "a \ud83d car"}, "half a character"),
    ],
)
def test_prompts_that_cannot_work_are_refused(
    pipe: DreamMotionPipeline, prompts: dict[str, str], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        events_of(pipe, **prompts)


def test_a_missing_mask_is_refused_with_both_ways_out(pipe: DreamMotionPipeline) -> None:
    with pytest.raises(MaskError, match="click the object, or switch the mask off"):
        events_of(pipe, mask=None)


def test_a_clip_of_one_frame_is_refused(pipe: DreamMotionPipeline) -> None:
    video, mask = moving_square(1)

    with pytest.raises(VideoError, match="one frame"):
        list(pipe.stream(video, **PROMPTS, mask=mask, config=CONFIG))


def test_nothing_is_computed_before_the_input_is_checked(pipe: DreamMotionPipeline) -> None:
    stream = pipe.stream(moving_square()[0], source_prompt="a", target_prompt="a")

    with pytest.raises(PromptError):
        next(iter(stream))


def test_closing_halfway_leaves_the_model_clean(pipe: DreamMotionPipeline) -> None:
    video, mask = moving_square()
    stream = pipe.stream(video, **PROMPTS, mask=mask, config=CONFIG)
    for event in stream:
        if isinstance(event, Preview):
            break
    stream.close()

    assert not any(module._forward_hooks for module in pipe.backend.denoiser.modules())
    assert torch.is_grad_enabled()


def test_running_out_of_memory_is_explained() -> None:
    backend = tiny_unet3d()
    # The allocator's own message; asking for a petabyte fails at once on any machine.
    backend.denoiser.register_forward_pre_hook(lambda *_: torch.empty(2**50, dtype=torch.uint8))

    with pytest.raises(OutOfMemoryError, match="fewer frames"):
        events_of(DreamMotionPipeline(backend))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_decoder_that_leaves_the_numbers_is_an_error_and_never_a_black_object(bad: float) -> None:
    backend = tiny_unet3d()
    decode = backend.decode_video
    backend.decode_video = lambda latents: decode(latents).index_fill_(0, torch.tensor([1]), bad)  # type: ignore[method-assign]

    for config in (CONFIG, CONFIG.with_changes(keep_detail=False), CONFIG.with_changes(preview_interval=0)):
        with pytest.raises(NumericsError, match=r"not a number.*wider precision"):
            events_of(DreamMotionPipeline(backend), config=config)


def test_previews_can_be_switched_off(pipe: DreamMotionPipeline) -> None:
    assert not any(
        isinstance(e, Preview) for e in events_of(pipe, config=CONFIG.with_changes(preview_interval=0))
    )


class InStages(UNet3DBackend):
    """Key frames by the tiny model; the stage after them inverts, the one after that only repeats."""

    factor = -1.0

    def render(self, latents: Tensor, **_: object) -> Iterator[RenderedStage]:
        frames = self.decode_video(latents)
        yield RenderedStage("inverted", self.factor * frames)
        yield RenderedStage("repeated", -frames)


@pytest.fixture(scope="module")
def cascade() -> DreamMotionPipeline:
    backend = InStages(tiny_spec(), **tiny_parts())  # type: ignore[arg-type]
    backend.spec = replace(
        backend.spec, stages=("key frames", "inverted", "repeated"), keeps_detail=False, frame_step=2
    )
    return DreamMotionPipeline(backend)


@pytest.mark.parametrize(
    ("last_stage", "names"),
    [(None, ["inverted", "repeated"]), ("inverted", ["inverted"]), ("key frames", [])],
)
def test_a_cascade_runs_its_stages_up_to_the_last_one_asked_for(
    cascade: DreamMotionPipeline, last_stage: str | None, names: list[str]
) -> None:
    video, mask = moving_square()
    config = CONFIG.with_changes(last_stage=last_stage, preview_interval=1)

    events = list(cascade.stream(video, **PROMPTS, mask=mask, config=config))

    stages = [event for event in events if isinstance(event, StageDone)]
    assert [(stage.name, stage.index, stage.num_stages) for stage in stages] == [
        (name, index, 3) for index, name in enumerate(names, start=2)
    ]
    output = events[-1].output  # type: ignore[union-attr]
    for result in (output, *stages):
        assert np.array_equal(result.frames[~output.mask], video.frames[~output.mask])
    if stages:
        assert np.array_equal(output.frames, stages[-1].frames)
        previews = [event for event in events if isinstance(event, Preview)]
        assert not np.array_equal(stages[0].frames[mask], previews[-1].frames[mask])


def test_a_later_stage_that_leaves_the_numbers_is_an_error(
    cascade: DreamMotionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InStages, "factor", float("nan"))

    with pytest.raises(NumericsError, match="not a number"):
        events_of(cascade)


def test_a_stage_that_does_not_exist_is_refused_before_anything_runs(
    pipe: DreamMotionPipeline, cascade: DreamMotionPipeline
) -> None:
    video, mask = moving_square()
    for model, advice in ((pipe, "leave it out"), (cascade, "choose one of: key frames, inverted, repeated")):
        with pytest.raises(ConfigError, match=f"has no stage 'sr9'; {advice}"):
            next(model.stream(video, **PROMPTS, mask=mask, config=EditConfig(last_stage="sr9")))


def test_a_family_with_a_step_takes_only_its_own_lengths(cascade: DreamMotionPipeline) -> None:
    video, mask = moving_square(num_frames=4)

    assert [cascade.spec.fit_length(n) for n in (2, 3, 4, 5, 99)] == [1, 3, 3, 5, 5]
    with pytest.raises(VideoError, match=r"has 4 frames; .* takes 2 k \+ 1 of them: pass 3 or 5"):
        next(cascade.stream(video, **PROMPTS, mask=mask, config=CONFIG))


def test_a_negative_prompt_that_is_cut_is_told(pipe: DreamMotionPipeline) -> None:
    events = events_of(pipe, config=CONFIG.with_changes(negative_prompt="blurry " * 140))

    assert "prompt_truncated" in [event.code for event in events if isinstance(event, Notice)]


def test_key_sites_of_the_unet_that_was_called_toybox_lead_to_its_name() -> None:
    pipe = DreamMotionPipeline.from_pretrained("toybox")
    video, mask = moving_square(num_frames=5)
    config = EditConfig(key_sites=("mid_block.*.to_k",))

    with pytest.raises(KeySiteError, match=r"matches no module .*0\.1\.0 is toybox-unet"):
        next(pipe.stream(video, **PROMPTS, mask=mask, config=config))
