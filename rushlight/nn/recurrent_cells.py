"""Single steps of recurrent networks as layers: RNNCell, LSTMCell and GRUCell.

They check dimensions and hold the weights; the formulas are in `rushlight.ops.recurrent_cells`. The
invariant: ``weight_ih``, ``weight_hh``, ``bias_ih`` and ``bias_hh`` are drawn in this order, so that a seed
gives PyTorch's values.
"""

from __future__ import annotations

import math
from typing import Any

from rushlight.nn import init
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops.create import empty, zeros
from rushlight.ops.recurrent_cells import gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell
from rushlight.tensor import Tensor

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """What the three cells share: weights for ``num_chunks`` gates, which are drawn evenly from
    ``-1 / sqrt(hidden_size)`` to ``1 / sqrt(hidden_size)``.

    >>> from rushlight import nn
    >>> nn.RNNCellBase(3, 4, True, num_chunks=2).weight_ih.shape
    torch.Size([8, 3])
    """

    __constants__ = ["input_size", "hidden_size", "bias"]
    _cell_name = "RNNCellBase"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((rows, hidden_size), device=device, dtype=dtype))
        if bias:
            self.bias_ih = Parameter(empty(rows, device=device, dtype=dtype))
            self.bias_hh = Parameter(empty(rows, device=device, dtype=dtype))
        else:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def _batched_input(self, input: Tensor) -> Tensor:
        """The input with a batch dimension; ValueError unless it has one or two dimensions."""
        if input.dim() not in (1, 2):
            raise ValueError(f"{self._cell_name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        return input if input.dim() == 2 else input.unsqueeze(0)

    def _batched_state(self, input: Tensor, hx: Tensor | None) -> Tensor:
        """The one state with a batch dimension if the input lacks one, or zeros."""
        if hx is None:
            batch = input.size(0) if input.dim() == 2 else 1
            return zeros((batch, self.hidden_size), dtype=input.dtype)
        return hx if input.dim() == 2 else hx.unsqueeze(0)

    def _check_state(self, name: str, hx: Tensor) -> None:
        if hx.dim() not in (1, 2):
            raise ValueError(f"{self._cell_name}: Expected {name} to be 1D or 2D, got {hx.dim()}D instead")

    def extra_repr(self) -> str:
        """The settings that are not the usual ones."""
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def _expected_input(self) -> str:
        return f"{self.input_size} features"


class RNNCell(RNNCellBase):
    """One step of Elman's network: ``tanh(weight_ih @ x + bias_ih + weight_hh @ h + bias_hh)``.

    Input ``(batch, input_size)`` or ``(input_size)``; ``hx``, zero if not given, and the new state
    ``(batch, hidden_size)`` or ``(hidden_size)``. ``nonlinearity`` is "tanh" or "relu".

    >>> import rushlight as torch
    >>> torch.nn.RNNCell(3, 4)(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]
    _cell_name = "RNNCell"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=1, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        rows = self._batched_input(input)
        if hx is not None:
            self._check_state("hidden", hx)
        state = self._batched_state(input, hx)
        if self.nonlinearity == "tanh":
            made = rnn_tanh_cell(rows, state, *self._weights())
        elif self.nonlinearity == "relu":
            made = rnn_relu_cell(rows, state, *self._weights())
        else:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return made if input.dim() == 2 else made.squeeze(0)


class LSTMCell(RNNCellBase):
    """One step of an LSTM: the new ``(h, c)`` for input ``(batch, input_size)`` or ``(input_size)`` and the
    old ``(h, c)``, zero if not given, ``(batch, hidden_size)`` or ``(hidden_size)`` each.

    >>> import rushlight as torch
    >>> hidden, cell = torch.nn.LSTMCell(3, 4)(torch.zeros(2, 3))
    >>> hidden.shape, cell.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """

    _cell_name = "LSTMCell"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=4, device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        rows = self._batched_input(input)
        if hx is None:
            empty_state = self._batched_state(input, None)
            states = (empty_state, empty_state)
        else:
            for number, each in enumerate(hx):
                self._check_state(f"hx[{number}]", each)
            if input.dim() == 2:
                states = hx
            else:
                states = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        hidden, cell = lstm_cell(rows, states, *self._weights())
        return (hidden, cell) if input.dim() == 2 else (hidden.squeeze(0), cell.squeeze(0))


class GRUCell(RNNCellBase):
    """One step of a GRU: the new state for input ``(batch, input_size)`` or ``(input_size)`` and the old
    state, zero if not given, ``(batch, hidden_size)`` or ``(hidden_size)``.

    >>> import rushlight as torch
    >>> torch.nn.GRUCell(3, 4)(torch.zeros(3)).shape
    torch.Size([4])
    """

    _cell_name = "GRUCell"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=3, device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        rows = self._batched_input(input)
        if hx is not None:
            self._check_state("hidden", hx)
        made = gru_cell(rows, self._batched_state(input, hx), *self._weights())
        return made if input.dim() == 2 else made.squeeze(0)
