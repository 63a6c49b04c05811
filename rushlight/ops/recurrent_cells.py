"""One step of a recurrent network: the cells of an Elman network, an LSTM and a GRU.

What happens between the products of a step (gates, the new state) is one op with a gradient in closed form,
because eager cost is mostly the number of ops. While a step is recorded, in float16 and where a gradient is
to be differentiated again, the same is spelled out in plain ops. Loops over time are in `ops.recurrent`.
Invariant: both ways compute the same formula; `_lstm_gradients` and `_gru_gradients` use operators only, so
that they serve arrays and tensors alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import GRAD, RECORDING, state
from rushlight.dtype import F16
from rushlight.ops.activations import relu
from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import ArgumentError, apply
from rushlight.ops.functions import sigmoid, tanh
from rushlight.ops.join import cat
from rushlight.ops.kinds import composite, primitive
from rushlight.ops.matmul import linear
from rushlight.ops.numeric import numpy_namespace
from rushlight.ops.operands import type_of
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

_array_sigmoid = numpy_namespace.sigmoid
_join = np.concatenate


def _plainly(array: np.ndarray) -> bool:
    """Whether a cell is to be spelled out in plain ops."""
    return bool(state.mode & RECORDING) or array.dtype is F16


# -- LSTM ----------------------------------------------------------------------------------------------------


def _columns(array: np.ndarray, count: int) -> list[np.ndarray]:
    """The columns of a matrix in `count` equal parts."""
    size = array.shape[1] // count
    return [array[:, part * size : (part + 1) * size] for part in range(count)]


def _lstm_forward(gates: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, ...]:
    squashed = _array_sigmoid(gates)
    for_input, forget, candidate, show = _columns(squashed, 4)
    candidate[...] = np.tanh(_columns(gates, 4)[2])
    now = forget * cell
    now += for_input * candidate
    hidden = np.tanh(now)
    hidden *= show
    return hidden, now, squashed


def _lstm_gradients(g_hidden: Any, g_cell: Any, gates: Sequence[Any], cell: Any, shown: Any) -> Any:
    """The gradients of the four gates before they are squashed, and of the cell.

    `gates` are squashed; `shown` is the hyperbolic tangent of the new cell.
    """
    for_input, forget, candidate, show = gates
    total = g_cell + g_hidden * show * (1 - shown * shown)
    before = (
        total * candidate * (for_input * (1 - for_input)),
        total * cell * (forget * (1 - forget)),
        total * for_input * (1 - candidate * candidate),
        g_hidden * shown * (show * (1 - show)),
    )
    return before, total * forget


def _lstm_backward(
    g_hidden: np.ndarray, g_cell: np.ndarray, cell: np.ndarray, now: np.ndarray, squashed: np.ndarray
) -> tuple[np.ndarray, ...]:
    before, old = _lstm_gradients(g_hidden, g_cell, _columns(squashed, 4), cell, np.tanh(now))
    return _join(before, 1), old


LSTM_BACKWARD = primitive(
    "_lstm_cell_backward", "opaque", _lstm_backward, outputs=("gates", "cell"), differentiable=()
)


def _squashed_lstm(gates: Tensor) -> tuple[Tensor, ...]:
    for_input, forget, candidate, show = gates.chunk(4, 1)
    return sigmoid(for_input), sigmoid(forget), tanh(candidate), sigmoid(show)


def _lstm_rule(g: Any, tensors: Sequence[Tensor], now: Tensor, squashed: Tensor) -> tuple[Tensor, ...]:
    (gates, cell), (g_hidden, g_cell) = tensors, g[:2]
    if not state.mode & (GRAD | RECORDING):
        return apply(LSTM_BACKWARD, (g_hidden, g_cell, cell, now, squashed))
    before, old = _lstm_gradients(g_hidden, g_cell, _squashed_lstm(gates), cell, tanh(now))
    return cat(before, 1), old


LSTM_CELL = primitive(
    "_lstm_cell",
    "opaque",
    _lstm_forward,
    dict(tensors=_lstm_rule),
    inputs=("*tensors",),
    outputs=("hidden", "now", "squashed"),
    differentiable=(0, 1),
    node_name="MulBackward0",
)


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The new hidden state and cell from the four gates before they are squashed, ``(batch, 4 * hidden)``, in
    the order input, forget, candidate, output; and from the old cell ``(batch, hidden)``.

    Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al., 2000.
    """
    if _plainly(gates._array):
        for_input, forget, candidate, show = _squashed_lstm(gates)
        now = forget * cell + for_input * candidate
        return show * tanh(now), now
    hidden, now, _ = apply(LSTM_CELL, (gates, cell))
    return hidden, now


