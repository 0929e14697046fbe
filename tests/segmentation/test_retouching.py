"""What one more click changes of a mask, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import Click, Selection, load_segmenter
from segmentation.embedded.appearance import describe_frame
from segmentation.embedded.correcting import SHARE_LEFT, corrected
from segmentation.embedded.growing import grown_from
from segmentation.embedded.motion import Drift
from segmentation.embedded.segmenter import EmbeddedSession
from tests.segmentation.test_embedded import overlap

HEIGHT, WIDTH = 120, 160
Y, X = np.mgrid[:HEIGHT, :WIDTH]
BODY = np.hypot((X - 60) / 40, (Y - 70) / 24) < 1
TAIL = (abs(Y - 62) < 8) & (X > 90) & (X < 135)
OBJECT = BODY | TAIL


def picture(seed: int = 0) -> NDArray[np.uint8]:
    """A brown body with a tail of another brown, on noisy green."""
    noise = np.random.default_rng(seed).normal(0, 8, (HEIGHT, WIDTH, 1))
    colours = np.where(
        BODY[..., None], (150, 90, 60), np.where(TAIL[..., None], (175, 120, 80), (70, 130, 80))
    )
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


def touched(
    mask: NDArray[np.bool_], x: int, y: int, *, is_positive: bool, opposite: tuple[tuple[int, int], ...] = ()
) -> NDArray[np.bool_]:
    image = picture()
    features = describe_frame(image, motion=None)
    found = corrected(
        mask, image=image, features=features, point=(x, y), is_positive=is_positive, opposite=opposite
    )
    assert found is not None
    return found


class TestRetouched:
    def test_a_click_on_what_is_missing_adds_it_up_to_its_edges(self) -> None:
        found = touched(BODY, 108, 62, is_positive=True)
        assert overlap(found, OBJECT) > 0.95
        assert found[BODY].all()

    def test_a_click_on_what_is_too_much_takes_it_away_up_to_the_edges(self) -> None:
        spilt = OBJECT | ((abs(X - 60) < 14) & (Y > 20) & (Y < 60))
        found = touched(spilt, 60, 33, is_positive=False)
        assert overlap(found, OBJECT) > 0.95
        assert not (found & ~spilt).any()

    def test_clicks_of_the_other_sign_are_spared(self) -> None:
        assert not touched(BODY, 108, 62, is_positive=True, opposite=((114, 62),))[62, 114]

    @pytest.mark.parametrize("is_positive", [True, False])
    def test_the_clicked_place_changes_even_where_nothing_has_an_edge(self, is_positive: bool) -> None:
        plain = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        x, y = (110, 70) if is_positive else (60, 70)
        features = describe_frame(plain, motion=None)
        found = corrected(BODY, image=plain, features=features, point=(x, y), is_positive=is_positive)
        assert found is not None
        assert found[y, x] == is_positive
        assert SHARE_LEFT[0] < found.sum() / BODY.sum() < SHARE_LEFT[1]

    def test_a_click_far_away_or_on_nothing_points_at_something_else(self) -> None:
        small = np.hypot(X - 20, Y - 20) < 6
        image = picture()
        features = describe_frame(image, motion=None)
        for mask in (small, np.zeros_like(small)):
            found = corrected(mask, image=image, features=features, point=(120, 100), is_positive=True)
            assert found is None


class TestGrownFrom:
    @pytest.mark.parametrize("radius", [6, 14])
    def test_a_disc_grows_to_the_object_that_it_lies_in(self, radius: float) -> None:
        image = picture()
        features = describe_frame(image, motion=None)
        found = grown_from(image, features=features, point=(50, 72), radius=radius)
        assert overlap(found, OBJECT) > 0.8

    def test_a_frame_of_one_colour_leaves_a_region_with_the_point(self) -> None:
        plain = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        found = grown_from(plain, features=describe_frame(plain, motion=None), point=(3, 5), radius=8)
        assert found[5, 3]

    def test_what_moves_alike_is_told_from_what_does_not(self) -> None:
        plain = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        velocity = np.where(OBJECT[..., None], (3.0, -2.0), (0.0, 0.0)).astype(np.float32)
        drift = Drift(velocity=velocity, distance=np.linalg.norm(velocity, axis=-1))
        features = describe_frame(plain, motion=drift.seen_on(plain))
        found = grown_from(plain, features=features, point=(50, 72), radius=10)
        assert overlap(found, OBJECT) > 0.8


class TestCorrections:
    @pytest.fixture
    def session(self) -> EmbeddedSession:
        return load_segmenter().open(picture()[None])  # type: ignore[return-value]

    def test_what_no_click_changed_stays_to_the_pixel(self, session: EmbeddedSession) -> None:
        rough = BODY & (X % 7 > 0)
        found = session.mask_at(Selection(0, (Click(115, 62),)), prior=rough)
        assert (found & TAIL).sum() > 0.8 * TAIL.sum()
        assert np.array_equal(found[:, :70], rough[:, :70])
        assert np.array_equal(session.mask_at(Selection(0, (Click(60.5, 70.5),)), prior=BODY), BODY)

    def test_a_lost_object_is_selected_anew(self, session: EmbeddedSession) -> None:
        nothing = np.zeros_like(BODY)
        found = session.mask_at(Selection(0, (Click(60, 70),)), prior=nothing)
        assert overlap(found, BODY) > 0.7

    def test_a_negative_click_leaves_the_object_that_the_first_one_found(
        self, session: EmbeddedSession
    ) -> None:
        first = Selection(0, (Click(50, 75),))
        found = session.mask_at(first)
        both = session.mask_at(first.with_click(Click(20, 20, is_positive=False)))
        assert np.array_equal(both, found)

    def test_each_click_adds_to_those_before_it(self, session: EmbeddedSession) -> None:
        first = Selection(0, (Click(50, 75),))
        both = session.mask_at(first.with_click(Click(120, 62)))
        assert both[62, 120]
        assert both[session.mask_at(first)].mean() > 0.9
