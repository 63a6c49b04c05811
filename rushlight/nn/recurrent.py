"""Recurrent layers over whole sequences: RNN, LSTM and GRU, padded or packed.

A layer holds the weights, checks what it is given and brings it into one form; the network itself is in
`rushlight.ops.recurrent`. Single steps are in `rushlight.nn.recurrent_cells`. The invariant: parameters are
made and drawn by layer, direction and name (``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``,
``bias_hh_l0``, ``weight_hr_l0``, ``weight_ih_l0_reverse``, ...), so that a seed gives PyTorch's values.
"""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

from rushlight.nn import init
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.nn.utils.packed import PackedSequence
from rushlight.ops.create import empty, zeros
from rushlight.ops.recurrent import KINDS, run_layers
from rushlight.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_FUNCTIONS = {"RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu", "LSTM": "lstm", "GRU": "gru"}


class RNNBase(Module):
    """What RNN, LSTM and GRU share: settings, weights and checks; it has no ``forward`` of its own.

    ``mode`` is "RNN_TANH", "RNN_RELU", "LSTM" or "GRU". All weights and biases are drawn evenly from
    ``-1 / sqrt(hidden_size)`` to ``1 / sqrt(hidden_size)``.

    >>> from rushlight import nn
    >>> nn.RNNBase("GRU", 3, 4, num_layers=2)
    RNNBase(3, 4, num_layers=2)
    """

    __constants__ = ["mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first"] + [
        "dropout",
        "bidirectional",
        "proj_size",
    ]

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings(dropout)
        self._all_weights: list[list[str]] = []
        gates = KINDS[_FUNCTIONS[mode]].gates * hidden_size
        state_size = proj_size or hidden_size
        for layer in range(num_layers):
            features = input_size if layer == 0 else state_size * self._directions()
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, features)}
            shapes["weight_hh"] = (gates, state_size)
            if bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[: self._directions()]:
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self.reset_parameters()

    def _check_settings(self, dropout: Any) -> None:
        """Raise what PyTorch raises for settings that make no sense; `dropout` is as it was given."""
        if not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1 or isinstance(dropout, bool):  # type: ignore[operator]
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being "
                "zeroed"
            )
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=3,
            )
        for name in ("bias", "batch_first"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} should be of type bool, got: {type(getattr(self, name)).__name__}")
        for name in ("input_size", "hidden_size"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} should be of type int, got: {type(getattr(self, name)).__name__}")
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if self.mode not in _FUNCTIONS:
            raise ValueError("Unrecognized RNN mode: " + self.mode)

    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: on other devices PyTorch moves the weights into one piece of memory here."""

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [getattr(self, name, None) for name in self._flat_weights_names]  # type: ignore[misc]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters by layer and direction.

        >>> from rushlight import nn
        >>> [[len(each) for each in part] for part in nn.RNN(3, 4, bidirectional=True).all_weights]
        [[4, 4, 4, 4], [4, 4, 4, 4]]
        """
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    # -- checks ----------------------------------------------------------------------------------------------

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raise PyTorch's error for an input of the wrong type, dimensions or size."""
        kind = self._flat_weights[0].dtype
        if input.dtype != kind:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({kind}). Convert input: "
                f"input.to({kind}), or convert model: model.to({input.dtype})"
            )
        expected = 3 if batch_sizes is None else 2
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{input.size(-1)}"
            )

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape that a hidden state must have for this input."""
        return self._state_shape(input, batch_sizes, self.proj_size or self.hidden_size)

    def _state_shape(self, input: Tensor, batch_sizes: Tensor | None, size: int) -> tuple[int, int, int]:
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0 if self.batch_first else 1)
        return self.num_layers * self._directions(), batch, size

    def check_hidden_size(
        self,
        hx: Tensor,
        expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raise RuntimeError unless a state has the shape it must have."""
        if hx.size() != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise PyTorch's error for an input or a state that does not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The state with its batch in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    # -- running ---------------------------------------------------------------------------------------------

    def _states(self, hx: Any) -> tuple[Tensor, ...]:
        """The state as a tuple: of one tensor, or for an LSTM of two."""
        return (hx,)

    def _state(self, states: tuple[Tensor, ...]) -> Any:
        """The state as users have it."""
        return states[0]

    def _check_state_dims(self, hx: Any, batched: bool) -> None:
        """Raise RuntimeError unless a state is batched as its input is."""
        if hx.dim() != (3 if batched else 2):
            text = "batched 3-D input, hx should also be 3-D" if batched else ""
            text = text or "unbatched 2-D input, hx should also be 2-D"
            raise RuntimeError(f"For {text} but got {hx.dim()}-D tensor")

    def _wrong_dims(self, dims: int) -> str:
        return f"{self.mode}: Expected input to be 2D or 3D, got {dims}D instead"

    def _first_state(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        """Zeros of the input's type."""
        shape = self.get_expected_hidden_size(input, batch_sizes)
        return zeros(shape, dtype=input.dtype)

    def _run(self, input: Tensor, hx: Any, batch_sizes: Tensor | None) -> tuple[Tensor, Any]:
        output, *states = run_layers(
            _FUNCTIONS[self.mode],
            input,
            batch_sizes,
            self._states(hx),
            self._flat_weights,
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
        )
        return output, self._state(tuple(states))

    def _forward_packed(self, sequence: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        rows, batch_sizes, order, back = sequence
        if hx is None:
            hx = self._first_state(rows, batch_sizes)
        else:
            hx = self.permute_hidden(hx, order)
        self.check_forward_args(rows, hx, batch_sizes)
        output, last = self._run(rows, hx, batch_sizes)
        return PackedSequence(output, batch_sizes, order, back), self.permute_hidden(last, back)

    def _forward(self, input: Any, hx: Any) -> tuple[Any, Any]:
        """`forward` of all three layers."""
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(self._wrong_dims(input.dim()))
        batched = input.dim() == 3
        batch_dim = 0 if self.batch_first else 1
        if not batched:
            input = input.unsqueeze(batch_dim)
        if hx is None:
            hx = self._first_state(input, None)
        else:
            self._check_state_dims(hx, batched)
            if not batched:
                hx = self._state(tuple(each.unsqueeze(1) for each in self._states(hx)))
        self.check_forward_args(input, hx, None)
        output, last = self._run(input, hx, None)
        if not batched:
            output = output.squeeze(batch_dim)
            last = self._state(tuple(each.squeeze(1) for each in self._states(last)))
        return output, last

    def extra_repr(self) -> str:
        """The settings that are not the usual ones."""
        usual: dict[str, Any] = dict(proj_size=0, num_layers=1, bias=True, batch_first=False, dropout=0)
        usual["bidirectional"] = False
        parts = [str(self.input_size), str(self.hidden_size)]
        parts += [f"{k}={getattr(self, k)}" for k, value in usual.items() if getattr(self, k) != value]
        return ", ".join(parts)

    def _expected_input(self) -> str:
        return f"{self.input_size} features"


def _refuse_projection(kwargs: dict[str, Any]) -> None:
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """Elman's network: ``h[t] = tanh(weight_ih @ x[t] + bias_ih + weight_hh @ h[t - 1] + bias_hh)``.

    Input ``(time, batch, input_size)``, ``(time, input_size)`` for a single sequence or a PackedSequence;
    ``hx``, zero if not given, ``(num_layers * directions, batch, hidden_size)``. Output ``(time, batch,
    directions * hidden_size)`` and the last state. The arguments: ``input_size, hidden_size, num_layers=1,
    nonlinearity="tanh"`` (or "relu")``, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    device=None, dtype=None``. Elman, "Finding Structure in Time", 1990.

    >>> import rushlight as torch
    >>> output, hidden = torch.nn.RNN(3, 4, batch_first=True)(torch.zeros(2, 5, 3))
    >>> output.shape, hidden.shape
    (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        if len(args) > 3:
            nonlinearity, args = args[3], (*args[:3], *args[4:])
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity

    def _wrong_dims(self, dims: int) -> str:
        return f"RNN: Expected input to be 2D or 3D, got {dims}D tensor instead"

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        return self._forward(input, hx)


class LSTM(RNNBase):
    """Long short-term memory: a cell that gates write, forget and show.

    Input ``(time, batch, input_size)``, ``(time, input_size)`` for a single sequence or a PackedSequence;
    ``hx`` is ``(h, c)``, zero if not given, ``(num_layers * directions, batch, hidden_size)`` each, where
    ``h`` has ``proj_size`` in place of ``hidden_size`` if that is not 0. Output ``(time, batch, directions *
    hidden_size)`` and the last ``(h, c)``. The arguments: ``input_size, hidden_size, num_layers=1, bias=True,
    batch_first=False, dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None``. Hochreiter
    and Schmidhuber, "Long Short-Term Memory", 1997.

    >>> import rushlight as torch
    >>> output, (hidden, cell) = torch.nn.LSTM(3, 4, num_layers=2)(torch.zeros(5, 2, 3))
    >>> output.shape, cell.shape
    (torch.Size([5, 2, 4]), torch.Size([2, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape that a cell must have for this input."""
        return self._state_shape(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise PyTorch's error for an input or a state that does not fit."""
        self.check_input(input, batch_sizes)
        expected = (
            self.get_expected_hidden_size(input, batch_sizes),
            self.get_expected_cell_size(input, batch_sizes),
        )
        for number, shape in enumerate(expected):
            message = f"Expected hidden[{number}] size " + "{}, got {}"
            self.check_hidden_size(hidden[number], shape, message)

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The state with its batch in another order."""
        if permutation is None:
            return hx
        return hx[0].index_select(1, permutation), hx[1].index_select(1, permutation)

    def _states(self, hx: Any) -> tuple[Tensor, ...]:
        return hx[0], hx[1]

    def _state(self, states: tuple[Tensor, ...]) -> Any:
        return states

    def _check_state_dims(self, hx: Any, batched: bool) -> None:
        expected = 3 if batched else 2
        dims = hx[0].dim(), hx[1].dim()
        if dims != (expected, expected):
            text = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {text} input, hx and cx should also be {expected}-D but got ({dims[0]}-D, {dims[1]}-D) "
                "tensors"
            )

    def _first_state(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        cell = zeros(self.get_expected_cell_size(input, batch_sizes), dtype=input.dtype)
        return super()._first_state(input, batch_sizes), cell

    def forward(
        self, input: Any, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        return self._forward(input, hx)


class GRU(RNNBase):
    """Gated recurrent units: a state that one gate updates and another resets.

    Input ``(time, batch, input_size)``, ``(time, input_size)`` for a single sequence or a PackedSequence;
    ``hx``, zero if not given, ``(num_layers * directions, batch, hidden_size)``. Output ``(time, batch,
    directions * hidden_size)`` and the last state. The arguments: ``input_size, hidden_size, num_layers=1,
    bias=True, batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None``. Cho et al.,
    "Learning Phrase Representations using RNN Encoder-Decoder", 2014.

    >>> import rushlight as torch
    >>> output, hidden = torch.nn.GRU(3, 4, bidirectional=True)(torch.zeros(5, 2, 3))
    >>> output.shape, hidden.shape
    (torch.Size([5, 2, 8]), torch.Size([2, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        return self._forward(input, hx)
