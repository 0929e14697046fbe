"""Shell patterns for layers: what they match, what is refused, and that none takes long."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel, UNet3DConditionModel, WanTransformer3DModel
from torch import nn

from dreammotion_core import ConfigError, EditConfig
from dreammotion_core.cli.main import main
from dreammotion_core.config import LONGEST_KEY_SITE, MOST_KEY_SITES, compiled_key_pattern
from dreammotion_core.method.keys import KeySite, matching_modules
from dreammotion_core.models.cascade.backend import KEY_SITES as CASCADE_KEY_SITES
from dreammotion_core.models.unet3d import KEY_SITES
from dreammotion_core.models.video_transformer import middle_key_sites
from tests.tiny import tiny_spec
from tests.tiny_cascade import tiny_cascade
from tests.web.pages import form
from web.form import read_settings

FREEZES = "(.+)+!"
NEW_SPELLINGS = [
    (r"mid_block\.attentions\..*attn1\.to_k", ["mid_block.attentions.*attn1.to_k"]),
    (r"up_blocks\.\d+\.attentions\.\d+\.to_k", ["up_blocks.*.attentions.*.to_k"]),
    (r"blocks\.(10|11)\.attn1\.to_k", ["blocks.10.attn1.to_k", "blocks.11.attn1.to_k"]),
    (r"blocks\.(?:1\d)\.attn1\.to_k", ["blocks.*.attn1.to_k"]),
    (r"blocks\.\d\.attn1\.to_k", ["blocks.[0-9].attn1.to_k"]),
    (r"^up_blocks.[^0]\.\w+$", ["up_blocks.[!0].*"]),
    (".*attn1.to_k", ["*attn1.to_k"]),
    ("a.to_k|b.to_k", ["a.to_k", "b.to_k"]),
    (FREEZES, ["*!"]),
    ("(", ["*"]),
]


@pytest.mark.parametrize(("old", "new"), NEW_SPELLINGS)
def test_a_regular_expression_is_refused_with_its_new_spelling(old: str, new: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        KeySite(old)

    assert str(refused.value).endswith(f"write {' and '.join(map(repr, new))}")
    assert EditConfig(key_sites=tuple(new)).key_sites == tuple(new)


@pytest.mark.parametrize(
    "enter",
    [
        KeySite,
        lambda pattern: EditConfig(key_sites=(pattern,)),
        lambda pattern: EditConfig.from_dict(json.loads(json.dumps({"key_sites": [pattern]}))),
        lambda pattern: EditConfig.preset("fast", usual={"key_sites": (pattern,)}),
        lambda pattern: read_settings(form(key_sites=f"mid_block.*\n{pattern}"), spec=tiny_spec()),
    ],
    ids=["site", "settings", "receipt", "defaults of a model", "form"],
)
@pytest.mark.parametrize(
    "pattern", [FREEZES, r"up\.x", "a" * (LONGEST_KEY_SITE + 1), "*a" * LONGEST_KEY_SITE]
)
def test_what_is_no_short_shell_pattern_is_refused_wherever_it_enters(
    enter: Callable[[str], object], pattern: str
) -> None:
    with pytest.raises(ConfigError, match="key_sites holds"):
        enter(pattern)


def test_the_command_line_refuses_a_regular_expression(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["preflight", "assets/examples/balloon/clip.mp4", "--key-sites", FREEZES]

    assert main(arguments) == 2
    assert "regular expressions are no longer accepted; write '*!'" in capsys.readouterr().err


def test_only_so_many_patterns_are_accepted() -> None:
    most = ("a.*",) * MOST_KEY_SITES

    assert EditConfig(key_sites=most).key_sites == most
    with pytest.raises(ConfigError, match=f"1 to {MOST_KEY_SITES}"):
        EditConfig(key_sites=(*most, "b"))


def test_no_accepted_pattern_takes_long() -> None:
    draw, names = random.Random(0), ["a" * 500, "ab." * 200, "up_blocks.1.attentions.0." * 20]
    patterns = [
        "*a" * (LONGEST_KEY_SITE // 2),
        "*?" * (LONGEST_KEY_SITE // 2),
        "*[!b]*a!" * (LONGEST_KEY_SITE // 8),
    ]
    patterns += ["".join(draw.choices("*?[]!ab-_", k=LONGEST_KEY_SITE)) for _ in range(100)]
    started = time.process_time()

    for pattern in patterns:
        expression = compiled_key_pattern(KeySite(pattern).pattern)
        for name in names:
            expression.match(name)

    assert time.process_time() - started < 5.0


def test_new_spellings_are_found_in_no_time() -> None:
    draw, started = random.Random(0), time.process_time()

    for _ in range(300):
        with pytest.raises(ConfigError, match="write"):
            KeySite("(" + "".join(draw.choices(r"()[]{}|\+*.?^dw", k=LONGEST_KEY_SITE - 1)))

    assert time.process_time() - started < 5.0


def on_no_device(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()


@pytest.mark.parametrize(
    ("denoiser", "sites", "expression"),
    [
        (
            lambda: on_no_device(UNet3DConditionModel),
            KEY_SITES,
            r"up_blocks\.\d+\.attentions\.\d+\.transformer_blocks\.\d+\.attn1\.to_k",
        ),
        (lambda: tiny_cascade().denoiser, CASCADE_KEY_SITES, r"up_blocks\.\d+\.attentions\.\d+\.to_k"),
        (
            lambda: on_no_device(lambda: WanTransformer3DModel(num_layers=30)),
            middle_key_sites("blocks", num_layers=30),
            r"blocks\.(1\d)\.attn1\.to_k",
        ),
        (
            lambda: on_no_device(lambda: CogVideoXTransformer3DModel(num_layers=30)),
            middle_key_sites("transformer_blocks", num_layers=30),
            r"transformer_blocks\.(1\d)\.attn1\.to_k",
        ),
    ],
    ids=["unet3d", "cascade", "wan", "cogvideox"],
)
def test_the_defaults_name_the_layers_that_they_named_as_regular_expressions(
    denoiser: Callable[[], nn.Module], sites: tuple[KeySite, ...], expression: str
) -> None:
    module = denoiser()
    names = [name for name, _ in module.named_modules() if re.fullmatch(expression, name)]

    assert names
    assert list(matching_modules(module, sites)) == names
