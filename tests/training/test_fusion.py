"""The fitted fusion against scikit-learn's logistic regression."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from cnn_rnn.modeling_cnn_rnn import path_log_odds
from cnn_rnn.training.fusion import fit_fusion


def test_the_fusion_is_a_logistic_regression_over_what_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(300, 5, generator=generator) < 0.3
    relevance = 2 * truth - 1 + torch.randn(300, 5, generator=generator)
    scores = (1.5 * truth - 1 + torch.randn(300, 5, generator=generator)).sigmoid()
    targets = truth.float()
    targets[:40, 2] = -100
    counts = targets >= 0
    inputs = torch.stack([path_log_odds(scores)[counts], relevance[counts]], dim=1)
    expected = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(inputs, targets[counts])
    fitted = fit_fusion(scores, relevance, targets)
    assert fitted == pytest.approx([*expected.coef_[0], expected.intercept_[0]], abs=1e-3)
    targets[:40, 2] = -1
    relevance[:40, 2] = 50.0
    assert fit_fusion(scores, relevance, targets) == pytest.approx(fitted)


def test_one_part_alone_is_scaled_and_shifted() -> None:
    generator = torch.Generator().manual_seed(1)
    targets = (torch.rand(400, 3, generator=generator) < 0.4).float()
    logits = 3 * (2 * targets - 1 + torch.randn(400, 3, generator=generator)) + 1
    expected = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(logits.reshape(-1, 1), targets.flatten())
    slope, bias = expected.coef_[0, 0], expected.intercept_[0]
    assert fit_fusion(None, logits, targets) == pytest.approx((0, slope, bias), abs=1e-3)
    assert fit_fusion(logits.sigmoid(), None, targets) == pytest.approx((slope, 0, bias), abs=1e-2)
