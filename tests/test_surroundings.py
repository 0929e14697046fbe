"""Where the program runs and what it runs there: six surroundings, with SAM at hand and without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dreammotion_core import ConfigError, Machine, ModelLoadError, Place, find_surroundings, surroundings
from dreammotion_core.models.catalog import COGVIDEOX_2B, KNOWN_MODELS, WAN_1_3B, ZEROSCOPE
from dreammotion_core.surroundings import Surroundings, best_first

SPACE = {"SYSTEM": "spaces", "SPACE_ID": "somebody/dreammotion"}
BASIC = SPACE | {"ACCELERATOR": "none", "CPU_CORES": "2", "MEMORY": "16Gi"}
T4 = SPACE | {"ACCELERATOR": "t4-small", "CPU_CORES": "4", "MEMORY": "15Gi"}
L4 = SPACE | {"ACCELERATOR": "l4x1", "CPU_CORES": "8", "MEMORY": "30Gi"}
LENT = SPACE | {"SPACES_ZERO_GPU": "true"}

SAM = ("mobile-sam", "sam2-tiny", "edgetam")


@dataclass(frozen=True)
class Segmenter:
    name: str
    ready: bool

    def is_ready(self) -> bool:
        return self.ready


def segmenters(*ready: str) -> list[Segmenter]:
    names = ("embedded", "sam-vit-b", *SAM, "sam2-large")
    return [Segmenter(name, name in ("embedded", *ready)) for name in names]


def machine(*, gpu: int = 0, ram: int = 32_000_000_000, works: bool = True) -> Machine:
    """A stand-in with so many usable bytes on a GPU and beside it."""
    return Machine(
        computes_on=lambda device: device == "cpu" or (works and gpu > 0 and device == "cuda"),
        room=lambda device: gpu if device.startswith("cuda") else ram,
    )


def never_asked(device: str) -> bool:
    raise AssertionError(f"{device} was asked for before it is lent")


BLIND = Machine(computes_on=never_asked, room=lambda device: 64_000_000_000 if device == "cpu" else 1 // 0)

Find = Callable[..., Surroundings]


@pytest.fixture
def downloaded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the weights of some models lie ready."""

    def let(*names: str) -> None:
        own = type(ZEROSCOPE).is_ready
        monkeypatch.setattr(
            type(ZEROSCOPE), "is_ready", lambda spec: spec.name in names or (spec.is_local and own(spec))
        )

    let()
    return let


def find(
    environment: Mapping[str, str], on: Machine | None = None, *, ready: tuple[str, ...] = (), **given: Any
) -> Surroundings:
    return find_surroundings(
        given, segmenters=segmenters(*ready), environment=environment, machine=on or machine()
    )


TABLE = [
    # surroundings, its machine, SAM at hand -> place, device, model, saves memory, segmenter, its device
    ("plain", {}, machine(), (), Place.CPU, "cpu", "toybox", False, "embedded", "cpu"),
    ("plain", {}, machine(), SAM, Place.CPU, "cpu", "toybox", False, "mobile-sam", "cpu"),
    ("basic", BASIC, machine(), (), Place.CPU, "cpu", "toybox", False, "embedded", "cpu"),
    ("basic", BASIC, machine(), SAM, Place.CPU, "cpu", "toybox", False, "mobile-sam", "cpu"),
    ("dead", T4, machine(gpu=1, works=False), (), Place.CPU, "cpu", "toybox", False, "embedded", "cpu"),
    ("dead", T4, machine(gpu=1, works=False), SAM, Place.CPU, "cpu", "toybox", False, "mobile-sam", "cpu"),
    # 16 GB of it can hold CogVideoX only sparingly, and the 15 GB beside it cannot load it.
    ("15 GB", T4, machine(gpu=14_300_000_000), (), Place.GPU, "cuda", "toybox", False, "embedded", "cuda"),
    ("15 GB", T4, machine(gpu=14_300_000_000), SAM, Place.GPU, "cuda", "toybox", False, "sam2-tiny", "cuda"),
    ("24 GB", L4, machine(gpu=22_000_000_000), (), Place.GPU, "cuda", "wan-1.3b", True, "embedded", "cuda"),
    ("24 GB", L4, machine(gpu=22_000_000_000), SAM, Place.GPU, "cuda", "wan-1.3b", True, "sam2-tiny", "cuda"),
    ("lent", LENT, BLIND, (), Place.LENT, "cuda", "toybox", False, "embedded", "cpu"),
    ("lent", LENT, BLIND, SAM, Place.LENT, "cuda", "toybox", False, "mobile-sam", "cpu"),
]


