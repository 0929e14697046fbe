"""Models that cannot be had: what the hub, the disk or the folder says, in words that help."""

import errno
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKL
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from dreammotion_core import ModelLoadError
from dreammotion_core.models.catalog import ZEROSCOPE, find_model, load_backend
from dreammotion_core.models.loading import ModelFiles
from dreammotion_core.models.text import token_limit
from dreammotion_core.models.wan import WanBackend
from tests.tiny import save_tiny_unet3d, tiny_parts
from tests.tiny_cascade import save_tiny_cascade
from tests.tiny_video import save_tiny_wan, tiny_video_spec, tiny_wan_parts

REVISION = "0" * 40
HUB_MODEL = replace(ZEROSCOPE, source="owner/model", revision=REVISION)


class Hub(BaseHTTPRequestHandler):
    """A hub on this machine that has one manifest, and refuses all else for one reason."""

    refusal: tuple[int, str] = (404, "EntryNotFound")
    manifest: bytes | None = None

    def do_GET(self) -> None:
        is_known = self.manifest is not None and self.path.endswith("model_index.json")
        body = self.manifest or b"" if is_known else b""
        status, code = (200, "") if is_known else self.refusal
        self.send_response(status)
        for name, value in (
            ("X-Error-Code", code),
            ("X-Repo-Commit", REVISION),
            ("ETag", '"manifest"'),
            ("Content-Length", str(len(body))),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def drop_connection(self) -> None:
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    class OwnHub(Hub):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), OwnHub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield OwnHub
    server.shutdown()
    server.server_close()


REFUSALS = {
    "gated": ((403, "GatedRepo"), "gated repository.*accept its terms.*log in"),
    "unknown": ((404, "RepoNotFound"), "there is no repository owner/model.*check name and revision"),
    "revision": ((404, "RevisionNotFound"), f"no repository owner/model at {REVISION}"),
    "file": ((404, "EntryNotFound"), "has no .*text-to-video model in diffusers' layout"),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_the_hub_says_of_a_repository_becomes_advice(hub: type[Hub], reason: str) -> None:
    hub.refusal, message = REFUSALS[reason]

    with pytest.raises(ModelLoadError, match=message):
        load_backend(f"owner/model@{REVISION}")


@pytest.mark.parametrize("reason", ["gated", "unknown", "revision"])
@pytest.mark.parametrize("part", [AutoencoderKL, CLIPTextModel, CLIPTokenizer])
def test_the_libraries_own_words_for_it_are_understood(
    hub: type[Hub], tmp_path: Path, reason: str, part: Any
) -> None:
    hub.manifest = json.dumps({"unet": ["diffusers", "UNet3DConditionModel"]}).encode()
    hub.refusal, message = REFUSALS[reason]
    files = ModelFiles(HUB_MODEL, parts=("unet",))

    with pytest.raises(ModelLoadError, match=message):
        files.load("vae", part.from_pretrained, cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("denoiser", "family"),
    [
        ("UNet3DConditionModel", "unet3d"),
        ("WanTransformer3DModel", "wan"),
        ("CogVideoXTransformer3DModel", "cogvideox"),
    ],
)
def test_the_family_of_a_hub_model_is_read_from_its_manifest(
    hub: type[Hub], denoiser: str, family: str
) -> None:
    hub.manifest = json.dumps({"_class_name": "APipeline", "denoiser": ["diffusers", denoiser]}).encode()

    spec = find_model(f"owner/model@{REVISION}")

    assert (spec.family, spec.source, spec.revision) == (family, "owner/model", REVISION)
    assert not spec.is_local


def test_a_hub_model_of_another_kind_is_refused_before_its_weights_are_fetched(hub: type[Hub]) -> None:
    hub.manifest = json.dumps(
        {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    ).encode()

    with pytest.raises(ModelLoadError, match=r"StableDiffusionPipeline.*not a text-to-video model"):
        load_backend(f"owner/model@{REVISION}")


def test_a_hub_model_without_a_part_is_refused_before_its_weights_are_fetched(hub: type[Hub]) -> None:
    hub.manifest = json.dumps(
        {"_class_name": "APipeline", "transformer": ["diffusers", "WanTransformer3DModel"]}
    ).encode()

    with pytest.raises(ModelLoadError, match=r"APipeline without vae, text_encoder, tokenizer"):
        load_backend(f"owner/model@{REVISION}")


@pytest.mark.parametrize("name", [f"owner/model@{REVISION}", "zeroscope"])
def test_a_connection_that_is_dropped_is_said(hub: type[Hub], name: str) -> None:
    hub.do_GET = hub.do_HEAD = hub.drop_connection

    with pytest.raises(ModelLoadError, match=r"model_index.json of .* cannot be loaded .*check the network"):
        load_backend(name)


def disk_is_full(*_arguments: object, **_options: object) -> None:
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise RuntimeError("the download failed") from error


def test_a_full_disk_is_named_with_the_size_of_the_model(tmp_path: Path) -> None:
    files = ModelFiles(find_model(str(save_tiny_unet3d(tmp_path))), parts=("vae",))

    with pytest.raises(ModelLoadError, match=r"vae .* does not fit on the disk.*free some space"):
        files.load("vae", disk_is_full)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest | {"vae": ["diffusers", "AutoencoderKL"]},
        lambda manifest: manifest | {"vae": ["os", "system"]},
        lambda manifest: {k: v for k, v in manifest.items() if k != "vae"},
    ],
)
def test_only_listed_classes_are_looked_up(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    folder = save_tiny_wan(tmp_path)
    path = folder / "model_index.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))

    with pytest.raises(ModelLoadError, match="vae"):
        load_backend(str(folder))


@pytest.mark.parametrize("file", ["model_index.json", "transformer/config.json"])
@pytest.mark.parametrize("text", ["{", "[]", '"text"', ""])
def test_damaged_json_is_refused(tmp_path: Path, file: str, text: str) -> None:
    folder = save_tiny_wan(tmp_path)
    (folder / file).write_text(text)

    with pytest.raises(ModelLoadError, match=f"{file} (in|of) .*cannot be"):
        load_backend(str(folder))


def test_a_tokenizer_without_its_files_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_wan(tmp_path)
    for path in (folder / "tokenizer").iterdir():
        path.unlink()

    with pytest.raises(
        ModelLoadError, match=r"tokenizer in .*neither tokenizer\.json nor spiece\.model.*fetch it again"
    ):
        load_backend(str(folder))


def test_weights_with_a_missing_tensor_are_refused(tmp_path: Path) -> None:
    folder = save_tiny_wan(tmp_path)
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["blocks.1.attn1.to_k.weight"]
    save_file(weights, path, metadata={"format": "pt"})

    with pytest.raises(ModelLoadError, match=r"transformer in .*blocks\.1\.attn1\.to_k"):
        load_backend(str(folder))


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["null", "[]", "{}", ""])
@pytest.mark.parametrize("save", [save_tiny_unet3d, save_tiny_wan])
def test_damaged_files_of_a_tokenizer_are_refused(
    tmp_path: Path, save: Callable[[Path], Path], file: str, text: str
) -> None:
    folder = save(tmp_path)
    (folder / "tokenizer" / file).write_text(text)

    with pytest.raises(ModelLoadError, match=r"tokenizer.* (in|of) .*cannot be .*fetch it again"):
        load_backend(str(folder))


