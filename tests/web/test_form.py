"""The form says what the library can do, and is checked again on the server."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest
from gradio.components import Component

from dreammotion_core import (
    ConfigError,
    EditConfig,
    PromptError,
)
from tests.tiny import tiny_spec
from tests.web.pages import form
from web.form import (
    FORM_FIELDS,
    PRESET_NAMES,
    EmptyFieldError,
    model_fields,
    preset_fields,
    read_fields,
    read_prompts,
    read_seed,
    read_settings,
    shown_settings,
)
from web.layout import change_group, clip_group, outline_group, prompt_part


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("", "a blue car", "source prompt is empty"),
        ("a red car", "  ", "target prompt is empty"),
        (None, "a blue car", "source prompt is empty"),
        ("a red car", "a red car ", "the same"),
        ("a red car", "a" * 5000, "5,000 characters"),
    ],
)
def test_prompts_are_checked_before_anything_waits(source: Any, target: Any, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        read_prompts(source, target)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "num_optimization_steps"),
        ({"steps": 10**6}, "num_optimization_steps"),
        ({"steps": 2.5}, "whole number"),
        ({"steps": None}, "whole number"),
        ({"steps": True}, "whole number"),
        ({"steps": math.inf}, "whole number"),
        ({"seed": "lucky"}, "seed"),
        ({"seed": str(2**70)}, "seed"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"preset": ["fast"]}, "no preset"),
        ({"timestep_low": 900, "timestep_high": 100}, "timestep_range"),
        ({"appearance_weight": 0, "spatial_weight": 0, "temporal_weight": 0}, "all three losses"),
        ({"use_mask": "yes"}, "use_mask"),
        ({"mask_grow": "much"}, "mask_grow"),
        ({"timestep_order": "sorted"}, "timestep_order"),
        ({"direction_weighting": None}, "direction_weighting"),
        ({"mask_matching": 1}, "mask_matching"),
        ({"keep_detail": "yes"}, "keep_detail"),
        ({"colour_smoothing": -1}, "colour_smoothing"),
        ({"negative_prompt": None}, "negative_prompt"),
        ({"key_sites": ["attn1"]}, "key_sites"),
        ({"method": "magic"}, "method"),
        ({"strength": 0}, "strength"),
    ],
)
def test_settings_are_checked_again_on_the_server(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(form(**changes), spec=tiny_spec())


def test_the_form_starts_with_the_first_preset_as_the_model_takes_it() -> None:
    spec = replace(tiny_spec(), settings={"guidance_scale": 3.0, "learning_rate_end_factor": 0.5})

    async def build() -> dict[str, Component]:
        with gr.Blocks():
            parts: dict[str, Component] = {}
            prompt_part(parts)
            outline_group(parts)
            change_group(parts, spec)
            clip_group(parts, spec, judges=["toybox-clip"])
            return parts

    # A thread and a loop of their own, as in the test of the whole page.
    with ThreadPoolExecutor(1) as pool:
        parts = pool.submit(lambda: asyncio.run(build())).result()
    shown = {name: parts[name].value for name in FORM_FIELDS if name in parts}

    assert shown["preset"] == next(iter(PRESET_NAMES)) == "auto"
    assert read_settings(form() | shown, spec=spec) == spec.config("fast")


@pytest.mark.parametrize("shown", ["fast", "keep-shape", "paper"])
def test_the_words_choose_the_preset_and_what_was_changed_by_hand_stays(shown: str) -> None:
    spec, size = tiny_spec(), (64, 96)
    fields = form() | {"preset": "auto", "guidance_scale": 3.0} | preset_fields(spec.config(shown))

    look = read_settings(fields, spec=spec, prompts=("a red car", "a blue car"), size=size)
    thing = read_settings(fields, spec=spec, prompts=("a red car", "a red bus"), size=size)
    by_hand = read_settings(
        fields | {"learning_rate": 0.123, "mask_grow": 9}, spec=spec, prompts=("a car", "a bus"), size=size
    )

    own = {"seed": 7, "guidance_scale": 3.0}
    assert look == spec.config("keep-shape", **own)
    assert thing == spec.config("fast", mask_grow=2, **own)
    assert by_hand == spec.config("fast", learning_rate=0.123, mask_grow=9, **own)


def test_the_form_can_say_the_defaults_of_the_library() -> None:
    usual = EditConfig()
    assert read_settings(form() | shown_settings(usual), spec=tiny_spec()) == usual


def test_every_setting_of_the_drawer_reaches_the_edit() -> None:
    shown = {
        "timestep_order": "random",
        "direction_weighting": "velocity",
        "mask_matching": False,
        "keep_detail": False,
        "colour_smoothing": 0.25,
        "negative_prompt": "blurred",
        "method": "sdedit",
        "strength": 0.3,
    }

    config = read_settings(form(**shown, key_sites=" up_blocks.*to_k \n\nmid*to_k"), spec=tiny_spec())

    assert {name: getattr(config, name) for name in shown} == shown
    assert config.key_sites == ("up_blocks.*to_k", "mid*to_k")


@pytest.mark.parametrize("name", ["fast", "keep-shape", "paper"])
def test_a_preset_fills_the_form(name: str) -> None:
    config = EditConfig.preset(name, seed=7)

    assert read_settings(form() | {"preset": name} | preset_fields(config), spec=tiny_spec()) == config


def test_the_form_follows_the_settings_of_a_model_also_those_that_it_does_not_show() -> None:
    own = {"guidance_scale": 3.0, "timestep_range": (100, 900), "colour_smoothing": 0.5}
    own |= {"key_sites": ("one", "two"), "direction_weighting": "velocity", "learning_rate_end_factor": 0.5}
    spec = replace(tiny_spec(), settings=own)

    config = read_settings(form() | model_fields(spec.config()), spec=spec)

    assert config == EditConfig(seed=7, **own)


@pytest.mark.parametrize(
    ("source", "target", "field"),
    [("a red car", " ", "target"), ("", "a blue car", "source"), (None, None, "target")],
)
def test_an_empty_field_is_named(source: Any, target: Any, field: str) -> None:
    with pytest.raises(EmptyFieldError) as caught:
        read_fields(source, target)

    assert caught.value.field == field


def test_an_empty_seed_draws_one() -> None:
    assert read_seed("") == read_seed(" ") == -1
    assert shown_settings(EditConfig())["seed"] == ""
    assert shown_settings(EditConfig(seed=5))["seed"] == "5"
