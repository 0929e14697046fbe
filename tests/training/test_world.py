from dataclasses import replace

import numpy as np
import pytest
import torch

from training.data import random_captions
from training.text import MAX_TOKENS, build_tokenizer, vocabulary
from training.world import (
    COLOURS,
    LIKE_OUTLINES,
    MATERIALS,
    MOTIONS,
    NOUNS,
    NUM_FORMS,
    PLACES,
    Companion,
    Scene,
    Shot,
    background,
    caption,
    is_held_out,
    nearest_colour,
    object_mask,
    object_tracks,
    render,
    render_batch,
    sample_scene,
)

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


@pytest.mark.parametrize("motion", MOTIONS)
def test_tracks_carry_points_of_the_object_along(motion: str) -> None:
    scene, shot = replace(SCENE, noun="car", motion=motion), Shot(8, 8.0, 64)
    masks = object_mask(scene, shot=shot)
    rows, columns = torch.nonzero(masks[0], as_tuple=True)
    tracks = object_tracks(scene, points=torch.stack([columns, rows], dim=-1).double(), shot=shot)

    assert torch.allclose(tracks[0], torch.stack([columns, rows], dim=-1).double(), atol=1e-4)
    x, y = tracks.round().long().unbind(-1)
    inside = (x >= 0) & (x < 64) & (y >= 0) & (y < 64)
    hit = masks[torch.arange(8)[:, None], y.clamp(0, 63), x.clamp(0, 63)]
    # Pixels of the rim may be rounded out of it.
    assert hit[inside].float().mean() > 0.95


def test_motions_move_the_object_and_a_pan_moves_the_background() -> None:
    right = render(SCENE).centres[:, 0]
    pan = render(replace(SCENE, motion="pan"))

    assert (right.diff() > 0).all()
    assert torch.equal(pan.centres[0], pan.centres[-1])
    assert not torch.equal(pan.frames[0, :8], pan.frames[-1, :8])


def test_the_world_is_as_rich_as_promised() -> None:
    assert len(NOUNS) >= 14
    assert len(COLOURS) >= 10
    assert len(MATERIALS) >= 9  # plain and eight others
    assert len(PLACES) >= 8
    assert set(MOTIONS) == {sample_scene(seed).motion for seed in range(200)}
    assert len(MOTIONS) >= 8
    assert {noun for group in LIKE_OUTLINES for noun in group} <= set(NOUNS)


def test_drawing_many_scenes_at_once_gives_what_drawing_each_alone_gives() -> None:
    scenes = [sample_scene(seed) for seed in range(24)]

    for scene, together in zip(scenes, render_batch(scenes, shot=Shot(resolution=48)), strict=True):
        alone = render(scene, shot=Shot(resolution=48))
        assert torch.equal(together.mask, alone.mask)
        assert (together.frames.int() - alone.frames.int()).abs().max() <= 1


def test_clips_can_have_sixteen_frames() -> None:
    assert render(SCENE, shot=Shot(num_frames=16, resolution=32)).frames.shape == (16, 32, 32, 3)


@pytest.mark.parametrize("noun", NOUNS)
def test_the_colour_of_most_of_every_object_tells_its_name(noun: str) -> None:
    scenes = [replace(SCENE, noun=noun, colour=colour) for colour in COLOURS]
    for rendered, colour in zip(render_batch(scenes, shot=Shot(num_frames=1)), COLOURS, strict=True):
        body = rendered.frames[rendered.mask].float().median(dim=0).values
        assert nearest_colour(body.numpy() / 255) == colour


@pytest.mark.parametrize("name", MATERIALS)
def test_materials_change_the_object_and_only_substances_hide_its_colour(name: str) -> None:
    scene = replace(SCENE, material=name)
    scenes = [scene, replace(scene, colour="blue"), SCENE]
    ours, blue, plain = (render(shown, shot=Shot(num_frames=1)) for shown in scenes)
    inside = plain.mask & ours.mask

    assert torch.equal(ours.frames, blue.frames) != MATERIALS[name].keeps_colour
    assert torch.equal(ours.frames[inside], plain.frames[inside]) == (name == "plain")
    assert ("red" in caption(scene)) == MATERIALS[name].keeps_colour


def test_the_mask_alone_is_the_mask_of_the_picture() -> None:
    for seed in range(12):
        scene = sample_scene(seed)
        alone, rendered = object_mask(scene), render(scene).mask
        assert (alone & rendered).sum() / (alone | rendered).sum() > 0.97


def test_the_background_is_the_clip_without_object_and_shadow() -> None:
    rendered, empty = render(SCENE), background(SCENE)
    far_above = torch.zeros_like(rendered.mask)
    far_above[:, :24] = True

    assert torch.equal(rendered.frames[far_above], empty[far_above])
    assert (rendered.frames[rendered.mask].int() - empty[rendered.mask].int()).abs().sum(
        -1
    ).float().mean() > 60


def test_a_companion_is_drawn_behind_the_object_and_is_no_part_of_the_mask() -> None:
    accompanied = replace(SCENE, companion=Companion("blue", "cube", x=0.05, y=-0.1, size=0.2))
    alone, two = render(SCENE), render(accompanied)

    assert torch.equal(alone.mask, two.mask)
    well_inside = -torch.nn.functional.max_pool2d(-alone.mask.float(), 3, stride=1, padding=1) > 0
    assert torch.equal(alone.frames[well_inside], two.frames[well_inside])
    assert not torch.equal(alone.frames, two.frames)
    assert "blue cube" in caption(accompanied, NUM_FORMS - 1)
    assert "cube" not in caption(accompanied)


def test_boxes_enclose_the_mask() -> None:
    rendered = render(SCENE)
    for mask, (left, top, right, bottom) in zip(rendered.mask, rendered.boxes.tolist(), strict=True):
        assert mask[top:bottom, left:right].sum() == mask.sum()
        assert all(line.any() for line in (mask[top], mask[bottom - 1], mask[:, left], mask[:, right - 1]))


def test_training_never_sees_held_out_combinations_and_evaluation_sees_nothing_else() -> None:
    for seed in range(300):
        for held_out in (False, True):
            scene = sample_scene(seed, held_out=held_out)
            visible = scene.colour if MATERIALS[scene.material].keeps_colour else scene.material
            assert is_held_out(visible, scene.noun, scene.place) == scene.is_held_out == held_out


def test_about_one_combination_in_ten_is_held_out() -> None:
    triples = [(c, n, p) for c in COLOURS for n in NOUNS for p in PLACES]

    assert 0.07 < np.mean([is_held_out(*triple) for triple in triples]) < 0.13


def test_captions_name_what_is_shown() -> None:
    texts = {caption(SCENE, form) for form in range(NUM_FORMS)}

    assert len(texts) >= 12
    assert all("red" in text and "ball" in text for text in texts)
    assert caption(SCENE) == "a red ball on a meadow"
    assert caption(replace(SCENE, colour="orange", material="striped")) == "a striped orange ball on a meadow"
    assert caption(replace(SCENE, colour="orange")).startswith("an orange")
    assert caption(replace(SCENE, material="icy")) == "an icy ball on a meadow"
    for words in (*MOTIONS["right"], PLACES["meadow"].where, *PLACES["meadow"].also):
        assert any(words in text for text in texts)


def test_every_word_of_every_caption_is_known_and_fits_the_tokenizer() -> None:
    tokenizer, known = build_tokenizer(), set(vocabulary())
    for seed in range(200):
        for form in range(NUM_FORMS):
            text = caption(sample_scene(seed), form)
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
