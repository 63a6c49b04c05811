"""PyTorch's ``torch.nn.parallel``, where there is nothing to spread a batch over: the model runs as it is.

`DataParallel` keeps the names that checkpoints of such models have (``module.weight``). Compiled programs use
all cores by themselves.
"""

from __future__ import annotations

from typing import Any

from rushlight.nn.module import Module

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Wraps a module, which on a machine without accelerators is called with the whole batch.

    Args:
        module: the module; parameters are named ``module.<name>``.
        device_ids: as PyTorch does without CUDA, not looked at: the list is empty.
        output_device: not looked at either.
        dim: the dimension of the batch.

    >>> import rushlight as torch
    >>> torch.nn.DataParallel(torch.nn.Linear(2, 1))
    DataParallel(
      (module): Linear(in_features=2, out_features=1, bias=True)
    )
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[Any] = []
        self.dim = dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The module's result."""
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """The module's result for the whole batch; arguments as for `DataParallel`."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*inputs, **(module_kwargs or {}))
