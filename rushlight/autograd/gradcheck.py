"""Gradients compared with finite differences: `gradcheck` and, for second derivatives, `gradgradcheck`.

What users call; the comparisons are in `gradcheck_steps`, which is imported when one of these runs.
Invariant: the inputs have their old values, versions and history afterwards, and the user's random stream is
not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.autograd.engine import run_backward

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """What `gradcheck` and `gradgradcheck` raise where gradients are wrong."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of a function with central differences.

    Args:
        func: takes the inputs and returns a tensor or a tuple of tensors.
        inputs: a tensor or several; those that require grad are checked and should be float64.
        eps: the step of the differences.
        atol, rtol: the tolerance of the comparison.
        raise_exception: raise `GradcheckError` with the two Jacobians, instead of returning False.
        nondet_tol: how far two runs of the same backward may be apart.
        check_undefined_grad: also check that missing gradients of outputs count as zeros.
        check_grad_dtypes: also check the types of gradients.
        check_batched_grad: also compare gradients taken for a batch at once.
        check_batched_forward_grad, check_forward_ad: not supported.
        check_backward_ad: without it (and without forward mode) there is nothing to check, which is an error.
        fast_mode: compare one random combination of the Jacobian's entries instead of all.
        masked: allow rounding in gradients that should be zero.

    Returns:
        True if everything agrees.

    >>> import rushlight as torch
    >>> x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(lambda x: x.exp() * x, x)
    True
    """
    from rushlight.autograd import gradcheck_steps as steps

    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    if check_forward_ad:
        raise NotImplementedError(
            "gradcheck(): check_forward_ad=True is not supported; there is no forward mode"
        )
    tupled = steps.as_tuple(inputs)
    steps.check_inputs(tupled)
    tolerance = steps.Tolerance(atol, rtol, eps)
    try:
        returned = steps.as_tuple(func(*tupled))
        outputs = [each for each in returned if each.requires_grad]
        if fast_mode:
            steps.compare_fast(func, tupled, returned, tolerance)
        else:
            steps.compare(func, tupled, returned, tolerance, nondet_tol, check_grad_dtypes)
        for place, output in enumerate(outputs):
            if check_batched_grad:
                steps.check_batched(output, tupled, place)
        steps.check_scaled_by_grad_output(outputs, tupled, bool(masked))
        if check_undefined_grad:
            steps.check_undefined(func, tupled)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compare second derivatives with central differences of first ones.

    Args:
        func: takes the inputs and returns a tensor or a tuple of tensors.
        inputs: a tensor or several; those that require grad are checked and should be float64.
        grad_outputs: the gradients of the outputs to differentiate with; random ones if not given.
        gen_non_contig_grad_outputs: let the random gradients have gaps in memory.
        check_fwd_over_rev: not supported.
        check_rev_over_rev: without it there is nothing to check, which is an error.
        eps, atol, rtol, raise_exception, nondet_tol, check_undefined_grad, check_grad_dtypes,
        check_batched_grad,
            fast_mode, masked: as for `gradcheck`.

    >>> import rushlight as torch
    >>> x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradgradcheck(lambda x: x.exp() * x, x)
    True
    """
    from rushlight.autograd import gradcheck_steps as steps

    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    if check_undefined_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_undefined_grad=True requires check_rev_over_rev to be True")
    if check_batched_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_batched_grad=True requires check_rev_over_rev to be True")
    if check_fwd_over_rev:
        raise NotImplementedError("gradgradcheck(): check_fwd_over_rev=True is not supported")
    tupled = steps.as_tuple(inputs)
    if grad_outputs is None:
        outputs = [each for each in steps.as_tuple(func(*tupled)) if each.requires_grad]
        weights = tuple(steps.random_like(each, gen_non_contig_grad_outputs) for each in outputs)
    else:
        weights = steps.as_tuple(grad_outputs)
    count = len(weights)
    wanted = {place for place, each in enumerate((*tupled, *weights)) if steps.needs_grad(each)}

    def gradients(*args: Any) -> tuple[Any, ...]:
        given = [each.requires_grad_() if place in wanted else each for place, each in enumerate(args)]
        sources = [each for place, each in enumerate(given[:-count]) if place in wanted]
        outputs = [each for each in steps.as_tuple(func(*given[:-count])) if each.requires_grad]
        found = run_backward(outputs, given[-count:], True, True, sources)
        return tuple(each for each in found or () if each is not None)

    return gradcheck(
        gradients,
        (*tupled, *weights),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        fast_mode=fast_mode,
        masked=masked,
    )
