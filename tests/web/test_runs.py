"""What the page says of a run: the card, the table of a visitor's runs, and the CSV."""

from __future__ import annotations

import csv
import gc
import shutil
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreammotion_core import (
    EMBEDDED_JUDGE,
    METRICS,
    ClipJudge,
    ConfigError,
    EditConfig,
    EditOutput,
    Measurement,
    ModelLoadError,
    Video,
)
from dreammotion_core.evaluation import motion
from dreammotion_core.models.catalog import ASSETS
from segmentation import Tracks, load_segmenter
from tests.tiny import moving_square
from web.clip import Clip
from web.runs import (
    MEASURES,
    MOST_RUNS,
    SHORT,
    Run,
    RunLog,
    card_html,
    pending_wording,
    run_views,
    runs_html,
    short_figure,
    worded,
    write_runs,
)
from web.scoring import Scores, SharedInstruments
from web.visitors import VisitorStore

SIZE = (64, 64)


def clip_of(video: Video) -> Clip:
    return Clip(
        Path("=clip.mp4"), video, Tracks(load_segmenter().open(video.frames), video.frames), "embedded"
    )


def edit(video: Video, mask: np.ndarray) -> EditOutput:
    """The square painted blue."""
    frames = video.frames.copy()
    frames[mask] = (30, 30, 220)
    return EditOutput(
        video=replace(video, frames=frames),
        mask=mask,
        source_prompt="a red car",
        target_prompt="a blue car",
        config=EditConfig(seed=7),
        model="tiny",
        losses=(),
        seconds=12.34,
        max_difference_outside=0,
    )


