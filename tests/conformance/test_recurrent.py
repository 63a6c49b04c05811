"""Recurrent layers and packed sequences against PyTorch: text, weights, results, gradients, errors."""

import warnings

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

LAYERS = [
    "RNN(3, 4)",
    "RNN(3, 4, 2, nonlinearity='relu', bias=False)",
    "RNN(3, 4, 1, 'relu', True, True)",
    "RNN(3, 4, bidirectional=True, dtype=lib.float64)",
    "LSTM(3, 4)",
    "LSTM(3, 4, 2, batch_first=True, bidirectional=True)",
    "LSTM(3, 4, num_layers=2, proj_size=2)",
    "LSTM(3, 4, proj_size=3, bidirectional=True, batch_first=True, bias=False)",
    "LSTM(3, 4, 3, dropout=0.5)",
    "GRU(3, 4)",
    "GRU(3, 4, 2, bidirectional=True)",
    "GRU(3, 4, 2, bias=False, batch_first=True, dropout=0.3)",
]
CELLS = ["RNNCell(3, 4)", "RNNCell(3, 4, False, 'relu')", "LSTMCell(3, 4)", "GRUCell(3, 4, bias=False)"]


def made(lib, code):
    lib.manual_seed(7)
    return eval(f"lib.nn.{code}", {"lib": lib})


def given(lib, *shape, dtype="float32"):
    values = (
        torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=torch.float64).mul(40).sin().reshape(shape)
    )
    values = values.to(getattr(torch, dtype))
    return values.clone() if lib is torch else lib.from_numpy(values.numpy().copy())


def flat(value):
    """All tensors of a result, packed or not."""
    if isinstance(value, (rushlight.Tensor, torch.Tensor)):
        return [value]
    return [each for part in value if part is not None for each in flat(part)]


def check_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(
            torch.from_numpy(mine.detach().numpy().copy()), other.detach(), rtol=1e-4, atol=1e-5
        )


def run(lib, layer, *args):
    """Results, and the gradients of the sum of their squares."""
    lib.manual_seed(3)
    results = flat(layer(*args))
    floats = [each for each in results if each.dtype.is_floating_point]
    sum(each.square().sum() for each in floats).backward()
    return [*results, *[each.grad for each in layer.parameters()]]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("code", LAYERS)
@pytest.mark.parametrize("form", ["batch", "single", "state", "packed"])
def test_layer(code, form):
    kind = "float64" if "float64" in code else "float32"
    found = []
    for lib in (rushlight, torch):
        layer = made(lib, code)
        args = [given(lib, 5, 2, 3, dtype=kind)]
        if form == "single":
            args = [given(lib, 5, 3, dtype=kind)]
        if form == "packed":
            rows = [given(lib, length, 3, dtype=kind) for length in (2, 5, 3)]
            args = [lib.nn.utils.rnn.pack_sequence(rows, enforce_sorted=False)]
        if form == "state":
            batch = 5 if layer.batch_first else 2
            count = layer.num_layers * (2 if layer.bidirectional else 1)
            first = given(lib, count, batch, layer.proj_size or 4, dtype=kind)
            args.append((first, given(lib, count, batch, 4, dtype=kind)) if "LSTM" in code else first)
        found.append((repr(layer), list(layer.state_dict()), run(lib, layer, *args)))
    assert found[0][:2] == found[1][:2]
    check_equal(found[0][2], found[1][2])


@pytest.mark.parametrize("code", CELLS)
def test_cell(code):
    for rows in ((2, 3), (3,)):
        found = []
        for lib in (rushlight, torch):
            cell = made(lib, code)
            found.append((repr(cell), list(cell.state_dict()), run(lib, cell, given(lib, *rows))))
        assert found[0][:2] == found[1][:2]
        check_equal(found[0][2], found[1][2])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_second_derivatives(name):
    found = []
    for lib in (rushlight, torch):
        layer = made(lib, f"{name}(2, 3, dtype=lib.float64)")
        x = given(lib, 3, 2, 2, dtype="float64").requires_grad_()
        (grad,) = lib.autograd.grad(layer(x)[0].pow(3).sum(), x, create_graph=True)
        grad.square().sum().backward()
        found.append([x.grad, *[each.grad for each in layer.parameters()]])
    check_equal(*found)


