"""Measures on cases with known answers: shifted, static, shuffled and flickering clips."""

from __future__ import annotations

import math
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from dreammotion_core.errors import ConfigError, MaskError, MetricError, ModelLoadError, VideoError
from dreammotion_core.evaluation import (
    METRICS,
    ClipJudge,
    CoTracker,
    FlowTracker,
    FrameLpips,
    Instruments,
    MeasuredClip,
    MeasuredEdit,
    PointTracks,
    backbone_path,
    background_proof,
    colour_jitter,
    evaluate_edit,
    grid_points,
    motion,
    motion_fidelity,
    psnr,
    region_similarity,
    ssim,
    warping_error,
)
from dreammotion_core.evaluation.judges import EMBEDDED_JUDGE
from dreammotion_core.evaluation.motion import ClipFlow, consecutive_flows
from dreammotion_core.models.catalog import ASSETS
from dreammotion_core.values import Frames, Mask

FRAMES, SIDE = 5, 64
SIZE = (SIDE, SIDE)


def texture(seed: int, side: int = 3 * SIDE) -> NDArray[np.uint8]:
    """Soft random patches, which flow can follow."""
    rough = torch.rand(1, 3, side // 6, side // 6, generator=torch.Generator().manual_seed(seed))
    soft = torch.nn.functional.interpolate(rough, (side, side), mode="bicubic").clamp(0, 1)
    return (255 * soft[0].permute(1, 2, 0)).byte().numpy()


def shifting(dx: int, dy: int, *, seed: int = 0, num_frames: int = FRAMES) -> Frames:
    """A texture that moves by so many pixels a frame, right and down."""
    whole = texture(seed)
    corners = [(SIDE - index * dy, SIDE - index * dx) for index in range(num_frames)]
    return np.stack([whole[top : top + SIDE, left : left + SIDE] for top, left in corners])


def square_mask(num_frames: int = FRAMES) -> Mask:
    mask = np.zeros((num_frames, *SIZE), bool)
    mask[:, 16:48, 16:48] = True
    return mask


def straight_tracks(*steps: tuple[float, float], num_frames: int = FRAMES, size: int = 400) -> PointTracks:
    """One track for each constant displacement; a size of 400 makes 1 pixel the length of standing still."""
    times = np.arange(num_frames)[:, None, None]
    positions = 100 + times * np.array(steps, float)
    return PointTracks(positions, np.ones(positions.shape[:2], bool), (size, size))


@pytest.fixture(scope="module")
def judge() -> ClipJudge:
    return ClipJudge.from_pretrained()


def thin_mask(shape: str, side: int = 192) -> Mask:
    """(H, W), an object of single pixels."""
    mask = np.zeros((side, side), bool)
    match shape:
        case "line":
            mask[50, 20:170] = True
        case "corner":
            mask[20:170, 20] = mask[20, 20:170] = True
        case "ring":
            mask[20:170, 20:170] = True
            mask[21:169, 21:169] = False
    return mask


def copied_judge(place: Path) -> Path:
    """A copy of the embedded judge, to be damaged."""
    return shutil.copytree(ASSETS / EMBEDDED_JUDGE, place / "judge")


@pytest.fixture(scope="module")
def lpips(tmp_path_factory: pytest.TempPathFactory) -> FrameLpips:
    """The smallest backbone with random weights, where torchvision would have put the real ones."""
    import torchvision

    hub = tmp_path_factory.mktemp("hub")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.hub, "get_dir", lambda: str(hub))
        path = backbone_path("squeeze")
        path.parent.mkdir(parents=True)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
        return FrameLpips("squeeze")


