"""The Segment Anything adapter, on the real classes at a tiny size with random weights."""

from __future__ import annotations

import hashlib
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from segmentation import (
    Box,
    CheckpointError,
    Click,
    SceneCutWarning,
    Selection,
    SelectionError,
    list_segmenters,
    load_segmenter,
)
from segmentation.base import SegmenterSpec
from segmentation.sam import CACHED_EMBEDDINGS, SamSegmenter, build_sam, load_weights
from segmentation.weights import SAM_VARIANTS, Download, Variant, download_checkpoint

SIDE, WIDTH = 64, 16
SPEC = SegmenterSpec("tiny", "Tiny", "none", 0, "random", "random weights")


def tiny_sam() -> Sam:
    grid = SIDE // 16
    encoder = ImageEncoderViT(
        img_size=SIDE, embed_dim=16, depth=1, num_heads=2, out_chans=WIDTH, use_rel_pos=True, window_size=0
    )
    prompts = PromptEncoder(WIDTH, (grid, grid), (SIDE, SIDE), mask_in_chans=4)
    decoder = MaskDecoder(
        transformer_dim=WIDTH,
        transformer=TwoWayTransformer(depth=1, embedding_dim=WIDTH, num_heads=2, mlp_dim=16),
        num_multimask_outputs=3,
        activation=nn.GELU,
        iou_head_hidden_dim=16,
    )
    return Sam(encoder, prompts, decoder)


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 40, 70, 3), dtype=np.uint8)


@pytest.fixture
def segmenter() -> SamSegmenter:
    return SamSegmenter(tiny_sam(), spec=SPEC)


def count_encoder_calls(segmenter: SamSegmenter) -> list[int]:
    calls: list[int] = []
    segmenter.model.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize(
    "selection",
    [
        Selection(clicks=(Click(35, 20),)),
        Selection(clicks=(Click(35, 20), Click(2, 2, is_positive=False))),
        Selection(box=Box(10, 5, 60, 35)),
        Selection(clicks=(Click(35, 20),), box=Box(10, 5, 60, 35)),
    ],
)
def test_every_kind_of_selection_gives_a_numpy_mask_of_the_frame_size(
    segmenter: SamSegmenter, frames: np.ndarray, selection: Selection
) -> None:
    mask = segmenter.open(frames).mask_at(selection)
    assert isinstance(mask, np.ndarray)
    assert mask.shape == (40, 70)
    assert mask.dtype == bool


