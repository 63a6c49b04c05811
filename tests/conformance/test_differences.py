"""docs/differences.md tells the truth: the entries that a few lines can show, on both sides.

A check that fails because PyTorch has changed, or Rushlight has come nearer, means that the page has to
change.
"""

from __future__ import annotations

import copy
import io
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")


def one_step(lib: ModuleType, optimizer: Any, parameter: Any) -> list[float]:
    """A parameter after one step with gradient 1."""
    parameter.grad = lib.ones_like(parameter)
    optimizer.step()
    return parameter.tolist()


def adam_capturable(lib: ModuleType) -> list[float]:
    parameter = lib.ones(1, requires_grad=True)
    return one_step(lib, lib.optim.Adam([parameter], lr=0.5, capturable=True), parameter)


def test_capturable_works_on_the_cpu() -> None:
    assert adam_capturable(rushlight) == pytest.approx([0.5])
    with pytest.raises(AssertionError, match="capturable=True"):
        adam_capturable(torch)


@pytest.mark.parametrize("option", ["lr", "weight_decay"])
def test_sgd_refuses_what_is_not_a_number(option: str) -> None:
    options = {"lr": 0.1, option: float("nan")}
    torch.optim.SGD([torch.ones(1, requires_grad=True)], **options)
    with pytest.raises(ValueError, match=r"^Invalid (learning rate|weight_decay value): nan"):
        rushlight.optim.SGD([rushlight.ones(1, requires_grad=True)], **options)


def hook_calls(lib: ModuleType) -> int:
    calls = []

    class Own(lib.optim.SGD):  # type: ignore[name-defined]
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    parameter = lib.ones(1, requires_grad=True)
    lib.optim.SGD([parameter], lr=0.1)  # PyTorch wraps the step of a class when its first object is made
    optimizer = Own([parameter], lr=0.1)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    one_step(lib, optimizer, parameter)
    return len(calls)


def test_step_hooks_run_once_through_super() -> None:
    assert (hook_calls(torch), hook_calls(rushlight)) == (2, 1)


def loading_leaves_the_dictionary(lib: ModuleType) -> bool:
    optimizer = lib.optim.SGD([lib.ones(1, requires_grad=True)], lr=0.1)
    scheduler = lib.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2, cycle_momentum=False)
    state = scheduler.state_dict()
    names = copy.copy(set(state))
    scheduler.load_state_dict(state)
    return set(state) == names


def test_a_scheduler_leaves_the_dictionary_it_loads() -> None:
    assert (loading_leaves_the_dictionary(torch), loading_leaves_the_dictionary(rushlight)) == (False, True)


def row_gradients(lib: ModuleType) -> list[list[float]]:
    table = lib.zeros(3, 1, requires_grad=True)
    rows, bags = lib.tensor([0, 0, 1, 2]), lib.tensor([0, 2])
    options = {"scale_grad_by_freq": True, "mode": "sum"}
    lib.nn.functional.embedding_bag(rows, table, bags, **options).sum().backward()
    return table.grad.tolist()


def test_embedding_bag_divides_a_row_by_its_own_count() -> None:
    assert row_gradients(torch) == [[1.0], [0.5], [1.0]]
    assert row_gradients(rushlight) == [[1.0], [1.0], [1.0]]


def in_place(lib: ModuleType) -> bool:
    ones = lib.ones(20)
    return lib.nn.AlphaDropout(0.5, inplace=True)(ones) is ones and bool((ones != 1).all())


def test_alpha_dropout_works_in_place() -> None:
    assert (in_place(torch), in_place(rushlight)) == (False, True)


def features(lib: ModuleType) -> int:
    layer = lib.nn.LazyBatchNorm1d(affine=False, track_running_stats=False)
    layer(lib.ones(4, 3))
    return layer.num_features


def test_lazy_normalisations_know_their_features() -> None:
    assert (features(torch), features(rushlight)) == (0, 3)