@pytest.mark.parametrize(
    ("name", "environment", "on", "ready", "place", "device", "model", "saves", "segmenter", "where"),
    TABLE,
    ids=lambda value: value if isinstance(value, str) and " " not in value else None,
)
def test_what_runs_in_each_surroundings(
    downloaded: Callable[..., None],
    name: str,
    environment: Mapping[str, str],
    on: Machine,
    ready: tuple[str, ...],
    place: Place,
    device: str,
    model: str,
    saves: bool,
    segmenter: str,
    where: str,
) -> None:
    downloaded("cogvideox-2b", "wan-1.3b", "zeroscope", "cogvideox-5b")

    found = find(environment, on, ready=ready)

    assert (found.place, found.device.value) == (place, device)
    assert (found.model.value, found.low_memory.value) == (model, saves)
    assert (found.segmenter.value, found.segmenter_device) == (segmenter, where)
    assert {found.device.by, found.model.by, found.segmenter.by} == {"automatic"}
    assert bool(found.notices) == (name == "dead")
    assert (found.max_steps.value, found.downloads.value) == (
        (300, frozenset()) if environment else (None, None)
    )


def test_a_gpu_that_its_torch_cannot_use_is_named() -> None:
    (notice,) = find(T4, machine(works=False)).notices

    assert "t4-small" in notice
    assert "the processor works" in notice


@pytest.mark.usefixtures("downloaded")
def test_weights_that_do_not_lie_ready_are_not_taken() -> None:
    assert find({}, machine(gpu=80_000_000_000)).model.value == "toybox"


def test_weights_of_a_restricted_licence_are_taken_by_their_name_alone(
    downloaded: Callable[..., None],
) -> None:
    downloaded("zeroscope", "cogvideox-5b", "show-1")
    card = machine(gpu=80_000_000_000)

    assert find({}, card).model.value == "toybox"
    assert str(find({"DREAMMOTION_MODEL": "zeroscope"}, card).model) == "zeroscope (DREAMMOTION_MODEL)"


def test_what_fits_as_it_is_comes_before_what_has_to_save_memory(downloaded: Callable[..., None]) -> None:
    downloaded("cogvideox-2b", "wan-1.3b")

    whole = find({}, machine(gpu=30_000_000_000))
    large = find({}, machine(gpu=80_000_000_000))

    assert (whole.model.value, whole.low_memory.value) == ("cogvideox-2b", False)
    assert (large.model.value, large.low_memory.value) == ("wan-1.3b", False)


def test_models_are_ordered_by_how_they_suit_the_device() -> None:
    names = [spec.name for spec in best_first([WAN_1_3B, ZEROSCOPE, COGVIDEOX_2B], room=14_000_000_000)]

    assert names == ["zeroscope", "wan-1.3b", "cogvideox-2b"]
    assert best_first(KNOWN_MODELS, room=0) == list(KNOWN_MODELS)


def test_the_command_line_comes_before_the_variables() -> None:
    variables = {
        "DREAMMOTION_MODEL": "toybox-flow",
        "DREAMMOTION_SEGMENTER": "edgetam",
        "DREAMMOTION_DEVICE": "cuda",
        "DREAMMOTION_MAX_STEPS": "50",
    }

    found = find(
        variables, machine(gpu=9_000_000_000), model="toybox-cascade", device="cpu", segmenter="auto"
    )

    assert str(found.model) == "toybox-cascade (command line)"
    assert str(found.device) == "cpu (command line)"
    assert str(found.segmenter) == "edgetam (DREAMMOTION_SEGMENTER)"
    assert str(found.max_steps) == "50 (DREAMMOTION_MAX_STEPS)"


def test_all_is_said_on_one_line() -> None:
    found = find(BASIC | {"DREAMMOTION_MAX_FRAMES": "24", "DREAMMOTION_DOWNLOADS": "mobile-sam, edgetam"})

    assert found.describe() == (
        "Place: Space somebody/dreammotion, processor · device: cpu (automatic) · model: toybox (automatic)"
        " · segmenter: embedded (automatic) · limits: steps 300 (automatic), "
        "frames 24 (DREAMMOTION_MAX_FRAMES), pixels a side 1920 (automatic), queue 16 (automatic) · "
        "downloads: edgetam, mobile-sam (DREAMMOTION_DOWNLOADS)"
    )
    assert found.may_download("edgetam")
    assert not found.may_download("sam2-large")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DREAMMOTION_MODEL", "wonder", "there is no model 'wonder'"),
        ("DREAMMOTION_SEGMENTER", "wonder", "there is no segmenter 'wonder'"),
        ("DREAMMOTION_DEVICE", "toaster", "there is no such device"),
        ("DREAMMOTION_DEVICE", "cuda:7", "torch cannot compute on it"),
        ("DREAMMOTION_LOW_MEMORY", "perhaps", "write 1 or 0"),
        ("DREAMMOTION_MAX_STEPS", "0", "write a whole number from 1 on"),
        ("DREAMMOTION_MAX_FRAMES", "-3", "write a whole number from 1 on"),
        ("DREAMMOTION_MAX_QUEUE", "many", "write a whole number from 1 on"),
        ("DREAMMOTION_MAX_SECONDS", "0", "write a whole number from 1 on"),
        ("DREAMMOTION_LENT_SIZE", "huge", "choose large or xlarge"),
        ("DREAMMOTION_DOWNLOADS", "sam2-tiny, wonder", "names wonder, which is no model and no segmenter"),
        ("DREAMMOTION_SEGMENTER", "wonder" * 1000, "there is no segmenter 'wonderwonder"),
        ("DREAMMOTION_DEVICE", "wonder" * 1000, "there is no such device"),
    ],
)
def test_nonsense_is_refused_in_a_terminal_and_a_notice_on_a_space(name: str, value: str, said: str) -> None:
    with pytest.raises((ConfigError, ModelLoadError), match=said):
        find({name: value})

    found = find(BASIC | {name: value})

    (notice,) = found.notices
    assert said in notice.lower() or said in notice
    assert name in notice or "wonder" in notice
    assert (found.model.value, found.segmenter.value, found.device.value) == ("toybox", "embedded", "cpu")
    assert found.max_steps.value == 300


