import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdelens.errors import BadNumbers, UsageError
from sdelens.paths.basis import BasisSpec, fit_basis
from sdelens.paths.trajectories import Trajectories
from tests.core.paths.correlated import CENTERS, DIM, KINDS, encoded, paths


def observed(block):
    return block.states[block.mask].double()


def covariance(rows):
    centred = rows - rows.mean(0)
    return centred.mT @ centred / len(rows)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("name", KINDS)
def test_decode_is_the_inverse_of_encode(name, center):
    block = paths()
    basis = fit_basis(BasisSpec(name, center), block)
    t = block.times.expand(block.mask.shape)
    back = basis.decode(t, basis.encode(t, block.states))
    assert ((back - block.states) / basis.spread).abs().max() < 1e-4


@given(seed=st.integers(0, 2**30), name=st.sampled_from(KINDS), center=st.sampled_from(CENTERS))
@settings(max_examples=25, deadline=None)
def test_encode_is_the_inverse_of_decode(seed, name, center):
    basis = fit_basis(BasisSpec(name, center), paths(seed))
    random = torch.Generator().manual_seed(seed)
    # the means are up to thousands of the smallest unit, which costs float32 three digits
    t, z = (
        torch.rand(3, 1, generator=random) * 4,
        torch.randn(3, 4, basis.latent, generator=random),
    )
    back = basis.encode(t, basis.decode(t.expand(3, 4), z))
    size = z.abs().max() + (basis.means.float() @ basis.encoder).abs().max()
    condition = torch.linalg.cond((basis.decoder / basis.spread).double())
    assert (back - z).abs().max() < 1e-6 * size * max(condition, 10)


@pytest.mark.parametrize("center", CENTERS)
def test_standard_coordinates_have_unit_variance_on_training_states(center):
    block = paths()
    rows = encoded(fit_basis(BasisSpec("standard", center), block), block)
    torch.testing.assert_close(
        covariance(rows).diagonal(), torch.ones(DIM).double(), rtol=1e-4, atol=0
    )
    assert rows.mean(0).abs().max() < 1e-4


@pytest.mark.parametrize("center", CENTERS)
def test_whitened_coordinates_have_unit_covariance(center):
    block = paths()
    rows = encoded(fit_basis(BasisSpec(f"whiten:{DIM}", center), block), block)
    torch.testing.assert_close(covariance(rows), torch.eye(DIM).double(), rtol=0, atol=1e-3)


