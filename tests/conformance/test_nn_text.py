"""Models print the very text PyTorch prints, and name their parameters as it does.

Each case is a builder: a function of the library, run once with each. User-defined modules are built on
whichever library is given, as a script with either import line would.
"""

from collections import OrderedDict
from itertools import pairwise

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")


def perceptron(lib, *sizes, activation="ReLU", **options):
    nn = lib.nn
    layers = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, **options), getattr(nn, activation)()]
    return nn.Sequential(*layers[:-1])


def residual(lib):
    nn = lib.nn

    class Residual(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
            self.drop = nn.Dropout(0.1)

        def forward(self, x):
            return x + self.drop(self.body(x))

    return nn.Sequential(
        OrderedDict(first=nn.Linear(4, 8), blocks=nn.ModuleList([Residual(8) for _ in range(3)]))
    )


def with_extra(lib, text):
    class Scaled(lib.nn.Module):
        def __init__(self, child=None):
            super().__init__()
            self.scale = lib.nn.Parameter(lib.ones(3))
            self.child = child

        def extra_repr(self):
            return text

    return lib.nn.Sequential(Scaled(), Scaled(lib.nn.ReLU()))


def nested(lib):
    nn = lib.nn

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(10, 4, padding_idx=0)
            self.layers = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(2)])
            self.norm = nn.LayerNorm(4)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder()
            self.heads = nn.ModuleDict({"mean": nn.Linear(4, 1), "spread": nn.Linear(4, 1, bias=False)})
            self.none = None
            self.register_module("absent", None)
            self.register_buffer("steps", lib.zeros(1))

    return Model()


def emptied(lib):
    net = lib.nn.Sequential(lib.nn.ReLU(), lib.nn.Linear(1, 2), lib.nn.Tanh(), lib.nn.Sigmoid())
    del net[1]
    net.insert(0, lib.nn.Identity())
    net.append(lib.nn.Softplus())
    net.pop(2)
    return net


def repeated_blocks(lib):
    nn = lib.nn
    blocks = [
        nn.Linear(2, 2),
        nn.Linear(2, 2),
        nn.Sequential(nn.ReLU()),
        nn.Sequential(nn.ReLU()),
        nn.Linear(2, 2),
    ]
    return nn.ModuleList(blocks)


