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

    mask = torch.zeros(3, 16, 16, dtype=torch.bool)
    mask[:, :8] = True
    darker[:, :, 8:] += 0.2
    whole, inside = reconstruction_psnr(backend, frames=frames, mask=mask)
    assert inside == pytest.approx(20.0, abs=1e-3)
    assert whole == pytest.approx(23.01, abs=1e-2)


def test_a_random_autoencoder_loses_much() -> None:
    frames = torch.randint(256, (3, 16, 16, 3), dtype=torch.uint8)

    mask = torch.ones(3, 16, 16, dtype=torch.bool)
    assert all(0 < value < 20 for value in reconstruction_psnr(tiny_unet3d(), frames=frames, mask=mask))
