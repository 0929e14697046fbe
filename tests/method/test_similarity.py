from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dreammotion_core.errors import KeyLayoutError
from dreammotion_core.method.similarity import (
    match_keys,
    spatial_matching,
    spatial_matching_direct,
    spatial_matching_factored,
    spatial_self_similarity,
    temporal_matching,
    temporal_self_similarity,
)

SPATIAL_FORMS = (spatial_matching_direct, spatial_matching_factored)


def random_keys(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_two_by_two_case_by_hand() -> None:
    orthogonal = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    diagonal = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]])
    cosine = 2**-0.5

    torch.testing.assert_close(
        spatial_self_similarity(diagonal)[0, 0], torch.tensor([[1, cosine], [cosine, 1]])
    )
    for loss in SPATIAL_FORMS:
        torch.testing.assert_close(loss(diagonal, orthogonal), torch.tensor(2 * cosine**2))


def test_self_similarity_has_unit_diagonal_and_stays_in_range() -> None:
    keys = random_keys(2, 3, 7, 5)

    for similarity in (spatial_self_similarity(keys), temporal_self_similarity(keys)):
        torch.testing.assert_close(
            similarity.diagonal(dim1=-2, dim2=-1), torch.ones(similarity.shape[:-1]).double()
        )
        assert similarity.abs().max() <= 1 + 1e-12


def test_self_similarity_ignores_the_length_of_keys() -> None:
    keys = random_keys(1, 2, 6, 4)
    scale = torch.rand(1, 2, 6, 1, dtype=torch.float64) + 0.1

    torch.testing.assert_close(spatial_self_similarity(keys * scale), spatial_self_similarity(keys))


def test_self_similarity_follows_the_order_of_tokens() -> None:
    keys = random_keys(1, 2, 6, 4)
    order = torch.tensor([3, 1, 5, 0, 2, 4])

    torch.testing.assert_close(
        spatial_self_similarity(keys[:, :, order]), spatial_self_similarity(keys)[..., order, :][..., order]
    )


@pytest.mark.parametrize("shape", [(1, 3, 40, 8), (1, 3, 8, 40), (2, 2, 16, 16)])
@pytest.mark.parametrize("closeness", [1.0, 1e-2, 1e-4])
def test_the_factored_form_equals_the_direct_form_in_value_and_gradient(
    shape: tuple[int, ...], closeness: float
) -> None:
    source = random_keys(*shape)
    keys = (source + closeness * random_keys(*shape, seed=1)).requires_grad_()

    direct, factored = (loss(keys, source) for loss in SPATIAL_FORMS)
    (direct_gradient,) = torch.autograd.grad(direct, keys)
    (factored_gradient,) = torch.autograd.grad(factored, keys)

    torch.testing.assert_close(factored, direct, rtol=1e-9, atol=0)
    torch.testing.assert_close(factored_gradient, direct_gradient, rtol=1e-7, atol=1e-9)


def test_the_factored_form_keeps_its_precision_in_float32_when_keys_are_close() -> None:
    source = random_keys(1, 2, 256, 32)
    keys = source + 1e-2 * random_keys(1, 2, 256, 32, seed=1)

    single = spatial_matching_factored(keys.float(), source.float()).double()

    torch.testing.assert_close(single, spatial_matching_direct(keys, source), rtol=1e-4, atol=0)


@pytest.mark.parametrize("tokens_and_channels", [(40, 8), (8, 40)])
def test_the_cheaper_form_is_chosen(tokens_and_channels: tuple[int, int]) -> None:
    tokens, channels = tokens_and_channels
    keys, source = random_keys(1, 1, tokens, channels), random_keys(1, 1, tokens, channels, seed=1)

    expected = (spatial_matching_factored if tokens > channels else spatial_matching_direct)(keys, source)

    assert torch.equal(spatial_matching(keys, source), expected)


@pytest.mark.parametrize("loss", [*SPATIAL_FORMS, temporal_matching])
def test_gradients_agree_with_finite_differences(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    source = random_keys(1, 3, 5, 4, seed=1)

    assert torch.autograd.gradcheck(lambda k: loss(k, source), random_keys(1, 3, 5, 4).requires_grad_())


@pytest.mark.parametrize("loss", [*SPATIAL_FORMS, temporal_matching])
def test_equal_keys_match_exactly(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    keys = random_keys(1, 3, 5, 4)

    assert loss(keys, keys.clone()) == 0


def test_temporal_matching_sees_a_change_of_order_that_spatial_matching_within_frames_does_not() -> None:
    keys = random_keys(1, 3, 5, 4)
    repeated = keys[:, :1].expand(-1, 3, -1, -1)

    assert temporal_matching(keys, repeated) > 0.01
    torch.testing.assert_close(temporal_self_similarity(repeated), torch.ones(1, 3, 3).double())


def test_half_precision_keys_are_compared_in_single_precision() -> None:
    assert spatial_self_similarity(random_keys(1, 1, 3, 4).half()).dtype == torch.float32


def test_keys_of_another_rank_are_refused() -> None:
    with pytest.raises(KeyLayoutError, match=r"\(5, 4\).*batch, frames, tokens, channels"):
        spatial_self_similarity(random_keys(5, 4))


@pytest.mark.parametrize(("spatial_weight", "temporal_weight"), [(0.3, 2.0), (0.3, 0.0), (0.0, 2.0)])
def test_matching_site_by_site_gives_the_gradient_of_the_weighted_means(
    spatial_weight: float, temporal_weight: float
) -> None:
    variable = random_keys(1, 2, 6, 4).requires_grad_()
    keys = {"early": variable * 2 + 1, "late": (variable @ random_keys(4, 9, seed=1)).tanh()}
    source_keys = {site: random_keys(*value.shape, seed=2) for site, value in keys.items()}
    spatial = torch.stack([spatial_matching(keys[s], source_keys[s]) for s in keys]).mean()
    temporal = torch.stack([temporal_matching(keys[s], source_keys[s]) for s in keys]).mean()
    expected = torch.autograd.grad(
        spatial_weight * spatial + temporal_weight * temporal, variable, retain_graph=True
    )[0]

    found = match_keys(
        keys, source_keys, variable, spatial_weight=spatial_weight, temporal_weight=temporal_weight
    )

    torch.testing.assert_close(found[2], expected)
    assert found[:2] == pytest.approx(
        (spatial.item() * (spatial_weight > 0), temporal.item() * (temporal_weight > 0)), rel=1e-5
    )


def test_without_keys_there_is_nothing_to_match() -> None:
    variable = random_keys(1, 2, 3, 3).requires_grad_()

    spatial, temporal, gradient = match_keys({}, {}, variable, spatial_weight=1.0, temporal_weight=1.0)

    assert (spatial, temporal) == (0.0, 0.0)
    assert not gradient.any()