def test_principal_axes_are_orthonormal_in_standardised_coordinates_and_in_order():
    block = paths()
    basis = fit_basis(BasisSpec("pca:3"), block)
    axes = (basis.decoder / basis.spread).double()
    torch.testing.assert_close(axes @ axes.mT, torch.eye(3).double(), rtol=0, atol=1e-5)
    found = covariance(encoded(basis, block))
    correlation = torch.corrcoef(observed(block).mT)
    values = torch.linalg.eigvalsh(correlation).flip(0)
    torch.testing.assert_close(found, values[:3].diag(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(basis.explained, (values[:3].sum() / DIM).float())


@pytest.mark.parametrize("name", KINDS)
def test_centring_by_position_removes_the_mean_of_every_position(name):
    block = paths()
    [latent] = fit_basis(BasisSpec(name, "position"), block).view(block)
    for time in range(block.mask.shape[1]):
        rows = latent.states[block.mask[:, time], time].double()
        scale = covariance(latent.states[block.mask].double()).diagonal().sqrt()
        assert (rows.mean(0) / scale).abs().max() < 1e-4


def test_one_mean_leaves_positions_apart():
    block = paths()
    [latent] = fit_basis(BasisSpec("standard"), block).view(block)
    assert latent.states[block.mask[:, 1], 1].mean(0).abs().max() > 0.5


def with_idle_coordinates(block):
    """The block, a constant, a copy of the first coordinate, and rounding about a large mean."""
    random = torch.Generator().manual_seed(9)
    shape = block.mask.shape
    idle = [
        torch.full(shape, 0.1),
        block.states[..., 0],
        3000 + 1e-4 * torch.randn(shape, generator=random),
    ]
    states = torch.cat([block.states, torch.stack(idle, -1)], dim=-1)
    return Trajectories(states, block.mask, block.times, block.tokens, block.document)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize(
    ("name", "dropped"), [("raw", 2), ("standard", 2), ("pca:8", 3), ("whiten:8", 3)]
)
def test_constant_and_copied_coordinates_are_dropped_and_counted(name, dropped, center):
    block = with_idle_coordinates(paths())
    basis = fit_basis(BasisSpec(name, center), block)
    assert basis.dropped == dropped
    assert basis.latent == DIM + 3 - dropped
    [latent] = basis.view(block)
    t = block.times.expand(block.mask.shape)
    back = basis.decode(t, latent.states)[block.mask]
    rounding = 4 * torch.finfo(torch.float32).eps * block.states.abs().amax((0, 1))
    error = (back - block.states[block.mask]).abs()
    assert (error < rounding + 1e-4 * basis.spread).all()


def test_coordinates_in_small_units_are_kept():
    block = paths()
    small = Trajectories(
        block.states * torch.tensor([0.1, 1, 1, 1, 1]),
        block.mask,
        block.times,
        block.tokens,
        block.document,
    )
    before, after = (fit_basis(BasisSpec(f"pca:{DIM}"), b) for b in (block, small))
    assert after.dropped == before.dropped == 0
    torch.testing.assert_close(encoded(after, small), encoded(before, block), rtol=1e-3, atol=1e-3)


def jacobian(basis):
    t = torch.tensor(1.0)
    return torch.autograd.functional.jacobian(
        lambda z: basis.decode(t, z), torch.zeros(basis.latent)
    ).double()


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("name", KINDS)
def test_log_volume_is_the_log_determinant_of_the_jacobian(name, center):
    basis = fit_basis(BasisSpec(name, center), paths())
    expected = torch.linalg.slogdet(jacobian(basis))[1]
    assert basis.log_volume() == pytest.approx(float(expected), abs=1e-4)
    standard = expected - basis.spread.double().log().sum()
    assert basis.log_volume_standard() == pytest.approx(float(standard), abs=1e-4)


def test_log_volume_of_fewer_directions_counts_those_left_out_too():
    basis = fit_basis(BasisSpec("whiten:2"), paths())
    everything = torch.cat([basis.decoder, basis.left_decoder]).double()
    singular = torch.linalg.svdvals(everything)
    assert basis.log_volume() == pytest.approx(float(singular.log().sum()), abs=1e-4)
    assert fit_basis(BasisSpec("pca:2"), paths()).log_volume_standard() == pytest.approx(
        0, abs=1e-4
    )


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("name", ["standard", "whiten:4"])
def test_streamed_blocks_give_the_basis_of_the_whole(name, center):
    block = paths()
    parts = [block.select(range(start, start + 7)) for start in range(0, 40, 7)]
    whole, streamed = (fit_basis(BasisSpec(name, center), b) for b in (block, parts))
    for key, value in whole.tensors().items():
        torch.testing.assert_close(streamed.tensors()[key], value, rtol=1e-5, atol=1e-5)
    again = fit_basis(BasisSpec(name, center), parts)
    assert all(torch.equal(again.tensors()[k], v) for k, v in streamed.tensors().items())


def test_times_first_seen_in_a_later_block_find_their_place():
    early = paths(ragged=False)
    late = paths(seed=1, ragged=False)
    moved = Trajectories(late.states, late.mask, late.times - 0.25, late.tokens, late.document)
    basis = fit_basis(BasisSpec("standard", "position"), [early, moved])
    assert basis.times.tolist() == sorted([*early.times[0].tolist(), *moved.times[0].tolist()])
    torch.testing.assert_close(
        basis.means[::2].float(), moved.states.mean(0), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        basis.means[1::2].float(), early.states.mean(0), rtol=1e-4, atol=1e-4
    )


def test_signs_of_equal_entries_do_not_hang_on_rounding():
    # the axes of two standardised coordinates are (1, 1) and (1, -1) over the root of two
    for seed in range(6):
        basis = fit_basis(BasisSpec("pca:2"), paths(seed, dim=2))
        axes = basis.decoder / basis.spread
        assert axes[0, 0] > 0
        assert axes[1, 0] > 0


def test_half_of_the_data_gives_the_same_signs():
    block = paths(count=400)
    first, second = (
        fit_basis(BasisSpec("pca:2"), block.select(range(start, start + 200)))
        for start in (0, 200)
    )
    cosine = torch.cosine_similarity(first.decoder / first.spread, second.decoder / second.spread)
    assert (cosine > 0.8).all()


def test_float64_states_are_encoded_from_their_own_digits():
    block = paths()
    basis = fit_basis(BasisSpec("standard"), block)
    t = torch.zeros(3, dtype=torch.float64)
    z = basis.encode(t, block.states[:3, 0].double())
    assert z.dtype == torch.float32
    torch.testing.assert_close(
        z, basis.encode(t.float(), block.states[:3, 0]), rtol=1e-3, atol=1e-3
    )


def test_padding_is_zero_in_latent_coordinates_whatever_it_was():
    block = paths()
    block.states[~block.mask] = torch.nan
    [latent] = fit_basis(BasisSpec("standard"), block).view(block)
    assert (latent.states[~block.mask] == 0).all()
    assert latent.states.isfinite().all()


@pytest.mark.parametrize("name", ["pca", "pca:0", "whiten:-1", "PCA:3", "standard:3", "ica:3", ""])
def test_a_name_that_is_no_basis_is_an_error_that_lists_them(name):
    with pytest.raises(UsageError, match="raw, standard, pca:K or whiten:K"):
        BasisSpec(name)


def test_an_unknown_centre_is_an_error():
    with pytest.raises(UsageError, match="all or position, got 'token'"):
        BasisSpec("raw", "token")


def test_more_components_than_coordinates_are_an_error():
    with pytest.raises(UsageError, match=r"pca:6 has more components than the 5"):
        fit_basis(BasisSpec("pca:6"), paths())


@pytest.mark.parametrize("name", ["raw", "standard", "pca:2"])
def test_states_that_do_not_vary_are_an_error(name):
    block = Trajectories.from_states(torch.full((12, 4, 3), 0.1), dt=1.0)
    with pytest.raises(BadNumbers, match="states must vary, but all 48 training states are equal"):
        fit_basis(BasisSpec(name), block)
    with pytest.raises(BadNumbers, match="48 training states are equal at each position"):
        fit_basis(BasisSpec(name, "position"), block)
    with pytest.raises(BadNumbers, match="48 training states are zero"):
        fit_basis(BasisSpec(name), Trajectories.from_states(0 * block.states, dt=1.0))


def test_a_nan_is_an_error_that_names_its_document():
    block = paths()
    block.states[3, 1, 2] = torch.nan
    with pytest.raises(BadNumbers, match="document 3"):
        fit_basis(BasisSpec("standard"), block)
