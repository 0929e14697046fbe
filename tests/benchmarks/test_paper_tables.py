"""The study: its statistics, and a whole run on a tiny model, cut short and continued."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.paper_tables import arguments, run_study
from benchmarks.perfect_edits import ceiling_table, measured_perfect_edit
from benchmarks.study.pairs import world_pairs
from benchmarks.study.report import write_report
from benchmarks.study.runs import STUDY, results_of, study_variants
from benchmarks.study.summary import (
    FULL,
    bootstrap_difference,
    bootstrap_mean,
    check_claims,
    estimate_text,
    summarise_study,
)
from dreammotion_core import (
    METRICS,
    ConfigError,
    DreamMotionError,
    EditConfig,
    ModelLoadError,
    list_models,
)
from dreammotion_core.evaluation import Instruments, Measurement
from dreammotion_core.evaluation.catalog import VARIANTS, Variant
from dreammotion_core.values import Frames
from tests.tiny import save_moving_square, save_tiny_unet3d, tiny_spec, train_on

SPEC = tiny_spec()
Study = Callable[..., str]
"""Runs a study of one step with a tiny model: takes the folder and further words of the command line."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    model = save_tiny_unet3d(tmp_path_factory.mktemp("models") / "model")

    def run(out: Path, *words: str) -> str:
        common = ("--model", str(model), "--out", str(out), "--set", "num_optimization_steps=1")
        return run_study(arguments([*common, *words]))

    return run


def world_clip(index: int) -> Frames:
    """The source of a pair of the study above."""
    return world_pairs(SPEC).read(index).video.frames


def value_of(record: Mapping[str, Any], name: str) -> float:
    """A figure of a finished edit."""
    return float(next(m["value"] for m in record["measures"] if m["metric"] == name))


class TestStatistics:
    def test_the_interval_of_a_known_sample(self) -> None:
        """Means of n draws spread by s / sqrt(n); 95 % lie within 1.96 of that."""
        sample = np.random.default_rng(0).normal(5, 2, size=400)
        found = bootstrap_mean(list(sample))

        assert found is not None
        assert found.mean == pytest.approx(sample.mean())
        assert (found.high - found.low) / 2 == pytest.approx(1.96 * sample.std() / 20, rel=0.05)
        assert found.low < found.mean < found.high

    def test_edges(self) -> None:
        assert bootstrap_mean([]) is None
        one = bootstrap_mean([3.0])
        assert one is not None
        assert (one.mean, one.low, one.high, one.count) == (3, 3, 3, 1)
        endless = bootstrap_mean([math.inf, 3.0])
        assert endless is not None
        assert endless.to_dict()["mean"] == "inf"
        assert estimate_text(endless, metric=METRICS["psnr_outside"]) == "∞"
        assert estimate_text(None, metric=METRICS["psnr_outside"]) == "-"

    def test_differences_are_paired(self) -> None:
        base = list(np.random.default_rng(1).normal(0, 100, size=30))
        found = bootstrap_difference([b + 1 for b in base], base=base)

        assert found is not None
        assert (found.low, found.mean, found.high) == pytest.approx((1, 1, 1))
        assert bootstrap_difference([math.inf], base=[1.0]) is None


class TestPerfectEdits:
    def test_a_true_render_keeps_place_and_motion_and_changes_nothing_else(self) -> None:
        spec = next(spec for spec in list_models() if spec.name == "toybox-unet")
        title, measured = measured_perfect_edit(2, spec=spec, instruments=Instruments())
        value = {m.metric.name: m.value for m in measured}

        assert title == "purple duck to red"
        assert value["background_difference"] == 0
        assert (value["motion_fidelity"] or 0) > 0.99
        assert (value["mask_overlap"] or 0) > 0.95
        assert value["psnr_inside"] != math.inf  # something did change

    def test_the_worst_pair_is_the_lowest_or_the_highest_by_the_measure(self) -> None:
        higher, lower = METRICS["mask_overlap"], METRICS["colour_jitter"]
        measured = [[Measurement(higher, 0.9), Measurement(lower, 2.0)]]
        measured.append([Measurement(higher, 0.5), Measurement(lower, 1.0)])
        lines = ceiling_table(measured, titles=["first", "second"]).splitlines()

        assert lines[2].endswith("0.500: second |")
        assert lines[3].endswith("2.00: first |")


