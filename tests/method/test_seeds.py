"""All 64 bits of a seed count."""

from __future__ import annotations

import torch

from dreammotion_core.method.parameterization import seeded_generator


def numbers(seed: int) -> list[float]:
    return torch.randn(4, generator=seeded_generator(seed)).tolist()


def test_every_bit_of_a_seed_counts_and_equal_seeds_give_equal_numbers() -> None:
    seeds = [0, *(1 << bit for bit in range(63)), 2**53 + 1, 2**63 - 1]

    assert len({tuple(numbers(seed)) for seed in seeds}) == len(seeds)
    assert numbers(2**40 + 7) == numbers(2**40 + 7)


def test_small_seeds_give_what_pytorch_gives() -> None:
    assert numbers(5) == torch.randn(4, generator=torch.Generator().manual_seed(5)).tolist()
