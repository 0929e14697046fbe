"""Names and shapes of the weights of Show-1's published U-Nets in pixels, spelled out from their layout.

Independent of the modules: what a residual block, a temporal convolution, an attention and a temporal
transformer hold is spelled out here once, and where they stand follows from the published configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.cost import TEXT_WIDTH

Shape = tuple[int, ...]
Entry = tuple[str, Shape]


def expected_weights(config: dict[str, Any]) -> dict[str, Shape]:
    """Name -> shape of every weight of a video U-Net in pixels."""
    widths, text = config["block_out_channels"], config["cross_attention_dim"]
    time = config.get("time_embedding_dim") or 4 * widths[0]
    entries = [
        *embeddings(config, widths[0], time),
        *convolution("conv_in", config["in_channels"], widths[0]),
        *norm("conv_norm_out", widths[0]),
        *convolution("conv_out", widths[0], config["out_channels"]),
    ]
    for name, channels, attends in layers(config):
        entries += resnet(name("resnets"), *channels, time)
        if "samplers" in name("resnets"):
            continue
        entries += temporal_convolution(name("temp_convs"), channels[1])
        if attends:
            entries += joint_attention(name("attentions"), channels[1], text)
            entries += temporal_transformer(name("temp_attentions"), channels[1])
    return dict(entries)


def layers(config: dict[str, Any]) -> Iterator[tuple[Callable[[str], str], tuple[int, int], bool]]:
    """(name of a part of the layer, channels in and out, whether it attends) of every residual block."""
    widths = config["block_out_channels"]
    count, depth = config["layers_per_block"], len(widths)
    counts = list(count) if isinstance(count, tuple) else [count] * depth

    def at(block: str, index: int) -> Callable[[str], str]:
        return lambda part: f"{block}.{part}.{index}"

    skips = [widths[0]]
    for level, (width, number) in enumerate(zip(widths, counts, strict=True)):
        block, attends = f"down_blocks.{level}", "Attn" in config["down_block_types"][level]
        for index in range(number):
            yield at(block, index), (skips[-1], width), attends
            skips.append(width)
        if level < depth - 1:
            yield (lambda _, block=block: f"{block}.downsamplers.0"), (width, width), False
            skips.append(width)
    yield at("mid_block", 0), (widths[-1],) * 2, True
    yield at("mid_block", 1), (widths[-1],) * 2, False
    below = widths[-1]
    for level, (width, number) in enumerate(zip(reversed(widths), reversed(counts), strict=True)):
        block, attends = f"up_blocks.{level}", "Attn" in config["up_block_types"][level]
        for index in range(number + 1):
            yield at(block, index), (below + skips.pop(), width), attends
            below = width
        if level < depth - 1:
            yield (lambda _, block=block: f"{block}.upsamplers.0"), (width, width), False


def linear(name: str, before: int, after: int, *, bias: bool = True) -> list[Entry]:
    return [(f"{name}.weight", (after, before)), *([(f"{name}.bias", (after,))] if bias else [])]


def convolution(name: str, before: int, after: int, kernel: Shape = (3, 3)) -> list[Entry]:
    return [(f"{name}.weight", (after, before, *kernel)), (f"{name}.bias", (after,))]


def norm(name: str, width: int) -> list[Entry]:
    return [(f"{name}.weight", (width,)), (f"{name}.bias", (width,))]


def embeddings(config: dict[str, Any], width: int, time: int) -> Iterator[Entry]:
    for name in ("time_embedding", *(["class_embedding"] if config.get("class_embed_type") else [])):
        yield from linear(f"{name}.linear_1", width, time)
        yield from linear(f"{name}.linear_2", time, time)
    yield from linear("encoder_hid_proj", TEXT_WIDTH, config["cross_attention_dim"])
    yield "add_embedding.pool.positional_embedding", (1, TEXT_WIDTH)
    for projection in "kqv":
        yield from linear(f"add_embedding.pool.{projection}_proj", TEXT_WIDTH, TEXT_WIDTH)
    yield from linear("add_embedding.proj", TEXT_WIDTH, time)
    yield from norm("add_embedding.norm1", TEXT_WIDTH)
    yield from norm("add_embedding.norm2", time)


def resnet(name: str, before: int, after: int, time: int) -> Iterator[Entry]:
    yield from norm(f"{name}.norm1", before)
    yield from convolution(f"{name}.conv1", before, after)
    yield from linear(f"{name}.time_emb_proj", time, 2 * after)
    yield from norm(f"{name}.norm2", after)
    yield from convolution(f"{name}.conv2", after, after)
    if before != after:
        yield from convolution(f"{name}.conv_shortcut", before, after, (1, 1))


def temporal_convolution(name: str, width: int) -> Iterator[Entry]:
    for number, place in ((1, 2), (2, 3), (3, 3), (4, 3)):
        yield from norm(f"{name}.conv{number}.0", width)
        yield from convolution(f"{name}.conv{number}.{place}", width, width, (3, 1, 1))


def joint_attention(name: str, width: int, text: int) -> Iterator[Entry]:
    yield from norm(f"{name}.group_norm", width)
    yield from norm(f"{name}.norm_cross", text)
    for projection in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from linear(f"{name}.{projection}", width, width)
    for projection in ("add_k_proj", "add_v_proj"):
        yield from linear(f"{name}.{projection}", text, width)


def temporal_transformer(name: str, width: int) -> Iterator[Entry]:
    yield from norm(f"{name}.norm", width)
    for projection in ("proj_in", "proj_out"):
        yield from linear(f"{name}.{projection}", width, width)
    block = f"{name}.transformer_blocks.0"
    for number in (1, 2, 3):
        yield from norm(f"{block}.norm{number}", width)
    for attention in ("attn1", "attn2"):
        for projection in ("to_q", "to_k", "to_v"):
            yield from linear(f"{block}.{attention}.{projection}", width, width, bias=False)
        yield from linear(f"{block}.{attention}.to_out.0", width, width)
    yield from linear(f"{block}.ff.net.0.proj", width, 8 * width)
    yield from linear(f"{block}.ff.net.2", 4 * width, width)
