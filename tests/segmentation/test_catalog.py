"""The list of segmenters: names, what is ready, and what leads to which model."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

from dreammotion_core.cli.main import main
from segmentation import CheckpointError, UnknownSegmenterError, list_segmenters, load_segmenter
from tests.segmentation.tiny_models import random_model, tiny_sam2_config


class TestRegistry:
    def test_the_first_one_needs_no_download_and_is_never_called_sam(self) -> None:
        first = list_segmenters()[0]
        assert first.is_ready()
        assert first.size_bytes == 0
        assert "sam" not in (first.name + first.label + first.description).lower().replace("same", "")

    def test_unknown_names_list_the_known_ones(self) -> None:
        with pytest.raises(UnknownSegmenterError, match="embedded, sam-vit-b"):
            load_segmenter("sam9")

    def test_the_embedded_one_takes_no_checkpoint(self, tmp_path: object) -> None:
        with pytest.raises(UnknownSegmenterError, match="no weights"):
            load_segmenter(checkpoint=tmp_path)  # type: ignore[arg-type]


def test_the_list_says_what_is_not_downloaded_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path))
    base = next(spec for spec in list_segmenters() if spec.name == "sam-vit-b")
    assert not base.is_ready()
    (tmp_path / "sam_vit_b_01ec64.pth").touch()
    assert base.is_ready()


def test_the_list_says_what_is_ready_what_comes_and_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path))
    specs = {spec.name: spec for spec in list_segmenters()}
    assert {"mobile-sam", "sam2-tiny", "sam2-small", "sam2-base-plus", "sam2-large", "edgetam"} <= set(specs)
    assert specs["edgetam"].describe_readiness() == "not ready: downloaded on first use"
    (tmp_path / "edgetam.safetensors").touch()
    assert specs["edgetam"].describe_readiness() == "ready"
    monkeypatch.setattr("segmentation.base.find_spec", lambda name: None if name == "timm" else object())
    assert specs["edgetam"].describe_readiness().startswith("not available here: install timm")
    assert specs["sam2-tiny"].describe_readiness() == "not ready: downloaded on first use"
    with pytest.raises(UnknownSegmenterError, match="edgetam is not available here: install timm"):
        load_segmenter("edgetam")
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "edgetam  [not available here: install timm" in listed
    assert "sam2-tiny  [not ready: downloaded on first use]" in listed
    assert "SAM 2.1 (tiny); Apache-2.0; 156 MB, about 12 s at 100 Mbit/s; facebook/sam2.1-hiera" in listed


def test_a_name_leads_to_its_model_and_its_own_weights(tmp_path: Path) -> None:
    save_file(random_model(tiny_sam2_config()).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="other weights"):
        load_segmenter("edgetam", checkpoint=tmp_path)
