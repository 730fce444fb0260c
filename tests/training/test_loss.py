"""Losses against their formulas in NumPy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from brainseg.training.loss import bce, bce_dice, dice_loss


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 8, 8, generator=generator)
    return logits, (torch.rand(3, 1, 8, 8, generator=generator) > 0.7).float()


def test_bce_is_the_log_loss_of_scikit_learn(pair):
    logits, masks = pair
    expected = log_loss(masks.flatten(), logits.sigmoid().flatten().double())
    assert bce(logits, masks).item() == pytest.approx(expected, rel=1e-5)


def test_dice_is_its_formula(pair):
    p, t = pair[0].sigmoid().double().numpy(), pair[1].numpy()
    expected = 1 - (2 * np.sum(p * t) + 1) / (p.sum() + t.sum() + 1)
    assert dice_loss(*pair).item() == pytest.approx(expected, rel=1e-5)
    assert bce_dice(*pair).item() == pytest.approx((bce(*pair) + dice_loss(*pair)).item())


def test_perfect_prediction_costs_nothing_and_no_tumour_is_defined(pair):
    masks = pair[1]
    assert bce_dice((masks - 0.5) * 200, masks).item() == pytest.approx(0, abs=1e-6)
    nothing = torch.zeros_like(masks)
    assert dice_loss(torch.full_like(masks, -100.0), nothing).item() == pytest.approx(0, abs=1e-6)
