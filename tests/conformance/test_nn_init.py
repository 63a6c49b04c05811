"""Initialisers draw PyTorch's numbers, and the layers' initial weights are PyTorch's.

Uniform draws agree to the bit, normal ones to the last bits of the logarithm and cosine.
"""

import warnings

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

EXACT = {
    "uniform_": [((3, 5), {}), ((20, 30), {"a": -2.0, "b": 0.5}), ((7,), {"b": 3})],
    "constant_": [((2, 3), {"val": 0.3}), ((), {"val": 2})],
    "ones_": [((2, 3), {})],
    "zeros_": [((2, 3), {})],
    "eye_": [((3, 5), {}), ((5, 3), {}), ((0, 3), {})],
    "dirac_": [
        ((4, 4, 3), {}),
        ((4, 2, 3, 4), {"groups": 2}),
        ((6, 1, 3, 3, 3), {"groups": 3}),
        ((2, 5, 2), {}),
    ],
    "xavier_uniform_": [((3, 5), {}), ((20, 4, 3, 3), {"gain": 2.5})],
    "kaiming_uniform_": [
        ((3, 5), {}),
        ((30, 50), {"a": 5**0.5}),
        ((4, 3, 3, 3), {"mode": "fan_out", "nonlinearity": "relu"}),
        ((6, 7), {"nonlinearity": "tanh"}),
        ((6, 7), {"mode": "FAN_IN", "nonlinearity": "selu"}),
    ],
}
CLOSE = {
    "normal_": [((3,), {}), ((4, 5), {"mean": 2.0, "std": 0.1}), ((100,), {"std": 3})],
    "trunc_normal_": [
        ((3, 5), {}),
        ((200,), {"mean": 0.5, "std": 2.0}),
        ((50,), {"mean": 1.0, "std": 0.7, "a": 0.0, "b": 1.1}),
        ((40,), {"a": 1.5, "b": 1.8}),
        ((40,), {"a": -3.0, "b": -2.5, "std": 2.0}),
        ((64,), {"mean": 0.1, "a": 0.0, "b": 0.2}),
    ],
    "xavier_normal_": [((3, 5), {}), ((20, 4, 3, 3), {"gain": 0.5})],
    "kaiming_normal_": [((3, 5), {}), ((4, 3, 3), {"mode": "fan_out", "nonlinearity": "relu"})],
    "orthogonal_": [((3, 5), {}), ((5, 3), {"gain": 2.0}), ((4, 4), {}), ((6, 2, 3), {}), ((1, 1), {})],
    "sparse_": [
        ((10, 4), {"sparsity": 0.3}),
        ((5, 3), {"sparsity": 0.5, "std": 1.0}),
        ((4, 4), {"sparsity": 0.0}),
    ],
}
CALLS = [(name, shape, options) for name, calls in (EXACT | CLOSE).items() for shape, options in calls]


def filled(lib, name, shape, options, dtype, generator=None):
    """A tensor filled after seeding, and a number drawn next: the stream has to be at the same place."""
    lib.manual_seed(11)
    if generator is not None:
        options = options | {"generator": lib.Generator().manual_seed(generator)}
    tensor = lib.empty(shape, dtype=getattr(lib, dtype), requires_grad=True)
    result = getattr(lib.nn.init, name)(tensor, **options)
    assert result is tensor
    assert tensor.requires_grad and tensor.is_leaf
    return tensor.detach().numpy(), lib.rand(3).numpy()


def assert_equal(name, ours, theirs):
    if name in EXACT:
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "shape", "options"), CALLS)
def test_draws(name, shape, options, dtype):
    ours, ours_next = filled(rushlight, name, shape, options, dtype)
    theirs, theirs_next = filled(torch, name, shape, options, dtype)
    assert ours.dtype == theirs.dtype
    assert_equal(name, ours, theirs)
    np.testing.assert_array_equal(ours_next, theirs_next)


@pytest.mark.parametrize(
    "name", [name for name in EXACT | CLOSE if name not in ("eye_", "dirac_", "ones_", "zeros_", "constant_")]
)
def test_draws_from_a_generator(name):
    shape, options = (EXACT | CLOSE)[name][0]
    ours, ours_next = filled(rushlight, name, shape, options, "float32", generator=5)
    theirs, theirs_next = filled(torch, name, shape, options, "float32", generator=5)
    assert_equal(name, ours, theirs)
    np.testing.assert_array_equal(ours_next, theirs_next)


