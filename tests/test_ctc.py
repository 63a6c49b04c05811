"""The loss of unaligned sequences is the sum over all alignments, counted one by one."""

import itertools
import math

import pytest

import rushlight as torch
from rushlight.nn import functional as F


def read(path, blank):
    """What a path of one class per frame spells: repetitions are one class, blanks none."""
    return [each for each, _ in itertools.groupby(path) if each != blank]


def counted(chances, target, blank):
    """The probability of all paths that spell `target`."""
    frames, classes = len(chances), len(chances[0])
    paths = itertools.product(range(classes), repeat=frames)
    return sum(
        math.prod(row[each] for row, each in zip(chances, path, strict=True))
        for path in paths
        if read(path, blank) == target
    )


@pytest.mark.parametrize(
    ("target", "frames", "blank"),
    [
        ([1], 4, 0),
        ([1, 2], 5, 0),
        ([1, 1], 5, 0),
        ([2, 1, 1], 5, 0),
        ([0, 1], 4, 2),
        ([], 3, 0),
        ([1, 1], 2, 0),
    ],
)
def test_every_alignment_counts(target, frames, blank):
    torch.manual_seed(3)
    log_probs = torch.randn(6, 1, 3, dtype=torch.float64).log_softmax(2)
    given = torch.tensor([target], dtype=torch.int64)
    loss = F.ctc_loss(log_probs, given, (frames,), (len(target),), blank, reduction="sum")
    chance = counted(log_probs.exp()[:frames, 0].tolist(), target, blank)
    assert math.exp(-loss.item()) == pytest.approx(chance, abs=1e-12)


def test_gradient_of_scores():
    torch.manual_seed(3)
    scores = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)

    def loss(scores):
        given = torch.tensor([[1, 1, 2], [2, 0, 0]])
        return F.ctc_loss(scores.log_softmax(2), given, (6, 4), (3, 1))

    assert torch.autograd.gradcheck(loss, (scores,))


def test_training_reads_a_sequence():
    torch.manual_seed(0)
    scores = torch.zeros(8, 1, 4, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.CTCLoss()(scores.log_softmax(2), torch.tensor([[1, 3, 3, 2]]), (8,), (4,))
        loss.backward()
        optimizer.step()
    assert read(scores.argmax(2)[:, 0].tolist(), 0) == [1, 3, 3, 2]
