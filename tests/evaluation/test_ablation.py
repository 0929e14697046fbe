"""The ablation board: variants of the settings, the page that shows them, and the two commands."""

from __future__ import annotations

import base64
import errno
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreammotion_core import (
    ConfigError,
    DreamMotionPipeline,
    EditConfig,
    Notice,
    NumericsError,
    OutOfMemoryError,
    Started,
    Video,
    read_video,
    write_frames,
    write_video,
)
from dreammotion_core.cli.main import main
from dreammotion_core.evaluation import METRICS, Measurement
from dreammotion_core.evaluation.ablation import VariantEvent, VariantResult, run_ablation
from dreammotion_core.evaluation.board import (
    Player,
    ablation_board,
    best_rows,
    html_table,
    legend,
    line_chart,
    markdown_table,
    measurement_cells,
    missing_reasons,
    synchronised_grid,
    write_ablation_board,
)
from dreammotion_core.evaluation.catalog import ABLATION, VARIANTS, known_variants
from dreammotion_core.media.masks import write_masks
from dreammotion_core.method.baselines import METHODS
from tests.tiny import moving_square, save_tiny_unet3d, tiny_unet3d

PROMPTS = {"source_prompt": "a red <car>", "target_prompt": "a blue <car>"}
CONFIG = EditConfig(num_optimization_steps=2, preview_interval=0)
SIZE = (64, 64)
NAMES = ("motion_fidelity", "background_difference", "colour_jitter")


@pytest.fixture(scope="module")
def board() -> tuple[list[VariantEvent], list[VariantResult]]:
    """All that the ablation of a tiny model yields."""
    video, mask = moving_square(3, SIZE)
    found = list(
        run_ablation(
            DreamMotionPipeline(tiny_unet3d()), video=video, **PROMPTS, mask=mask, config=CONFIG, names=NAMES
        )
    )
    return (
        [each for each in found if isinstance(each, VariantEvent)],
        [each for each in found if isinstance(each, VariantResult)],
    )


class TestVariants:
    def test_each_variant_is_a_valid_setting_and_named_by_its_key(self) -> None:
        for name, variant in VARIANTS.items():
            assert variant.name == name
            assert variant.of(EditConfig()).to_dict().items() >= dict(variant.changes).items()
        assert VARIANTS["dreammotion"].of(CONFIG) == CONFIG
        assert set(ABLATION) <= set(VARIANTS)

    @pytest.mark.parametrize("shared", ["dreammotion", "sdedit"])
    def test_each_variant_has_the_method_of_its_label_whatever_the_shared_one(self, shared: str) -> None:
        config = EditConfig(method=shared)
        methods = {name: variant.of(config).method for name, variant in VARIANTS.items()}

        assert methods == {name: name if name in METHODS else "dreammotion" for name in VARIANTS}

    def test_unknown_names_are_refused_with_the_known_ones(self) -> None:
        with pytest.raises(ConfigError, match=r"magic; known are: dreammotion"):
            known_variants(["magic"])
        with pytest.raises(ConfigError, match="no variant was chosen"):
            known_variants([])
        assert [v.name for v in known_variants(["v-sds", "v-sds", "no-mask"])] == ["v-sds", "no-mask"]