@pytest.mark.parametrize(
    ("nonlinearity", "param"),
    [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None), ("relu", None), ("selu", None)]
    + [("leaky_relu", None), ("leaky_relu", 0.2), ("leaky_relu", 3)],
)
def test_gain(nonlinearity, param):
    ours = rushlight.nn.init.calculate_gain(nonlinearity, param)
    assert ours == torch.nn.init.calculate_gain(nonlinearity, param)


ERRORS = {
    "gain of a stranger": lambda t: t.nn.init.calculate_gain("stranger"),
    "gain of a bool": lambda t: t.nn.init.calculate_gain("leaky_relu", True),
    "gain of a text": lambda t: t.nn.init.calculate_gain("leaky_relu", "0.1"),
    "eye of a vector": lambda t: t.nn.init.eye_(t.empty(3)),
    "dirac of a matrix": lambda t: t.nn.init.dirac_(t.empty(3, 3)),
    "dirac groups": lambda t: t.nn.init.dirac_(t.empty(3, 3, 3), groups=2),
    "xavier of a vector": lambda t: t.nn.init.xavier_uniform_(t.empty(3)),
    "kaiming mode": lambda t: t.nn.init.kaiming_uniform_(t.empty(3, 3), mode="fan_out_in"),
    "kaiming of a vector": lambda t: t.nn.init.kaiming_normal_(t.empty(3)),
    "kaiming of a stranger": lambda t: t.nn.init.kaiming_normal_(t.empty(3, 3), nonlinearity="stranger"),
    "orthogonal of a vector": lambda t: t.nn.init.orthogonal_(t.empty(3)),
    "sparse of a vector": lambda t: t.nn.init.sparse_(t.empty(3), 0.1),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    with pytest.raises(theirs.type) as ours:
        ERRORS[name](rushlight)
    assert str(ours.value) == str(theirs.value)


WARNINGS = {
    "nothing to fill": lambda t: t.nn.init.kaiming_uniform_(t.empty(0, 3)),
    "nothing to fill normally": lambda t: t.nn.init.kaiming_normal_(t.empty(3, 0)),
    "far from the interval": lambda t: t.nn.init.trunc_normal_(t.empty(3), mean=5.0, a=-1.0, b=2.5),
    "old name": lambda t: t.nn.init.xavier_uniform(t.empty(3, 3)),
    "old name of constant": lambda t: t.nn.init.constant(t.empty(3, 3), 2.0),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings(name):
    said = []
    for lib in (rushlight, torch):
        lib.manual_seed(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = WARNINGS[name](lib)
        said.append(([(each.category, str(each.message)) for each in caught], result.tolist()))
    assert said[0][0] == said[1][0]
    np.testing.assert_allclose(said[0][1], said[1][1], atol=1e-6)


LAYERS = {
    "Linear": lambda t: t.nn.Linear(20, 30),
    "Linear without bias": lambda t: t.nn.Linear(3, 4, bias=False),
    "Linear in double": lambda t: t.nn.Linear(5, 4, dtype=t.float64),
    "Linear without inputs": lambda t: t.nn.Linear(1, 4),
    "Bilinear": lambda t: t.nn.Bilinear(2, 3, 4),
    "Embedding": lambda t: t.nn.Embedding(10, 3, padding_idx=2),
    "EmbeddingBag": lambda t: t.nn.EmbeddingBag(10, 3, padding_idx=-1),
    "PReLU": lambda t: t.nn.PReLU(3),
    "BatchNorm1d": lambda t: t.nn.BatchNorm1d(3),
    "LayerNorm": lambda t: t.nn.LayerNorm(3),
    "a network": lambda t: t.nn.Sequential(
        t.nn.Linear(784, 64), t.nn.ReLU(), t.nn.Linear(64, 32), t.nn.Linear(32, 10)
    ),
    "initialised by apply": lambda t: t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Linear(4, 5)).apply(
        lambda m: t.nn.init.xavier_uniform_(m.weight) if hasattr(m, "weight") else None
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_initial_weights(name):
    states = []
    for lib in (rushlight, torch):
        lib.manual_seed(3)
        states.append({key: value.numpy() for key, value in LAYERS[name](lib).state_dict().items()})
    ours, theirs = states
    assert list(ours) == list(theirs)
    for key in ours:
        assert ours[key].dtype == theirs[key].dtype
        if "Embedding" in name:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=5e-7)
        else:
            np.testing.assert_array_equal(ours[key], theirs[key])


def test_lazy_layer_draws_at_its_first_call():
    weights = []
    for lib in (rushlight, torch):
        lib.manual_seed(5)
        net = lib.nn.Sequential(lib.nn.LazyLinear(4), lib.nn.Linear(4, 2))
        net(lib.ones(2, 3))
        weights.append([parameter.detach().numpy() for parameter in net.parameters()])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
