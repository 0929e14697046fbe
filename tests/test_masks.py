import numpy as np
import pytest
import torch

from dreammotion_core.errors import MaskError
from dreammotion_core.finishing import blend, composite, feathered_alpha, grown_mask, max_difference_outside
from dreammotion_core.method.distillation import latent_mask
from dreammotion_core.values import checked_mask


def disc(radius: float, size: int = 41) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return (np.hypot(x, y) <= radius)[None]


def test_one_mask_serves_all_frames() -> None:
    assert np.array_equal(checked_mask(disc(5)[0], 3, (41, 41)), np.repeat(disc(5), 3, axis=0))


@pytest.mark.parametrize("on", [1, 255])
def test_zero_and_one_or_zero_and_255_are_accepted(on: int) -> None:
    assert np.array_equal(checked_mask(disc(5).astype(np.uint8) * on, 1, (41, 41)), disc(5))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((5, 41, 41), bool), "5 frames but the clip has 3"),
        (np.ones((3, 20, 41), bool), "41x20 pixels but the clip is 41x41"),
        (np.ones((41,), bool), "shape"),
        (np.full((41, 41), 0.5), "values other than 0 and 1"),
        (np.full((41, 41), np.nan), "values other than 0 and 1"),
        (np.zeros((41, 41), bool), "selects nothing"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_with_advice(mask: np.ndarray, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        checked_mask(mask, 3, (41, 41))


def test_growing_and_shrinking_move_the_outline_by_that_many_pixels() -> None:
    for moved in (grown_mask(disc(8), pixels=4), grown_mask(disc(16), pixels=-4)):
        assert moved[disc(11)].all()
        assert not moved[~disc(12.5)].any()
    assert np.array_equal(grown_mask(disc(8), pixels=0), disc(8))


def test_growing_leaves_frames_without_the_object_empty() -> None:
    mask = np.concatenate([disc(8), np.zeros_like(disc(8))])

    assert not grown_mask(mask, pixels=4)[1].any()


def test_shrinking_to_nothing_is_refused() -> None:
    with pytest.raises(MaskError, match="shrink it less"):
        grown_mask(disc(3), pixels=-20)


def test_feathering_stays_inside_the_mask_and_reaches_one() -> None:
    alpha = feathered_alpha(disc(12), width=4)

    assert not alpha[~disc(12)].any()
    assert (alpha[disc(12)] > 0).all()
    assert alpha[0, 20, 20] == 1
    assert 0 < alpha[0, 20, 9] < 1


def test_the_border_of_the_frame_is_no_rim() -> None:
    assert (feathered_alpha(np.ones((1, 9, 9), bool), width=4) == 1).all()


def test_a_latent_is_selected_when_it_touches_the_mask() -> None:
    mask = np.zeros((2, 16, 16), bool)
    mask[1, 7, 8] = True

    pooled = latent_mask(mask, torch.zeros(1, 4, 2, 4, 4), groups=[range(1), range(1, 2)])

    assert pooled.shape == (1, 1, 2, 4, 4)
    assert torch.nonzero(pooled).tolist() == [[0, 0, 1, 1, 2]]


def test_a_latent_frame_is_selected_where_any_of_its_frames_is() -> None:
    mask = np.zeros((5, 8, 8), dtype=bool)
    mask[0, 0, 0] = mask[2, 7, 7] = mask[4, 0, 7] = True

    pooled = latent_mask(mask, torch.zeros(1, 4, 2, 2, 2), groups=[range(1), range(1, 5)])

    assert pooled[0, 0].tolist() == [[[1, 0], [0, 0]], [[0, 1], [0, 1]]]


def test_pixels_outside_the_mask_are_the_sources_exactly() -> None:
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (1, 41, 41, 3), dtype=np.uint8)
    edited = rng.uniform(0, 255, source.shape).astype(np.float32)

    alpha = feathered_alpha(disc(10), width=3)

    result = composite(source, blend(source, edited, alpha), alpha)

    assert np.array_equal(result[~disc(10)], source[~disc(10)])
    assert np.array_equal(result[0, 20, 20], np.rint(edited[0, 20, 20]).astype(np.uint8))
    assert max_difference_outside(source, result, disc(10)) == 0


def test_a_changed_pixel_outside_is_measured() -> None:
    source = np.full((1, 41, 41, 3), 100, np.uint8)
    result = source.copy()
    result[0, 0, 0, 1] = 93

    assert max_difference_outside(source, result, disc(10)) == 7
    assert max_difference_outside(source, result, np.ones_like(disc(10))) is None