MODELS = {
    "empty module": lambda t: t.nn.Module(),
    "empty sequential": lambda t: t.nn.Sequential(),
    "empty list": lambda t: t.nn.ModuleList(),
    "empty dict": lambda t: t.nn.ModuleDict(),
    "empty parameter list": lambda t: t.nn.ParameterList(),
    "empty parameter dict": lambda t: t.nn.ParameterDict(),
    "the notebook's network": lambda t: perceptron(t, 784, 64, 32, 10),
    "wide": lambda t: perceptron(t, 4, 100, 100, 2, activation="GELU"),
    "without bias": lambda t: perceptron(t, 4, 3, 2, activation="Tanh", bias=False),
    "double": lambda t: perceptron(t, 4, 3, dtype=t.float64),
    "named layers": lambda t: t.nn.Sequential(OrderedDict([("fc", t.nn.Linear(2, 3)), ("act", t.nn.ReLU())])),
    "residual": residual,
    "nested": nested,
    "one line of extra text": lambda t: with_extra(t, "scale=3"),
    "several lines of extra text": lambda t: with_extra(t, "first line\nsecond line"),
    "changed sequential": emptied,
    "repeated blocks": repeated_blocks,
    "sum of sequentials": lambda t: t.nn.Sequential(t.nn.ReLU()) + t.nn.Sequential(t.nn.Tanh(), t.nn.ReLU()),
    "sequential times 2": lambda t: t.nn.Sequential(t.nn.Linear(3, 3), t.nn.ReLU()) * 2,
    "slice of a sequential": lambda t: perceptron(t, 4, 3, 2)[1:3],
    "slice of a list": lambda t: repeated_blocks(t)[1:4],
    "shared layer": lambda t: (lambda layer: t.nn.Sequential(layer, t.nn.ReLU(), layer))(t.nn.Linear(3, 3)),
    "list in a list": lambda t: t.nn.ModuleList([t.nn.ModuleList([t.nn.ReLU(), t.nn.ReLU()]), t.nn.Tanh()]),
    "dict of sequentials": lambda t: t.nn.ModuleDict(
        [("a", t.nn.Sequential(t.nn.ReLU())), ("b", t.nn.Tanh())]
    ),
    "parameter list": lambda t: t.nn.ParameterList([t.ones(2, 3), t.nn.Parameter(t.ones(())), 3, "text"]),
    "parameter dict": lambda t: t.nn.ParameterDict({"b": t.ones(2, 3), "a": t.ones(1).double(), "c": None}),
    "parameter list of a module": lambda t: t.nn.Sequential(t.nn.ParameterList([t.ones(2)]), t.nn.ReLU()),
    "Linear": lambda t: t.nn.Linear(20, 30),
    "Bilinear": lambda t: t.nn.Bilinear(2, 3, 4, bias=False),
    "Identity": lambda t: t.nn.Identity(3, unused=True),
    "LazyLinear": lambda t: t.nn.LazyLinear(3),
    "LazyBatchNorm2d": lambda t: t.nn.LazyBatchNorm2d(momentum=None, bias=False),
    "LazyInstanceNorm1d": lambda t: t.nn.LazyInstanceNorm1d(),
    "Flatten": lambda t: t.nn.Flatten(0, 2),
    "Unflatten": lambda t: t.nn.Unflatten(1, (2, -1)),
    "Unflatten to a Size": lambda t: t.nn.Unflatten(-1, t.Size([2, 3])),
    "Embedding": lambda t: t.nn.Embedding(
        10, 3, padding_idx=-1, max_norm=1.0, norm_type=1, scale_grad_by_freq=True
    ),
    "pretrained Embedding": lambda t: t.nn.Embedding.from_pretrained(t.ones(3, 2)),
    "EmbeddingBag": lambda t: t.nn.EmbeddingBag(10, 3),
    "EmbeddingBag with all": lambda t: t.nn.EmbeddingBag(
        10, 3, max_norm=2.0, norm_type=3.0, scale_grad_by_freq=True, mode="sum", padding_idx=1
    ),
    "Dropout": lambda t: t.nn.Dropout(),
    "Dropout1d": lambda t: t.nn.Dropout1d(0.1, inplace=True),
    "Dropout2d": lambda t: t.nn.Dropout2d(0),
    "Dropout3d": lambda t: t.nn.Dropout3d(1),
    "AlphaDropout": lambda t: t.nn.AlphaDropout(0.2),
    "FeatureAlphaDropout": lambda t: t.nn.FeatureAlphaDropout(),
    "ReLU in place": lambda t: t.nn.ReLU(inplace=True),
    "ReLU6": lambda t: t.nn.Sequential(t.nn.ReLU6(), t.nn.ReLU6(True)),
    "LeakyReLU": lambda t: t.nn.Sequential(t.nn.LeakyReLU(), t.nn.LeakyReLU(1, True)),
    "PReLU": lambda t: t.nn.Sequential(t.nn.PReLU(), t.nn.PReLU(3, init=0.1)),
    "RReLU": lambda t: t.nn.Sequential(t.nn.RReLU(), t.nn.RReLU(0.1, 0.2, inplace=True)),
    "ELU": lambda t: t.nn.Sequential(t.nn.ELU(), t.nn.ELU(2, True)),
    "CELU": lambda t: t.nn.Sequential(t.nn.CELU(), t.nn.CELU(0.5, True)),
    "SELU": lambda t: t.nn.Sequential(t.nn.SELU(), t.nn.SELU(True)),
    "GELU": lambda t: t.nn.Sequential(t.nn.GELU(), t.nn.GELU("tanh")),
    "SiLU": lambda t: t.nn.Sequential(t.nn.SiLU(), t.nn.SiLU(True)),
    "Mish": lambda t: t.nn.Sequential(t.nn.Mish(), t.nn.Mish(True)),
    "hard activations": lambda t: t.nn.Sequential(
        t.nn.Hardsigmoid(),
        t.nn.Hardsigmoid(True),
        t.nn.Hardswish(),
        t.nn.Hardswish(True),
        t.nn.Hardtanh(),
        t.nn.Hardtanh(-2, 2.5, True),
        t.nn.Hardshrink(),
        t.nn.Hardshrink(1),
    ),
    "soft activations": lambda t: t.nn.Sequential(
        t.nn.Softplus(),
        t.nn.Softplus(2, 3),
        t.nn.Softshrink(),
        t.nn.Softsign(),
        t.nn.Tanhshrink(),
        t.nn.LogSigmoid(),
    ),
    "Threshold": lambda t: t.nn.Sequential(t.nn.Threshold(0.1, 20), t.nn.Threshold(1, -1.5, True)),
    "GLU": lambda t: t.nn.Sequential(t.nn.GLU(), t.nn.GLU(1)),
    "softmaxes": lambda t: t.nn.Sequential(
        t.nn.Softmax(), t.nn.Softmax(-1), t.nn.Softmin(1), t.nn.LogSoftmax(dim=0), t.nn.Softmax2d()
    ),
    "LayerNorm": lambda t: t.nn.Sequential(
        t.nn.LayerNorm(3), t.nn.LayerNorm((3, 4), 1e-3, False), t.nn.LayerNorm(2, bias=False)
    ),
    "RMSNorm": lambda t: t.nn.Sequential(
        t.nn.RMSNorm(3), t.nn.RMSNorm([2, 3], eps=1e-6, elementwise_affine=False)
    ),
    "GroupNorm": lambda t: t.nn.Sequential(
        t.nn.GroupNorm(2, 4), t.nn.GroupNorm(2, 4, affine=False), t.nn.GroupNorm(1, 2, bias=False)
    ),
    "BatchNorm": lambda t: t.nn.Sequential(
        t.nn.BatchNorm1d(3), t.nn.BatchNorm2d(3, 1e-3, None, False, False), t.nn.BatchNorm3d(3, bias=False)
    ),
    "InstanceNorm": lambda t: t.nn.Sequential(
        t.nn.InstanceNorm1d(3),
        t.nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        t.nn.InstanceNorm3d(1),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_text(name):
    assert repr(MODELS[name](rushlight)) == repr(MODELS[name](torch))


def shape_of(lib, tensor):
    return "lazy" if lib.nn.parameter.is_lazy(tensor) else (list(tensor.shape), str(tensor.dtype))


@pytest.mark.parametrize("name", MODELS)
def test_names_and_shapes(name):
    described = []
    for lib in (rushlight, torch):
        model = MODELS[name](lib)
        described.append(
            {
                "parameters": [
                    (key, shape_of(lib, each), each.requires_grad) for key, each in model.named_parameters()
                ],
                "buffers": [(key, shape_of(lib, each)) for key, each in model.named_buffers()],
                "modules": [(key, type(each).__name__) for key, each in model.named_modules()],
                "children": [key for key, _ in model.named_children()],
                "state": [(key, shape_of(lib, each)) for key, each in model.state_dict().items()],
                "versions": dict(model.state_dict()._metadata),
            }
        )
    assert described[0] == described[1]


def test_there_are_enough_models():
    assert len(MODELS) >= 50
