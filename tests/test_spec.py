"""The preset that fits the words; the other parts of `ModelSpec` are tested with the models."""

import json
from pathlib import Path

import pytest

from dreammotion_core import ConfigError, EditConfig, probe_video
from dreammotion_core.models.catalog import find_model, list_models
from dreammotion_core.spec import LOOKS
from tests.tiny import tiny_spec
from training.examples import FOLDER
from training.world import ATTRIBUTES

LOOK = [
    ("a red car on a road", "a blue car on a road"),
    ("a red car on a road", "a golden car on a road"),
    ("a red car", "a checkered red car"),
    ("a striped purple truck", "a striped yellow truck"),
    ("an icy balloon on a meadow", "a balloon on a meadow"),
    ("a swan on a lake", "a swan made of glass on a lake"),
    ("A red car, on a road.", "a Blue car on a road"),
    ("a red car on a road", "a chartreuse car on a road"),
    ("a polar bear in snow", "a brown bear in snow"),
    ("a cat on a sofa", "a happy cat on a sofa"),
    ("a red building", "a blue building"),
]
THING = [
    ("a red car on a road", "a red bus on a road"),
    ("a red car on a road", "a blue bus on a road"),
    ("a swan", "a flamingo"),
    ("a swan on a lake", "a duck made of wood on a lake"),
    ("a cat running on grass", "a dog running on grass"),
    ("a cat runs", "a dog runs"),
    ("a golden retriever", "a golden eagle"),
    ("an orange", "a red apple"),
    ("a cat", "a cat wearing a hat"),
    ("a white horse in a field", "a zebra in a field"),
    ("ein rotes Auto", "ein blauer Bus"),
    ("ein Schwan", "eine Ente"),
]


@pytest.mark.parametrize(("source", "target"), LOOK)
def test_a_new_look_keeps_the_shape(source: str, target: str) -> None:
    choice = tiny_spec().choose_preset(source, target)

    assert (choice.preset, choice.mask_grow) == ("keep-shape", 0)
    assert "only the look changes" in choice.reason


@pytest.mark.parametrize(("source", "target"), THING)
def test_another_thing_is_free_to_take_another_shape_and_gets_room(source: str, target: str) -> None:
    choice = tiny_spec().choose_preset(source, target, size=(480, 854))

    assert (choice.preset, choice.mask_grow) == ("fast", 15)
    assert "grows by 15 pixels" in choice.describe(EditConfig(mask_grow=15))
    assert "grows" not in choice.describe(EditConfig(mask_grow=3))


def test_the_reason_names_the_words() -> None:
    def reason(source: str, target: str) -> str:
        return tiny_spec().choose_preset(source, target).reason

    assert "red to blue." in reason("a red car", "a blue car")
    assert "now furry." in reason("a cat", "a furry cat")
    assert "no longer icy." in reason("an icy cat", "a cat")


def test_all_looks_of_the_embedded_models_are_known() -> None:
    words = {word for name in ("colour", "material") for value in ATTRIBUTES[name] for word in value.split()}

    assert words <= LOOKS


def test_settings_follow_the_words_and_changes_go_before_them() -> None:
    spec, thing = tiny_spec(), {"source_prompt": "a car", "target_prompt": "a bus"}

    assert spec.config(source_prompt="a red car", target_prompt="a blue car") == spec.config("keep-shape")
    assert spec.config(**thing, size=(64, 96)) == spec.config("fast", mask_grow=2)
    assert spec.config(**thing, mask_grow=7).mask_grow == 7
    assert spec.config("paper", **thing) == spec.config("paper")
    assert spec.config() == spec.config("fast")


def test_without_words_auto_is_refused_where_no_model_is_asked() -> None:
    with pytest.raises(ConfigError, match="there is no preset 'auto'"):
        EditConfig.preset("auto")


@pytest.mark.parametrize("folder", sorted(FOLDER.glob("*/")), ids=lambda folder: folder.name)
def test_each_example_suggests_two_looks_and_another_thing_with_room(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    facts, spec = probe_video(folder / "clip.mp4"), find_model("toybox")
    size = facts.height, facts.width

    choices = [spec.choose_preset(meta["source_prompt"], p, size=size) for p in meta["target_prompts"]]

    assert [choice.preset for choice in choices] == ["keep-shape", "keep-shape", "fast"]
    assert set(meta["rooms"]) <= {meta["target_prompts"][2]}
    for prompt, room in meta["rooms"].items():
        carried = spec.choose_preset(meta["source_prompt"], prompt, size=size, room=room)
        assert carried.mask_grow == room > choices[2].mask_grow
    assert all(
        model.fit_length(facts.num_frames) == facts.num_frames for model in list_models() if model.is_local
    )
