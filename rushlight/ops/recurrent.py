"""Recurrent networks over sequences: `rnn_tanh`, `rnn_relu`, `gru` and `lstm` as PyTorch's core has them.

Sequences are padded, ``(time, batch, features)``, or packed: the rows of all steps in one matrix, with the
number of sequences that are still running at each step. The products of all steps with ``weight_ih`` are one
product; the rest is a loop in Python over the cells of `ops.recurrent_cells`, which a compiled step simply
records. Invariant: both kinds of sequences go through the same loop, as lists of one matrix per step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rushlight.ops.activations import relu
from rushlight.ops.define import apply, labelled
from rushlight.ops.dropout import dropout as drop
from rushlight.ops.functions import tanh
from rushlight.ops.join import cat, stack
from rushlight.ops.kinds import composite
from rushlight.ops.matmul import LINEAR, gemm, linear
from rushlight.ops.operands import TITLES, type_of
from rushlight.ops.recurrent_cells import gru_step, lstm_step
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

State = tuple[Tensor, ...]  # hidden state, and for an LSTM the cell


class Weights(NamedTuple):
    """The parameters of one layer in one direction."""

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    hr: Tensor | None  # what projects the hidden state of an LSTM


# -- one step ------------------------------------------------------------------------------------------------
# A step takes the row of products with weight_ih, the state and the weights, and returns the new state.


def _tanh_step(given: Tensor, state: State, weights: Weights) -> State:
    return (tanh(apply(LINEAR, (state[0], weights.hh, given))),)


def _relu_step(given: Tensor, state: State, weights: Weights) -> State:
    return (relu(apply(LINEAR, (state[0], weights.hh, given))),)


def _lstm_step(given: Tensor, state: State, weights: Weights) -> State:
    hidden, cell = lstm_step(apply(LINEAR, (state[0], weights.hh, given)), state[1])
    return (hidden if weights.hr is None else gemm(hidden, weights.hr, False, True)), cell


def _gru_step(given: Tensor, state: State, weights: Weights) -> State:
    (hidden,) = state
    return (gru_step(given, linear(hidden, weights.hh, weights.bias_hh), hidden),)


class Kind(NamedTuple):
    """A kind of network."""

    name: str
    step: Callable[[Tensor, State, Weights], State]
    gates: int
    states: int


KINDS = {
    "rnn_tanh": Kind("rnn_tanh", _tanh_step, 1, 1),
    "rnn_relu": Kind("rnn_relu", _relu_step, 1, 1),
    "lstm": Kind("lstm", _lstm_step, 4, 2),
    "gru": Kind("gru", _gru_step, 3, 1),
}


# -- one layer -----------------------------------------------------------------------------------------------


def _given(kind: Kind, rows: Tensor, weights: Weights) -> Tensor:
    """The products of all rows with ``weight_ih``, and the biases that can be added now."""
    bias = weights.bias_ih
    if bias is not None and weights.bias_hh is not None and kind.name != "gru":
        bias = bias + weights.bias_hh  # the candidate of a GRU wants its own inside
    return linear(rows, weights.ih, bias)


def _check_state(kind: Kind, given: Tensor, state: State, weights: Weights) -> None:
    """PyTorch's errors about a state that does not go with the input or the weights."""
    batch, width = given.shape
    (rows, size), (gates, expected) = state[0].shape, weights.hh.shape
    if state[0].dtype != weights.hh.dtype:
        one, two = TITLES[state[0].dtype.name], TITLES[weights.hh.dtype.name]
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {one} and {two}")
    if size != expected:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{size} and {expected}x{gates})"
        )
    for each in state:
        rows = each.shape[0]
        if rows == 1 != batch:
            shape = [1, width // kind.gates]
            raise RuntimeError(
                f"output with shape {shape} doesn't match the broadcast shape {[batch, shape[1]]}"
            )
        if rows != batch:
            raise RuntimeError(
                f"The size of tensor a ({rows}) must match the size of tensor b ({batch}) at non-singleton "
                "dimension 0"
            )


def _forwards(
    kind: Kind, steps: Sequence[Tensor], state: State, weights: Weights
) -> tuple[list[Tensor], State]:
    """The hidden states of all steps, and the last state of each sequence: sequences only end on the way."""
    _check_state(kind, steps[0], state, weights)
    outputs, ended = [], []
    running = state[0].shape[0]
    for given in steps:
        count = given.shape[0]
        if count < running:
            ended.append(tuple(each[count:] for each in state))
            state, running = tuple(each[:count] for each in state), count
        state = kind.step(given, state, weights)
        outputs.append(state[0])
    if ended:
        parts = [state, *reversed(ended)]
        state = tuple(cat([part[number] for part in parts]) for number in range(len(state)))
    return outputs, state


def _backwards(
    kind: Kind, steps: Sequence[Tensor], start: State, weights: Weights
) -> tuple[list[Tensor], State]:
    """The same from the last step to the first: sequences only begin on the way."""
    _check_state(kind, steps[0], start, weights)
    outputs = []
    running = steps[-1].shape[0]
    state = start if start[0].shape[0] == running else tuple(each[:running] for each in start)
    for given in reversed(steps):
        count = given.shape[0]
        if count > running:
            pairs = zip(state, start, strict=True)
            state = tuple(cat([each, first[running:count]]) for each, first in pairs)
            running = count
        state = kind.step(given, state, weights)
        outputs.append(state[0])
    return outputs[::-1], state


def _layer(
    kind: Kind,
    input: Tensor,
    counts: list[int] | None,
    state: State,
    weights: Weights,
    backwards: bool,
) -> tuple[Tensor, State]:
    """One layer in one direction, for packed rows (with `counts`) or padded sequences."""
    if counts is None:
        time, batch = input.shape[:2]
        rows = _given(kind, input.reshape(time * batch, input.shape[2]), weights)
        steps = rows.view(time, batch, rows.shape[1]).unbind(0)
    else:
        steps = _given(kind, input, weights).split_with_sizes(counts)
    outputs, last = (_backwards if backwards else _forwards)(kind, steps, state, weights)
    return (stack(outputs) if counts is None else cat(outputs)), last


# -- all layers ----------------------------------------------------------------------------------------------


def _weights(
    kind: Kind, params: Sequence[Tensor], has_biases: bool, projected: bool, expected: int
) -> list[Weights]:
    """The parameters by layer and direction; RuntimeError unless there are enough of them."""
    count = 2 + 2 * has_biases + projected
    if len(params) % count:
        if kind.name == "lstm":
            raise RuntimeError(f"MatrixRef: ArrayRef size {len(params)} not divisible by stride {count}")
        raise RuntimeError("got an incorrect number of RNN parameters")
    found = []
    for start in range(0, len(params), count):
        ih, hh, *others = params[start : start + count]
        hr = others.pop() if projected else None
        bias_ih, bias_hh = others if has_biases else (None, None)
        found.append(Weights(ih, hh, bias_ih, bias_hh, hr))
    if len(found) < expected or (kind.name != "lstm" and len(found) != expected):
        raise RuntimeError("Expected more weights in stacked_rnn")
    return found


def run_layers(
    name: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:
    """All layers of a network, `name` being a key of `KINDS`.

    Args:
        name: the kind of network.
        input: ``(time, batch, features)``, with batch and time changed if `batch_first`; or packed rows.
        batch_sizes: how many sequences run at each step if the input is packed, else None.
        hx: the first hidden state ``(layers * directions, batch, size)``, and for an LSTM the first cell.
        params: weights and biases by layer, direction and name.
        has_biases: whether biases are among them.
        num_layers: how many layers.
        dropout: the chance with which outputs of all layers but the last are dropped.
        train: whether to drop anything.
        bidirectional: whether each layer also reads from the end; both outputs stand side by side.
        batch_first: see `input`.

    Returns:
        The outputs of the last layer, and the last states in the shapes of `hx`.
    """
    kind = KINDS[name]
    directions = 2 if bidirectional else 1
    projected = kind.states == 2 and hx[0].size(2) != hx[1].size(2)
    weights = _weights(kind, params, has_biases, projected, num_layers * directions)
    firsts: list[State] = list(zip(*[each.unbind(0) for each in hx], strict=True))
    if len(firsts) != num_layers * directions:
        raise RuntimeError("Expected more hidden states in stacked_rnn")
    if batch_sizes is None and batch_first:
        input = input.transpose(0, 1)
    counts = None if batch_sizes is None else [int(each) for each in batch_sizes.tolist()]
    if input.size(0) == 0 and (counts is None or not counts):
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    lasts = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            number = layer * directions + direction
            output, last = _layer(kind, input, counts, firsts[number], weights[number], direction == 1)
            outputs.append(output)
            lasts.append(last)
        input = outputs[0] if directions == 1 else cat(outputs, -1)
        if dropout != 0 and train and layer < num_layers - 1:
            input = drop(input, dropout, train)
    if batch_sizes is None:
        input = _named_as_pytorch_does(kind, input, directions, projected, batch_first)
    return (input, *[stack([last[number] for last in lasts]) for number in range(kind.states)])


def _named_as_pytorch_does(
    kind: Kind, output: Tensor, directions: int, projected: bool, batch_first: bool
) -> Tensor:
    """The output in the caller's order of dimensions, its `grad_fn` named as in PyTorch, whose LSTM is
    oneDNN's where that can be.
    """
    library = kind.name == "lstm" and not projected and output.dtype.name == "float32"
    if library and directions == 1:
        labelled(output, "MkldnnRnnLayerBackward0")
    if not batch_first:
        return output
    output = output.transpose(0, 1)
    return output if kind.name == "lstm" else labelled(output, "TransposeBackward1")


# -- functions -----------------------------------------------------------------------------------------------

_SETTINGS = ("has_biases", "num_layers", "dropout", "train", "bidirectional")
_PADDED = ("input", "hx", "params", *_SETTINGS, "batch_first")
_PACKED = ("data", "batch_sizes", "hx", "params", *_SETTINGS)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, Tensor) for each in value)