# -- GRU -----------------------------------------------------------------------------------------------------


def _gru_forward(given: np.ndarray, kept: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, ...]:
    size = hidden.shape[1]
    squashed = given + kept
    # All three in one pass; the candidate's part is written anew.
    squashed[:, : 2 * size] = _array_sigmoid(squashed[:, : 2 * size])
    reset, update, candidate = _columns(squashed, 3)
    np.multiply(reset, kept[:, 2 * size :], out=candidate)
    candidate += given[:, 2 * size :]
    np.tanh(candidate, out=candidate)
    now = hidden - candidate
    now *= update
    now += candidate
    return now, squashed


def _gru_gradients(g: Any, gates: Sequence[Any], kept_candidate: Any, hidden: Any) -> Any:
    """The gradients of the gates' parts from the input, of the candidate's part from the state, and of the
    state itself; `gates` are squashed.
    """
    reset, update, candidate = gates
    for_candidate = g * (1 - update) * (1 - candidate * candidate)
    for_update = g * (hidden - candidate) * (update * (1 - update))
    for_reset = for_candidate * kept_candidate * (reset * (1 - reset))
    return (for_reset, for_update, for_candidate), for_candidate * reset, g * update


def _gru_backward(
    g: np.ndarray, kept: np.ndarray, hidden: np.ndarray, squashed: np.ndarray
) -> tuple[np.ndarray, ...]:
    gates = _columns(squashed, 3)
    given, last, old = _gru_gradients(g, gates, _columns(kept, 3)[2], hidden)
    return _join(given, 1), _join((*given[:2], last), 1), old


GRU_BACKWARD = primitive(
    "_gru_cell_backward", "opaque", _gru_backward, outputs=("given", "kept", "hidden"), differentiable=()
)


