"""The benchmark of the embedded model, held against true renders, which must pass all its tests."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import toybox_quality
from benchmarks.results import Results
from benchmarks.toybox import (
    Judge,
    evaluate_case,
    evaluate_sample,
    fitted_value,
    nearest_by_mean,
    renderers_choice,
    summarise,
)
from benchmarks.toybox_quality import (
    arguments,
    grid_variants,
    make_clips,
    measure_bars,
    measure_grid,
    sample_video,
)
from benchmarks.world_cases import (
    KINDS,
    ROOM,
    EditCase,
    edit_case,
    edit_indices,
    rendered,
    sample_case,
    visible_object,
)
from dreammotion_core.config import EditConfig
from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation.pixels import colour_jitter, region_similarity
from dreammotion_core.finishing import grown_mask
from dreammotion_core.models.catalog import list_models
from dreammotion_core.values import Frames, Mask
from tests.tiny import save_tiny_unet3d, tiny_unet3d, train_on
from training.judge import new_judge, new_processor
from training.text import build_tokenizer
from training.world import ATTRIBUTES, USUAL_SHOT, Scene, Shot, background, render

FPS = 8.0
SHOT = Shot(num_frames=3, fps=FPS, resolution=64)


def clips(case: EditCase) -> tuple[Frames, Frames, Mask]:
    """True renders of source and target, and the mask."""
    source, target = (render(scene, shot=SHOT).frames.numpy() for scene in (case.source, case.target))
    return source, target, case.mask(shot=SHOT)


def clip_of(scene: Scene) -> Frames:
    return render(scene, shot=SHOT).frames.numpy()


@pytest.mark.parametrize("index", range(9))
def test_a_true_render_of_the_target_passes_and_the_source_fails(index: int) -> None:
    case = edit_case(index)
    source, target, mask = clips(case)

    assert renderers_choice(case, target, mask=mask, fps=FPS) == case.asked
    assert renderers_choice(case, source, mask=mask, fps=FPS) == getattr(case.source, case.kind)
    assert getattr(case.source, case.kind) != case.asked


def test_windows_and_wheels_do_not_decide_the_colour() -> None:
    case = edit_case(0)
    car = replace(case, source=replace(case.source, noun="car", colour="red", material="plain"))
    source, _, mask = clips(car)

    assert renderers_choice(car, source, mask=mask, fps=FPS) == "red"


def test_the_nearest_colour_survives_a_loss_of_contrast() -> None:
    case = edit_case(0)
    source, target, mask = clips(case)
    pale = np.rint(0.85 * target + 0.15 * source).astype(np.uint8)

    assert nearest_by_mean(pale, {"source": source, "target": target}, mask=mask) == "target"


def test_the_object_is_found_before_its_background() -> None:
    overlaps = []
    for index in range(12):
        case = edit_case(index)
        frames, region = clips(case)[0], case.outlines(shot=SHOT)
        true = render(case.source, shot=SHOT).mask.numpy()
        empty = background(case.source, shot=SHOT).numpy()
        overlaps.append(region_similarity(visible_object(frames, empty, region=region), truth=true))

        # A shadow is no object: darkening what is empty adds nothing.
        assert not visible_object((empty * 0.8).astype(np.uint8), empty, region=region).any()

    assert np.mean(overlaps) >= 0.97


def test_jitter_is_that_of_the_mean_colour() -> None:
    mask = np.ones((3, 8, 8), dtype=bool)
    still = np.full((3, 8, 8, 3), 128, dtype=np.uint8)
    flickering = still.copy()
    flickering[1] = 160

    assert colour_jitter(still, mask=mask) == 0.0
    assert colour_jitter(flickering, mask=mask) > 5
    mask[1] = False
    assert colour_jitter(flickering, mask=mask) == 0.0


def test_cases_are_fixed_by_their_number_and_held_out() -> None:
    for index in range(60):
        case = edit_case(index)
        scene = case.source

        assert case == edit_case(index)
        assert case.kind == KINDS[index % 3]
        assert scene.is_held_out
        assert scene.seed >= 3_000_000_000
        assert replace(case.target, **{case.kind: getattr(scene, case.kind)}) == scene
        assert case.kind != "material" or scene.material == "plain"
    seeds = [sample_case(index).seed for index in range(60)]
    assert len(set(seeds)) == 60


def test_cases_do_not_depend_on_their_count_or_on_the_other_kinds() -> None:
    assert edit_indices(6) == edit_indices(9)[:6] == list(range(6))
    assert edit_indices(3, kinds=("noun",)) == [2, 5, 8]
    assert edit_indices(2, kinds=("noun",), skip=3) == [11, 14]
    assert arguments(["edit", "--skip", "40"]).skip == 40
    assert arguments(["edit"]).skip == 0


def test_the_mask_of_a_noun_edit_makes_room_for_both() -> None:
    case = next(edit_case(index) for index in range(2, 30, 3))
    source, target = (render(scene, shot=SHOT).mask.numpy() for scene in (case.source, case.target))
    room = case.mask(shot=SHOT)

    assert room[source | target].all()
    assert region_similarity(room, truth=grown_mask(source | target, pixels=ROOM)) > 0.97


def test_the_renderer_recognises_its_own_clips_in_any_pose() -> None:
    scene = next(s for s in map(sample_case, range(20)) if s.material == "striped")
    (frames,) = rendered([scene], shot=USUAL_SHOT)

    assert fitted_value(frames, scene, "colour") == scene.colour
    wrongly_told = replace(scene, colour="teal" if scene.colour != "teal" else "red")
    assert fitted_value(frames, wrongly_told, "colour") == scene.colour


def test_a_perfect_edit_measures_perfectly() -> None:
    case = edit_case(0)
    source, target, mask = clips(case)

    measures = evaluate_case(case, target, fps=FPS, judge=None)

    assert measures["renderer"] == case.asked
    assert measures["overlap"] == measures["overlap of a true render"] >= 0.9
    assert measures["jitter before"] == colour_jitter(source, mask=mask)
    assert measures["jitter after"] == measures["jitter of a true render"]


def test_a_judge_is_asked_about_edits_and_samples() -> None:
    tokenizer = build_tokenizer()
    judge = Judge(  # random weights answer too
        new_judge(tokenizer), tokenizer=tokenizer, processor=new_processor(), name="random"
    )
    case, scene = edit_case(2), replace(sample_case(0), material="golden")
    source, _, _ = clips(case)

    edit = evaluate_case(case, source, fps=FPS, judge=judge)
    sample = evaluate_sample(scene, source, fps=FPS, judge=judge)

    assert edit["judge"] in ATTRIBUTES["noun"]
    assert edit["consistency before"] == edit["consistency after"] <= 1.0
    assert sample.keys() == {"sample", "real clip"}
    assert "judge, place" in sample["sample"]
    assert "judge, colour" not in sample["sample"], "a golden thing has no colour of its own"


def test_a_folder_of_results_is_summed_up_with_sheets(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.begin({"task": "edit", "fps": FPS})
    for index in (2, 0, 1):
        case = edit_case(index)
        words = {"source": f"a {case.source.noun}", "target": f"a {case.target.noun}"}
        results.keep(clips(case)[1], {"index": index, "seconds": 1.0, "difference outside": 0, **words})

    table = summarise(Results(tmp_path), judge=None)

    assert "| renderer's test, among all colours, materials or nouns | 1 of 1 (100%)" in table
    assert "| **succeeded** (colour: renderer's test; else: judge's) | 1 of 1 (100%) | - | - |" in table
    assert len(json.loads((tmp_path / "measures.json").read_text())) == 3
    for kind in KINDS:
        with Image.open(tmp_path / f"sheet-{kind}.png") as sheet:
            assert sheet.width > 128
            assert sheet.height > 128


def test_a_folder_goes_on_only_with_its_own_run(tmp_path: Path) -> None:
    Results(tmp_path).begin({"task": "edit", "model": "toybox"})
    Results(tmp_path).begin({"task": "edit", "model": "toybox"})

    with pytest.raises(ConfigError, match="--out"):
        Results(tmp_path).begin({"task": "edit", "model": "zeroscope"})
    with pytest.raises(ConfigError, match="no finished cases"):
        summarise(Results(tmp_path), judge=None)
    (tmp_path / "cases.jsonl").write_text('{"index": 1}\n{"ind')
    with pytest.raises(ConfigError, match="delete that line"):
        Results(tmp_path).records()


def test_results_of_another_benchmark_are_not_summed_up(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.begin({"model": "toybox", "label": "DreamMotion"})
    results.keep(np.zeros((2, 8, 8, 3), np.uint8), {"index": 0})

    with pytest.raises(ConfigError, match="results of another benchmark; pass that of edit or sample"):
        summarise(Results(tmp_path), judge=None)


@pytest.mark.parametrize("guidance", ["nan", "inf", "-1"])
def test_samples_with_an_impossible_guidance_are_refused(guidance: str, tmp_path: Path) -> None:
    options = arguments(["sample", f"--guidance={guidance}", "--out", str(tmp_path)])

    with pytest.raises(ConfigError, match="guidance_scale"):
        make_clips(options)
    assert not any(tmp_path.iterdir())


def test_samples_of_a_model_that_was_trained_on_are_not_mixed(tmp_path: Path) -> None:
    model, out = save_tiny_unet3d(tmp_path / "model"), tmp_path / "out"
    options = arguments(f"sample --model {model} --cases 1 --steps 1 --out {out}".split())
    make_clips(options)
    make_clips(options)
    train_on(model)

    with pytest.raises(ConfigError, match=r"holds a run with weights = \w+, not"):
        make_clips(options)


def test_a_run_that_is_stopped_says_how_it_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stopped(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["toybox_quality", "edit", "--out", str(tmp_path)])
    monkeypatch.setattr(toybox_quality, "make_clips", stopped)

    with pytest.raises(SystemExit, match="the same command goes on"):
        toybox_quality.main()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("edit --cases 0", "whole number"),
        ("edit --part 3/2", "1 <= K <= N"),
        ("edit --set learning_rate", "NAME=VALUE"),
        ("edit --set seed=-1", "seed is -1, .* pass one from 0"),
        ("edit --kinds shape", "invalid choice"),
        ("summary", "folder"),
    ],
)
def test_wrong_arguments_are_explained(argv: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(argv.split())

    assert re.search(message, capsys.readouterr().err)


def make_perfect(options: argparse.Namespace, _: object) -> None:
    results, index = Results(options.out), options.skip
    assert options.cases == 1
    results.begin(
        {"task": options.task, "fps": FPS, "settings": dict(options.set) if "set" in options else {}}
    )
    words = {"source": "a cat", "target": "a dog"}
    frames = clips(edit_case(index))[1] if options.task == "edit" else clip_of(sample_case(index))
    results.keep(frames, {"index": index, "seconds": 1.0, "difference outside": 0, **words})


def test_the_bars_are_measured_by_one_command_beside_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toybox_quality, "make_clips", make_perfect)
    model, out = save_tiny_unet3d(tmp_path / "model"), tmp_path / "out"

    table = measure_bars(arguments(f"bars --model {model} --cases 1 --samples 1 --out {out}".split()))

    assert "| edits of colour (renderer) | ≥ 98% | 100% | yes |" in table
    assert "| edits of noun (judge) | ≥ 80% | - | **no** |" in table
    assert "| distance of the mean colour inside the mask from it, in CIELAB | ≤ 4.0 | 0.0 | yes |" in table
    assert "| largest difference outside the mask, of 255 | ≤ 0 | 0 | yes |" in table
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 3 * 4 * SHOT.resolution // 2


def test_a_grid_tries_settings_one_by_one_on_cases_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toybox_quality, "make_clips", make_perfect)
    model, out = save_tiny_unet3d(tmp_path / "model"), tmp_path / "out"
    words = f"grid --model {model} --cases 1 --out {out} --only".split()

    said = measure_grid(arguments([*words, "20 steps", "mid keys"]))

    table = capsys.readouterr().out
    assert "|  | 20 steps | mid keys |" in table
    assert "| edits of colour (renderer) | 100% | 100% |" in table
    assert "samples" not in table
    assert str(out / "sheet.png") in said
    assert [record["index"] for record in Results(out / "mid-keys").records()] == [600]
    assert Results(out / "20-steps").facts["settings"] == {"num_optimization_steps": 20}
    assert Results(out / "mid-keys").facts["settings"] == {"key_sites": ["mid_block.attentions.*attn1.to_k"]}
    with pytest.raises(ConfigError, match=r"no variant '21 steps'; choose of: default, guidance 2"):
        measure_grid(arguments([*words, "21 steps"]))


def test_every_variant_of_the_grid_is_one_of_the_model() -> None:
    for spec in (spec for spec in list_models() if spec.is_local):
        for changes in grid_variants(spec).values():
            spec.config("auto", **changes)


def test_unknown_settings_are_refused_before_any_work(tmp_path: Path) -> None:
    options = arguments(["edit", "--set", "sharpness=2", "--out", str(tmp_path)])

    with pytest.raises(ConfigError, match="sharpness"):
        make_clips(options)


def test_a_list_in_json_is_taken_for_a_setting_of_several_values() -> None:
    options = arguments(["edit", "--set", 'key_sites=["up_blocks", "mid_block"]', "seed=3"])

    assert EditConfig(**dict(options.set)).key_sites == ("up_blocks", "mid_block")


def test_samples_follow_their_seed() -> None:
    backend = tiny_unet3d()

    first, again, other = (sample_video(backend, prompt="a red car", num_steps=2, seed=s) for s in (1, 1, 2))

    assert first.shape == (backend.spec.num_frames, *backend.spec.resolution, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