def _fits(name: str, value: Any, listed: bool) -> bool:
    """Whether a value can be the argument `name`; the state is a list of tensors if `listed`."""
    if name == "params" or (name == "hx" and listed):
        return _is_list(value)
    if name in ("input", "data", "batch_sizes", "hx"):
        return isinstance(value, Tensor)
    if name == "num_layers":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "dropout":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, bool)


def _bound(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name, for padded or packed sequences; TypeError where they are neither."""
    for names in (_PADDED, _PACKED):
        given = dict(zip(names, args, strict=False))
        if len(args) > len(names) or given.keys() & kwargs.keys():
            continue
        given |= kwargs
        if given.keys() == set(names) and all(_fits(each, given[each], name == "lstm") for each in names):
            return given
    got = [type_of(each) for each in args] + [f"{key}={type_of(each)}" for key, each in kwargs.items()]
    state = "tuple of Tensors hx" if name == "lstm" else "Tensor hx"
    settings = "bool has_biases, int num_layers, float dropout, bool train, bool bidirectional"
    raise TypeError(
        f"{name}() received an invalid combination of arguments - got ({', '.join(got)}), but expected one "
        f"of:\n * (Tensor data, Tensor batch_sizes, {state}, tuple of Tensors params, {settings})\n"
        f" * (Tensor input, {state}, tuple of Tensors params, {settings}, bool batch_first)\n"
    )


def _samples(name: str) -> Callable[[], list[Sample]]:
    kind = KINDS[name]

    def weights(layers: int, directions: int, biased: bool) -> list[T]:
        found = []
        for layer in range(layers):
            for _ in range(directions):
                width = 3 if layer == 0 else 2 * directions
                found += [T((2 * kind.gates, n), low=-1, high=1) for n in (width, 2)]
                found += [T((2 * kind.gates,))] * (2 * biased)
        return found

    def state(count: int) -> Any:
        first = T((count, 2, 2))
        return first if kind.states == 1 else [first, T((count, 2, 2))]

    def samples() -> list[Sample]:
        settings = [0.0, False]
        sizes = T(values=[2, 2, 1], dtype="int64")
        one, both = weights(1, 1, True), weights(2, 2, False)
        return [
            Sample([T((4, 2, 3)), state(1), one, True, 1, *settings, False, False]),
            Sample([T((2, 3, 3)), state(4), both, False, 2, *settings, True, True]),
            Sample([T((5, 3)), sizes, state(1), one, True, 1, *settings, False]),
            Sample([T((5, 3)), sizes, state(4), both, False, 2, *settings, True]),
            Sample([T((4, 2, 3)), state(1), one[:3], True, 1, *settings, False, False], raises=True),
            Sample([T((0, 2, 3)), state(1), one, True, 1, *settings, False, False], raises=True),
            Sample([T((4, 2, 3)), one, True, 1, *settings, False, False], raises=True),
        ]

    return samples


def _function(name: str, title: str, state: str) -> Callable[..., tuple[Tensor, ...]]:
    """One of the four functions."""

    def function(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        given = _bound(name, args, kwargs)
        hx = given["hx"]
        if name == "lstm" and len(hx) != 2:
            raise RuntimeError("lstm expects two hidden states")
        return run_layers(
            name,
            given["input"] if "input" in given else given["data"],
            given.get("batch_sizes"),
            hx if name == "lstm" else (hx,),
            params=given["params"],
            **{each: given[each] for each in _SETTINGS},
            batch_first=given.get("batch_first", False),
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{title} over sequences, with all weights in one list: "
        f"``{name}(input, {state}, params, has_biases, num_layers, dropout, train, bidirectional, "
        f"batch_first)``, or for packed sequences ``{name}(data, batch_sizes, {state}, params, has_biases, "
        "num_layers, dropout, train, bidirectional)``; layers of ``nn`` call it. Returns the outputs and the "
        "last states."
    )
    return composite(samples=_samples(name), method=False)(function)


rnn_tanh = _function("rnn_tanh", "An Elman network with tanh", "hx")
rnn_relu = _function("rnn_relu", "An Elman network with relu", "hx")
gru = _function("gru", "A GRU", "hx")
lstm = _function("lstm", "An LSTM", "(h, c)")