def _squashed_gru(given: Tensor, kept: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """The three gates, and the candidate's part that comes from the state."""
    given_reset, given_update, given_candidate = given.chunk(3, 1)
    kept_reset, kept_update, kept_candidate = kept.chunk(3, 1)
    reset, update = sigmoid(kept_reset + given_reset), sigmoid(kept_update + given_update)
    return (reset, update, tanh(given_candidate + kept_candidate * reset)), kept_candidate


def _gru_rule(g: Tensor, tensors: Sequence[Tensor], squashed: Tensor) -> tuple[Tensor, ...]:
    given, kept, hidden = tensors
    if not state.mode & (GRAD | RECORDING):
        return apply(GRU_BACKWARD, (g, kept, hidden, squashed))
    before, last, old = _gru_gradients(g, *_squashed_gru(given, kept), hidden)
    return cat(before, 1), cat((*before[:2], last), 1), old


GRU_CELL = primitive(
    "_gru_cell",
    "opaque",
    _gru_forward,
    dict(tensors=_gru_rule),
    inputs=("*tensors",),
    outputs=("now", "squashed"),
    differentiable=(0,),
    node_name="AddBackward0",
)


def gru_step(given: Tensor, kept: Tensor, hidden: Tensor) -> Tensor:
    """The new hidden state from the parts of the three gates that come from the input and from the state,
    both ``(batch, 3 * hidden)`` in the order reset, update, candidate; and from the old state.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, with the reset gate after
    the product, as in cuDNN.
    """
    if _plainly(given._array):
        (_, update, candidate), _ = _squashed_gru(given, kept)
        return (hidden - candidate) * update + candidate
    return apply(GRU_CELL, (given, kept, hidden))[0]


# -- cells as functions --------------------------------------------------------------------------------------


def _check_cell(name: str, input: Any, states: Sequence[Tensor], weights: Sequence[Any], gates: int) -> None:
    """PyTorch's errors about sizes that do not go together."""
    for place, (argument, each) in enumerate(zip(("w_ih", "w_hh", "b_ih", "b_hh"), weights, strict=True)):
        if place < 2 or each is not None:
            require_tensor(name, argument, place + 3, each)
    features = weights[0].size(1)
    if input.size(1) != features:
        raise RuntimeError(f"input has inconsistent input_size: got {input.size(1)} expected {features}")
    size = weights[1].size(0) // gates if len(states) == 1 else weights[1].size(1)
    for number, each in enumerate(states):
        if input.size(0) != each.size(0):
            raise RuntimeError(
                f"Input batch size {input.size(0)} doesn't match hidden{number} batch size {each.size(0)}"
            )
        if each.size(1) != size:
            raise RuntimeError(
                f"hidden{number} has inconsistent hidden_size: got {each.size(1)}, expected {size}"
            )


def _cell_samples(gates: int, states: int) -> Callable[[], list[Sample]]:
    """Samples of a cell with so many gates, whose state is one tensor or a tuple of so many."""

    def samples() -> list[Sample]:
        def call(batch: int = 3, kind: str = "float32", biases: int = 2, **wrong: int) -> list[Any]:
            hidden = T((wrong.get("rows", batch), wrong.get("size", 4)), kind)
            weights = [T((4 * gates, n), kind, low=-1, high=1) for n in (5, 4)]
            state = hidden if states == 1 else (hidden, *[T((batch, 4), kind)] * (states - 1))
            given = T((batch, wrong.get("features", 5)), kind)
            return [given, state, *weights, *[T((4 * gates,), kind)] * biases]

        found = [Sample(call()), Sample(call(kind="float64")), Sample(call(biases=0)), Sample(call(biases=1))]
        refused = [call(rows=2), call(size=2), call(features=2)]
        return found + [Sample(each, raises=True) for each in refused]

    return samples


def _elman_cell(name: str, squash: Callable[[Tensor], Tensor], node: str) -> Callable[..., Tensor]:
    """`rnn_tanh_cell` or `rnn_relu_cell`."""

    def function(
        input: Tensor,
        hx: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Tensor:
        require_tensor(name, "input", 1, input)
        require_tensor(name, "hx", 2, hx)
        _check_cell(name, input, (hx,), (w_ih, w_hh, b_ih, b_hh), 1)
        return squash(linear(hx, w_hh, b_hh) + linear(input, w_ih, b_ih))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"One step of an Elman network: `{node}` of both products, as `nn.RNNCell` takes it. Elman, "
        '"Finding Structure in Time", 1990.'
    )
    return composite(samples=_cell_samples(1, 1), method=False)(function)


rnn_tanh_cell = _elman_cell("rnn_tanh_cell", tanh, "tanh")
rnn_relu_cell = _elman_cell("rnn_relu_cell", relu, "relu")


@composite(samples=_cell_samples(3, 1), method=False)
def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of a GRU for input ``(batch, features)`` and state ``(batch, hidden)``; ``w_ih`` and ``w_hh``
    have ``3 * hidden`` rows: reset, update, candidate.

    >>> import rushlight as torch
    >>> torch.gru_cell(torch.ones(2, 5), torch.zeros(2, 4), torch.zeros(12, 5), torch.zeros(12, 4)).shape
    torch.Size([2, 4])
    """
    require_tensor("gru_cell", "input", 1, input)
    require_tensor("gru_cell", "hx", 2, hx)
    _check_cell("gru_cell", input, (hx,), (w_ih, w_hh, b_ih, b_hh), 3)
    return gru_step(linear(input, w_ih, b_ih), linear(hx, w_hh, b_hh), hx)


@composite(samples=_cell_samples(4, 2), method=False)
def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM for input ``(batch, features)`` and the hidden state and cell ``(batch, hidden)``;
    ``w_ih`` and ``w_hh`` have ``4 * hidden`` rows: input, forget, candidate, output.

    >>> import rushlight as torch
    >>> state = (torch.zeros(2, 4), torch.zeros(2, 4))
    >>> hidden, cell = torch.lstm_cell(torch.ones(2, 5), state, torch.zeros(16, 5), torch.zeros(16, 4))
    >>> hidden.shape
    torch.Size([2, 4])
    """
    require_tensor("lstm_cell", "input", 1, input)
    if not isinstance(hx, (list, tuple)):
        raise ArgumentError(
            f"lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not {type_of(hx)}"
        )
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    _check_cell("lstm_cell", input, hx, (w_ih, w_hh, b_ih, b_hh), 4)
    return lstm_step(linear(hx[0], w_hh, b_hh) + linear(input, w_ih, b_ih), hx[1])
