import numpy as np
import pytest
import torch

from benchmarks.autoencoder import reconstruction_psnr
from dreammotion_core.models.unet3d import UNet3DBackend
from tests.tiny import tiny_unet3d


def test_a_known_difference_has_its_known_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = tiny_unet3d()
    frames = torch.from_numpy(np.full((3, 16, 16, 3), 100, np.uint8))

    darker = torch.full((3, 3, 16, 16), 100 / 127.5 - 1 - 0.2)
    monkeypatch.setattr(UNet3DBackend, "decode_video", lambda *_: darker)

    assert reconstruction_psnr(backend, frames=frames) == pytest.approx(20.0, abs=1e-3)


def test_a_random_autoencoder_loses_much() -> None:
    frames = torch.randint(256, (3, 16, 16, 3), dtype=torch.uint8)

    assert 0 < reconstruction_psnr(tiny_unet3d(), frames=frames) < 20