class TestVariants:
    def test_what_is_shipped_is_what_a_user_gets(self) -> None:
        usual = EditConfig(colour_smoothing=0.7)
        full, shipped = study_variants(["as-shipped", FULL], usual=usual)

        assert (full.name, shipped.name) == (FULL, "as-shipped")
        shared = usual.with_changes(keep_detail=False, colour_smoothing=0.0, method="sdedit")
        assert shipped.of(shared) == usual

    def test_unknown_methods_are_refused_with_the_known_ones(self) -> None:
        with pytest.raises(ConfigError, match="known are: dreammotion, as-shipped"):
            study_variants(["magic"], usual=EditConfig())
        assert set(VARIANTS) < set(STUDY)


class TestStudy:
    def test_a_study_cut_short_goes_on_and_reports(self, study: Study, tmp_path: Path) -> None:
        methods, out = ("dreammotion", "no-mask", "sdedit", "flowedit"), tmp_path

        def run(*words: str) -> str:
            return study(out, "--methods", *methods, "--pairs", "2", *words)

        first = run("--part", "1/2")
        line = (out / "sdedit" / "cases.jsonl").read_text()
        second = run()

        assert "FlowEdit is left out" in first
        assert "| DreamMotion | 1 |" in first
        assert "| DreamMotion | 2 |" in second
        assert (out / "sdedit" / "cases.jsonl").read_text().startswith(line)
        written = json.loads((out / "study.json").read_text())
        assert written["methods"]["sdedit"]["pairs"] == [0, 1]
        background = written["methods"]["dreammotion"]["estimates"]["Background change ↓"]
        assert (background["mean"], background["count"]) == (0, 2)
        assert "Mask IoU ↑" in written["methods"]["dreammotion"]["estimates"]
        assert any(c["statement"] == "The background is untouched" and c["holds"] for c in written["claims"])
        page = (out / "study.html").read_text()
        assert page.count("<img") == 2 * (1 + 3)
        assert 'src="http' not in page
        with pytest.raises(ConfigError, match=r"holds a run with settings.num_optimization_steps = 1, not 2"):
            run("--set", "num_optimization_steps=2")

    def test_a_summary_says_what_was_run_or_nothing(self, study: Study, tmp_path: Path) -> None:
        words = ("--methods", "sdedit", "--pairs", "1", "--judge", "none")
        report = study(tmp_path, *words)
        written = [tmp_path / f"study.{suffix}" for suffix in ("json", "md", "html")]
        before = [file.read_bytes() for file in written]
        save_moving_square(tmp_path / "clips", fps=SPEC.fps)
        (tmp_path / "clips" / "prompts.csv").write_text(
            "clip,source_prompt,target_prompt\nclip.mp4,a dog,a cat\n"
        )

        for others, message in (
            (("--set", "num_optimization_steps=1", "spatial_weight=9"), r"spatial_weight = .*, not 9"),
            (("--judge", "toybox-clip"), "judge = none, not toybox-clip"),
            (("--lpips", "alex"), "lpips = None, not alex"),
            (("--cotracker", "nowhere.pth"), "tracker = RGB DIS flow, not CoTracker"),
            (("--clips", str(tmp_path / "clips")), "pairs = held-out clips .*, not clips"),
        ):
            with pytest.raises(ConfigError, match=message):
                study(tmp_path, *words, "--summary", *others)
        assert [file.read_bytes() for file in written] == before
        assert study(tmp_path, *words, "--summary") == report

    def test_rows_of_a_folder_may_be_added_moved_and_changed(self, study: Study, tmp_path: Path) -> None:
        save_moving_square(tmp_path / "clips", fps=SPEC.fps)
        out = tmp_path / "study"

        def run(*prompts: str) -> str:
            rows = ["clip,source_prompt,target_prompt", *(f"clip.mp4,{p}" for p in prompts)]
            (tmp_path / "clips" / "prompts.csv").write_text("\n".join(rows))
            return study(out, "--methods", "sdedit", "--clips", str(tmp_path / "clips"))

        run("a dog,a cat", "a sun,a moon")
        report = run("a box,a ball", "a sun,a moon", "a dog,a fox")

        assert "| SDEdit | 3 |" in report
        assert "finished edits left out: 1," in report
        kept = [json.loads(line) for line in (out / "sdedit" / "cases.jsonl").read_text().splitlines()]
        assert [record["target"] for record in kept] == ["a cat", "a moon", "a ball", "a fox"]
        page = (out / "study.html").read_text()
        order = ["1. clips: a ball", "2. clips: a moon", "3. clips: a fox"]
        assert sorted(order, key=page.index) == order
        assert page.count("<img") == 3 * (1 + 1)

    @pytest.mark.parametrize("damage", ["clip", "mask"])
    def test_a_clip_that_cannot_be_edited_is_named_before_the_first_edit(
        self, damage: str, study: Study, tmp_path: Path
    ) -> None:
        clips = tmp_path / "clips"
        rows = ["clip,source_prompt,target_prompt"]
        for name in ("good", "bad"):
            save_moving_square(clips / name, fps=SPEC.fps)
            rows.append(f"{name}/clip.mp4,a dog,a cat")
        (clips / "prompts.csv").write_text("\n".join(rows))
        if damage == "clip":
            (clips / "bad" / "clip.mp4").write_bytes(b"no video")
        else:  # on all frames that the model takes
            for file in sorted((clips / "bad" / "masks").iterdir())[: SPEC.num_frames]:
                Image.new("L", (64, 64)).save(file)
        words = ("--methods", "sdedit", "--clips", str(clips))

        with pytest.raises(DreamMotionError, match=r"line 3 of .*prompts\.csv, bad/clip\.mp4: "):
            study(tmp_path / "study", *words)
        assert not results_of(tmp_path / "study", VARIANTS["sdedit"]).records()

    def test_rows_that_an_older_version_numbered_by_line_are_refused(
        self, study: Study, tmp_path: Path
    ) -> None:
        save_moving_square(tmp_path / "clips", fps=SPEC.fps)
        rows = "clip,source_prompt,target_prompt\nclip.mp4,a dog,a cat\n"
        (tmp_path / "clips" / "prompts.csv").write_text(rows)
        words = ("--methods", "sdedit", "--clips", str(tmp_path / "clips"))
        study(tmp_path / "study", *words)
        run_json = tmp_path / "study" / "sdedit" / "run.json"
        facts = json.loads(run_json.read_text())
        assert facts.pop("numbering")
        run_json.write_text(json.dumps(facts))

        with pytest.raises(ConfigError, match=r"numbering = .unknown to that version., not by clip"):
            study(tmp_path / "study", *words)

    def test_what_cannot_run_is_said_instead_of_asking_to_run_it(self, study: Study, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="FlowEdit is left out: ") as caught:
            study(tmp_path, "--methods", "flowedit")
        assert "--summary" not in str(caught.value)
        with pytest.raises(ConfigError, match="--part is 2/2") as caught:
            study(tmp_path, "--methods", "sdedit", "--pairs", "1", "--part", "2/2")
        assert "--summary" not in str(caught.value)
        assert not any(tmp_path.iterdir())
        with pytest.raises(ConfigError, match="without --summary first"):
            study(tmp_path, "--methods", "sdedit", "--summary")

    def test_nothing_finished_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no finished edits"):
            summarise_study(tmp_path, variants=[VARIANTS[FULL]], numbers=[0], others=())

    def test_judge_and_tracker_are_those_of_metrics(self, study: Study, tmp_path: Path) -> None:
        words = ("--methods", "sdedit", "--pairs", "1")

        report = study(tmp_path, *words, "--judge", "none")

        assert "judge none, tracker RGB DIS flow" in report
        assert "Not measured: Text-Align" in report
        with pytest.raises(ModelLoadError, match=r"CoTracker is not installed|no file nowhere\.pth"):
            study(tmp_path / "other", *words, "--cotracker", "nowhere.pth")

    def test_edits_are_measured_on_the_mask_that_they_used(self, study: Study, tmp_path: Path) -> None:
        settings = ("--set", "num_optimization_steps=1", "mask_grow=4", "mask_feather=0")
        study(tmp_path, "--methods", "dreammotion", "sdedit", "--pairs", "1", *settings)

        edit, without_mask = (
            results_of(tmp_path, VARIANTS[name]).records()[0] for name in ("dreammotion", "sdedit")
        )
        assert value_of(edit, "background_difference") == 0
        assert value_of(without_mask, "background_difference") > 0

    def test_finished_edits_are_measured_by_another_judge(self, study: Study, tmp_path: Path) -> None:
        words = ("--methods", "sdedit", "no-mask")
        first, second = tmp_path / "first", tmp_path / "second"
        study(first, *words, "--pairs", "1", "--judge", "none")
        # What was edited there is recognised in the figures: here it is the source itself.
        finished = results_of(first, VARIANTS["sdedit"])
        np.savez_compressed(first / "sdedit" / "clips" / "00000.npz", frames=world_clip(0))

        report = study(second, *words, "--pairs", "2", "--judge", "toybox-clip", "--edits", str(first))

        assert "Text-Align (toybox-clip)" in report
        assert [record["index"] for record in finished.records()] == [0]
        taken, made = results_of(second, VARIANTS["sdedit"]).records()
        assert value_of(taken, "ssim_inside") == 1
        assert 0 < value_of(made, "ssim_inside") < 1
        assert taken["seconds"] == finished.records()[0]["seconds"]

    def test_edits_of_another_study_or_none_are_refused(self, study: Study, tmp_path: Path) -> None:
        words = ("--methods", "sdedit", "--pairs", "1", "--edits", str(tmp_path / "first"))
        with pytest.raises(ConfigError, match="holds no finished edits of these methods"):
            study(tmp_path / "second", *words)
        study(tmp_path / "first", *words[:-2])

        with pytest.raises(ConfigError, match=r"first/sdedit holds a run with settings\.seed = 0, not 1"):
            study(tmp_path / "second", *words, "--set", "num_optimization_steps=1", "seed=1")
        assert not (tmp_path / "second").exists()

    def test_a_model_that_was_trained_on_meanwhile_is_refused(self, tmp_path: Path) -> None:
        model = save_tiny_unet3d(tmp_path / "model")
        words = ["--model", str(model), "--methods", "sdedit", "--pairs", "1", "--out"]
        first, second = str(tmp_path / "first"), str(tmp_path / "second")
        run_study(arguments([*words, first, "--set", "num_optimization_steps=1"]))
        train_on(model)

        for others in ([first], [second, "--edits", first]):
            with pytest.raises(ConfigError, match=r"first/sdedit holds a run with weights = \w+, not"):
                run_study(arguments([*words, *others, "--set", "num_optimization_steps=1"]))

    @pytest.mark.parametrize(
        "words", [("--part", "3/2"), ("--pairs", "0"), ("--set", "x"), ("--set", "seed=-1")]
    )
    def test_wrong_words_are_refused(self, words: tuple[str, ...]) -> None:
        with pytest.raises(SystemExit):
            arguments(words)


