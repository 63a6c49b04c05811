"""Arguments of the wrong kind or of two types, numbers at the end of their range: as in PyTorch."""

import pytest

pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same


def test_dimensions():
    assert_same(
        """
    t = torch.arange(6.0).reshape(2, 3)
    torch.flip(t, 0)
    torch.flip(t, 0, 1)
    t.flip(0.5)
    torch.flip(t, [0]), torch.flip(t, (0, -1)), t.flip(0), t.flip(0, 1), t.flip((0, 1)), t.flip(dims=(1,))
    t.flip()
    for name in ("max", "min", "prod"):
        try:
            getattr(t, name)(keepdim=True)
        except TypeError as error:
            note(str(error)[:45])
    """,
        text=48,
    )


def test_lists_in_linear_algebra():
    assert_same(
        """
    a = [[1.0, 2.0], [3.0, 4.0]]
    def refused(place, names, *args, **kwargs):
        for name in names.split():
            try:
                getattr(place, name)(*args, **kwargs)
            except TypeError as error:
                note(name, str(error))
    alone = "inv det qr svd eigh eigvalsh cholesky svdvals norm matrix_norm slogdet cond matrix_exp"
    refused(torch.linalg, alone, a)
    refused(torch, "det inverse cholesky svd qr logdet slogdet pinverse", a)
    refused(torch.linalg, "solve cross lstsq tensorsolve vecdot", a, torch.eye(2))
    refused(torch.linalg, "solve cross lstsq tensorsolve vecdot", torch.eye(2), a)
    refused(torch.linalg, "solve", torch.eye(2), B=3)
    refused(torch.linalg, "inv", None)
    """,
        text=200,
    )


@pytest.mark.parametrize(
    "call",
    [
        "rand(2",
        "randn(2",
        "randint(3, (2,)",
        "randperm(2",
        "normal(0.0, 1.0, (2,)",
        "rand_like(torch.ones(2)",
    ],
)
def test_requires_grad_is_a_bool(call):
    name = call.split("(")[0]
    assert_same(f"torch.{call}, requires_grad=1)\ntorch.{call}, requires_grad='yes')", text=len(name))


def test_deviations_beyond_squares():
    """The square of a deviation may be beyond float32 where the deviation is not."""
    assert_same(
        """
    for values in ([1e20, 2e20, 3e20], [1e-30, 2e-30], [1e38, 2e38, 3e38], [3e38, 3e38], [0.0, 0.0], [5.0]):
        x = torch.tensor(values)
        note(x.std(), x.var(), x.std(0), x[:, None].std(0), x.std(correction=0))
    """
    )


def test_scores_and_targets_of_two_types():
    assert_same(
        """
    F = torch.nn.functional
    for kind in (torch.float32, torch.float64):
        for other in (torch.float32, torch.float64):
            for options in ({}, {"weight": torch.ones(2)}, {"pos_weight": torch.ones(2) * 2}):
                x = torch.tensor([0.25, 0.5]).to(kind).requires_grad_()
                for reduction in ("none", "mean", "sum"):
                    target = torch.tensor([1.0, 0.0]).to(other)
                    loss = F.binary_cross_entropy_with_logits(x, target, reduction=reduction, **options)
                    note(loss, torch.autograd.grad(loss.sum(), x))
    """
    )