SAVED = {"unet3d": save_tiny_unet3d, "cascade": save_tiny_cascade, "wan": save_tiny_wan}


@pytest.mark.parametrize(
    ("family", "file"),
    [
        ("unet3d", "tokenizer/tokenizer_config.json"),
        ("cascade", "tokenizer/tokenizer_config.json"),
        ("wan", "tokenizer/tokenizer_config.json"),
        ("unet3d", "scheduler/scheduler_config.json"),
        ("cascade", "video/scheduler/scheduler_config.json"),
    ],
)
@pytest.mark.parametrize("text", [None, "{}"])
def test_a_part_without_its_settings_is_refused(
    tmp_path: Path, family: str, file: str, text: str | None
) -> None:
    folder = SAVED[family](tmp_path)
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)

    with pytest.raises(ModelLoadError, match=rf"{'/'.join(file.split('/')[-2:])} (in|of) .*fetch it again"):
        load_backend(str(folder))


def change(path: Path, **values: Any) -> None:
    """Other values in a JSON file; None takes one out."""
    kept = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in kept.items() if value is not None}))


@pytest.mark.parametrize("limit", [None, 1000])
def test_no_more_tokens_are_read_than_the_text_encoder_has_places_for(
    tmp_path: Path, limit: int | None
) -> None:
    folder = save_tiny_unet3d(tmp_path)
    change(folder / "tokenizer/tokenizer_config.json", model_max_length=limit)

    backend = load_backend(str(folder))

    assert backend.encode_prompt("a red car").shape == (1, 24, 8)
    assert [notice.code for notice in backend.check_prompt("a red car " * 9)] == ["prompt_truncated"]


def test_wan_reads_no_more_tokens_than_clip_has_places_for() -> None:
    parts = tiny_wan_parts() | {name: tiny_parts()[name] for name in ("tokenizer", "text_encoder")}
    parts["tokenizer"].model_max_length = VERY_LARGE_INTEGER

    assert WanBackend(tiny_video_spec("wan"), **parts).encode_prompt("a red car").shape == (1, 24, 8)


@pytest.mark.parametrize("limit", [None, "24", 0])
def test_a_number_of_tokens_that_nothing_names_is_refused(limit: Any) -> None:
    parts = tiny_wan_parts()
    parts["tokenizer"].model_max_length = VERY_LARGE_INTEGER if limit is None else limit

    assert token_limit(parts["tokenizer"], text_encoder=parts["text_encoder"], trained=77) == 77
    with pytest.raises(ModelLoadError, match="with how many tokens the model was trained"):
        token_limit(parts["tokenizer"], text_encoder=parts["text_encoder"])
