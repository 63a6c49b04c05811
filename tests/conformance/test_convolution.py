"""Convolution layers against PyTorch: printed text, initial weights, results, gradients and errors."""

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

LAYERS = [
    ("Conv1d(4, 6, 3)", (2, 4, 7)),
    ("Conv1d(4, 6, 3, padding=1, padding_mode='circular')", (4, 7)),
    ("Conv1d(4, 6, 2, padding='same', padding_mode='replicate')", (2, 4, 7)),
    ("Conv2d(1, 16, 3, stride=2, padding=1)", (3, 1, 9, 9)),
    ("Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (2, 2), 2, False, 'reflect')", (2, 4, 8, 7)),
    ("Conv2d(3, 4, 3, padding='same')", (2, 3, 6, 5)),
    ("Conv2d(3, 4, 3, padding='valid', dtype=lib.float64)", (2, 3, 6, 5)),
    ("Conv2d(3, 6, (3, 2), padding='same', dilation=2, groups=3)", (2, 3, 6, 5)),
    ("Conv3d(2, 4, (2, 3, 3), padding='same', padding_mode='circular')", (2, 2, 4, 4, 5)),
    ("ConvTranspose1d(4, 6, 3, 2)", (2, 4, 5)),
    ("ConvTranspose2d(3, 4, 3, 2, 1, 1)", (2, 3, 4, 5)),
    ("ConvTranspose2d(100, 8, 4, 1, 0, bias=False)", (2, 100, 1, 1)),
    ("ConvTranspose3d(4, 4, 2, groups=2, bias=False, dilation=2)", (1, 4, 2, 3, 2)),
    ("LazyConv1d(4, 3)", (2, 3, 6)),
    ("LazyConv2d(4, 3, groups=2, bias=False)", (2, 4, 6, 5)),
    ("LazyConv3d(4, 2)", (1, 2, 3, 3, 3)),
    ("LazyConvTranspose1d(4, 3)", (2, 3, 6)),
    ("LazyConvTranspose2d(4, 2, 2, 1, 1)", (2, 3, 4, 4)),
    ("LazyConvTranspose3d(4, 2)", (1, 2, 3, 3, 3)),
    ("Unfold((2, 3), padding=1)", (2, 3, 5, 6)),
    ("Fold((4, 5), kernel_size=(2, 2))", (1, 12, 12)),
]


def made(lib, code):
    lib.manual_seed(7)
    return eval(f"lib.nn.{code}", {"lib": lib})


@pytest.mark.filterwarnings("ignore:Using padding='same'", "ignore:Lazy modules")
@pytest.mark.parametrize(("code", "shape"), LAYERS)
def test_layer(code, shape):
    ours, theirs = made(rushlight, code), made(torch, code)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    given = torch.linspace(-1, 1, torch.Size(shape).numel()).sin().reshape(shape)
    if "float64" in code:
        given = given.double()
    inputs = [rushlight.from_numpy(given.numpy().copy()), given.clone()]
    results = []
    for layer, input in zip((ours, theirs), inputs, strict=True):
        input.requires_grad_()
        output = layer(input)
        output.square().sum().backward()
        grads = [each.grad for each in (input, *layer.parameters())]
        results.append((output, [*layer.parameters()], grads))
    assert repr(ours) == repr(theirs)
    assert results[0][0].grad_fn.name() == results[1][0].grad_fn.name()
    for mine, other in zip(results[0][1], results[1][1], strict=True):
        assert mine.tolist() == other.tolist()
    mine, other = [results[0][0], *results[0][2]], [results[1][0], *results[1][2]]
    for one, two in zip(mine, other, strict=True):
        got = torch.from_numpy(one.detach().numpy())
        torch.testing.assert_close(got, two.detach(), rtol=1e-4, atol=1e-4)


WRONG = [
    "nn.Conv2d(3, 4, 3, padding='same', stride=2)",
    "nn.Conv2d(3, 4, 3, groups=2)",
    "nn.Conv2d(4, 3, 3, groups=2)",
    "nn.Conv2d(3, 4, 3, groups=0)",
    "nn.ConvTranspose2d(3, 4, 3, padding_mode='reflect')",
    "nn.Conv2d(3, 4, 3)(lib.zeros(2, 2, 8, 8))",
    "nn.Conv2d(3, 4, 3)(lib.zeros(8, 8))",
    "nn.Conv2d(3, 4, 3)(lib.zeros(1, 3, 8, 8).double())",
    "nn.Conv2d(3, 4, 9)(lib.zeros(1, 3, 8, 8))",
    "nn.Conv2d(3, 4, 3, stride=(1, 1, 1))(lib.zeros(1, 3, 8, 8))",
    "nn.Conv2d(3, 4, 3, padding=(0, 9), padding_mode='reflect')(lib.zeros(1, 3, 8, 8))",
    "nn.ConvTranspose2d(3, 4, 3, 2, 1)(lib.zeros(2, 3, 8, 8), output_size=(16, 19))",
    "nn.ConvTranspose2d(3, 4, 3, 2, 1)(lib.zeros(2, 3, 8, 8), output_size=(16,))",
    "nn.ConvTranspose1d(3, 4, 3)(lib.zeros(3, 5), output_size=[9])",
    "nn.LazyConv2d(4, 3)(lib.zeros(8, 8))",
    "nn.LazyConv2d(4, 3, groups=2)(lib.zeros(1, 3, 8, 8))",
    "conv2d(lib.zeros(1, 3, 8, 8), lib.zeros(4, 3, 3, 3).requires_grad_(), None, 1, 0, 1, 1.5)",
    "conv2d(lib.zeros(1, 3, 8, 8), lib.zeros(4, 3, 3, 3), 3)",
    "conv2d(lib.zeros(1, 3, 8, 8).bool(), lib.zeros(4, 3, 3, 3).bool())",
]


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("code", WRONG)
def test_mistakes(code):
    told = []
    for lib in (torch, rushlight):
        with pytest.raises(Exception) as error:
            eval(f"lib.{code}", {"lib": lib})
        told.append((type(error.value).__name__, str(error.value).splitlines()[0].split(". ")[0]))
    assert told[1] == told[0]


def test_output_size():
    layers = [made(lib, "ConvTranspose2d(3, 4, 3, 2, 1)") for lib in (rushlight, torch)]
    shapes = [
        tuple(layer(lib.zeros(2, 3, 8, 8), output_size=[2, 4, 16, 15]).shape)
        for layer, lib in zip(layers, (rushlight, torch), strict=True)
    ]
    assert shapes[0] == shapes[1] == (2, 4, 16, 15)
