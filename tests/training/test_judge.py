from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.toybox import Judge
from dreammotion_core import ModelLoadError
from training.data import CLIP_PAIRS, PICTURE_PAIRS, Pairs, rendered_pairs
from training.judge import (
    CLOSE_UP_MARGIN,
    JUDGED_PAIRS,
    SENTENCE,
    THING,
    VIEW_SIZE,
    WHOLE_FRAME,
    JudgeSet,
    accuracy,
    contrastive_loss,
    new_judge,
    object_squares,
    save_judge,
    square_around,
    train_judge,
    views,
)
from training.loop import Budget, Setting
from training.run_folder import RunFolder
from training.text import build_tokenizer
from training.world import ATTRIBUTES, Scene, Shot, caption, render, variants

CPU = torch.device("cpu")
NUM_PAIRS = 3
CAR = Scene("red", "car", "road", "right", seed=1, material="striped")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return rendered_pairs(tmp_path_factory.mktemp("pairs"), JUDGED_PAIRS, NUM_PAIRS)


@pytest.fixture(scope="module")
def data(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> JudgeSet:
    return JudgeSet(pairs, object_squares(tmp_path_factory.mktemp("cache"), pairs))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = build_tokenizer()
    save_judge(new_judge(tokenizer), tokenizer, tmp_path)
    return tmp_path


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_swap_changes_one_attribute_and_nothing_else(attribute: str) -> None:
    scenes = list(variants(CAR, attribute=attribute).values())

    assert CAR in scenes
    assert [getattr(scene, attribute) for scene in scenes] == list(ATTRIBUTES[attribute])
    for other in scenes:
        changed = {f.name for f in fields(Scene) if getattr(other, f.name) != getattr(CAR, f.name)}
        assert changed <= {attribute}


def test_swapped_captions_differ_in_that_word_alone() -> None:
    captions = [caption(scene, SENTENCE) for scene in variants(CAR, attribute="colour").values()]

    assert len(set(captions)) == len(ATTRIBUTES["colour"])
    for text, colour in zip(captions, ATTRIBUTES["colour"], strict=True):
        assert text == f"a striped {colour} car on a road"
    assert caption(CAR, THING) == "a striped red car"


def test_every_picture_has_its_own_caption_among_its_choices(data: JudgeSet) -> None:
    batch = data.batch(3, 32, CPU)

    assert batch.pictures.shape == (32, 3, VIEW_SIZE, VIEW_SIZE)
    assert len(set(batch.captions)) == len(batch.captions)
    assert batch.choices[torch.arange(32), batch.right].all()
    assert (batch.choices.sum(1) > 2).all()
    longest = max(len(values) for values in ATTRIBUTES.values())
    assert (batch.choices.sum(1) <= longest).all()


def test_the_same_seed_draws_the_same_batch(data: JudgeSet) -> None:
    first, again, other = (data.batch(seed, 8, CPU) for seed in (1, 1, 2))

    assert torch.equal(first.pictures, again.pictures)
    assert first.captions == again.captions
    assert not torch.equal(first.pictures, other.pictures)


def test_the_square_is_the_smallest_around_the_object() -> None:
    mask = torch.zeros(2, 16, 16, dtype=torch.bool)
    mask[0, 4:8, 0:8] = True

    square, nothing = square_around(mask)

    assert square.tolist() == [-0.5, -0.25, 0.5]
    assert nothing[2] == 0


def test_a_whole_frame_is_averaged_by_area() -> None:
    frames = render(CAR, shot=Shot(2, resolution=2 * VIEW_SIZE)).frames

    seen = views(frames, torch.tensor(WHOLE_FRAME).expand(len(frames), 3))

    area = torch.nn.functional.avg_pool2d(frames.permute(0, 3, 1, 2).float() / 127.5 - 1, 2)
    torch.testing.assert_close(seen, area, atol=1e-4, rtol=0)


def test_the_judge_sees_scenes_that_no_generator_is_trained_on(pairs: Pairs) -> None:
    assert pairs.kind.first_seed > max(PICTURE_PAIRS.first_seed, CLIP_PAIRS.first_seed) + 50_000_000


def test_a_close_up_shows_the_object_alone_and_can_be_mirrored() -> None:
    frames = torch.zeros(1, 128, 128, 3, dtype=torch.uint8)
    frames[:, 32:48, 64:72] = 255
    frames[:, 32:48, 72:80] = 128
    mask = frames[..., 0] > 0

    seen = views(frames, square_around(mask))
    mirrored = views(frames, square_around(mask), mirrored=torch.tensor([True]))

    edge = VIEW_SIZE // 16
    inside = seen[0, :, edge:-edge]
    assert inside[:, :, edge : VIEW_SIZE // 2 - edge].min() > 0.99
    assert inside[:, :, VIEW_SIZE // 2 + edge : -edge].abs().max() < 0.01
    torch.testing.assert_close(mirrored, seen.flip(-1))


def test_a_few_clips_are_learnt_within_seconds(data: JudgeSet) -> None:
    tokenizer = build_tokenizer()
    judge = new_judge(tokenizer)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3)
    batch = data.batch(0, 8, CPU)

    losses = []
    for _ in range(25):
        loss = contrastive_loss(judge, tokenizer, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[0] > 2
    assert losses[-1] < 0.5 * losses[0]


def test_training_writes_a_judge_that_answers(pairs: Pairs, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "judge.pt", tmp_path / "judge.csv")

    train_judge(pairs, cache=tmp_path, out=tmp_path / "out", run=run, budget=Budget(1), setting=Setting(CPU))

    judge = Judge.from_folder(tmp_path / "out")
    rendered = render(CAR)
    frames, mask = rendered.frames.numpy(), rendered.mask.numpy()
    features = judge.image_features(frames)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert judge.choose(frames, captions=["a red car on a road", "a blue car on a road"]) in (0, 1)
    assert -1 <= judge.text_alignment(frames, prompt="a red car on a road") <= 1
    assert judge.frame_consistency(np.repeat(frames[:1], 3, axis=0)) == pytest.approx(1, abs=1e-5)
    assert judge.crop(frames, mask=mask).shape == (8, 2 * VIEW_SIZE, 2 * VIEW_SIZE, 3)
    assert (tmp_path / "judge.png").stat().st_size > 1000
    assert (tmp_path / "out" / "model.safetensors").stat().st_size < 9_000_000


def test_a_close_up_is_judged_as_in_training(folder: Path) -> None:
    judge, rendered = Judge.from_folder(folder), render(CAR)
    squares = square_around(rendered.mask) * torch.tensor((1, 1, CLOSE_UP_MARGIN))

    close_ups = judge.crop(rendered.frames.numpy(), mask=rendered.mask.numpy())

    whole = torch.tensor(WHOLE_FRAME).expand(len(close_ups), 3)
    seen = views(torch.from_numpy(close_ups), whole)
    torch.testing.assert_close(seen, views(rendered.frames, squares), atol=0.01, rtol=0)


def test_frames_without_the_object_give_no_close_up(folder: Path) -> None:
    frames, mask = np.zeros((3, 32, 32, 3), np.uint8), np.zeros((3, 32, 32), bool)
    mask[1, 4:9, 4:9] = True

    assert len(Judge.from_folder(folder).crop(frames, mask=mask)) == 1


def test_accuracy_asks_only_what_the_captions_say() -> None:
    tokenizer = build_tokenizer()
    judge = new_judge(tokenizer).eval()
    seeds = range(3_000_000_000, 3_000_000_004)

    whole = accuracy(judge, tokenizer, seeds=seeds, held_out=True, close_up=False)
    close_up = accuracy(judge, tokenizer, seeds=seeds, held_out=True, close_up=True, sharpness=64)

    assert whole.keys() == set(ATTRIBUTES)
    assert close_up.keys() == set(ATTRIBUTES) - {"place"}
    assert all(0 <= value <= 1 for value in whole.values())


def test_a_missing_judge_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"training\.run toybox-clip"):
        Judge.from_folder(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_judge_says_how_to_get_another(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(ModelLoadError, match=r"damaged.*training\.run toybox-clip"):
        Judge.from_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_judge_says_how_to_get_another(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ModelLoadError, match=rf"{name}.*training\.run toybox-clip"):
        Judge.from_folder(folder)