def hooked_shapes(lib: ModuleType) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    layer = lib.nn.Linear(2, 1)
    layer.register_backward_hook(
        lambda module, inputs, outputs: shapes.extend(tuple(g.shape) for g in inputs)
    )
    layer(lib.ones(3, 2, requires_grad=True)).sum().backward()
    return shapes


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
def test_the_old_backward_hook_sees_a_linear_layer_as_one_op() -> None:
    assert hooked_shapes(rushlight)[:2] == [(3, 2), (1, 2)]
    assert hooked_shapes(torch) == [(1,), (3, 2), (2, 1)]


def second_at_zero(lib: ModuleType) -> list[float]:
    zero = lib.zeros(2, requires_grad=True)
    (first,) = lib.autograd.grad(zero.norm(), zero, create_graph=True)
    return lib.autograd.grad(first.sum(), zero)[0].tolist()


def test_second_derivative_of_a_norm_at_zero() -> None:
    assert second_at_zero(rushlight) == [0.0, 0.0]
    assert np.isnan(second_at_zero(torch)).all()


class Greedy:
    """What a pickle can do."""

    ran = False

    @staticmethod
    def run() -> dict[str, int]:
        Greedy.ran = True
        return {}

    def __reduce__(self) -> Any:
        return Greedy.run, ()


def test_loading_never_runs_code() -> None:
    content = io.BytesIO()
    torch.save({"weights": Greedy()}, content)
    content.seek(0)
    with pytest.raises(RuntimeError, match="Nothing from the file was executed"):
        rushlight.load(content, weights_only=False)
    assert not Greedy.ran
    content.seek(0)
    torch.load(content, weights_only=False)
    assert Greedy.ran


def test_saving_writes_plain_data_only() -> None:
    with pytest.raises(TypeError, match=r"save its state_dict\(\)"):
        rushlight.save(rushlight.nn.Linear(1, 1), io.BytesIO())


def test_the_module_of_a_class() -> None:
    assert repr(rushlight.nn.Linear) == "<class 'rushlight.nn.linear.Linear'>"
    assert repr(torch.nn.Linear) == "<class 'torch.nn.modules.linear.Linear'>"


def test_whole_numbers_never_require_grad() -> None:
    for library, expected in ((torch, True), (rushlight, False)):
        number = library.tensor(-0.25, dtype=library.float64, requires_grad=True)
        whole = library.tensor([3, 8, -2, 2])
        whole[:] = number
        assert whole.tolist() == [0, 0, 0, 0]
        assert whole.requires_grad is expected
        assert library.tensor([1, 2]).copy_(number).requires_grad is False


def blanks_in_targets(lib: ModuleType) -> float:
    """How far gradient and difference quotient are apart where a target ends with the blank."""
    scores = lib.arange(8.0, dtype=lib.float64).cos().reshape(4, 1, 2).requires_grad_()

    def loss(scores: Any) -> Any:
        return lib.nn.functional.ctc_loss(scores.log_softmax(2), lib.tensor([[1, 0]]), (4,), (2,))

    loss(scores).backward()
    moved = scores.detach().clone()
    moved[3, 0, 0] += 1e-6
    return abs(((loss(moved) - loss(scores)) / 1e-6 - scores.grad[3, 0, 0]).item())


def test_targets_that_hold_the_blank() -> None:
    assert blanks_in_targets(rushlight) < 1e-5 < 1e-2 < blanks_in_targets(torch)
    scores = rushlight.zeros(3, 1, 2)
    with pytest.raises(IndexError, match="Target 2 is out of bounds"):
        rushlight.nn.functional.ctc_loss(scores, rushlight.tensor([[2]]), (3,), (1,))


def test_targets_of_another_type() -> None:
    def gradient(lib: ModuleType) -> list[float]:
        input = lib.ones(2, requires_grad=True)
        lib.nn.functional.huber_loss(input, lib.zeros(2, dtype=lib.float64), reduction="sum").backward()
        return input.grad.tolist()

    assert gradient(rushlight) == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="Found dtype Double but expected Float"):
        gradient(torch)
