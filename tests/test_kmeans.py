"""K-means finds what is there."""

import pytest
import torch

from trainers.kmeans import kmeans


def test_separate_blobs_are_found_whatever_the_seed():
    centres = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    points = centres.repeat_interleave(20, 0) + torch.randn(60, 2, generator=torch.Generator().manual_seed(0)) * 0.1
    for seed in range(5):
        found, chosen = kmeans(points, 3, torch.Generator().manual_seed(seed))
        assert torch.cdist(centres, found).min(1).values.max() < 0.2
        assert all(len(chosen[i : i + 20].unique()) == 1 for i in (0, 20, 40))


def test_every_centre_is_the_mean_of_its_points():
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(0))
    centres, chosen = kmeans(points, 7, torch.Generator().manual_seed(0))
    for k in range(7):
        torch.testing.assert_close(centres[k], points[chosen == k].mean(0))


def test_equal_points_still_give_the_asked_number_of_centres():
    centres, _ = kmeans(torch.ones(10, 2), 4, torch.Generator().manual_seed(0))
    assert centres.shape == (4, 2)


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="got 2 for 3"):
        kmeans(torch.rand(2, 2), 3, torch.Generator())