class TestMotionFidelity:
    def test_identical_clips_score_exactly_one(self) -> None:
        rng = np.random.default_rng(0)
        for scale in (0.0, 1e-3, 1.0, 30.0):
            positions = np.cumsum(scale * rng.normal(size=(FRAMES, 40, 2)), axis=0)
            visible = rng.random((FRAMES, 40)) > 0.2
            tracks = PointTracks(positions, visible, SIZE)
            assert motion_fidelity(tracks, edited=tracks) == 1.0

    def test_opposite_motion_is_minus_one_and_motion_across_is_nought(self) -> None:
        right = straight_tracks((500, 0))
        assert motion_fidelity(right, edited=straight_tracks((-500, 0))) == pytest.approx(-1, abs=1e-4)
        assert motion_fidelity(right, edited=straight_tracks((0, 500))) == pytest.approx(0, abs=1e-4)

    def test_length_does_not_count_but_standing_still_does(self) -> None:
        right = straight_tracks((100, 0))
        assert motion_fidelity(right, edited=straight_tracks((300, 0))) == pytest.approx(1, abs=1e-3)
        still = straight_tracks((0, 0))
        assert motion_fidelity(still, edited=straight_tracks((0.01, -0.01))) == pytest.approx(1, abs=1e-3)
        assert motion_fidelity(right, edited=still) == pytest.approx(0.01, abs=1e-4)

    def test_both_directions_count(self) -> None:
        """The edit keeps one of two motions: all of its tracks find a partner, half of the source's do."""
        both, one = straight_tracks((500, 0), (0, 500)), straight_tracks((500, 0))
        expected = ((1 + 0) / 2 + 1) / 2
        assert motion_fidelity(both, edited=one) == pytest.approx(expected, abs=1e-3)
        assert motion_fidelity(one, edited=both) == pytest.approx(expected, abs=1e-3)

    def test_order_of_tracks_does_not_count(self) -> None:
        forth, back = straight_tracks((9, 0), (0, 9)), straight_tracks((0, 9), (9, 0))
        assert motion_fidelity(forth, edited=back) == 1.0

    def test_hidden_steps_do_not_count_and_hidden_partners_count_as_nothing(self) -> None:
        source = straight_tracks((500, 0), num_frames=5)
        hidden = np.ones((5, 1), bool)
        hidden[3:] = False
        wild = source.positions.copy()
        wild[3:] = (-1e6, np.nan)
        part = PointTracks(wild, hidden, source.size)
        assert motion_fidelity(part, edited=part) == 1.0
        # Two of four steps have a partner for the source; all two of the edit have one.
        assert motion_fidelity(source, edited=part) == pytest.approx((0.5 + 1) / 2)

    def test_the_switch_reproduces_the_three_traps_of_the_published_script(self) -> None:
        rng = np.random.default_rng(1)
        positions = np.cumsum(rng.normal(size=(FRAMES, 30, 2)), axis=0)
        visible = np.ones((FRAMES, 30), bool)
        tracks = PointTracks(positions, visible, SIZE)
        assert motion_fidelity(tracks, edited=tracks, dmt=True) < 0.95
        assert motion_fidelity(tracks, edited=PointTracks(positions, ~visible, SIZE), dmt=True) < 0.95
        rigid = straight_tracks((3, 4), (3, 4))
        assert motion_fidelity(rigid, edited=rigid, dmt=True) == pytest.approx(1)
        still = straight_tracks((0, 0), (1, 0))
        assert math.isnan(motion_fidelity(still, edited=still, dmt=True))

    def test_the_switch_looks_one_way_only(self) -> None:
        source = straight_tracks((500, 0), (0, 500))
        edited = straight_tracks((500, 0), (500, 0))
        # The first edited track may not take its own index: all it finds is the motion across.
        assert motion_fidelity(source, edited=edited, dmt=True) == pytest.approx((0 + 1) / 2)

    @pytest.mark.parametrize(
        ("edited", "dmt", "message"),
        [
            (straight_tracks((1, 0), num_frames=4), False, "same number of frames"),
            (straight_tracks((1, 0), num_frames=1), False, "same number of frames"),
            (straight_tracks((1, 0), (1, 0)), True, "as many tracks"),
        ],
    )
    def test_tracks_that_do_not_fit_are_refused(self, edited: PointTracks, dmt: bool, message: str) -> None:
        with pytest.raises(MetricError, match=message):
            motion_fidelity(straight_tracks((1, 0)), edited=edited, dmt=dmt)

    def test_no_surviving_track_is_said(self) -> None:
        blind = PointTracks(np.zeros((3, 2, 2)), np.zeros((3, 2), bool), SIZE)
        with pytest.raises(MetricError, match="no point could be followed"):
            motion_fidelity(blind, edited=blind)
        lost = PointTracks(np.full((3, 2, 2), np.nan), np.ones((3, 2), bool), SIZE)
        with pytest.raises(MetricError, match="no point could be followed"):
            motion_fidelity(lost, edited=lost)

    def test_a_track_counts_by_the_steps_on_which_it_is_seen(self) -> None:
        source = straight_tracks((500, 0), (0, 500))
        source.visible[2:, 1] = False  # one step of four
        edited = straight_tracks((500, 0))

        # Of the source (4 x 1 + 1 x 0) / 5, of the edit 1.
        assert motion_fidelity(source, edited=edited) == pytest.approx((0.8 + 1) / 2, abs=1e-3)

    def test_sets_begun_on_different_frames_count_together(self) -> None:
        source = [straight_tracks((500, 0)), straight_tracks((0, 500), num_frames=2)]
        edited = [straight_tracks((500, 0)), straight_tracks((500, 0), num_frames=2)]

        assert motion_fidelity(source, edited=source) == 1.0
        assert motion_fidelity(source, edited=edited) == pytest.approx(0.8, abs=1e-3)
        with pytest.raises(MetricError, match="2 and 1 sets of tracks cannot be compared"):
            motion_fidelity(source, edited=edited[:1])
        with pytest.raises(MetricError, match="2 and 2 sets"):
            motion_fidelity(source, edited=edited, dmt=True)

    def test_a_set_that_only_one_clip_has_counts_as_not_moving_alike(self) -> None:
        lost = straight_tracks((500, 0), num_frames=3)
        lost.visible[:] = False
        source = [straight_tracks((500, 0), num_frames=3)] * 2

        found = motion_fidelity(source, edited=[source[0], lost])

        assert found == pytest.approx((0.5 + 1) / 2)

    def test_misshapen_tracks_are_refused(self) -> None:
        with pytest.raises(MetricError, match="are needed"):
            PointTracks(np.zeros((3, 2, 2)), np.zeros((3, 4), bool), SIZE)


