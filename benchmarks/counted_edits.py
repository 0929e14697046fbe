"""The memory of a device that a whole edit needs at least: ``python -m benchmarks.counted_edits``.

For the exact published configurations at their own number of frames and size, counted as in
`benchmarks.counted`, without a device, in the precision that a GPU computes in unless told otherwise: once
with the usual options and once with those of `LoadOptions.low_memory`. The text encoder, the autoencoder, a
step and the later stages of a cascade work one after the other, so that the hungriest of them counts, with
the weights that lie beside it. The figures stand in `dreammotion_core/backends/known_models.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from benchmarks.counted import counted_step
from benchmarks.counted_cascade import counted_cascade
from benchmarks.cost.counting import Need, fake_device, peak_beside
from benchmarks.published_parts import PUBLISHED, as_loaded
from benchmarks.cost.models import MODELS, STRIDE, random_inputs
from dreammotion_core import LoadOptions
from dreammotion_core.models.catalog import KNOWN_MODELS, SHOW_1

PROFILES: Mapping[str, Callable[..., LoadOptions]] = {
    "usual": LoadOptions,
    "low memory": LoadOptions.low_memory,
}
"""What is compared, by name; each takes a precision."""
COUNTED = [*PUBLISHED, SHOW_1.name]


def main() -> None:
    """Count every model with both profiles and print one line of a table for each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.counted_edits", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--models", nargs="+", choices=COUNTED, default=COUNTED)
    options = parser.parse_args()
    specs = {spec.name: spec for spec in KNOWN_MODELS}
    columns = "model | frames | size | precision | options | GB: text | clip | step | later stages | **most**"
    print(f"| {columns} |\n" + "| --- " * 10 + "|")
    for name in options.models:
        spec = specs[name]
        (height, width), num_frames = spec.resolution, spec.num_frames
        for profile, make_options in PROFILES.items():
            load_options = make_options(torch_dtype=getattr(torch, spec.gpu_precision))
            count = counted_cascade if name == SHOW_1.name else partial(needed, name)
            need = count(size=spec.resolution, num_frames=num_frames, options=load_options)
            values = (need.text, need.clip, need.step, need.later)
            gigabytes = " | ".join(f"{value / 1e9:.1f}" if value else "" for value in values)
            place = f"{name} | {num_frames} | {width}x{height} | {spec.gpu_precision} | {profile}"
            print(f"| {place} | {gigabytes} | **{need.most / 1e9:.1f}** |", flush=True)


def needed(name: str, *, size: tuple[int, int], num_frames: int, options: LoadOptions) -> Need:
    """Count a whole edit.

    Args:
        name: of `PUBLISHED`, also a name of `MODELS`.
        size: (height, width) of the clip in pixels.
        num_frames: of the clip.
        options: how the model is loaded.
    """
    model = MODELS[name]
    with fake_device():
        parts = {part: as_loaded(make, options.dtype) for part, make in PUBLISHED[name].items()}
        backend: Any = model.build(device="cpu", options=options, parts=parts)
        vae = getattr(backend, "vae", None) or backend.codec.vae
        denoiser, text_encoder = backend.denoiser, backend.text_encoder
        inputs = random_inputs(
            backend,
            text_shape=model.text_shape,
            num_frames=num_frames,
            latent_size=(size[0] // STRIDE, size[1] // STRIDE),
        )
        # What lies on the device beside the part at work; see `Placement`.
        resident = () if options.offload == "model" else (denoiser, vae)
        tokens = torch.zeros(1, model.text_shape[0], dtype=torch.long)
        peak = partial(peak_beside, resident)
        return Need(
            text=peak(text_encoder, torch.no_grad()(lambda: text_encoder(tokens))),
            clip=max(
                peak(vae, lambda: backend.encode_video(torch.zeros(num_frames, 3, *size))),
                peak(vae, lambda: backend.decode_video(inputs.latents)),
            ),
            step=peak(denoiser, lambda: counted_step(backend, inputs)),
        )


if __name__ == "__main__":
    main()