class TestBoard:
    def test_all_variants_run_with_one_seed(
        self, board: tuple[list[VariantEvent], list[VariantResult]]
    ) -> None:
        events, results = board

        assert [r.variant.name for r in results] == list(ABLATION)
        assert len({r.output.config.seed for r in results}) == 1
        assert results[0].output.config.seed >= 0
        assert sum(isinstance(e.event, Started) for e in events) == len(ABLATION)
        assert {(e.index, e.num_variants) for e in events} == {(i, 5) for i in range(1, 6)}

    def test_what_is_switched_off_is_off(self, board: tuple[list[VariantEvent], list[VariantResult]]) -> None:
        losses = {r.variant.name: r.output.losses for r in board[1]}

        assert not any(step.spatial or step.temporal for step in losses["no-matching"])
        assert any(step.spatial for step in losses["no-temporal"])
        assert not any(step.temporal for step in losses["no-temporal"])
        assert any(step.temporal for step in losses["no-spatial"])
        background = {
            r.variant.name: m.value
            for r in board[1]
            for m in r.measurements
            if m.metric.name == "background_difference"
        }
        assert background["dreammotion"] == 0
        assert (background["no-mask"] or 0) > 0

    def test_the_page_stands_alone_and_shows_everything(
        self, board: tuple[list[VariantEvent], list[VariantResult]], tmp_path: Path
    ) -> None:
        video, _ = moving_square(3, SIZE)
        page = write_ablation_board(board[1], tmp_path / "new" / "board.html", source=video).read_text()
        seen = _Tags(page)

        assert seen.count("canvas") == 1 + len(ABLATION)
        assert seen.count("polyline") > len(ABLATION)
        assert not re.search(r"""(src|href)=["']?(?!data:)""", page)
        assert "http" not in page
        assert "a red &lt;car&gt;" in page
        for variant in known_variants(ABLATION):
            assert variant.label in page
        assert METRICS["motion_fidelity"].question in page

    def test_no_results_give_no_page(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no results"):
            write_ablation_board([], tmp_path / "board.html", source=moving_square()[0])
        assert not (tmp_path / "board.html").exists()


class TestParts:
    def test_a_strip_holds_all_frames_in_order(self) -> None:
        frames = np.zeros((3, 20, 30, 3), np.uint8)
        frames[1], frames[2] = 120, 240
        html = synchronised_grid([Player(frames, "a & b")], fps=8.0)
        data = re.search(r"base64,([^\"]+)", html)
        assert data is not None
        strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))

        assert strip.shape == (60, 30, 3)
        assert [int(strip[row].mean()) for row in (5, 25, 45)] == pytest.approx([0, 120, 240], abs=3)
        assert "a &amp; b" in html
        assert 'data-length="3" data-period="125.0"' in html

    def test_large_clips_are_reduced(self) -> None:
        html = synchronised_grid([Player(np.zeros((2, 400, 800, 3), np.uint8), "large")], fps=8.0)
        assert 'width="384" height="192"' in html

    def test_curves_reach_from_corner_to_corner(self) -> None:
        points = re.findall(r'points="([^"]+)"', line_chart({"falling": [4.0, 2.0, 0.0]}, title="loss"))
        (left, top), *_, (right, bottom) = [tuple(map(float, p.split(","))) for p in points[0].split()]

        assert left < right
        assert top < bottom
        assert "zero everywhere" in line_chart({"flat": [0.0, 0.0]}, title="loss")

    def test_a_chart_of_what_no_method_has_says_so(self) -> None:
        assert "none of these methods has it" in line_chart({}, title="loss")
        assert "none of these methods has it" in line_chart({"one": [], "two": []}, title="loss")

    def test_a_single_step_is_a_dot(self) -> None:
        (points,) = re.findall(r'points="([^"]+)"', line_chart({"one": [2.0]}, title="loss"))
        first, second = points.split()

        assert first == second
        assert 'stroke-linecap="round"' in line_chart({"one": [2.0]}, title="loss")

    def test_curves_have_the_colours_of_the_legend(self) -> None:
        names = ("one", "none", "<two>")
        chart = line_chart({"one": [1.0, 2.0], "none": [], "<two>": [2.0, 1.0]}, title="loss")
        colours = re.findall(r"color:(#\w+)", legend(names))

        assert re.findall(r'stroke="(#\w+)"', chart) == colours
        assert len(set(colours)) == 3
        assert "&lt;two&gt;" in legend(names)

    def test_tables_set_off_the_best_and_escape(self) -> None:
        assert "<td class=best>1</td>" in html_table(["a", "b"], rows=[["x", "1"]], best={(0, 1)})
        assert "&lt;b&gt;" in html_table(["<b>"], rows=[], best=set())
        assert markdown_table(["a"], rows=[["x|y"]]).splitlines()[-1] == r"| x\|y |"

    def test_the_best_is_the_highest_or_the_lowest_and_ties_share(self) -> None:
        fidelity = [Measurement(METRICS["motion_fidelity"], v) for v in (0.9, 0.95, 0.9501, None)]
        jitter = [Measurement(METRICS["colour_jitter"], v) for v in (0.3, 0.1, 0.2, None)]

        assert best_rows(fidelity) == [1, 2]
        assert best_rows(jitter) == [1]
        assert best_rows(jitter[:1]) == []
        header, rows, best = measurement_cells({"one": [fidelity[0]], "two": [fidelity[3]]})
        assert header == ["", "Motion-Fidelity ↑"]
        assert rows[:2] == [["one", "0.900"], ["two", "-"]]
        assert best == {(0, 1)}

    def test_a_judge_is_named_though_the_first_edit_could_not_be_measured(self) -> None:
        measured = {
            "one": [Measurement(METRICS["warping_error"], None, note="nothing to compare")],
            "two": [Measurement(METRICS["warping_error"], 2.0, 0.5, "RGB DIS flow")],
        }
        header, rows, _ = measurement_cells(measured)

        assert header == ["", "Warping error (thousandths) (RGB DIS flow) ↓"]
        assert [row[1] for row in rows] == ["-", "2.00", "0.50"]

    def test_reasons_are_given_once_with_the_edits_they_are_about(self) -> None:
        def cells(fidelity: str, jitter: str) -> list[Measurement]:
            notes = {"motion_fidelity": fidelity, "colour_jitter": jitter}
            return [Measurement(METRICS[m], None if note else 1.0, note=note) for m, note in notes.items()]

        measured = {
            "one": cells("no mask", ""),
            "two": cells("no mask", ""),
            "three": cells("no mask", "flat"),
        }

        assert missing_reasons(measured) == ["Motion-Fidelity: no mask", "Colour jitter of three: flat"]

    def test_the_board_explains_what_any_variant_has_or_lacks(
        self, board: tuple[list[VariantEvent], list[VariantResult]]
    ) -> None:
        first, second, *_ = board[1]
        metric = METRICS["colour_jitter"]
        lacks, has = Measurement(metric, None, note="flat"), Measurement(metric, 1.0)
        results = [replace(first, measurements=(lacks,)), replace(second, measurements=(has,))]
        parts = ablation_board(results, source=moving_square(3, SIZE)[0])

        assert f"Colour jitter of {first.variant.label}: flat" in parts.table
        assert metric.scale in parts.reading


