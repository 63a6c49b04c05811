"""Pooling layers against PyTorch: printed text, results, gradients, indices, ties, NaN and errors."""

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

LAYERS = [
    ("MaxPool1d(3, 2, 1)", (2, 3, 9)),
    ("MaxPool1d(2, return_indices=True)", (3, 9)),
    ("MaxPool2d(2)", (2, 3, 8, 6)),
    ("MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True)", (2, 3, 8, 7)),
    ("MaxPool2d(2, stride=1, dilation=(2, 1), return_indices=True)", (3, 8, 7)),
    ("MaxPool3d(2, padding=1)", (1, 2, 4, 5, 6)),
    ("MaxPool3d(3, stride=2, ceil_mode=True, return_indices=True)", (1, 2, 4, 5, 6)),
    ("AvgPool1d(3, 2, 1)", (2, 3, 9)),
    ("AvgPool1d(4, 3, ceil_mode=True, count_include_pad=False)", (3, 9)),
    ("AvgPool2d(3, 2, 1)", (2, 3, 8, 7)),
    ("AvgPool2d((3, 2), padding=(1, 0), ceil_mode=True, count_include_pad=False)", (2, 3, 8, 7)),
    ("AvgPool2d(2, divisor_override=5)", (3, 8, 7)),
    ("AvgPool3d(2, 1, 1)", (1, 2, 3, 4, 5)),
    ("LPPool1d(2, 3)", (2, 3, 9)),
    ("LPPool2d(3, (2, 3), 2, ceil_mode=True)", (2, 3, 8, 7)),
    ("LPPool3d(2, 2)", (1, 2, 4, 4, 5)),
    ("AdaptiveAvgPool1d(4)", (2, 3, 9)),
    ("AdaptiveAvgPool2d(1)", (2, 3, 5, 7)),
    ("AdaptiveAvgPool2d((3, None))", (2, 3, 5, 7)),
    ("AdaptiveAvgPool3d((2, 3, 1))", (1, 2, 4, 5, 6)),
    ("AdaptiveMaxPool1d(4)", (3, 9)),
    ("AdaptiveMaxPool2d((3, None), return_indices=True)", (2, 3, 5, 7)),
    ("AdaptiveMaxPool3d(2)", (1, 2, 4, 5, 3)),
]


def both(code, shape):
    """What a layer and its gradient make of the same numbers in both libraries."""
    values = torch.linspace(0.1, 9, torch.Size(shape).numel()).sin().abs().reshape(shape)
    found = []
    for lib, input in ((rushlight, rushlight.from_numpy(values.numpy().copy())), (torch, values.clone())):
        layer = eval(f"lib.nn.{code}", {"lib": lib})
        input.requires_grad_()
        made = layer(input)
        output, indices = made if isinstance(made, tuple) else (made, None)
        output.square().sum().backward()
        found.append((repr(layer), output, input.grad, indices))
    return found


@pytest.mark.parametrize(("code", "shape"), LAYERS)
def test_layer(code, shape):
    (text, output, grad, indices), (their_text, their_output, their_grad, their_indices) = both(code, shape)
    assert text == their_text
    assert output.grad_fn.name() == their_output.grad_fn.name()
    for mine, other in ((output, their_output), (grad, their_grad)):
        torch.testing.assert_close(torch.from_numpy(mine.detach().numpy()), other.detach())
    if indices is not None:
        assert (indices.dtype, their_indices.dtype) == (rushlight.int64, torch.int64)
        assert indices.tolist() == their_indices.tolist()


@pytest.mark.parametrize(
    ("code", "dims"), [("MaxUnpool1d(2)", 1), ("MaxUnpool2d(2, 2)", 2), ("MaxUnpool3d(2)", 3)]
)
def test_the_way_back(code, dims):
    values = torch.linspace(0.1, 9, 2 * 3 * 6**dims).sin().reshape(2, 3, *[6] * dims)
    found = []
    for lib, input in ((rushlight, rushlight.from_numpy(values.numpy().copy())), (torch, values)):
        pool = getattr(lib.nn, f"MaxPool{dims}d")(2, return_indices=True)
        back = eval(f"lib.nn.{code}", {"lib": lib})
        found.append((repr(back), back(*pool(input)).tolist(), back(*pool(input), [7] * dims).tolist()))
    assert found[0] == found[1]


def test_ties_and_special_values():
    nan, inf = float("nan"), float("inf")
    rows = [[1.0, 1.0, 0.0, 1.0], [nan, 2.0, -inf, -inf], [3.0, nan, -inf, -inf], [inf, 0.0, 5.0, 5.0]]
    for settings in ({}, {"stride": 1}, {"padding": 1}):
        found = [
            lib.nn.functional.max_pool2d(lib.tensor([rows]), 2, **settings, return_indices=True)
            for lib in (rushlight, torch)
        ]
        assert str(found[0][0].tolist()) == str(found[1][0].tolist())
        assert found[0][1].tolist() == found[1][1].tolist()


def test_whole_numbers():
    values = torch.arange(-18, 18).reshape(1, 6, 6)
    for code in ("max_pool2d(x, 2)", "max_pool2d(x, 3, 2, 1)", "avg_pool2d(x, 2)", "avg_pool2d(x, 3, 2, 1)"):
        ours = eval(f"F.{code}", {"F": rushlight.nn.functional, "x": rushlight.from_numpy(values.numpy())})
        assert ours.tolist() == eval(f"F.{code}", {"F": torch.nn.functional, "x": values}).tolist()


MISTAKES = [
    "F.max_pool2d(lib.zeros(8, 8), 2)",
    "F.max_pool2d(x, 9)",
    "F.max_pool2d(x, 2, padding=2)",
    "F.max_pool2d(x, 2, padding=-1)",
    "F.max_pool2d(x, 2, stride=0)",
    "F.max_pool2d(x, (2, 2, 2))",
    "F.max_pool2d(x, 2, (1, 2, 3))",
    "F.max_pool2d(x.bool(), 2)",
    "F.max_pool2d(x[:, :0], 2)",
    "F.max_pool1d(x, 2)",
    "F.max_pool1d(x[0], 9)",
    "F.max_pool1d(x[0], 0)",
    "F.max_pool1d(x[0].long(), 2)",
    "F.avg_pool2d(x, 2, divisor_override=0)",
    "F.avg_pool2d(x.bool(), 2)",
    "F.avg_pool2d(x, 9)",
    "F.avg_pool1d(x[0], 9)",
    "F.avg_pool3d(lib.zeros(1, 1, 2, 2, 2), 3)",
    "F.adaptive_avg_pool2d(x, (1, 2, 3))",
    "F.adaptive_avg_pool2d(x, -1)",
    "F.adaptive_max_pool2d(x, -1)",
    "F.adaptive_max_pool2d(x.long(), 3)",
    "F.max_unpool2d(x, x.long() * 0 + 999, 2)",
    "F.max_unpool2d(x, x, 2)",
    "F.max_unpool2d(x, x.long(), 2, output_size=(30, 16))",
]


@pytest.mark.parametrize("code", MISTAKES)
def test_mistakes(code):
    found = []
    for lib in (rushlight, torch):
        with pytest.raises((RuntimeError, ValueError, NotImplementedError, IndexError)) as caught:
            eval(code, {"lib": lib, "F": lib.nn.functional, "x": lib.zeros(2, 3, 8, 8)})
        found.append((caught.type, str(caught.value).partition("\n")[0]))
    assert found[0] == found[1]
