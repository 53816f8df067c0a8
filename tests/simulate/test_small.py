import numpy as np
import pytest

from cellprism.errors import InputError
from cellprism.simulate import small
from cellprism.simulate.small import ACCESSIBILITY


def test_levels_obey_the_process():
    adata = small(3_000, held_out=500, seed=3)
    activity, accessible, score = (adata.obsm[f"{name}_truth"] for name in "ABT")
    np.testing.assert_array_equal(score, activity * accessible)
    t0, t1, t2 = score.T
    np.testing.assert_array_equal(adata.X, np.column_stack([t1, t0 + t1, t0, t1 + t2, t2]))
    assert adata.obs["split"].value_counts().to_dict() == {"train": 2_500, "held_out": 500}


def test_margins_follow_their_distributions():
    adata = small(50_000, held_out=0, seed=1)
    activity = adata.obsm["A_truth"][:, 0]
    # Six standard errors of the mean; the variance of a Poisson variance estimate is about 2 rate^2 + rate over n.
    assert abs(activity.mean() - 2) < 6 * np.sqrt(2 / 50_000)
    assert abs(activity.var() - 2) < 6 * np.sqrt(10 / 50_000)
    np.testing.assert_allclose(adata.obsm["B_truth"].mean(axis=0), ACCESSIBILITY, atol=6 * np.sqrt(0.25 / 50_000))
    assert abs(np.corrcoef(activity, adata.obsm["B_truth"][:, 0])[0, 1]) < 6 / np.sqrt(50_000)


def test_a_seed_gives_its_data_again():
    np.testing.assert_array_equal(small(seed=5).X, small(seed=5).X)
    assert not np.array_equal(small(seed=5).X, small(seed=6).X)


@pytest.mark.parametrize("bad", [{"held_out": 10}, {"held_out": -1}, {"mean_activity": 0.0}])
def test_refuses(bad):
    with pytest.raises(InputError):
        small(10, **({"held_out": 2} | bad))
