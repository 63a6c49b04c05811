"""Automatic differentiation: `backward`, `grad`, and the switches."""

from __future__ import annotations

from typing import Any

from rushlight.autograd.engine import run_backward
from rushlight.autograd.mode import enable_grad, inference_mode, no_grad, set_grad_enabled, state

def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False, *, inputs: Any = None) -> None:
    from rushlight.tensor import new_tensor
    import numpy as np
    g = grad_tensors if grad_tensors is not None else new_tensor(np.ones_like(tensors._array))
    run_backward([tensors], [g], create_graph if retain_graph is None else retain_graph, create_graph)
