"""The clean edge: object and background are separated in the band round the outline."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from dreammotion_core import EditConfig, Video
from dreammotion_core.finishing import Finishing, feathered_alpha, shares_of
from dreammotion_core.method.prior import Backend

SIDE = 48
RED, BLUE, GREEN = (np.array(colour, np.float32) for colour in ((220, 30, 30), (40, 60, 200), (60, 160, 70)))


def coverage(radius: float = 12.0, *, x: float = 0.3, y: float = -0.2) -> np.ndarray:
    """(1, H, W) share of a disc in each pixel: 1 inside, a ramp of one pixel on its outline."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1)[None].astype(np.float32)


def drawn(share: np.ndarray, colour: np.ndarray, *, noise: float = 3.0) -> np.ndarray:
    """(F, H, W, 3) uint8: an object of a colour before a green meadow."""
    meadow = GREEN + np.random.default_rng(0).normal(0, noise, (*share.shape, 3))
    return (share[..., None] * colour + (1 - share[..., None]) * meadow).clip(0, 255).round().astype(np.uint8)


def finished(source: np.ndarray, mask: np.ndarray, edit: np.ndarray, **changes: int) -> np.ndarray:
    """The edit (F, H, W, 3) put into the source."""
    config = EditConfig(**changes)  # type: ignore[arg-type]
    spec = SimpleNamespace(fit_size=lambda size, **_: size, keeps_detail=False)
    backend = SimpleNamespace(spec=spec, frame_groups=lambda count: [range(k, k + 1) for k in range(count)])
    config = config.with_changes(colour_smoothing=0.0)
    latents = torch.zeros(1, 1, len(source), 1, 1)
    finish = Finishing.prepare(cast(Backend, backend), Video(source, 8.0), latents, mask, config)
    result = finish.finish(torch.from_numpy(edit).permute(0, 3, 1, 2).float() / 127.5 - 1)
    assert finish.difference_outside(result) in (0, None)
    return result


@pytest.mark.parametrize("grown", [-1, 0, 1])
def test_the_share_of_each_pixel_is_read_off_its_colour(grown: int) -> None:
    true, rough = coverage(), coverage(12 + grown) > 0.5

    shares, _ = shares_of(drawn(true, RED), rough, width=2)

    assert np.abs(shares - true).max() < 0.35
    assert np.abs(shares - true).mean() < 0.3 * np.abs(rough - true).mean()


@pytest.mark.parametrize("grown", [-1, 0])
def test_no_rim_of_the_old_colour_stays(grown: int) -> None:
    true, rough = coverage(), coverage(12 + grown) > 0.5
    source, wanted = drawn(true, RED), drawn(true, BLUE)

    def error(**changes: int) -> float:
        band = (coverage(15) > 0) & (coverage(9) < 1)
        return float(np.abs(finished(source, rough, wanted, **changes).astype(float) - wanted)[band].mean())

    assert error() < 0.35 * error(mask_edge=0)


def test_where_both_sides_look_alike_the_mask_decides() -> None:
    mask = coverage() > 0.5

    shares, _ = shares_of(drawn(coverage(), GREEN), mask, width=2)

    assert np.abs(shares - feathered_alpha(mask, width=1)).max() < 0.2


def one_pixel() -> np.ndarray:
    mask = np.zeros((1, SIDE, SIDE), bool)
    mask[0, 20, 30] = True
    return mask


MASKS = {
    "one pixel": one_pixel(),
    "the whole frame": np.ones((1, SIDE, SIDE), bool),
    "all but one pixel": ~one_pixel(),
    "touching two borders": coverage(20, x=-20, y=20) > 0.5,
    "one pixel in a corner": np.roll(one_pixel(), (-20, -30), axis=(1, 2)),
    "a line": np.arange(SIDE)[None, :, None] == np.full((1, 1, SIDE), 7),
    "an object that leaves": np.concatenate([coverage() > 0.5, np.zeros((1, SIDE, SIDE), bool)]),
}


@pytest.mark.parametrize("width", [1, 2, 32])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_any_mask_gives_a_clip_that_is_the_source_outside(mask: np.ndarray, width: int) -> None:
    share = mask.astype(np.float32)
    source, wanted = drawn(share, RED), drawn(share, BLUE)

    shares, _ = shares_of(source, mask, width=width)
    result = finished(source, mask, wanted, mask_edge=width)

    assert np.isfinite(shares).all()
    assert (shares >= 0).all()
    assert (shares <= 1).all()
    middle = mask & (feathered_alpha(mask, width=2 * width + 1) == 1)
    assert np.array_equal(result[middle], wanted[middle])
    for frame, before, selected in zip(result, source, mask, strict=True):
        assert np.array_equal(frame, before) == (not selected.any())
