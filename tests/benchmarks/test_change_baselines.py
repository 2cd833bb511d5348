"""Change maps without learning: against scikit-image's and a textbook's arithmetic, and on pairs with known change."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest
from sklearn.cross_decomposition import CCA

from swath.benchmarks.change_baselines import (
    DifferenceOtsu,
    IterativelyReweightedMad,
    RandomChange,
    canonical_differences,
    otsu,
)
from swath.errors import DataError
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.samples.sample import Sample

BANDS = tuple(Band(name=name, role=name) for name in ("red", "green", "blue"))


def pair(*, patch=True, seed=0):
    """Textured ground; the second date in another light, with a square of other ground."""
    draw = np.random.default_rng(seed)
    mixing = np.array([[1.0, 0.2, 0.1], [0.3, 0.8, 0.2], [0.1, 0.4, 0.9]])
    hidden = draw.standard_normal((3, 64, 64))
    before = np.einsum("ij,jhw->ihw", mixing, hidden) * 20 + 110
    after = before * np.array([1.2, 0.8, 1.05])[:, None, None] - 12 + draw.standard_normal((3, 64, 64))
    truth = np.zeros((64, 64), bool)
    if patch:
        truth[20:36, 30:50] = True
        after[:, truth] += np.array([[60.0], [-50.0], [40.0]])
    images = {
        slot: Pixels.from_array(values.astype(np.float32), BANDS, Unit.DN)
        for slot, values in (("before", before), ("after", after))
    }
    return Sample(key=f"pair{seed}", images=images), truth


def f1(said, truth):
    return 2 * (said & truth).sum() / (said.sum() + truth.sum())


def test_both_find_a_patch_in_another_light():
    sample, truth = pair()
    for baseline in (DifferenceOtsu(), IterativelyReweightedMad()):
        (found,) = baseline.predict([sample])
        assert found.classes == ("unchanged", "changed")
        assert f1(found.labels == 1, truth) > 0.9, baseline.name
        assert found.confidence.min() >= 0.5
        assert found.confidence.max() == 1


def test_otsu_maximises_the_spread_between_the_sides():
    draw = np.random.default_rng(1)
    values = np.concatenate([draw.normal(2, 1, 900), draw.normal(9, 1, 300)])
    best = min(
        np.linspace(values.min(), values.max(), 257)[1:-1],
        key=lambda cut: sum(side.size * side.var() for side in (values[values <= cut], values[values > cut])),
    )
    # the bins' middles stand for their values, so the best cut may lie a bin aside
    assert otsu(values) == pytest.approx(best, abs=np.ptp(values) / 256 * 1.5)


def test_canonical_correlations_equal_those_of_scikit_learn():
    draw = np.random.default_rng(2)
    one = draw.standard_normal((3, 500))
    other = draw.standard_normal((3, 3)) @ one + draw.standard_normal((3, 500)) * [[0.3], [1.0], [3.0]]
    differences, correlations = canonical_differences(one, other, np.ones(500))
    a, b = CCA(n_components=3, max_iter=10_000, tol=1e-12).fit_transform(one.T, other.T)
    expected = sorted(np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(3))
    np.testing.assert_allclose(correlations, expected, atol=1e-4)
    np.testing.assert_allclose(differences.var(1), 2 * (1 - correlations), rtol=1e-4)


def test_where_nothing_changed_the_statistic_is_chi_squared():
    sample, _ = pair(patch=False)
    before, after = (sample.images[slot].values.astype(float) for slot in ("before", "after"))
    once = IterativelyReweightedMad(iterations=1)
    assert kstest(once.statistic(before, after).ravel(), chi2(3).cdf).statistic < 0.05


def test_a_linear_change_of_light_is_no_change():
    """MAD is invariant to affine changes of the bands, which image difference is not."""
    sample, _ = pair()
    before, after = (sample.images[slot].values.astype(float) for slot in ("before", "after"))
    mad = IterativelyReweightedMad()
    mixed = np.einsum("ij,jhw->ihw", [[0.5, 0.3, 0.1], [0.1, 2.0, 0.4], [0.0, 0.2, 1.5]], after) + 7
    np.testing.assert_allclose(mad.statistic(before, after), mad.statistic(before, mixed), rtol=1e-3)


def test_chance_repeats_by_key_and_keeps_its_share():
    sample, _ = pair()
    first, again = RandomChange(share=0.2).predict([sample, sample])
    assert first == again
    assert np.mean(first.labels == 1) == pytest.approx(0.2, abs=0.02)
    (other,) = RandomChange(share=0.2).predict([pair(seed=1)[0]])
    assert first != other


def test_pairs_without_both_dates_are_refused():
    sample, _ = pair()
    alone = Sample(key="x", images={"before": sample.images["before"]})
    with pytest.raises(DataError, match="'x' has no image after"):
        DifferenceOtsu().predict([alone])
    small = Pixels.from_array(np.zeros((3, 8, 8), np.float32), BANDS, Unit.DN)
    with pytest.raises(DataError, match=r"differ in shape: \(3, 64, 64\) before, \(3, 8, 8\) after"):
        DifferenceOtsu().predict([Sample(key="y", images={"before": sample.images["before"], "after": small})])