def test_a_single_click_gets_the_proposal_that_the_model_scores_highest(
    segmenter: SamSegmenter, frames: np.ndarray
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    segmenter.model.mask_decoder.register_forward_hook(lambda _m, _i, out: seen.append(out))
    mask = segmenter.open(frames).mask_at(Selection(clicks=(Click(35, 20),)))
    logits, scores = seen[0]
    assert scores.shape == (1, 3)
    best = logits[:, scores[0].argmax()][:, None]
    height, width = segmenter._resize.get_preprocess_shape(40, 70, SIDE)
    expected = segmenter.model.postprocess_masks(best, (height, width), (40, 70))[0, 0] > 0
    assert np.array_equal(mask, expected.numpy())


def test_a_frame_is_encoded_once_however_often_it_is_clicked(
    segmenter: SamSegmenter, frames: np.ndarray
) -> None:
    calls = count_encoder_calls(segmenter)
    session = segmenter.open(frames)
    selection = Selection(clicks=(Click(35, 20),))
    for _ in range(3):
        session.mask_at(selection)
        selection = selection.with_click(Click(1, 1, is_positive=False))
    assert len(calls) == 1


def test_the_cache_forgets_the_frame_that_was_clicked_longest_ago(
    segmenter: SamSegmenter, frames: np.ndarray
) -> None:
    calls = count_encoder_calls(segmenter)
    session = segmenter.open(frames)
    for index in [*range(CACHED_EMBEDDINGS + 1), CACHED_EMBEDDINGS, 0]:
        session.mask_at(Selection(index, (Click(35, 20),)))
    assert len(calls) == CACHED_EMBEDDINGS + 2


def test_sessions_do_not_share_their_frames(segmenter: SamSegmenter, frames: np.ndarray) -> None:
    first, second = segmenter.open(frames), segmenter.open(255 - frames)
    selection = Selection(clicks=(Click(35, 20),))
    before = first.mask_at(selection)
    second.mask_at(selection)
    assert np.array_equal(first.mask_at(selection), before)


def test_propagation_streams_every_frame_and_refuses_at_the_call(
    segmenter: SamSegmenter, frames: np.ndarray
) -> None:
    session = segmenter.open(frames)
    with pytest.raises(SelectionError, match="outside"):
        session.propagate(Selection(clicks=(Click(70, 20),)))
    with pytest.warns(SceneCutWarning):  # one noise is a scene of its own
        order = [index for index, _ in session.propagate(Selection(1, (Click(35, 20),)))]
    assert order == [1, 2, 3, 4, 5, 0]


@pytest.mark.parametrize(
    ("architecture", "variant"), list(zip(("vit_b", "vit_l", "vit_h"), SAM_VARIANTS, strict=True))
)
def test_the_architecture_is_built_without_memory_and_with_its_constants(
    architecture: str, variant: Variant
) -> None:
    model = build_sam(architecture)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert model.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    # A published checkpoint holds 4 bytes a value and little else: the size tells that it is this one.
    values = sum(tensor.numel() for tensor in model.state_dict().values())
    assert variant.size_bytes == pytest.approx(4 * values, rel=0.002)


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    saved, loaded = tiny_sam(), tiny_sam()
    torch.save(saved.state_dict(), tmp_path / "tiny.pth")
    load_weights(loaded, tmp_path / "tiny.pth")
    for name, tensor in saved.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_a_checkpoint_of_another_precision_answers_clicks(
    tmp_path: Path, frames: np.ndarray, precision: torch.dtype
) -> None:
    torch.save(tiny_sam().to(precision).state_dict(), tmp_path / "tiny.pth")
    model = tiny_sam()
    load_weights(model, tmp_path / "tiny.pth")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    mask = SamSegmenter(model, spec=SPEC).open(frames).mask_at(Selection(clicks=(Click(35, 20),)))
    assert mask.shape == (40, 70)


def test_a_missing_damaged_or_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_segmenter("sam-vit-b", checkpoint=tmp_path / "none.pth")
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"half a download")
    with pytest.raises(CheckpointError, match="damaged or holds other weights"):
        load_weights(tiny_sam(), damaged)
    weights = tiny_sam().state_dict()
    weights.popitem()
    torch.save(weights, tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match="damaged or holds other weights"):
        load_weights(tiny_sam(), tmp_path / "foreign.pth")


def test_a_download_appears_only_when_its_checksum_is_right(tmp_path: Path) -> None:
    source, target = tmp_path / "source.bin", tmp_path / "cache" / "weights.pth"
    source.write_bytes(b"weights")
    with pytest.raises(CheckpointError, match="checksum"):
        list(download_checkpoint(source.as_uri(), target, sha256="0" * 64, size_bytes=7))
    assert list(target.parent.iterdir()) == []
    digest = hashlib.sha256(b"weights").hexdigest()
    told = list(download_checkpoint(source.as_uri(), target, sha256=digest, size_bytes=7))
    assert told == [Download(0, 7), Download(7, 7)]
    assert target.read_bytes() == b"weights"
    source.unlink()
    assert list(download_checkpoint(source.as_uri(), target, sha256=digest, size_bytes=7)) == []


def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source.bin", tmp_path / "cache" / "weights.pth"
    source.write_bytes(bytes(3_000_000))
    download = download_checkpoint(source.as_uri(), target, sha256="0" * 64, size_bytes=3_000_000)
    next(download)
    assert next(download).received_bytes == 1 << 20
    assert len(list(target.parent.iterdir())) == 1

    download.close()

    assert list(target.parent.iterdir()) == []


def test_an_unreachable_download_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "weights.pth"
    with pytest.raises(CheckpointError, match="give a file that you have as the checkpoint"):
        list(download_checkpoint((tmp_path / "absent").as_uri(), target, sha256="0" * 64, size_bytes=7))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "answer", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"]
)
def test_a_server_that_answers_nonsense_or_breaks_off_is_explained(tmp_path: Path, answer: bytes) -> None:
    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/weights"
        with pytest.raises(CheckpointError, match="check the connection"):
            list(download_checkpoint(url, tmp_path / "weights.pth", sha256="0" * 64, size_bytes=7))
        server.join()
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_what_is_not_downloaded_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path))
    base = next(spec for spec in list_segmenters() if spec.name == "sam-vit-b")
    assert not base.is_ready()
    (tmp_path / "sam_vit_b_01ec64.pth").touch()
    assert base.is_ready()
