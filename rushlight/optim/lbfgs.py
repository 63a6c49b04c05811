"""L-BFGS: quasi-Newton steps from a short memory of past steps and gradient changes.

Unlike the other optimizers it treats all parameters as one flat vector and evaluates the model several times
in a step, so ``step`` needs a closure. Invariant: after ``step`` the parameters stand at the last accepted
point, and all memory is in the state of the first parameter, under PyTorch's keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rushlight.autograd.mode import enable_grad, no_grad
from rushlight.ops.join import cat
from rushlight.optim.common import add_, check_learning_rate
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor

# What PyTorch adds to the state at the end of a step, in its order.
_ENTRIES = ("al", "d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")


class LBFGS(Optimizer):
    """Steps along ``-H grad``, where ``H`` approximates the inverse Hessian.

    After Nocedal and Wright, "Numerical Optimization", 2nd edition, chapters 3 and 7.

    Args:
        params: parameters; groups are not supported.
        lr: length of a step, and of the first trial where there is a line search.
        max_iter: steps in one call of ``step``.
        max_eval: evaluations of the closure in one call, by default ``max_iter * 5 // 4``.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when parameters or loss change less.
        history_size: how many past steps are remembered.
        line_search_fn: ``"strong_wolfe"`` or None.

    Raises:
        ValueError: a negative rate, or more than one parameter group.

    >>> import rushlight as torch
    >>> w = torch.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> first_loss = optimizer.step(closure)
    >>> w
    tensor([1.0000, 1.0000], requires_grad=True)
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_learning_rate(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def step(self, closure: Callable[[], Any]) -> Any:
        """Take up to ``max_iter`` steps.

        Args:
            closure: a function that clears the gradients, evaluates the model, calls ``backward`` and returns
                the loss.

        Returns:
            What ``closure`` returned first.
        """
        state = self.state[self.param_groups[0]["params"][0]]
        before = list(state) or ["func_evals", "n_iter"]
        with no_grad():
            loss = self._minimize(enable_grad()(closure))
        ordered = {name: state[name] for name in (*before, *_ENTRIES) if name in state}
        state.clear()
        state.update(ordered)
        return loss

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr = self._setting(group, "lr")
        tolerance_grad, tolerance_change = group["tolerance_grad"], group["tolerance_change"]
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss = float(first_loss)
        grad = self._flat_grad()
        evaluations = 1
        state["func_evals"] += 1
        if grad.abs().max() <= tolerance_grad:
            return first_loss

        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, grad)
            state["d"] = direction
            state["prev_flat_grad"] = grad.clone()
            state["prev_loss"] = loss
            step = min(1.0, 1.0 / grad.abs().sum()) * lr if state["n_iter"] == 1 else lr
            state["t"] = step
            slope = grad.dot(direction)
            if slope > -tolerance_change:
                break
            used = 0
            if group["line_search_fn"] is not None:
                start = _Trial(0, loss, grad, slope)
                budget = group["max_eval"] - evaluations
                accepted, used = self._search_line(closure, start, step, direction, budget)
                step, loss, grad = accepted.step, accepted.loss, accepted.grad
                state["t"] = step
                self._move(step, direction)
            else:
                self._move(step, direction)
                if iteration != group["max_iter"]:
                    loss = float(closure())
                    grad = self._flat_grad()
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= group["max_eval"]
                or grad.abs().max() <= tolerance_grad
                or direction.mul(step).abs().max() <= tolerance_change
                or abs(loss - state["prev_loss"]) < tolerance_change
            ):
                break
        return first_loss

    def _direction(self, state: dict[str, Any], grad: Tensor) -> Tensor:
        """Take the last step into the memory and return ``-H grad`` by the two-loop recursion."""
        history_size = self.param_groups[0]["history_size"]
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        changes, steps, inverses = state["old_dirs"], state["old_stps"], state["ro"]
        change = grad.sub(state["prev_flat_grad"])
        last_step = state["d"].mul(state["t"])
        curvature = change.dot(last_step)
        if curvature > 1e-10:
            if len(changes) == history_size:
                for memory in (changes, steps, inverses):
                    memory.pop(0)
            changes.append(change)
            steps.append(last_step)
            inverses.append(1.0 / curvature)
            state["H_diag"] = curvature / change.dot(change)
        alphas = state.setdefault("al", [None] * history_size)
        direction = grad.neg()
        for i in reversed(range(len(changes))):
            alphas[i] = steps[i].dot(direction) * inverses[i]
            add_(direction, changes[i], -alphas[i])
        direction = direction.mul(state["H_diag"])
        for i in range(len(changes)):
            beta = changes[i].dot(direction) * inverses[i]
            add_(direction, steps[i], alphas[i] - beta)
        return direction

    def _search_line(
        self, closure: Callable[[], Any], start: _Trial, step: Any, direction: Tensor, budget: int
    ) -> tuple[_Trial, int]:
        """The point on the line that the search accepts, and how many evaluations that took."""
        if self.param_groups[0]["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        params = self.param_groups[0]["params"]
        origin = [param.clone() for param in params]

        def evaluate(step: Any) -> _Trial:
            self._move(step, direction)
            loss = float(closure())
            grad = self._flat_grad()
            for param, value in zip(params, origin, strict=True):
                param.copy_(value)
            return _Trial(step, loss, grad, grad.dot(direction))

        return _strong_wolfe(evaluate, start, step, direction.abs().max(), max_evaluations=budget)

    def _flat_grad(self) -> Tensor:
        params = self.param_groups[0]["params"]
        return cat(
            [
                param.new_zeros(param.numel()) if param.grad is None else param.grad.reshape(-1)
                for param in params
            ]
        )

    def _move(self, step: Any, direction: Tensor) -> None:
        """Add ``step * direction`` to the parameters."""
        offset = 0
        for param in self.param_groups[0]["params"]:
            end = offset + param.numel()
            add_(param, direction[offset:end].view_as(param), step)
            offset = end


class _Trial(NamedTuple):
    """A point on the line: its distance, the loss and gradient there, and the loss's slope along the line."""

    step: Any
    loss: float
    grad: Tensor
    slope: Any


def _strong_wolfe(
    evaluate: Callable[[Any], _Trial],
    start: _Trial,
    step: Any,
    direction_size: Tensor,
    *,
    max_evaluations: int,
    decrease: float = 1e-4,
    flatness: float = 0.9,
    tolerance_change: float = 1e-9,
) -> tuple[_Trial, int]:
    """A step that lowers the loss enough and flattens its slope enough (the strong Wolfe conditions).

    Nocedal and Wright, algorithms 3.5 and 3.6: go outwards until an interval holds such a point, then narrow
    it.
    """

    def is_too_high(trial: _Trial) -> Any:
        return trial.loss > start.loss + decrease * trial.step * start.slope

    def is_flat(trial: _Trial) -> Any:
        return abs(trial.slope) <= -flatness * start.slope

    trial, previous = evaluate(step), start
    rounds = 0
    bracket: list[_Trial] = []
    while rounds < max_evaluations:
        rises = rounds > 1 and trial.loss >= previous.loss
        if not is_too_high(trial) and not rises and is_flat(trial):
            return trial, rounds + 1
        if is_too_high(trial) or rises or trial.slope >= 0:
            bracket = [previous, trial]
            break
        shortest = trial.step + 0.01 * (trial.step - previous.step)
        step = _cubic_minimum(previous, trial, (shortest, trial.step * 10))
        trial, previous = evaluate(step), trial
        rounds += 1
    if not bracket:
        bracket = [start, trial]

    low, high = _ordered(bracket)
    made_little_progress = False
    while rounds < max_evaluations:
        nearest = min(bracket[0].step, bracket[1].step)
        farthest = max(bracket[0].step, bracket[1].step)
        if (farthest - nearest) * direction_size < tolerance_change:
            break
        step = _cubic_minimum(bracket[0], bracket[1], (nearest, farthest))
        margin = 0.1 * (farthest - nearest)
        is_near_end = min(farthest - step, step - nearest) < margin
        if is_near_end and (made_little_progress or step >= farthest or step <= nearest):
            step = farthest - margin if abs(step - farthest) < abs(step - nearest) else nearest + margin
            made_little_progress = False
        else:
            made_little_progress = bool(is_near_end)
        trial = evaluate(step)
        rounds += 1
        if is_too_high(trial) or trial.loss >= bracket[low].loss:
            bracket[high] = trial
            low, high = _ordered(bracket)
            continue
        if not is_flat(trial) and trial.slope * (bracket[high].step - bracket[low].step) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = trial
        if is_flat(trial):
            break
    return bracket[low], rounds + 1


def _ordered(bracket: list[_Trial]) -> tuple[int, int]:
    """The indices of the end with the lower loss and of the other."""
    return (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)


def _cubic_minimum(first: _Trial, second: _Trial, bounds: tuple[Any, Any]) -> Any:
    """Where the cubic through both points and slopes is lowest within bounds, or the middle of the bounds."""
    near, far = (first, second) if first.step <= second.step else (second, first)
    d1 = first.slope + second.slope - 3 * (first.loss - second.loss) / (first.step - second.step)
    square = d1**2 - first.slope * second.slope
    if not square >= 0:
        return (bounds[0] + bounds[1]) / 2.0
    d2 = square.sqrt()
    share = (far.slope + d2 - d1) / (far.slope - near.slope + 2 * d2)
    minimum = far.step - (far.step - near.step) * share
    return min(max(minimum, bounds[0]), bounds[1])
