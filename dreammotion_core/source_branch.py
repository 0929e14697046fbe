"""The source branch of a run, each answer computed once for all runs that share a cache.

With the clip, the seed and the settings fixed, what the model makes of the source does not depend on the
target prompt (method section 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dreammotion_core.method.prior import Backend
from dreammotion_core.method.keys import KeySite, matching_modules
from dreammotion_core.method.source_cache import Prediction, SourceCache

SAMPLES = 64
"""Values of each parameter that go into a model's fingerprint: any training changes nearly all of them."""


class SourceBranch:
    """Answers of the source branch of one run.

    Args:
        cache: where answers are kept; None computes each.
        context: what the answers depend on besides their inputs; see `source_branch`.
    """

    def __init__(self, cache: SourceCache | None = None, *, context: str = "") -> None:
        self._cache, self._context = cache, context

    def __call__(self, inputs: Sequence[Tensor], compute: Callable[[], Prediction]) -> Prediction:
        """The answer to some inputs, computed only if the cache does not have it.

        Args:
            inputs: all tensors that the answer depends on, on one device.
            compute: gives the answer.
        """
        device = inputs[0].device
        if self._cache is None:
            return compute().kept_at(device)
        key = _digest(inputs, context=self._context)
        found = self._cache.get(key)
        if found is None:
            found = compute().kept_at(device)
            self._cache.put(key, found)
        return found.kept_at(device)


UNCACHED = SourceBranch()


def source_branch(
    cache: SourceCache | None, *, backend: Backend, guidance_scale: float, key_sites: Sequence[KeySite]
) -> SourceBranch:
    """The source branch of a run that starts now.

    Answers are the same bits with and without a cache, because their keys stand for all that they depend on:
    the noisy latents, timestep and text embeddings themselves, the model with its weights, settings, kind of
    prediction, precision, device and threads, the guidance scale and the key sites.

    Args:
        cache: where answers are kept; None computes each.
        backend: the video prior.
        guidance_scale: of the guided prediction.
        key_sites: where keys are taken.
    """
    if cache is None:
        return UNCACHED
    sites = {name: site for name, (_, site) in matching_modules(backend.denoiser, key_sites).items()}
    cache.begin_run()
    return SourceBranch(cache, context=f"{_fingerprint(backend)} {guidance_scale!r} {sites!r}")


def weights_digest(network: nn.Module) -> str:
    """Text that differs between trainings of a network, from a few values of each of its parameters.

    Args:
        network: its layout, precision and device are not in the text, but rounding to another precision is.
    """
    return _digest([_samples(network)], context="weights")


def _fingerprint(backend: Backend) -> str:
    """Text that differs between models, and between ways of computing one that give other bits."""
    spec, denoiser = backend.spec, backend.denoiser
    layout = [(name, t.dtype, tuple(t.shape), t.stride()) for name, t in _named_tensors(denoiser)]
    device = backend.device
    context = (
        (backend.prediction_type, [(name, _settings(module)) for name, module in denoiser.named_modules()]),
        (spec.name, spec.family, spec.source, spec.revision, spec.precision, layout),
        (torch.__version__, torch.get_num_threads(), torch.get_float32_matmul_precision()),
        (device, torch.cuda.get_device_name(device) if device.type == "cuda" else ""),
        [name for name, module in denoiser.named_modules() if _is_compiled(module)],
    )
    return _digest([_samples(denoiser)], context=repr(context))


def _named_tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _samples(network: nn.Module) -> Tensor:
    return torch.cat([_sample(tensor).float().cpu() for _, tensor in _named_tensors(network)])


def _settings(module: nn.Module) -> list[tuple[str, Any]]:
    """What a module computes with besides its weights: numbers of heads, divisors and the like."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return sorted((name, value) for name, value in public.items() if isinstance(value, (int, float, str)))


def _sample(tensor: Tensor) -> Tensor:
    """Up to `SAMPLES` values, evenly spaced over the tensor's memory."""
    size = tensor.numel()
    return tensor.detach().as_strided((min(SAMPLES, size),), (max(1, size // SAMPLES),))


def _is_compiled(module: nn.Module) -> bool:
    return vars(module).get("_compiled_call_impl") is not None


def _digest(tensors: Sequence[Tensor], *, context: str) -> str:
    digest = hashlib.blake2b(context.encode(), digest_size=20)
    for part in _parts(tensors):
        digest.update(part)
    return digest.hexdigest()


def _parts(tensors: Sequence[Tensor]) -> Iterator[bytes | memoryview]:
    for tensor in tensors:
        yield f"{tensor.dtype} {tuple(tensor.shape)}".encode()
        values = tensor.detach().cpu().contiguous().reshape(-1)
        yield values.view(torch.uint8).numpy().data
