from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from dreammotion_core.errors import KeyLayoutError, KeySiteError
from dreammotion_core.method.keys import KeyCapture, KeyLayout, KeySite, arrange
from tests.tiny import tiny_unet3d

SPATIAL = KeySite("up_blocks.*.attentions.*.transformer_blocks.*.attn1.to_k")
TEMPORAL = KeySite(
    "up_blocks.*.temp_attentions.*.transformer_blocks.*.attn1.to_k", KeyLayout.TOKENS_OF_FRAMES
)
FRAMES, SIDE = 3, 4


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return tiny_unet3d().denoiser


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(1, 4, FRAMES, SIDE, SIDE), torch.tensor([300]), torch.randn(1, 5, 8)


@pytest.fixture(autouse=True)
def no_hook_survives(unet: nn.Module) -> Iterator[None]:
    yield
    assert not any(module._forward_hooks for module in unet.modules())
    assert torch.is_grad_enabled()


def capture(unet: nn.Module, *sites: KeySite, stop_recording: bool = False) -> KeyCapture:
    return KeyCapture(unet, sites, batch_size=1, num_frames=FRAMES, stop_recording=stop_recording)


def run(unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return unet(*inputs).sample


def test_capturing_leaves_the_output_bit_identical(
    unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    plain = run(unet, inputs)

    with capture(unet, SPATIAL):
        assert torch.equal(run(unet, inputs), plain)


@pytest.mark.parametrize("site", [SPATIAL, TEMPORAL])
def test_keys_come_as_batch_frames_tokens_channels(
    unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor], site: KeySite
) -> None:
    with capture(unet, site) as captured:
        run(unet, inputs)

    assert len(captured.keys()) == 2
    for keys in captured.keys().values():
        assert keys.shape == (1, FRAMES, SIDE * SIDE, 8)


def test_spatial_keys_are_the_projection_of_each_frame() -> None:
    raw = torch.arange(2 * 3 * 4 * 5.0).reshape(6, 4, 5)

    assert torch.equal(arrange(raw, KeySite("to_k", KeyLayout.FRAMES_OF_TOKENS), 2, 3)[1, 2], raw[5])


def test_temporal_keys_are_turned_so_that_frames_come_first() -> None:
    raw = torch.arange(2 * 4 * 3 * 5.0).reshape(8, 3, 5)

    assert torch.equal(arrange(raw, KeySite("to_k", KeyLayout.TOKENS_OF_FRAMES), 2, 3)[1, 2, 3], raw[7, 2])


def test_joint_keys_lose_their_text_tokens() -> None:
    raw = torch.arange(2 * (5 + 3 * 4) * 2.0).reshape(2, 17, 2)

    keys = arrange(raw, KeySite("to_k", KeyLayout.JOINT_TOKENS, num_text_tokens=5), 2, 3)

    assert keys.shape == (2, 3, 4, 2)
    assert torch.equal(keys[1, 2, 3], raw[1, 5 + 2 * 4 + 3])


def test_keys_that_cannot_be_arranged_are_refused() -> None:
    with pytest.raises(KeyLayoutError, match=r"\(7, 4, 5\)"):
        arrange(torch.zeros(7, 4, 5), KeySite("to_k", KeyLayout.FRAMES_OF_TOKENS), 2, 3)
    with pytest.raises(KeyLayoutError):
        arrange(torch.zeros(8, 4, 5), KeySite("to_k", KeyLayout.TOKENS_OF_FRAMES), 2, 3)
    with pytest.raises(KeyLayoutError, match="is no"):
        arrange(torch.zeros(2, 16, 5), KeySite("to_k", KeyLayout.JOINT_TOKENS, num_text_tokens=5), 2, 3)


def test_a_pattern_that_matches_nothing_raises_and_names_the_choices(unet: nn.Module) -> None:
    with pytest.raises(KeySiteError, match=r"'nowhere' matches no module.*attn1\.to_k"):
        capture(unet, KeySite("nowhere"))


def test_a_site_that_did_not_fire_raises_on_read(unet: nn.Module) -> None:
    with capture(unet, SPATIAL) as captured, pytest.raises(KeySiteError, match="did not fire"):
        captured.keys()


def test_fused_projections_raise_instead_of_returning_no_keys(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    unet = tiny_unet3d().denoiser
    unet.fuse_qkv_projections()

    with capture(unet, SPATIAL) as captured:
        run(unet, inputs)

    with pytest.raises(KeySiteError, match="unfuse_qkv_projections"):
        captured.keys()


def test_a_site_that_fires_twice_raises(unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    def run_twice() -> None:
        with capture(unet, SPATIAL):
            run(unet, inputs)
            run(unet, inputs)

    with pytest.raises(KeySiteError, match="fired twice"):
        run_twice()


def test_keys_come_without_the_private_name_of_torch(
    unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch._C, "_current_graph_task_id")

    with capture(unet, SPATIAL) as captured:
        run(unet, inputs)

    assert captured.keys()


def test_keys_keep_the_graph_and_the_gradient_reaches_the_input(
    unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    latents = inputs[0].clone().requires_grad_()
    with capture(unet, SPATIAL, stop_recording=True) as captured:
        run(unet, (latents, *inputs[1:]))

    loss = torch.stack([keys.square().sum() for keys in captured.keys().values()]).sum()
    (gradient,) = torch.autograd.grad(loss, latents)

    assert gradient.abs().min() > 0


def test_recording_stops_after_the_last_site_and_changes_no_gradient(
    unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    gradients = []
    for stop_recording in (False, True):
        latents = inputs[0].clone().requires_grad_()
        with capture(unet, SPATIAL, stop_recording=stop_recording) as captured:
            output = run(unet, (latents, *inputs[1:]))
        assert output.requires_grad is not stop_recording
        loss = torch.stack([keys.square().sum() for keys in captured.keys().values()]).sum()
        gradients += torch.autograd.grad(loss, latents)

    assert torch.equal(*gradients)


def test_the_found_grad_mode_is_restored(unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    with torch.no_grad():
        with capture(unet, SPATIAL, stop_recording=True):
            run(unet, inputs)
        assert not torch.is_grad_enabled()


def test_hooks_are_removed_after_an_error(unet: nn.Module) -> None:
    with pytest.raises(ZeroDivisionError), capture(unet, SPATIAL):
        raise ZeroDivisionError


def test_no_sites_capture_nothing(unet: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    with capture(unet, stop_recording=True) as captured:
        run(unet, inputs)

    assert captured.keys() == {}