def test_a_sine_is_learnt_alike():
    found = []
    for lib in (rushlight, torch):
        lib.manual_seed(0)
        lstm, head = lib.nn.LSTM(1, 8, batch_first=True), lib.nn.Linear(8, 1)
        optimizer = lib.optim.Adam([*lstm.parameters(), *head.parameters()], lr=0.02)
        wave = lib.arange(0, 8.5, 0.1).sin().reshape(5, 17, 1)
        losses = []
        for _ in range(10):
            loss = lib.nn.functional.mse_loss(head(lstm(wave[:, :-1])[0]), wave[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found.append(losses)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_packing_and_back():
    found = []
    for lib in (rushlight, torch):
        rnn = lib.nn.utils.rnn
        rows = [given(lib, length, 2) for length in (2, 4, 1)]
        packed = rnn.pack_sequence(rows, enforce_sorted=False)
        padded, lengths = rnn.pad_packed_sequence(
            packed, batch_first=True, padding_value=-1.0, total_length=6
        )
        fields = [packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices]
        again = rnn.pack_padded_sequence(padded, lengths, True, False)
        back = rnn.unpack_sequence(again)
        found.append([each.tolist() for each in (packed.data, *fields, padded, lengths, *back)])
    assert found[0] == found[1]


def test_the_warning_about_dropout_of_one_layer():
    texts = []
    for lib in (rushlight, torch):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lib.nn.GRU(3, 4, dropout=0.5)
        texts.append([str(each.message) for each in caught])
    assert texts[0] == texts[1] != []


MISTAKES = [
    "nn.LSTM(3, 4)(zeros(5, 2, 2))",
    "nn.LSTM(3, 4)(zeros(5))",
    "nn.RNN(3, 4)(zeros(5))",
    "nn.GRU(3, 4)(zeros(5, 2, 3), zeros(1, 3, 4))",
    "nn.GRU(3, 4)(zeros(5, 2, 3), zeros(2, 4))",
    "nn.GRU(3, 4)(zeros(5, 3), zeros(1, 1, 4))",
    "nn.LSTM(3, 4)(zeros(5, 2, 3), (zeros(1, 2, 4), zeros(1, 2, 5)))",
    "nn.LSTM(3, 4)(zeros(5, 2, 3).double())",
    "nn.RNN(3, 4, nonlinearity='sin')",
    "nn.LSTM(3, 4, dropout=2)",
    "nn.LSTM(3, 4, proj_size=4)",
    "nn.GRU(3, 4, proj_size=2)",
    "nn.LSTM(3, 0)",
    "nn.LSTM(3, 4, num_layers=0)",
    "nn.RNNBase('FOO', 3, 4)",
    "nn.LSTMCell(3, 4)(zeros(2, 2, 3))",
    "nn.GRUCell(3, 4)(zeros(2, 2))",
    "nn.GRUCell(3, 4)(zeros(2, 3), zeros(3, 4))",
    "nn.utils.rnn.pack_padded_sequence(zeros(4, 2, 3), [1, 2])",
    "nn.utils.rnn.pack_padded_sequence(zeros(4, 2, 3), [2, 0])",
    "nn.utils.rnn.pack_padded_sequence(zeros(4, 2, 3), [2])",
]


@pytest.mark.parametrize("code", MISTAKES)
def test_mistakes(code):
    found = []
    for lib in (rushlight, torch):
        with pytest.raises((RuntimeError, ValueError, TypeError)) as caught:
            eval(code, {"nn": lib.nn, "zeros": lib.zeros})
        text = str(caught.value).partition("\n")[0].replace("rushlight.", "torch.")
        found.append((caught.type, text))
    assert found[0] == found[1]
