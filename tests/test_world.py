from dataclasses import replace

import numpy as np
import pytest
import torch

from training.data import random_captions
from training.tokenizer import MAX_TOKENS, build_tokenizer, vocabulary
from training.world import (
    COLOURS,
    NOUNS,
    PLACES,
    Scene,
    caption,
    is_held_out,
    nearest_colour,
    render,
    sample_scene,
)
from training.world.scene import MOTIONS, TEMPLATES

SCENE = Scene("red", "ball", "meadow", "right", seed=5)


def test_equal_scenes_give_equal_clips() -> None:
    first, again = render(SCENE), render(SCENE)

    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.mask, again.mask)


def test_a_change_of_colour_changes_nothing_outside_the_mask() -> None:
    red, blue = render(SCENE), render(replace(SCENE, colour="blue"))
    rim = torch.nn.functional.max_pool2d(red.mask.float(), 3, stride=1, padding=1) > 0

    assert torch.equal(red.mask, blue.mask)
    assert torch.equal(red.frames[~rim], blue.frames[~rim])
    assert not torch.equal(red.frames[red.mask], blue.frames[red.mask])


def test_the_mask_is_the_disc_of_a_ball() -> None:
    rendered = render(SCENE)
    radius = 0.92 * SCENE.size * 64

    for mask, centre in zip(rendered.mask, rendered.centres, strict=True):
        assert mask.sum() == pytest.approx(np.pi * radius**2, rel=0.03)
        rows, columns = torch.nonzero(mask, as_tuple=True)
        assert columns.float().mean() + 0.5 == pytest.approx(float(centre[0]), abs=0.5)
        assert rows.float().mean() + 0.5 == pytest.approx(float(centre[1]), abs=0.5)


def test_motions_move_the_object_and_a_pan_moves_the_background() -> None:
    right = render(SCENE).centres[:, 0]
    pan = render(replace(SCENE, motion="pan"))

    assert (right.diff() > 0).all()
    assert torch.equal(pan.centres[0], pan.centres[-1])
    assert not torch.equal(pan.frames[0, :8], pan.frames[-1, :8])


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("colour", COLOURS)
def test_the_mean_colour_of_every_object_tells_its_name(noun: str, colour: str) -> None:
    rendered = render(replace(SCENE, noun=noun, colour=colour), num_frames=1)

    assert nearest_colour(rendered.frames[rendered.mask].float().mean(0).numpy() / 255) == colour


def test_training_never_sees_held_out_combinations_and_evaluation_sees_nothing_else() -> None:
    for seed in range(300):
        seen, held = sample_scene(seed), sample_scene(seed, held_out=True)
        assert not is_held_out(seen.colour, seen.noun, seen.place)
        assert is_held_out(held.colour, held.noun, held.place)


def test_about_one_combination_in_ten_is_held_out() -> None:
    triples = [(c, n, p) for c in COLOURS for n in NOUNS for p in PLACES]

    assert 0.07 < np.mean([is_held_out(*triple) for triple in triples]) < 0.13


def test_captions_name_what_is_shown() -> None:
    texts = [caption(SCENE, template) for template in range(len(TEMPLATES))]

    assert len(set(texts)) == len(TEMPLATES)
    assert all("red" in t and "ball" in t and "meadow" in t for t in texts)
    assert any(MOTIONS["right"] in t for t in texts)


def test_every_word_of_every_caption_is_known_and_fits_the_tokenizer() -> None:
    tokenizer, known = build_tokenizer(), set(vocabulary())
    for seed in range(200):
        for template in range(len(TEMPLATES)):
            text = caption(sample_scene(seed), template)
            assert set(text.replace(",", "").split()) <= known
            assert len(tokenizer(text).input_ids) <= MAX_TOKENS


def test_different_captions_give_different_tokens() -> None:
    tokenizer = build_tokenizer()
    texts = {f"a {c} {n}" for c in COLOURS for n in NOUNS}

    assert len({tuple(tokenizer(text).input_ids) for text in texts}) == len(texts)


def test_some_captions_are_dropped_for_guidance() -> None:
    import random

    captions = random_captions(np.arange(400), random.Random(0), dropout=0.25)

    assert 60 < captions.count("") < 140
