"""Log-probabilities of chosen tokens, as kept during generation."""

from __future__ import annotations

import torch

from NatureLM.models.chosen_scores import ChosenScores

IDS = torch.zeros(2, 0, dtype=torch.long)


def test_scores_are_those_before_rules_that_write_in_place() -> None:
    scores = ChosenScores(1, normalised=False, ruled=True)
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    expected = logits.log_softmax(-1)
    shown = scores.before(IDS, logits)
    shown[:, 2] = -torch.inf
    shown[1, 0] = -1.0
    assert scores.after(IDS, shown) is shown
    chosen = scores.of(torch.tensor([[0], [1]]))
    assert torch.allclose(chosen[:, 0], torch.stack([expected[0, 0], expected[1, 1]]))


def test_scores_follow_the_rows_that_beams_came_from() -> None:
    scores = ChosenScores(2, normalised=True, ruled=False)
    steps = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    for step in steps:
        scores.after(IDS, scores.before(IDS, step))
    best = [step.argmax(-1) for step in steps]
    sequences = torch.stack([torch.stack([best[0][1], best[1][0], best[2][1]])])
    chosen = scores.of(sequences, torch.tensor([[1, 0, 1]]))
    assert torch.equal(chosen[0], torch.stack([steps[0, 1].max(), steps[1, 0].max(), steps[2, 1].max()]))
    ended = scores.of(sequences[:, :2], torch.tensor([[1, -1]]))
    assert ended[0, 1] == 0.0


def test_a_token_that_ties_with_the_last_one_kept_has_its_score() -> None:
    scores = ChosenScores(2, normalised=True, ruled=False)
    step = torch.tensor([[-1.0, -2.0, -2.0, -2.0]])
    scores.after(IDS[:1], scores.before(IDS[:1], step))
    for token in (1, 2, 3):
        assert scores.of(torch.tensor([[token]])).item() == -2.0