class TestCommands:
    @pytest.fixture
    def clip(self, tmp_path: Path) -> Path:
        video, mask = moving_square(3, SIZE)
        write_masks(mask, tmp_path / "masks")
        write_frames(video.frames, tmp_path / "source")
        edited = video.frames.copy()
        edited[mask] = (30, 30, 220)
        write_frames(edited, tmp_path / "edited")
        return write_video(video, tmp_path / "clip.mp4")

    def test_metrics_of_two_folders(
        self, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["metrics", tmp_path / "source", tmp_path / "edited", "--mask", tmp_path / "masks"]
        words += ["--judge", "none", "--metrics", *NAMES, "text_alignment", "frame_lpips"]
        words += ["--json", tmp_path / "out.json"]
        code = main([str(word) for word in words])
        said = capsys.readouterr().out
        figures = {f["metric"]: f for f in json.loads((tmp_path / "out.json").read_text())}

        assert code == 0, clip
        assert figures["background_difference"]["value"] == 0
        assert "Background change" in said
        assert "not measured: Text-Align: no target prompt" in said
        assert "not measured: Frame-LPIPS: no LPIPS backbone was given; give one as --lpips" in said

    def test_a_folder_is_measured_against_the_video_at_the_rate_of_its_edit(
        self, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        del clip
        video, mask = moving_square(12, SIZE)
        fast = write_video(Video(video.frames, fps=32.0), tmp_path / "fast.mp4")
        edited, words = read_video(fast, fps=8.0), ["--judge", "none", "--metrics", "psnr_inside"]
        write_frames(edited.frames, tmp_path / "kept", fps=edited.fps)
        write_frames(edited.frames, tmp_path / "bare")
        mask = mask[: len(edited)].copy()
        mask[0] = False
        write_masks(mask, tmp_path / "late.npz")
        for more in (["kept"], ["bare", "--fps", "8"], ["kept", "--mask", str(tmp_path / "late.npz")]):
            folder, *options = more
            assert main(["metrics", str(fast), str(tmp_path / folder), *words, *options]) == 0
            said = capsys.readouterr()
            assert "∞" in said.out
            assert "fast.mp4: It was resampled from 32 to 8 frames a second" in said.err
            assert ("late.npz: The mask selects nothing on 1 of" in said.err) == ("--mask" in options)

        assert main(["metrics", str(fast), str(tmp_path / "bare"), *words]) == 2
        assert "give it with --fps" in capsys.readouterr().err

    def test_clips_of_other_moments_are_not_compared(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        video, _ = moving_square(3, SIZE)
        for name, fps in {"f8": 8.0, "same": 8.0, "f24": 24.0, "bare": None}.items():
            write_frames(video.frames, tmp_path / name, fps=fps)
        slow = write_video(Video(video.frames, fps=8.0), tmp_path / "slow.mp4")

        def measured(source: str, edit: str, *more: str) -> tuple[int, str]:
            words = [
                str(tmp_path / source),
                str(tmp_path / edit),
                "--judge",
                "none",
                "--metrics",
                "psnr_inside",
            ]
            code = main(["metrics", *words, *more])
            return code, capsys.readouterr().err

        for edit in ("f8", slow.name):
            code, said = measured("f24", edit)
            assert code == 2
            assert "are 24 a second" in said
            assert f"{edit} 8, so they show other moments" in said
        assert measured("f8", "same")[0] == 0
        assert measured("bare", "f8")[0] == 0
        code, said = measured("f8", "same", "--fps", "8")
        assert code == 2
        assert "leave --fps out" in said
        code, said = measured(slow.name, "f24", "--fps", "8")
        assert code == 0
        assert "Note: The edit is 24 frames a second; the source is read at 8, as --fps says." in said

    def test_the_objects_of_both_masks_can_be_chosen(
        self, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        del clip
        _, mask = moving_square(3, SIZE)
        objects = np.where(mask, np.uint8(2), np.uint8(0))
        objects[:, :4, :4] = 1
        write_masks(objects, tmp_path / "objects.npz")
        words = ["metrics", str(tmp_path / "source"), str(tmp_path / "edited"), "--judge", "none"]
        words += ["--metrics", "mask_overlap", "--mask", str(tmp_path / "masks"), "--edited-mask"]

        assert main([*words, str(tmp_path / "objects.npz")]) == 2
        assert "choose one by its number (--edited-object)" in capsys.readouterr().err
        assert main([*words, str(tmp_path / "objects.npz"), "--edited-object", "2"]) == 0
        assert "| Mask IoU ↑ | 1.000 |" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--object", "2"), "object 2 was chosen of a mask that is not given"),
            (("--mask-grow", "2"), "give it with --mask"),
            (("--mask-grow", "1000"), "mask_grow is 1000"),
            (("--metrics", "beauty"), "known are: text_alignment"),
            (("--judge", "nobody"), "there is no judge"),
            (("--target-prompt", " "), "the target prompt is empty"),
        ],
    )
    def test_what_cannot_be_measured_is_said(
        self,
        clip: Path,
        tmp_path: Path,
        words: tuple[str, ...],
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        code = main(["metrics", str(tmp_path / "source"), str(tmp_path / "edited"), *words])

        assert code in (1, 2), clip
        assert message in capsys.readouterr().err

    def test_metrics_takes_no_length_because_the_edit_has_one(
        self, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(["metrics", str(clip), str(tmp_path / "edited"), "--num-frames", "2"])

        assert stopped.value.code == 2
        assert "unrecognized arguments: --num-frames" in capsys.readouterr().err

    @pytest.fixture
    def ablate(self, clip: Path, tmp_path: Path) -> Callable[..., int]:
        """Runs the command with some variants and more words; the page is ``board.html``."""
        words = ["ablate", clip, "--source-prompt", "a red car", "--target-prompt", "a blue car"]
        words += ["--mask", tmp_path / "masks", "--model", save_tiny_unet3d(tmp_path / "model")]
        words += ["--device", "cpu", "--judge", "none", "--out", tmp_path / "board.html"]
        words += ["--metrics", *NAMES, "text_alignment"]

        def run(*variants: str, more: tuple[str, ...] = ("--steps", "1")) -> int:
            return main([str(word) for word in (*words, *more, "--variants", *variants)])

        return run

    def test_ablate_writes_the_board(
        self, ablate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ablate("dreammotion", "sdedit") == 0
        said = capsys.readouterr().out
        assert "2 variants side by side" in said
        assert "not measured: Text-Align: no judge was given" in said
        assert "SDEdit" in (tmp_path / "board.html").read_text()

    @pytest.mark.parametrize(
        ("variant", "message"), [("flowedit", "flow"), ("ddim-inversion", "at least 2 steps")]
    )
    def test_a_variant_that_cannot_run_is_refused_before_the_first_edit(
        self,
        ablate: Callable[..., int],
        variant: str,
        message: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def began(*_: Any, **__: Any) -> None:
            raise AssertionError("an edit began")

        monkeypatch.setattr(DreamMotionPipeline, "stream", began)

        assert ablate("dreammotion", variant) == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("failure", "code"),
        [(KeyboardInterrupt(), 130), (OutOfMemoryError("too large"), 1), (NumericsError("not finite"), 2)],
    )
    def test_what_is_finished_is_written_when_a_later_variant_fails(
        self,
        ablate: Callable[..., int],
        failure: BaseException,
        code: int,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        edit = DreamMotionPipeline.stream

        def failing(pipe: DreamMotionPipeline, *args: Any, config: EditConfig, **more: Any) -> Iterator[Any]:
            yield Notice("told", "Something to know.")
            if config.method == "sdedit":
                raise failure
            yield from edit(pipe, *args, config=config, **more)

        monkeypatch.setattr(DreamMotionPipeline, "stream", failing)

        assert ablate("dreammotion", "sdedit") == code
        said = capsys.readouterr().err
        assert said.count("Note: Something to know.") == 1
        assert "board.html shows what was finished: DreamMotion." in said
        assert "DreamMotion" in (tmp_path / "board.html").read_text()
        (tmp_path / "board.html").unlink()
        assert ablate("sdedit") == code
        assert "No variant was finished. Nothing was written." in capsys.readouterr().err

    @pytest.fixture
    def full_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(*_: Any, **__: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_text", write)

    @pytest.mark.usefixtures("ablate", "full_disk")
    @pytest.mark.parametrize("stops", [False, True])
    def test_the_figures_are_told_though_the_page_cannot_be_written(
        self,
        ablate: Callable[..., int],
        stops: bool,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        edit = DreamMotionPipeline.stream

        def stopping(pipe: DreamMotionPipeline, *args: Any, config: EditConfig, **more: Any) -> Iterator[Any]:
            if stops and config.method == "sdedit":
                raise KeyboardInterrupt
            yield from edit(pipe, *args, config=config, **more)

        monkeypatch.setattr(DreamMotionPipeline, "stream", stopping)

        assert ablate("dreammotion", "sdedit") == (130 if stops else 1)
        said = capsys.readouterr()
        assert "board.html could not be written (No space left on device)" in said.err
        assert "| DreamMotion | 0." in (said.err if stops else said.out)
        assert not (tmp_path / "board.html").exists()

    @pytest.mark.usefixtures("clip", "full_disk")  # the clip is written while the disk has room
    def test_the_figures_of_an_edit_are_told_though_their_file_cannot_be_written(
        self, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["metrics", str(clip), str(clip), "--judge", "none", "--metrics", "colour_jitter"]

        assert main([*words, "--json", str(tmp_path / "figures.json")]) == 1
        said = capsys.readouterr()
        assert "figures.json could not be written" in said.err
        assert "Colour jitter" in said.out

    def test_a_page_that_cannot_be_written_is_refused_before_the_first_edit(
        self, ablate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "board.html").mkdir()

        assert ablate("dreammotion") == 1
        said = capsys.readouterr()
        assert "is a folder; choose the name of a file" in said.err
        assert not said.out

    def test_ablate_takes_no_method_because_its_variants_name_theirs(
        self, ablate: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as stopped:
            ablate("dreammotion", more=("--method", "sdedit"))

        assert stopped.value.code == 2
        assert "unrecognized arguments: --method" in capsys.readouterr().err

    def test_a_wrong_variant_is_refused_before_any_work(
        self, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["ablate", clip, "--source-prompt", "a", "--target-prompt", "b", "--mask", tmp_path / "masks"]
        words += ["--variants", "magic", "--out", tmp_path / "board.html"]

        assert main([str(word) for word in words]) == 2
        assert "no variant magic" in capsys.readouterr().err


class _Tags(HTMLParser):
    """Names of all elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._names: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self._names.append(tag)

    def count(self, name: str) -> int:
        return self._names.count(name)
