"""What a session prints besides plain numbers is PyTorch's text: gradients, parameters, containers, formats.

Each case is a program: a function of the library, run once with each, whose result is printed with ``repr``.
"""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

MATRIX = np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)

GRAD_RESULTS = {
    "leaf": lambda t, x: x,
    "mul": lambda t, x: x * 2,
    "add": lambda t, x: x + 1,
    "sub": lambda t, x: x - x,
    "rsub": lambda t, x: 1 - x,
    "div": lambda t, x: x / 2,
    "reciprocal": lambda t, x: 1 / x,
    "neg": lambda t, x: -x,
    "pow number": lambda t, x: x**2,
    "pow tensor": lambda t, x: x.abs() ** x,
    "abs": lambda t, x: x.abs(),
    "exp": lambda t, x: x.exp(),
    "log": lambda t, x: t.log(x.detach().abs().requires_grad_()),
    "sqrt": lambda t, x: t.sqrt(x.detach().abs().requires_grad_()),
    "sin": lambda t, x: t.sin(x),
    "tanh": lambda t, x: t.tanh(x),
    "sigmoid": lambda t, x: t.sigmoid(x),
    "relu": lambda t, x: t.relu(x),
    "clamp": lambda t, x: x.clamp(min=0.0),
    "sum": lambda t, x: x.sum(),
    "sum of a dimension": lambda t, x: x.sum(1),
    "mean": lambda t, x: x.mean(),
    "mean of a dimension": lambda t, x: x.mean(0, keepdim=True),
    "max": lambda t, x: x.max(),
    "max of a dimension": lambda t, x: x.max(1),
    "min of a dimension": lambda t, x: x.min(dim=0).values,
    "amax": lambda t, x: x.amax(1),
    "var": lambda t, x: x.var(),
    "std": lambda t, x: x.std(1),
    "prod": lambda t, x: x.prod(),
    "cumsum": lambda t, x: x.cumsum(1),
    "norm": lambda t, x: x.norm(),
    "logsumexp": lambda t, x: x.logsumexp(1),
    "softmax": lambda t, x: x.softmax(1),
    "log_softmax": lambda t, x: x.log_softmax(1),
    "matmul": lambda t, x: x @ x.T,
    "mm": lambda t, x: t.mm(x, x.t()),
    "mv": lambda t, x: x @ x[0],
    "dot": lambda t, x: x[0] @ x[1],
    "bmm": lambda t, x: t.bmm(x[None], x.T[None]),
    "transpose": lambda t, x: x.T,
    "permute": lambda t, x: x.permute(1, 0),
    "view": lambda t, x: x.view(3, 2),
    "reshape": lambda t, x: x.reshape(-1),
    "flatten": lambda t, x: x.flatten(),
    "squeeze": lambda t, x: x[:1].squeeze(0),
    "squeeze all": lambda t, x: x[:1].squeeze(),
    "unsqueeze": lambda t, x: x.unsqueeze(0),
    "expand": lambda t, x: x[:1].expand(2, 3),
    "row": lambda t, x: x[0],
    "slice": lambda t, x: x[:, 1:],
    "index": lambda t, x: x[[0, 1], [1, 2]],
    "mask": lambda t, x: x[x > -100],
    "element": lambda t, x: x[0, 1],
    "index_select": lambda t, x: x.index_select(1, t.tensor([0, 2])),
    "gather": lambda t, x: x.gather(1, t.tensor([[0], [2]])),
    "cat": lambda t, x: t.cat([x, x]),
    "stack": lambda t, x: t.stack([x, x], 1),
    "split": lambda t, x: x.split(2, 1)[0],
    "chunk": lambda t, x: x.chunk(2)[1],
    "unbind": lambda t, x: x.unbind(0)[0],
    "where": lambda t, x: t.where(x > 0, x, 0.0),
    "masked_fill": lambda t, x: x.masked_fill(x > 0, 1.0),
    "tril": lambda t, x: x.tril(),
    "sort": lambda t, x: x.sort(1),
    "topk": lambda t, x: x.topk(2, 1),
    "clone": lambda t, x: x.clone(),
    "to double": lambda t, x: x.double(),
    "to half": lambda t, x: x.half() * 3,
    "add in place": lambda t, x: x.clone().add_(1),
    "fill in place": lambda t, x: x.clone().zero_(),
    "set item": lambda t, x: _with_first_row_zero(x.clone()),
    "detach": lambda t, x: (x * 2).detach(),
    "long result": lambda t, x: t.cat([x * 1e5] * 20, 1),
    "long row": lambda t, x: t.cat([x[0] * 1.5] * 6).double(),
    "linear": lambda t, x: t.nn.functional.linear(x, x),
    "linear of three dimensions": lambda t, x: t.nn.functional.linear(x[None], x),
    "gelu": lambda t, x: t.nn.functional.gelu(x),
    "leaky_relu": lambda t, x: t.nn.functional.leaky_relu(x),
    "softplus": lambda t, x: t.nn.functional.softplus(x),
    "cross_entropy": lambda t, x: t.nn.functional.cross_entropy(x, t.tensor([0, 2])),
    "nll_loss": lambda t, x: t.nn.functional.nll_loss(x, t.tensor([0, 2])),
    "mse_loss": lambda t, x: t.nn.functional.mse_loss(x, t.zeros(2, 3)),
    "l1_loss": lambda t, x: t.nn.functional.l1_loss(x, t.zeros(2, 3)),
    "smooth_l1_loss": lambda t, x: t.nn.functional.smooth_l1_loss(x, t.zeros(2, 3)),
    "bce_with_logits": lambda t, x: t.nn.functional.binary_cross_entropy_with_logits(x, t.ones(2, 3)),
    "layer_norm": lambda t, x: t.nn.functional.layer_norm(x, (3,)),
    "embedding": lambda t, x: t.nn.functional.embedding(t.tensor([1, 0]), x),
    "custom function": lambda t, x: _doubling(t).apply(x),
}