class TestTracks:
    def test_flow_follows_a_shift(self) -> None:
        points = grid_points(SIZE, mask=square_mask()[0], grid_size=8)
        tracks = FlowTracker()(shifting(3, -2), points=points)

        assert tracks.visible.mean() > 0.95
        moved = (tracks.positions[-1] - tracks.positions[0])[tracks.visible[-1]]
        np.testing.assert_allclose(np.median(moved, axis=0), (12, -8), atol=0.3)

    def test_patches_as_light_as_what_is_round_them_are_followed(self) -> None:
        """Red on green of equal lightness, filmed with a little noise: in grey there is nothing but noise."""
        pattern = shifting(3, -2)[..., :1] / 255
        red, green = np.array([255, 0, 60]), np.array([0, 255 * 0.299 / 0.587, 60])
        noise = np.random.default_rng(0).normal(0, 6, (FRAMES, *SIZE, 1))
        clip = (pattern * red + (1 - pattern) * green + noise).clip(0, 255).astype(np.uint8)
        tracks = FlowTracker()(clip, points=grid_points(SIZE, mask=square_mask()[0], grid_size=8))

        assert tracks.visible.mean() > 0.9
        moved = (tracks.positions[-1] - tracks.positions[0])[tracks.visible[-1]]
        np.testing.assert_allclose(np.median(moved, axis=0), (12, -8), atol=0.5)

    def test_what_leaves_the_frame_is_not_seen_again(self) -> None:
        points = np.array([[60.0, 30.0], [20.0, 30.0]])
        visible = FlowTracker()(shifting(3, 0), points=points).visible

        assert visible[0].all()
        assert not visible[2:, 0].any()
        assert visible[:, 1].all()

    def test_what_is_covered_is_not_seen(self) -> None:
        clip = shifting(0, 0)
        clip[2:, 20:44, 20:44] = texture(9)[:24, :24]
        visible = FlowTracker()(clip, points=np.array([[32.0, 32.0], [5.0, 5.0]])).visible

        assert not visible[2:, 0].any()
        assert visible[:, 1].all()

    def test_points_lie_on_the_object_and_fill_it(self) -> None:
        mask = np.zeros(SIZE, bool)
        mask[10:20, 30:50] = True
        points = grid_points(SIZE, mask=mask, grid_size=10)

        assert len(points) == 10 * 5
        assert mask[tuple(np.rint(points).astype(int).T[::-1])].all()
        assert len(grid_points(SIZE, mask=mask, grid_size=500)) == mask.sum()
        np.testing.assert_allclose(grid_points(SIZE, mask=None, grid_size=4).mean(axis=0), (31.5, 31.5))

    @pytest.mark.parametrize("shape", ["line", "corner", "ring"])
    def test_a_thin_object_that_the_grid_misses_gives_points_of_its_own(self, shape: str) -> None:
        mask = thin_mask(shape)
        points = grid_points(mask.shape, mask=mask, grid_size=24)

        assert 1 <= len(points) <= 24
        assert mask[tuple(points.astype(int).T[::-1])].all()
        for axis, along in enumerate((mask.any(axis=0), mask.any(axis=1))):
            assert np.ptp(points[:, axis]) >= 0.9 * np.ptp(np.flatnonzero(along))

    def test_points_of_an_object_at_the_border_stay_in_the_frame(self) -> None:
        mask = np.zeros((20, 100), bool)
        mask[10:, 68:] = True
        points = grid_points(mask.shape, mask=mask, grid_size=24)

        assert len(points) == 24 * 7
        assert mask[tuple(np.rint(points).astype(int).T[::-1])].all()

    def test_an_absent_object_has_no_points(self) -> None:
        with pytest.raises(MetricError, match="not on the first frame"):
            grid_points(SIZE, mask=np.zeros(SIZE, bool), grid_size=4)

    def test_cotracker_is_asked_in_its_own_terms(self) -> None:
        seen = {}

        def predictor(video: torch.Tensor, *, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen["video"], seen["queries"] = video, queries
            positions = queries[:, None, :, 1:].expand(-1, video.shape[1], -1, -1)
            return positions, torch.ones(positions.shape[:3])

        clip, points = shifting(1, 0), np.array([[3.0, 7.0]])
        tracks = CoTracker(predictor)(clip, points=points)

        assert seen["video"].shape == (1, FRAMES, 3, SIDE, SIDE)
        assert seen["video"].max() > 1
        assert seen["queries"].tolist() == [[[0, 3, 7]]]
        np.testing.assert_array_equal(tracks.positions, np.tile(points, (FRAMES, 1, 1)))
        assert tracks.visible.all()

    @pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
    def test_a_damaged_checkpoint_of_cotracker_is_refused(
        self, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = ModuleType("cotracker")
        package.__spec__ = ModuleSpec("cotracker", None)
        # Its own predictor reads the weights so.
        predictor = SimpleNamespace(CoTrackerPredictor=lambda checkpoint, **_: torch.load(checkpoint))
        monkeypatch.setitem(sys.modules, "cotracker", package)
        monkeypatch.setitem(sys.modules, "cotracker.predictor", predictor)
        (tmp_path / "scaled_offline.pth").write_bytes(content)

        with pytest.raises(ModelLoadError, match=r"scaled_offline\.pth cannot be loaded as CoTracker 3 \(\w"):
            CoTracker.from_checkpoint(tmp_path / "scaled_offline.pth")

    def test_cotracker_says_how_to_get_it(self) -> None:
        with pytest.raises(ModelLoadError, match=r"co-tracker.*scaled_offline"):
            CoTracker.from_checkpoint("nowhere.pth")


class TestWarping:
    def test_motion_is_no_flicker_and_flicker_is(self) -> None:
        clip = shifting(2, 1)
        flickering = clip.copy()
        flickering[1::2] = (flickering[1::2] * 0.8).astype(np.uint8)
        error = warping_error(clip, source=clip)

        assert error < 1e-3
        assert warping_error(flickering, source=clip) > 20 * error

    def test_a_flat_change_of_brightness_has_its_own_square_as_error(self) -> None:
        source = shifting(0, 0)
        edited = np.full_like(source, 100)
        edited[1::2] = 151

        assert warping_error(edited, source=source) == pytest.approx(3 * 0.2**2)

    def test_only_the_mask_counts(self) -> None:
        source = shifting(0, 0)
        edited = source.copy()
        edited[1::2, :8] = 255

        assert warping_error(edited, source=source, mask=square_mask()) == 0
        assert warping_error(edited, source=source) > 0

    def test_an_empty_mask_leaves_nothing_to_follow(self) -> None:
        with pytest.raises(MetricError, match="no pixel can be followed"):
            warping_error(shifting(0, 0), source=shifting(0, 0), mask=~np.ones((FRAMES, *SIZE), bool))


class TestFidelity:
    def test_equal_clips(self) -> None:
        clip, mask = shifting(2, 0), square_mask()

        assert psnr(clip, edited=clip, region=mask) == math.inf
        assert ssim(clip, edited=clip, region=mask) == 1.0

    def test_psnr_of_a_known_difference_within_the_region_alone(self) -> None:
        clip, mask = shifting(0, 0).clip(0, 200), square_mask()
        edited = clip.copy()
        edited[mask] += 10

        assert psnr(clip, edited=edited, region=mask) == pytest.approx(20 * math.log10(25.5))
        assert psnr(clip, edited=edited, region=~mask) == math.inf

    def test_ssim_is_that_of_the_literature(self) -> None:
        from torchmetrics.functional.image import structural_similarity_index_measure

        clip, other = shifting(0, 0), shifting(1, 0)
        grey = [np.rint(c @ np.array([0.299, 0.587, 0.114])).astype(np.uint8) for c in (clip, other)]
        clips = [np.repeat(g[..., None], 3, axis=-1) for g in grey]
        theirs = structural_similarity_index_measure(
            *(torch.from_numpy(g)[:, None].float() for g in grey), data_range=255.0
        )
        everywhere = np.ones((FRAMES, *SIZE), bool)

        assert ssim(clips[0], edited=clips[1], region=everywhere) == pytest.approx(float(theirs), abs=2e-3)

    def test_a_change_outside_leaves_the_inside_alone(self) -> None:
        clip, mask = shifting(0, 0), square_mask()
        edited = clip.copy()
        edited[~mask] = 0

        assert ssim(clip, edited=edited, region=mask) == 1.0
        assert ssim(clip, edited=edited, region=~mask) < 0.95

    def test_an_empty_region_is_refused(self) -> None:
        with pytest.raises(MetricError, match="no pixel"):
            ssim(shifting(0, 0), edited=shifting(0, 0), region=np.zeros((FRAMES, *SIZE), bool))


class TestBackground:
    def test_a_proof_of_an_untouched_background(self) -> None:
        clip, mask = shifting(1, 1), square_mask()
        edited = clip.copy()
        edited[mask] = 255 - edited[mask]
        proof = background_proof(clip, edited=edited, mask=mask)

        assert proof.is_unchanged
        assert (proof.num_changed, proof.max_difference) == (0, 0)
        assert proof.num_pixels == (~mask).sum()
        assert proof.source_sha256 == proof.edited_sha256

    def test_one_pixel_by_one_level_is_found(self) -> None:
        clip = shifting(1, 1).clip(0, 250)
        edited = clip.copy()
        edited[3, 0, 0, 2] += 1
        proof = background_proof(clip, edited=edited, mask=square_mask())

        assert not proof.is_unchanged
        assert (proof.num_changed, proof.max_difference) == (1, 1)
        assert proof.source_sha256 != proof.edited_sha256


class TestOutlinesAndColours:
    def test_overlap_of_masks_of_other_frames_is_refused(self) -> None:
        with pytest.raises(MaskError, match="same frames"):
            region_similarity(square_mask(3), truth=square_mask(4))
        assert region_similarity(square_mask(), truth=square_mask()) == 1

    def test_a_still_colour_does_not_jitter_and_a_flicker_has_its_size(self) -> None:
        still = np.full((FRAMES, *SIZE, 3), 128, np.uint8)
        flickering = still.copy()
        flickering[1::2] = 140

        assert colour_jitter(still, mask=square_mask()) == 0
        assert colour_jitter(flickering, mask=square_mask()) == pytest.approx(4.8, abs=0.3)

    @pytest.mark.parametrize("frames_seen", [0, 1])
    def test_nothing_is_said_of_the_flicker_of_what_is_hardly_seen(self, frames_seen: int) -> None:
        mask = square_mask()
        mask[frames_seen:] = False
        found = by_name(evaluate_edit(shifting(2, 0), edited=shifting(2, 0), mask=mask))

        assert found["colour_jitter"].value is None
        assert f"on {frames_seen} frames" in found["colour_jitter"].note


class TestClipScores:
    def test_the_embedded_judge_is_labelled_and_knows_colours(self, judge: ClipJudge) -> None:
        clip = np.full((2, 128, 128, 3), (120, 190, 90), np.uint8)
        clip[:, 30:98, 30:98] = (220, 40, 40)

        red, blue = (
            judge.text_alignment(clip, prompt=f"a {colour} cube on a meadow") for colour in ("red", "blue")
        )
        assert red > blue
        assert judge.name == "toybox-clip"
        assert judge.frame_consistency(clip) == pytest.approx(1, abs=1e-5)

    def test_consistency_falls_with_a_cut(self, judge: ClipJudge) -> None:
        clip = shifting(1, 0)
        cut = clip.copy()
        cut[2:] = 255 - cut[2:]

        assert judge.frame_consistency(cut) < judge.frame_consistency(clip)
        with pytest.raises(VideoError, match="at least 2"):
            judge.frame_consistency(clip[:1])

    def test_a_judge_without_some_of_its_weights_is_refused(self, tmp_path: Path) -> None:
        weights = load_file(copied_judge(tmp_path) / "model.safetensors")
        kept = {name: w for name, w in weights.items() if not name.startswith("text_model.encoder")}
        save_file(kept, tmp_path / "judge" / "model.safetensors", metadata={"format": "pt"})

        with pytest.raises(ModelLoadError, match=r"the weights lack text_model\.encoder.*fetch them again"):
            ClipJudge.from_pretrained(str(tmp_path / "judge"))

    @pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
    def test_a_judge_with_a_damaged_file_is_refused(self, tmp_path: Path, name: str) -> None:
        (copied_judge(tmp_path) / name).write_text("[]")

        with pytest.raises(ModelLoadError, match="cannot be loaded"):
            ClipJudge.from_pretrained(str(tmp_path / "judge"))

    @pytest.mark.parametrize("name", ["no-such-judge", "openai/clip-vit-base-patch32"])
    def test_unknown_judges_are_refused(self, name: str) -> None:
        with pytest.raises(ModelLoadError, match="toybox-clip"):
            ClipJudge.from_pretrained(name)


class TestLpips:
    def test_equal_frames_are_at_no_distance_and_others_are(self, lpips: FrameLpips) -> None:
        clip = shifting(2, 0)

        assert lpips.name == "LPIPS squeeze"
        assert lpips(clip, edited=clip) == 0
        assert lpips(clip, edited=255 - clip) > 0

    def test_it_is_the_mean_over_frames(self, lpips: FrameLpips) -> None:
        clip = shifting(2, 0)
        edited = clip.copy()
        edited[0] = 255 - edited[0]

        assert lpips(clip, edited=edited) == pytest.approx(lpips(clip[:1], edited=edited[:1]) / FRAMES)

    def test_small_clips_are_refused(self, lpips: FrameLpips) -> None:
        with pytest.raises(MetricError, match="64 pixels"):
            lpips(shifting(0, 0)[:, :32], edited=shifting(0, 0)[:, :32])

    def test_a_missing_backbone_is_said(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        empty = str(tmp_path_factory.mktemp("empty"))
        monkeypatch.setattr(torch.hub, "get_dir", lambda: empty)
        with pytest.raises(ModelLoadError, match=r"'alex' \(233 MB\)"):
            FrameLpips()

    def test_a_backbone_that_cannot_be_fetched_is_not_to_be_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError("no network")

        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)

        with pytest.raises(ModelLoadError, match=r"no network.*check the network") as caught:
            FrameLpips("squeeze", allow_download=True)
        assert "remove" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
    def test_a_damaged_backbone_is_refused(
        self, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        backbone_path("squeeze").parent.mkdir()
        backbone_path("squeeze").write_bytes(content)

        with pytest.raises(ModelLoadError, match=r"remove .* and fetch it again"):
            FrameLpips("squeeze")


class TestEvaluateEdit:
    def test_an_edit_that_changes_nothing(self) -> None:
        clip, mask = shifting(2, 1), square_mask()
        found = by_name(evaluate_edit(clip, edited=clip, mask=mask, edited_mask=mask))

        assert list(found) == list(METRICS)
        smaller = square_mask()
        smaller[:, :32] = False
        (half,) = evaluate_edit(
            clip, edited=clip, mask=mask, object_mask=mask, edited_mask=smaller, names=["mask_overlap"]
        )
        assert half.value == 0.5
        assert [found[n].value for n in ("motion_fidelity", "motion_fidelity_frame")] == [1.0, 1.0]
        assert found["mask_overlap"].value == found["ssim_inside"].value == 1.0
        assert (found["psnr_outside"].text, found["background_difference"].text) == ("∞", "0")
        assert found["warping_error"].value == found["warping_error"].source_value
        assert found["motion_fidelity"].judge == "RGB DIS flow"
        assert found["psnr_outside"].to_dict()["value"] == "inf"

    def test_a_thin_object_has_a_figure_and_costs_the_whole_frame_none(self) -> None:
        clip, names = shifting(2, 1), ("motion_fidelity", "motion_fidelity_frame")
        mask = np.zeros(SIZE, bool)
        mask[30, 8:56] = True
        found = by_name(evaluate_edit(clip, edited=clip, mask=mask, names=names))

        assert [found[name].value for name in names] == [1.0, 1.0]

    def test_an_object_on_the_last_frame_only_is_said_to_be_so(self) -> None:
        clip, mask = shifting(2, 1), square_mask()
        mask[:-1] = False
        (found,) = evaluate_edit(clip, edited=clip, mask=mask, names=["motion_fidelity"])

        assert found.value is None
        assert "on the last frame only" in found.note

    def test_measures_come_one_by_one_and_those_not_asked_for_cost_nothing(self) -> None:
        asked = []

        def tracker(frames: Frames, **_: object) -> PointTracks:
            asked.append(len(frames))
            raise MetricError("no")

        clip, instruments = MeasuredClip(shifting(2, 1)), Instruments(tracker=tracker)  # type: ignore[arg-type]
        edit = MeasuredEdit(source=clip, edited=clip, instruments=instruments)

        assert edit.measure("text_alignment").metric.name == "text_alignment"
        assert asked == []
        assert edit.measure("motion_fidelity").note == "no"
        assert asked == [FRAMES]

    def test_what_is_known_of_a_source_is_not_worked_out_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def counted(frames: Frames) -> ClipFlow:
            asked.append(len(frames))
            return ClipFlow(consecutive_flows(frames))

        monkeypatch.setattr(ClipFlow, "of", counted)
        source, mask = MeasuredClip(shifting(2, 1)), square_mask()
        names = ["motion_fidelity", "motion_fidelity_frame", "warping_error"]
        edits = [shifting(2, 1, seed=seed) for seed in (1, 2)]
        shared = [evaluate_edit(source, edited=edit, mask=mask, names=names) for edit in edits]

        assert asked == [FRAMES] * 3
        alone = [evaluate_edit(source.frames, edited=edit, mask=mask, names=names) for edit in edits]
        assert shared == alone

    def test_what_cannot_be_measured_says_why(self) -> None:
        found = by_name(evaluate_edit(shifting(2, 1), edited=shifting(2, 1)))

        for name, reason in {
            "text_alignment": "prompt",
            "frame_consistency": "judge",
            "frame_lpips": "LPIPS",
            "ssim_outside": "no outside",
            "mask_overlap": "before and after",
        }.items():
            assert found[name].value is None
            assert found[name].text == "-"
            assert reason in found[name].note
        assert found["motion_fidelity"].value == 1.0

    def test_other_motion_scores_lower_than_other_colours(self) -> None:
        clip = shifting(3, 0)
        negative, still = 255 - clip, shifting(0, 0)
        shuffled = clip[np.array([2, 0, 4, 1, 3])]
        repainted, stopped, mixed = (
            by_name(evaluate_edit(clip, edited=edited, names=["motion_fidelity"]))["motion_fidelity"].value
            or 0
            for edited in (negative, still, shuffled)
        )

        assert repainted > 0.98
        assert stopped < 0.2
        assert mixed < 0.6

    @pytest.mark.parametrize("mask", [None, square_mask()])
    def test_what_is_lost_at_once_is_sown_again(
        self, mask: Mask | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The edit's first frame shows something else, where flow loses what it is to follow."""
        clip = shifting(3, 0)
        edited = clip.copy()
        edited[0] = texture(9)[:SIDE, :SIDE]

        def fidelity() -> float:
            found = by_name(evaluate_edit(clip, edited=edited, mask=mask, names=["motion_fidelity"]))
            return found["motion_fidelity"].value or 0

        sown_throughout = fidelity()
        monkeypatch.setattr("dreammotion_core.evaluation.measuring.MOST_STARTS", 1)

        assert fidelity() + 0.05 < sown_throughout < 0.99

    def test_the_flow_of_a_clip_is_worked_out_once_however_late_its_object_comes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        followed: list[int] = []
        monkeypatch.setattr(
            motion,
            "consecutive_flows",
            lambda frames: followed.append(len(frames)) or consecutive_flows(frames),
        )
        mask = square_mask()
        mask[:2] = False
        evaluate_edit(shifting(3, 0), edited=shifting(3, 0, seed=1), mask=mask, names=["motion_fidelity"])

        assert followed == [FRAMES, FRAMES]

    def test_one_frame_and_flat_clips(self) -> None:
        one = by_name(evaluate_edit(shifting(0, 0)[:1], edited=shifting(0, 0)[:1], mask=square_mask(1)))
        assert one["motion_fidelity"].value is None
        assert "at least 2" in one["colour_jitter"].note
        assert one["background_difference"].value == 0

        flat = np.full((FRAMES, *SIZE, 3), 90, np.uint8)
        same = by_name(evaluate_edit(flat, edited=flat, mask=square_mask()))
        assert same["motion_fidelity"].value == 1.0
        assert same["warping_error"].value == 0

    def test_an_object_that_appears_later_is_followed_from_there(self) -> None:
        clip, mask = shifting(2, 0), square_mask()
        mask[:2] = False

        assert by_name(evaluate_edit(clip, edited=clip, mask=mask))["motion_fidelity"].value == 1.0
        nowhere = by_name(evaluate_edit(clip, edited=clip, mask=np.zeros_like(mask)))
        assert "nothing on any frame" in nowhere["motion_fidelity"].note

    @pytest.mark.parametrize(
        ("edited", "message"),
        [
            (shifting(1, 0)[:-1], "4 frames"),
            (shifting(1, 0)[:, :32], "64x32"),
            (np.full((FRAMES, *SIZE, 3), np.nan), "float64"),
            (np.zeros((FRAMES, *SIZE), np.uint8), "RGB"),
        ],
    )
    def test_clips_that_do_not_fit_are_refused(self, edited: Frames, message: str) -> None:
        with pytest.raises(VideoError, match=message):
            evaluate_edit(shifting(1, 0), edited=edited)

    def test_masks_that_do_not_fit_are_refused(self) -> None:
        clip = shifting(1, 0)
        with pytest.raises(MaskError, match="4 frames"):
            evaluate_edit(clip, edited=clip, mask=square_mask(4))
        with pytest.raises(MaskError, match="float64"):
            evaluate_edit(clip, edited=clip, mask=np.full((FRAMES, *SIZE), np.nan))  # type: ignore[arg-type]

    def test_unknown_names_are_refused_with_the_known_ones(self) -> None:
        with pytest.raises(ConfigError, match=r"beauty.*known are: text_alignment"):
            evaluate_edit(shifting(1, 0), edited=shifting(1, 0), names=["beauty"])

    def test_the_judge_and_the_tracker_are_named(self) -> None:
        judge = SimpleNamespace(
            name="tiny",
            image_features=lambda frames: np.tile(np.float32([1, 0]), (len(frames), 1)),
            text_features=lambda texts: np.float32([[0.6, 0.8]] * len(texts)),
        )
        instruments = Instruments(judge=judge)  # type: ignore[arg-type]
        clip = shifting(1, 0)
        found = by_name(evaluate_edit(clip, edited=clip, target_prompt="a cat", instruments=instruments))

        assert found["text_alignment"].value == pytest.approx(0.6)
        assert found["frame_consistency"].value == 1.0
        assert {found[n].judge for n in ("text_alignment", "frame_consistency")} == {"tiny"}


def by_name(measurements):  # type: ignore[no-untyped-def]
    return {found.metric.name: found for found in measurements}
