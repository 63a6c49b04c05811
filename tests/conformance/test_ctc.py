"""The loss of unaligned sequences is PyTorch's: every way to give targets and lengths, gradients, errors."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same

DATA = """
    F = torch.nn.functional
    scores = (torch.arange(90.0) * 1.7).cos().reshape(6, 3, 5)
    log_probs = scores.log_softmax(2)
    targets = torch.tensor([[1, 2, 2], [3, 4, 0], [1, 0, 0]])
    frames, counts = torch.tensor([6, 5, 6]), torch.tensor([3, 2, 1])
    def graded(x, *rest, **options):
        x = x.clone().requires_grad_()
        loss = F.ctc_loss(x, *rest, **options)
        loss.sum().backward()
        return loss, x.grad
"""


def test_targets_and_lengths():
    assert_same(
        DATA
        + """
    for reduction in ("none", "mean", "sum"):
        note(graded(log_probs, targets, frames, counts, reduction=reduction))
    joined = torch.tensor([1, 2, 2, 3, 4, 1])
    graded(log_probs, joined, frames, counts)
    graded(log_probs, joined, [6, 5, 6], (3, 2, 1))
    graded(log_probs, targets.int(), frames.int(), counts[:, None])
    graded(log_probs, targets.double() + 0.5, frames, counts)
    graded(log_probs.double(), targets, frames, counts)
    graded(log_probs, targets % 4, frames, counts, blank=4, reduction="none")
    graded(log_probs, targets.clamp(min=2), frames, counts, blank=1, reduction="none")
    graded(scores, targets, frames, counts, reduction="none")
    graded(log_probs[:, 0], targets[0], (6,), (3,), reduction="none")
    graded(log_probs[:, 0], targets[0], frames[0], counts[0])
    graded(log_probs[:, 0], targets[:1], (6,), (3,), reduction="sum")
    graded(log_probs, targets[:, :0], (6, 5, 6), (0, 0, 0))
    graded(log_probs, joined[:0], (6, 5, 6), (0, 0, 0), reduction="none")
    graded(log_probs, targets, (6, 5, 6), (3, 0, 1), reduction="none")
    torch.ctc_loss(log_probs, targets, (6, 5, 6), (3, 2, 1))
    torch.ctc_loss(log_probs, targets, (6, 5, 6), (3, 2, 1), 0, 0)
    """,
        tolerance=3e-6,
    )


def test_what_cannot_be():
    """Targets longer than their input, probabilities of zero."""
    assert_same(
        DATA
        + """
    for options in ({}, {"zero_infinity": True}):
        note(graded(log_probs, targets, (2, 5, 4), (3, 2, 1), reduction="none", **options))
        note(graded(log_probs, targets, (2, 5, 4), (3, 2, 1), **options))
        note(graded(log_probs, targets, (0, 5, 6), (0, 2, 1), reduction="none", **options))
        note(graded(log_probs, targets, (0, 5, 6), (1, 2, 1), reduction="none", **options))
        never = log_probs.clone()
        never[1, 0, 2] = never[2, 0, 0] = never[3, 1, 4] = never[5, 1, 1] = -float("inf")
        note(graded(never, targets, frames, counts, reduction="none", **options))
        never[:, 1, 3] = -float("inf")
        note(graded(never, targets, frames, counts, reduction="none", **options))
    """,
        tolerance=3e-6,
    )


def test_module_and_history():
    assert_same(
        DATA
        + """
    torch.nn.CTCLoss(blank=3, zero_infinity=True)
    torch.nn.CTCLoss()(log_probs, targets, frames, counts)
    torch.nn.CTCLoss(4, "sum", True)(log_probs, targets, frames, counts)
    made = torch.nn.CTCLoss(reduction="none")
    made.blank, made.reduction, made.zero_infinity
    scores.requires_grad_()
    loss = F.ctc_loss(scores.log_softmax(2), targets, frames, counts, zero_infinity=True)
    loss.backward()
    scores.grad
    x = log_probs.clone().requires_grad_()
    gradient, = torch.autograd.grad(F.ctc_loss(x, targets, frames, counts), x, create_graph=True)
    gradient.sum().backward()
    """,
        tolerance=3e-6,
    )


def test_refusals():
    assert_same(
        DATA
        + """
    F.ctc_loss(log_probs, targets, frames, counts, reduction="all")
    F.ctc_loss(log_probs, targets, (6, 5, 6), counts)
    F.ctc_loss(log_probs, targets, frames, [3, 2, 1])
    F.ctc_loss(log_probs, targets, 6, 3)
    F.ctc_loss(log_probs, [1, 2], frames, counts)
    F.ctc_loss([0.0], targets, frames, counts)
    F.ctc_loss(log_probs, targets, (6.0, 5, 6), (3, 2, 1))
    F.ctc_loss(log_probs, targets, frames.float(), counts)
    F.ctc_loss(log_probs, targets, frames, counts > 0)
    F.ctc_loss(log_probs, targets, frames[:2], counts)
    F.ctc_loss(log_probs, targets, frames, counts[:2])
    F.ctc_loss(log_probs, targets, frames + 1, counts)
    F.ctc_loss(log_probs, targets, frames - 6, counts)
    F.ctc_loss(log_probs, targets, frames, counts + 1)
    F.ctc_loss(log_probs, targets, frames, counts - 2)
    F.ctc_loss(log_probs, targets[:2], frames, counts)
    F.ctc_loss(log_probs, targets[None], frames, counts)
    F.ctc_loss(log_probs, targets.reshape(-1), frames, counts)
    F.ctc_loss(log_probs, targets, frames, counts, blank=5)
    F.ctc_loss(log_probs, targets, frames, counts, blank=-1)
    F.ctc_loss(log_probs[0, 0], targets[:1], (6,), (3,))
    F.ctc_loss(log_probs[None], targets, frames, counts)
    F.ctc_loss(log_probs[:, :0], targets[:0], frames[:0], counts[:0])
    F.ctc_loss(log_probs.half(), targets, frames, counts)
    F.ctc_loss(log_probs.long(), targets, frames, counts)
    """,
        text=75,
    )


def test_random_problems():
    rng = np.random.default_rng(5)
    for _ in range(40):
        frames, batch, classes, longest = rng.integers(1, 9), rng.integers(1, 5), rng.integers(2, 5), 4
        data = rng.standard_normal((frames, batch, classes)) * 3
        labels = rng.integers(1, classes, (batch, longest))
        lengths, counts = rng.integers(0, frames + 1, batch), rng.integers(0, longest + 1, batch)
        found = []
        for lib in (rushlight, torch):
            x = lib.tensor(data, requires_grad=True)
            options = {"reduction": "none", "zero_infinity": bool(frames % 2)}
            given = [lib.tensor(each) for each in (labels, lengths, counts)]
            loss = lib.nn.functional.ctc_loss(x.log_softmax(2), *given, **options)
            loss.backward(lib.arange(1.0, batch + 1, dtype=lib.float64))
            found.append((loss.detach().numpy(), x.grad.numpy()))
        for ours, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
