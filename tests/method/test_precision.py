"""What a model computes in where nobody said so, and that float16 loses no gradient."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dreammotion_core import ConfigError, DreamMotionPipeline, LoadOptions, list_models
from dreammotion_core.cli.options import build_parser, given_load_options
from dreammotion_core.method.keys import KeyCapture
from dreammotion_core.method.similarity import match_keys
from dreammotion_core.models.catalog import find_model, load_backend
from dreammotion_core.models.placement import checked_device, default_dtype
from dreammotion_core.models.unet3d import UNet3DBackend
from tests.tiny import save_tiny_unet3d, tiny_unet3d
from tests.tiny_animatediff import save_tiny_animatediff

FLOAT32, BFLOAT16, FLOAT16 = torch.float32, torch.bfloat16, torch.float16
GPU = torch.device("cuda")
AMPERE, TURING = (8, 0), (7, 5)
DTYPES = {"float32": FLOAT32, "bfloat16": BFLOAT16, "float16": FLOAT16}


@pytest.mark.parametrize("capability", [AMPERE, (9, 0), TURING])
@pytest.mark.parametrize("gpu_precision", DTYPES)
def test_a_gpu_computes_in_the_published_precision(gpu_precision: str, capability: tuple[int, int]) -> None:
    found = default_dtype(GPU, gpu_precision=gpu_precision, capability=capability)

    old_card = gpu_precision == "bfloat16" and capability == TURING
    assert found == (FLOAT16 if old_card else DTYPES[gpu_precision])


@pytest.mark.parametrize(
    ("device", "capabilities", "dtype"),
    [
        ("cpu", {"avx512_bf16": True}, BFLOAT16),
        ("cpu", {"amx_bf16": True}, BFLOAT16),
        ("cpu", {}, FLOAT32),
        ("mps", {"avx512_bf16": True}, FLOAT32),
    ],
)
def test_other_devices_compute_in_what_they_have(
    device: str, capabilities: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreammotion_core.models.placement.cpu_capabilities", lambda: capabilities)

    assert default_dtype(device, gpu_precision="float16") == dtype


def test_every_known_model_has_the_precision_that_it_was_published_for() -> None:
    of_gpus = {spec.name: spec.gpu_precision for spec in list_models()}

    assert of_gpus == {
        **dict.fromkeys(("toybox", "toybox-unet", "toybox-cascade", "toybox-flow"), "float32"),
        **dict.fromkeys(("zeroscope", "modelscope", "show-1", "cogvideox-2b"), "float16"),
        **dict.fromkeys(("wan-1.3b", "wan-14b", "cogvideox-5b"), "bfloat16"),
    }


def test_folders_are_taken_for_bfloat16_but_for_animatediff(tmp_path: Path) -> None:
    unknown = save_tiny_unet3d(tmp_path / "unet3d")
    animated = save_tiny_animatediff(tmp_path / "animatediff")

    assert find_model(str(unknown)).gpu_precision == "bfloat16"
    assert find_model(str(animated)).gpu_precision == "float16"


def test_options_keep_what_was_asked_for_and_choose_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreammotion_core.models.placement.cpu_capabilities", dict)
    asked, low = LoadOptions(torch_dtype=BFLOAT16), LoadOptions.low_memory()

    assert asked.for_model("float16", device="cuda") is asked
    assert low.for_model("float16", device="cuda") == LoadOptions.low_memory(torch_dtype=FLOAT16)
    assert low.for_model("float16", device="cpu").dtype == FLOAT32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert low.for_model("float16", device=None).dtype == FLOAT32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert low.for_model("float16", device=None).dtype == FLOAT16


@pytest.mark.parametrize("words", [[], ["--low-memory"]])
def test_the_command_line_leaves_the_choice_to_the_model(words: list[str]) -> None:
    parse = build_parser().parse_args
    auto = given_load_options(parse(["preflight", "clip.mp4", *words]))
    told = given_load_options(parse(["preflight", "clip.mp4", *words, "--precision", "float32"]))

    assert (auto.torch_dtype, told.torch_dtype) == (None, FLOAT32)
    assert {auto.offload, told.offload} == {"model" if words else "none"}


def test_the_device_decides_when_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(save_tiny_unet3d(tmp_path))
    monkeypatch.setattr("dreammotion_core.models.placement.cpu_capabilities", dict)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: AMPERE)

    assert load_backend(folder, device="cuda").denoiser.dtype == BFLOAT16
    pipe = DreamMotionPipeline.from_pretrained(folder, device="cpu")
    assert pipe.spec.precision == "float32"


@pytest.mark.parametrize("device", ["cuda:7", "gpu", torch.device("cuda", 7)])
def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(device: torch.device | str) -> None:
    told = re.escape(f"there is no device {device!r}")
    with pytest.raises(ConfigError, match=told):
        checked_device(device)
    with pytest.raises(ConfigError, match=told):
        load_backend("there is no such model", device=device)


def gradient_of_matching(backend: UNet3DBackend, *, spatial: float, temporal: float) -> Tensor:
    """The gradient of the matching losses, by a pass of a denoiser, a little way from the source."""
    generator = torch.Generator().manual_seed(1)
    source = torch.randn(1, 4, 3, 16, 16, generator=generator)
    variable = (source + 0.05 * torch.randn(source.shape, generator=generator)).requires_grad_()
    embeds, keys = torch.randn(1, 24, 8, generator=generator), []
    for latents in (source, variable):
        with KeyCapture(backend.denoiser, backend.key_sites, batch_size=1, num_frames=3) as capture:
            backend.predict_noise(latents, torch.tensor([500]), embeds)
        keys.append(capture.keys())
    assert {site.dtype for site in keys[1].values()} == {backend.denoiser.dtype}
    *_, gradient = match_keys(keys[1], keys[0], variable, spatial_weight=spatial, temporal_weight=temporal)
    assert gradient.dtype == torch.float32
    return gradient


@pytest.mark.parametrize(("spatial", "temporal"), [(0.02, 2.0), (0.0, 2.0), (1e-6, 0.0)])
def test_float16_loses_no_gradient(spatial: float, temporal: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # torch has all operations in float16 on every CPU; those that compute in it slowly are refused otherwise.
    monkeypatch.setattr("dreammotion_core.models.placement.cpu_capabilities", lambda: {"avx512_fp16": True})
    half = tiny_unet3d()
    half.denoiser.half()
    exact = gradient_of_matching(tiny_unet3d(), spatial=spatial, temporal=temporal)

    found = gradient_of_matching(half, spatial=spatial, temporal=temporal)

    assert exact.norm() > 0
    assert (found - exact).norm() / exact.norm() < 0.05