class TestClaims:
    def test_orderings_are_read_off_the_means(self, tmp_path: Path) -> None:
        variants = [VARIANTS[name] for name in ("dreammotion", "no-matching", "no-temporal", "no-mask")]
        figures = {
            "dreammotion": (0.95, 0.2, 0.99),
            "no-matching": (0.90, 0.4, 0.99),
            "no-temporal": (0.96, 0.1, 0.99),
            "no-mask": (0.80, 0.2, 0.70),
        }
        for variant in variants:
            keep_figures(tmp_path, variant, figures[variant.name])
        holds = verdicts(tmp_path, *variants)

        assert holds["Matching raises motion fidelity"] is True
        assert holds["Temporal matching raises motion fidelity"] is False
        assert holds["Temporal matching lowers the colour jitter"] is False
        assert holds["Masks keep the background nearer to the source"] is True
        assert holds["Motion fidelity is above every ablation and baseline"] is False
        assert holds["Motion fidelity is at least 0.92"] is True
        assert holds["The background is untouched"] is None

    def test_an_unfinished_study_is_compared_pair_by_pair(self, tmp_path: Path) -> None:
        """The mean of the full method is above that of the other here only by a pair that the other lacks."""
        full, other = VARIANTS[FULL], VARIANTS["no-temporal"]
        for index, fidelity in enumerate((0.80, 0.99)):
            keep_figures(tmp_path, full, (fidelity, 0.2, 0.99), index=index)
        keep_figures(tmp_path, other, (0.85, 0.2, 0.99))
        holds = verdicts(tmp_path, full, other)

        assert holds["Temporal matching raises motion fidelity"] is False
        assert holds["Motion fidelity is above every ablation and baseline"] is False

    @pytest.mark.parametrize(
        ("of_others", "verdict"),
        [
            ((0.80, 0.81, 0.79), "holds"),
            ((0.89, 0.89, 0.91), "holds in the mean; the interval includes 0"),
            ((0.89, 0.92, 0.92), "does not hold in the mean; the interval includes 0"),
            ((0.95, 0.94, 0.96), "does not hold"),
        ],
    )
    def test_what_the_clips_hardly_tell_apart_is_not_said_without_a_word(
        self, of_others: tuple[float, ...], verdict: str, tmp_path: Path
    ) -> None:
        full, other, low = VARIANTS[FULL], VARIANTS["no-temporal"], VARIANTS["sdedit"]
        for index, fidelity in enumerate(of_others):
            keep_figures(tmp_path, full, (0.90, 0.2, 0.99), index=index)
            keep_figures(tmp_path, other, (fidelity, 0.2, 0.99), index=index)
            keep_figures(tmp_path, low, (0.5, 0.2, 0.99), index=index)
        names = [other.name, low.name]
        summary = summarise_study(tmp_path, variants=[full, other, low], numbers=range(9), others=names)
        told = {claim.statement: claim.verdict for claim in check_claims(summary)}

        assert told["Temporal matching raises motion fidelity"] == verdict
        assert told["Motion fidelity is above every ablation and baseline"] == verdict

    def test_methods_without_a_pair_in_common_are_not_compared(self, tmp_path: Path) -> None:
        full, other = VARIANTS[FULL], VARIANTS["no-temporal"]
        keep_figures(tmp_path, full, (0.99, 0.2, 0.99), index=0)
        keep_figures(tmp_path, other, (0.85, 0.2, 0.99), index=1)

        assert verdicts(tmp_path, full, other)["Temporal matching raises motion fidelity"] is None

    def test_being_above_all_is_not_measured_while_one_is_missing(self, tmp_path: Path) -> None:
        full, other = VARIANTS[FULL], VARIANTS["no-matching"]
        keep_figures(tmp_path, full, (0.99, 0.2, 0.99))
        keep_figures(tmp_path, other, (0.85, 0.2, 0.99))

        statement = "Motion fidelity is above every ablation and baseline"
        assert verdicts(tmp_path, full, other)[statement] is True
        assert verdicts(tmp_path, full, other, others=("no-matching", "sdedit"))[statement] is None

    def test_how_well_the_text_is_followed_is_compared_pair_by_pair(self, tmp_path: Path) -> None:
        full, other = VARIANTS[FULL], VARIANTS["no-matching"]
        names = ("text_alignment", "colour_jitter", "ssim_outside")
        for index, alignment in enumerate((0.68, 0.99)):
            keep_figures(tmp_path, full, (alignment, 0.2, 0.99), index=index, names=names)
        statement = "The text is followed as well as by DDS only, less 1 %"

        keep_figures(tmp_path, other, (0.70, 0.2, 0.99), names=names)
        assert verdicts(tmp_path, full, other)[statement] is False
        keep_figures(tmp_path, other, (0.685, 0.2, 0.99), names=names)
        assert verdicts(tmp_path, full, other)[statement] is True

    def test_judges_do_not_share_a_column(self, tmp_path: Path) -> None:
        full, other = VARIANTS[FULL], VARIANTS["no-mask"]
        keep_figures(tmp_path, full, (0.9, 0.1, 0.9), tracker="RGB DIS flow")
        keep_figures(tmp_path, other, (0.8, 0.1, 0.9), tracker="CoTracker")
        summary = summarise_study(tmp_path, variants=[full, other], numbers=range(9), others=[other.name])

        headings = [column.heading for column in summary.columns]
        assert headings[:2] == ["Motion-Fidelity (CoTracker) ↑", "Motion-Fidelity (RGB DIS flow) ↑"]
        facts = {"model": "tiny", "judge": "none", "tracker": "two", "pairs": "two"}
        report = write_report(
            summary, out=tmp_path, facts=facts, variants=[full, other], pairs=world_pairs(SPEC)
        )
        assert "| DreamMotion | 1 | - | 0.900 |" in report


def verdicts(out: Path, *variants: Variant, others: Sequence[str] = ()) -> dict[str, bool | None]:
    """What the claims say of some methods, by statement; is the first above `others`, or all the rest?"""
    names = others or [variant.name for variant in variants[1:]]
    summary = summarise_study(out, variants=variants, numbers=range(9), others=names)
    return {claim.statement: claim.holds for claim in check_claims(summary)}


def keep_figures(
    out: Path,
    variant: Variant,
    figures: tuple[float, float, float],
    *,
    names: tuple[str, str, str] = ("motion_fidelity", "colour_jitter", "ssim_outside"),
    tracker: str = "RGB DIS flow",
    index: int = 0,
) -> None:
    """A finished pair with given figures, usually of motion, jitter and background."""
    measures = [
        {"metric": n, "value": v, "source_value": None, "judge": tracker * (n == names[0]), "note": ""}
        for n, v in zip(names, figures, strict=True)
    ]
    record = {"index": index, "title": "", "source": "", "target": "", "seconds": 1.0, "measures": measures}
    results_of(out, variant).keep(np.zeros((2, 8, 8, 3), np.uint8), record)