class Bench:
    """A visitor whose edit is done, and what measures it."""

    def __init__(
        self,
        load_judge: Callable[[], ClipJudge] = ClipJudge.from_pretrained,
        *,
        judges: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.visitors = VisitorStore()
        self.token = self.visitors.admit()
        instruments = SharedInstruments(judges, load=lambda _: load_judge())
        self.scores = Scores(visitors=self.visitors, instruments=instruments, **options)
        self.video, self.mask = moving_square(4, SIZE)
        self.clip = clip_of(self.video)

    @property
    def log(self) -> RunLog:
        return self.visitors.get(self.token).runs

    def edited(self, **changes: Any) -> None:
        self.log.add(replace(edit(self.video, self.mask), **changes), clip=self.clip)

    def measured(self, judge: str | None = None) -> list[dict[str, Any]]:
        first, *updates = self.scores.measure(token=self.token, judge=judge)
        # So that nothing on the page is emptied where there is nothing to measure.
        assert first == {}
        return updates


@pytest.fixture(scope="module")
def judge() -> ClipJudge:
    return ClipJudge.from_pretrained()


def measurement(name: str, value: float | None, source: float | None = None) -> Measurement:
    return Measurement(METRICS[name], value, source)


# Measuring


def test_the_card_is_there_at_once_and_fills(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge)
    bench.edited()

    before = run_views(bench.log)["card"]
    cards = [update["card"] for update in bench.measured()]

    assert "Nothing outside your selection changed, its edge of 2 pixels aside" in before
    assert "0 of 255" in before
    assert before.count("measuring…") == len(MEASURES) - 1
    assert [card.count("measuring…") for card in cards] == [5, 4, 3, 2, 1, 0, 0]
    assert "toybox-clip is being loaded" in cards[0]
    assert "Moves like the source" in cards[-1]
    assert "judged by toybox-clip" in cards[-1]
    assert "followed by RGB DIS flow" in cards[-1]
    assert 'data-state="measured"' in cards[-1]


def test_a_run_is_measured_once_and_its_clips_are_let_go(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge)
    bench.edited()
    bench.measured()

    assert bench.measured() == []


def test_a_judge_that_cannot_be_loaded_costs_its_own_figures_only() -> None:
    def broken() -> ClipJudge:
        raise ModelLoadError("the judge is damaged")

    bench = Bench(broken)
    bench.edited()

    card = bench.measured()[-1]["card"]

    assert "Words and frames were not judged: the judge is damaged" in card
    assert "Moves like the source" in card
    assert METRICS["text_alignment"].question not in card


def test_what_cannot_be_measured_is_said_without_a_toast(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge)
    bench.edited(mask=bench.mask[:-1])

    card = bench.measured()[-1]["card"]

    assert "It could not be measured; your result is complete" in card
    assert "3 frames" in card
    assert "measuring…" not in card


def test_what_does_not_fit_into_the_time_is_not_begun_and_named(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge, seconds=0.0)
    bench.edited()

    card = bench.measured()[-1]["card"]

    assert set(bench.log.rows[0].figures) == {"background_difference"}
    assert "Left out after 0 s: " in card
    assert all(SHORT[name].lower() in card for name in MEASURES if name != "background_difference")


def test_the_judge_is_asked_last(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge)
    bench.edited()
    bench.measured()

    assert list(bench.log.rows[0].figures)[-2:] == ["text_alignment", "frame_consistency"]


def test_a_second_edit_of_a_clip_takes_over_what_is_known_of_it(
    judge: ClipJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[int] = []
    flows = motion.consecutive_flows
    monkeypatch.setattr(
        motion, "consecutive_flows", lambda frames: followed.append(len(frames)) or flows(frames)
    )
    bench = Bench(lambda: judge)

    bench.edited()
    bench.measured()
    first, followed[:] = list(followed), []
    bench.edited()
    bench.measured()

    # Both clips, then the edit alone.
    assert (first, followed) == ([4, 4], [4])
    one, two = bench.log.rows
    assert one.figures == two.figures


def test_a_clip_that_its_visitor_no_longer_has_is_not_held_on_to(
    judge: ClipJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.scoring.MOST_PIXELS", 4 * 32 * 32)
    bench = Bench(lambda: judge)
    bench.edited()
    bench.measured()
    frames = weakref.ref(bench.video.frames)

    scores = bench.scores
    bench.visitors.leave(None)
    del bench
    gc.collect()

    assert frames() is None
    assert len(scores._sources) == 1


def test_large_clips_are_measured_reduced_and_say_so(
    judge: ClipJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.scoring.MOST_PIXELS", 4 * 32 * 32)
    bench = Bench(lambda: judge)
    bench.edited()

    card = bench.measured()[-1]["card"]

    assert "reduced to 32x32" in card
    assert "Moves like the source" in card


def test_an_edit_of_the_whole_frame_has_no_outside(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge)
    bench.edited(config=EditConfig(seed=7, use_mask=False), max_difference_outside=None)

    card = bench.measured()[-1]["card"]

    assert "The whole frame was edited" in card
    assert bench.log.rows[0].figures["motion_fidelity"].value is not None


def test_the_card_of_an_earlier_run_does_not_come_back(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge)
    bench.edited()
    bench.log.on_card = None

    assert all("card" not in update for update in bench.measured())
    assert bench.log.rows[0].is_measured


# Words


@pytest.mark.parametrize(
    ("name", "value", "source", "sentence", "figure", "verdict"),
    [
        ("background_difference", 0.0, None, "Nothing outside your selection changed", "0 of 255", "good"),
        ("background_difference", 3.0, None, "Something outside your selection", "up to 3 of 255", "poor"),
        ("motion_fidelity", 0.97, None, "Moves like the source", "0.97 of 1", "good"),
        ("motion_fidelity", 0.8, None, "Moves roughly like the source", "0.80 of 1", "fair"),
        ("motion_fidelity", 0.2, None, "Moves differently", "0.20 of 1", "poor"),
        ("text_alignment", 0.8, 0.4, "Fits your words better", "0.80, was 0.40", "good"),
        ("text_alignment", 0.4, 0.41, "Fits your words no better", "0.40, was 0.41", "fair"),
        ("frame_consistency", 0.96, 0.97, "Frame follows frame", "0.960, was 0.970", "good"),
        ("frame_consistency", 0.8, 0.97, "differ more", "0.800, was 0.970", "fair"),
        ("colour_jitter", 2.2, 2.0, "as steady", "1.1 x the source's", "good"),
        ("colour_jitter", 0.8, 0.2, "too little to be seen", "4.0 x the source's", "good"),
        ("colour_jitter", 4.0, 2.0, "flickers more", "2.0 x the source's", "poor"),
        ("colour_jitter", 0.04, 0.0, "as steady", "0.04, was 0.00", "good"),
        ("warping_error", 6.0, 5.0, "as calm", "1.2 x the source's", "good"),
        ("warping_error", 20.0, 5.0, "shimmers more", "4.0 x the source's", "poor"),
        ("motion_fidelity", None, None, "Does the object move as it did?", "not measured", "open"),
    ],
)
def test_figures_become_sentences(
    name: str, value: float | None, source: float | None, sentence: str, figure: str, verdict: str
) -> None:
    wording = worded(measurement(name, value, source))

    assert sentence in wording.sentence
    assert (wording.figure, wording.verdict) == (figure, verdict)


def test_the_card_says_why_a_figure_is_missing_once() -> None:
    run = Run(
        1, "clip.mp4", "a", "b", "dreammotion", "toybox", 1, 2, 3.0, is_measured=True, problem="No judge."
    )
    for name, note in (("motion_fidelity", "no point stays <in> sight"), ("text_alignment", "no judge")):
        run.figures[name] = Measurement(METRICS[name], None, note=note)
    card = card_html(run)

    assert "Motion not measured: no point stays &lt;in&gt; sight." in card
    assert "no judge" not in card
    assert "No judge." in card


def test_every_measure_has_a_question_and_a_column() -> None:
    assert set(SHORT) == set(MEASURES) <= set(METRICS)
    assert all(pending_wording(name).sentence.endswith("?") for name in MEASURES)
    assert short_figure(measurement("colour_jitter", 3.0, 2.0)) == "1.5 x"
    assert short_figure(measurement("motion_fidelity", 0.5)) == "0.500"
    assert short_figure(None) == "-"


# Table and CSV


def test_the_table_has_the_latest_run_first_and_escapes(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge)
    bench.edited()
    bench.edited(target_prompt="<b>a blue car</b>", config=EditConfig(seed=7, method="sdedit"))

    table = runs_html(bench.log.rows)

    assert table.index("&lt;b&gt;a blue car") < table.index("<td>1</td>")
    assert "tiny, sdedit" in table
    assert "listed here" in runs_html(())
    assert "<b>a blue" not in card_html(bench.log.rows[-1])


def test_only_so_many_runs_are_kept_and_numbers_go_on() -> None:
    bench = Bench()
    for _ in range(MOST_RUNS + 2):
        bench.edited()

    assert [bench.log.rows[0].number, bench.log.rows[-1].number] == [3, MOST_RUNS + 2]


def test_runs_belong_to_their_visitor_and_go_with_them() -> None:
    bench = Bench()
    bench.edited()
    other = bench.visitors.admit()

    assert bench.visitors.get(other).runs.rows == []


@pytest.mark.parametrize("prompt", ['=HYPERLINK("x")', "+1", "-1", "@sum", "\t=1", " =1", "\n=1"])
def test_no_cell_of_the_csv_becomes_a_formula(prompt: str, tmp_path: Path) -> None:
    bench = Bench()
    bench.edited(target_prompt=prompt)
    bench.log.rows[0].figures["text_alignment"] = Measurement(METRICS["text_alignment"], -0.1, 0.2, "judge")

    with write_runs(bench.log.rows, tmp_path / "runs.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)

    assert row["should_show"] == f"'{prompt}"
    assert row["clip"] == "'=clip.mp4"
    assert row["text_alignment (judge)"] == "-0.1"


def test_the_csv_has_all_facts_and_figures(judge: ClipJudge) -> None:
    bench = Bench(lambda: judge)
    bench.edited(target_prompt='a "blue", größer car')
    bench.measured()

    update = list(bench.scores.export(token=bench.token))[-1]
    with Path(update["runs_file"].value["path"]).open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)

    assert (row["should_show"], row["seed"], row["seconds"]) == ('a "blue", größer car', "7", "12.3")
    assert row["background_difference"] == "0.0"
    assert float(row["motion_fidelity (RGB DIS flow)"]) > 0.9
    assert row["colour_jitter_of_source"]
    assert row["frame_consistency (toybox-clip)"]


# Judges


@pytest.fixture(scope="module")
def other_judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge in a folder of the user's own."""
    folder = tmp_path_factory.mktemp("judges") / "<mine>"
    shutil.copytree(ASSETS / EMBEDDED_JUDGE, folder)
    return folder


def test_figures_of_two_judges_never_share_a_column(other_judge: Path, tmp_path: Path) -> None:
    bench = Bench()
    bench.scores = Scores(visitors=bench.visitors, instruments=SharedInstruments([str(other_judge)]))
    cards = []
    for choice in (None, EMBEDDED_JUDGE):
        bench.edited()
        cards.append(bench.measured(choice)[-1]["card"])

    assert "judged by &lt;mine&gt;." in cards[0]
    assert "judged by toybox-clip, which knows its own" in cards[1]
    table = runs_html(bench.log.rows)
    for heading in ("Words", "Frames"):
        assert f"{heading}<small>&lt;mine&gt;</small>" in table
        assert f"{heading}<small>toybox-clip</small>" in table
    with write_runs(bench.log.rows, tmp_path / "runs.csv").open(encoding="utf-8-sig", newline="") as file:
        first, second = csv.DictReader(file)
    mine, ours = "text_alignment (<mine>)", f"text_alignment ({EMBEDDED_JUDGE})"
    assert (first[ours], second[mine]) == ("", "")
    assert first[mine] == second[ours] != ""
    assert first["motion_fidelity (RGB DIS flow)"] == second["motion_fidelity (RGB DIS flow)"]


def test_a_judge_that_nobody_offers_is_not_asked() -> None:
    bench = Bench()
    bench.edited()

    card = bench.measured("owner/name@main")[-1]["card"]

    assert "There is no judge &#39;owner/name@main&#39;; choose one of: toybox-clip" in card
    assert set(bench.log.rows[0].figures) == {"background_difference"}


def test_judges_that_cannot_be_told_apart_or_found_are_refused_at_the_start(tmp_path: Path) -> None:
    twin = tmp_path / EMBEDDED_JUDGE
    shutil.copytree(ASSETS / EMBEDDED_JUDGE, twin)

    with pytest.raises(ConfigError, match="two judges are called 'toybox-clip'"):
        SharedInstruments([str(twin)])
    (twin / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"lacks model\.safetensors"):
        SharedInstruments([str(twin)])
    with pytest.raises(ModelLoadError, match="no judge 'nowhere'"):
        SharedInstruments(["nowhere"])
    assert SharedInstruments(["owner/name@1234"]).judges == ["owner/name@1234", EMBEDDED_JUDGE]