def test_a_wish_that_is_asked_twice_is_refused_once() -> None:
    (notice,) = find(BASIC | {"SPACES_ZERO_GPU": "1", "DREAMMOTION_LENT_SIZE": "huge"}, BLIND).notices

    assert "choose large or xlarge" in notice


def test_a_variable_that_does_not_exist_is_told_with_those_that_do() -> None:
    (notice,) = find({"DREAMMOTION_MODLE": "toybox"}).notices

    assert "no variable DREAMMOTION_MODLE" in notice
    assert "DREAMMOTION_MODEL" in notice


def test_a_card_too_small_for_everything_gets_the_small_model() -> None:
    found = find(T4 | {"DREAMMOTION_MODEL": "wan-14b"}, machine(gpu=2_000_000_000), ready=SAM)

    (notice,) = found.notices
    assert "needs 62.5 GB at least, and 2.0 GB can be used on cuda" in notice
    assert (found.model.value, found.device.value) == ("toybox", "cuda")
    assert (found.segmenter.value, found.segmenter_device) == ("mobile-sam", "cpu")
    with pytest.raises(ConfigError, match=r"62\.5 GB"):
        find({}, machine(gpu=2_000_000_000), model="wan-14b")


def test_the_memory_beside_the_card_is_looked_at() -> None:
    card = machine(gpu=30_000_000_000, ram=64_000_000_000)

    found = find(T4 | {"DREAMMOTION_MODEL": "cogvideox-2b"}, card)

    assert "15.7 GB of the machine's own memory" in found.notices[0]
    assert find(L4 | {"DREAMMOTION_MODEL": "cogvideox-2b"}, card).model.value == "cogvideox-2b"


def test_an_explicit_model_saves_memory_where_it_must() -> None:
    card = machine(gpu=14_000_000_000)

    assert find({}, card, model="wan-1.3b").low_memory.value
    assert not find({}, card, model="zeroscope").low_memory.value
    assert find({}, card, model="zeroscope", low_memory=True).low_memory.value
    assert not find({"DREAMMOTION_LOW_MEMORY": "0"}, card, model="wan-1.3b").low_memory.value


@pytest.mark.parametrize(("size", "fits"), [("large", False), ("xlarge", True)])
def test_a_lent_gpu_has_a_known_size(size: str, fits: bool) -> None:
    variables = {"DREAMMOTION_MODEL": "wan-1.3b", "DREAMMOTION_LENT_SIZE": size}

    found = find(LENT | variables, BLIND)

    assert found.model.value == "wan-1.3b"
    assert found.low_memory.value is not fits
    assert find(LENT | {"DREAMMOTION_DEVICE": "cpu"}, BLIND).place is Place.LENT


def test_what_fails_to_load_gives_way_with_a_sentence() -> None:
    found = find(BASIC | {"DREAMMOTION_MODEL": "toybox-flow", "DREAMMOTION_SEGMENTER": "edgetam"})

    found = found.without_model("the weights are damaged").without_segmenter("the file is empty.")

    assert (found.model.value, found.segmenter.value) == ("toybox", "embedded")
    assert found.notices == (
        "Model toybox-flow was asked for (DREAMMOTION_MODEL): the weights are damaged. toybox edits instead.",
        "Segmenter edgetam was asked for (DREAMMOTION_SEGMENTER): the file is empty. "
        "The embedded one answers clicks instead.",
    )


def test_a_checkpoint_needs_the_name_of_its_segmenter() -> None:
    assert find({}, ready=SAM, checkpoint="weights.pt").segmenter.value == "embedded"


def test_only_small_things_are_asked_of_the_real_machine() -> None:
    assert surroundings.computes_on("cpu")
    assert not surroundings.computes_on("cuda:99")
    assert replace(Machine()).room("cpu") > 0