def _with_first_row_zero(x):
    x[0] = 0.0
    return x


def _doubling(t):
    class Doubling(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    return Doubling


OBJECTS = {
    "parameter": lambda t: t.nn.Parameter(t.from_numpy(MATRIX)),
    "frozen parameter": lambda t: t.nn.Parameter(t.ones(2), requires_grad=False),
    "0-d parameter": lambda t: t.nn.Parameter(t.tensor(0.5)),
    "double parameter": lambda t: t.nn.Parameter(t.ones(2, 2, dtype=t.float64)),
    "empty parameter": lambda t: t.nn.Parameter(t.ones(0, 4)),
    "subclass of tensor": lambda t: type("Measured", (t.Tensor,), {})([1.0, 2.0]),
    "long subclass": lambda t: type("Quantities", (t.Tensor,), {})([[float(n) for n in range(30)]] * 2),
    "subclass of parameter": lambda t: type("Weight", (t.nn.Parameter,), {})(t.ones(3)),
    "list": lambda t: [t.tensor([1.5, 2.5]), t.tensor(3)],
    "dictionary": lambda t: {"weight": t.tensor([[1.0, 2.0], [3.0, 4.0]]), "step": t.tensor(7)},
    "tuple": lambda t: (t.tensor([True]), t.tensor(1.0, requires_grad=True)),
    "size": lambda t: (t.zeros(2, 3).shape, t.zeros(()).size(), t.Size([4])[:1], t.zeros(5).shape + (1,)),
    "dtypes": lambda t: (
        [t.tensor(value).dtype for value in (1, 1.0, True)]
        + [t.uint8, t.int8, t.int16, t.int32, t.half, t.double]
    ),
    "device": lambda t: (t.zeros(1).device, t.device("cpu"), t.device("cuda", 1), str(t.device("cuda:1"))),
    "finfo": lambda t: [t.finfo(t.float16), t.finfo(t.float32), t.finfo(t.float64)],
    "iinfo": lambda t: [t.iinfo(t.uint8), t.iinfo(t.int64)],
    "str": lambda t: str(t.tensor([[1.0, 0.5]])),
    "max": lambda t: t.tensor([[1.0, 5.0], [7.0, 2.0]]).max(1),
    "sort": lambda t: t.sort(t.tensor([3, 1, 2])),
    "requires grad": lambda t: t.ones(3, requires_grad=True),
    "requires grad and dtype": lambda t: t.ones(3, dtype=t.float64, requires_grad=True),
    "requires grad on a new line": lambda t: t.full((3, 9), 0.125, requires_grad=True),
    "empty that requires grad": lambda t: t.empty(0, 3, dtype=t.float64, requires_grad=True),
    "gradient": lambda t: _gradient(t),
    "no_grad result": lambda t: _without_grad(t),
    "view cut off by an in-place operation": lambda t: _cut_off_view(t),
    "one of several views cut off": lambda t: _cut_off_row(t),
}


def _gradient(t):
    x = t.from_numpy(MATRIX.copy()).requires_grad_()
    (x**2).sum().backward()
    return x.grad


def _without_grad(t):
    x = t.ones(2, requires_grad=True)
    with t.no_grad():
        return x * 2


def _cut_off_view(t):
    x = t.ones(3, requires_grad=True).clone()
    with t.no_grad():
        view = x.view(3)
    x.mul_(2)
    return view


def _cut_off_row(t):
    x = t.ones(3, requires_grad=True).clone()
    row = x.unbind(0)[0]
    x.mul_(2)
    return row


FORMATS = [
    ("{}", 1.5), ("{}", 3), ("{}", True), ("{}", [1.5, 2.0]), ("{:.2f}", 3.14159), ("{:>10.3e}", 12345.678),
    ("{:5d}", 42), ("{:+.1%}", 0.256), ("{!r}", 1.5), ("{!s}", [1, 2]), ("{:x}", 255), ("{}", 0.1),
]  # fmt: skip


@pytest.mark.parametrize("program", GRAD_RESULTS.values(), ids=GRAD_RESULTS)
def test_result_with_gradient(program):
    texts = []
    for library in (rushlight, torch):
        x = library.from_numpy(MATRIX.copy()).requires_grad_()
        texts.append(repr(program(library, x)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("program", OBJECTS.values(), ids=OBJECTS)
def test_object(program):
    assert repr(program(rushlight)) == repr(program(torch))


@pytest.mark.parametrize(("template", "value"), FORMATS)
def test_format(template, value):
    assert template.format(rushlight.tensor(value)) == template.format(torch.tensor(value))


def test_format_of_a_number_that_requires_grad():
    texts = [f"{library.tensor(2.5, requires_grad=True):.3f}" for library in (rushlight, torch)]
    assert texts == ["2.500", "2.500"]


def test_format_refuses_a_spec_for_more_than_one_number():
    messages = []
    for library in (rushlight, torch):
        with pytest.raises(TypeError) as raised:
            format(library.ones(2), ".2f")
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
