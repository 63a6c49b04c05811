"""Layers compute PyTorch's values and gradients, in training and evaluation, and refuse what it refuses."""

import warnings

import numpy as np
import pytest

import rushlight
from tests.conformance.test_nn_module import outcome

torch = pytest.importorskip("torch", reason="needs the conformance extra")

# A layer, and the shapes of its inputs.
LAYERS = {
    "Linear": (lambda t, **d: t.nn.Linear(4, 3, **d), [(5, 4)]),
    "Linear of a vector": (lambda t, **d: t.nn.Linear(4, 3, **d), [(4,)]),
    "Linear of a batch of sequences": (lambda t, **d: t.nn.Linear(4, 3, **d), [(2, 5, 4)]),
    "Linear without bias": (lambda t, **d: t.nn.Linear(4, 3, bias=False, **d), [(2, 5, 4)]),
    "Linear of nothing": (lambda t, **d: t.nn.Linear(4, 3, **d), [(0, 4)]),
    "Bilinear": (lambda t, **d: t.nn.Bilinear(2, 3, 4, **d), [(5, 2), (5, 3)]),
    "Bilinear of sequences": (lambda t, **d: t.nn.Bilinear(2, 3, 4, bias=False, **d), [(2, 5, 2), (2, 5, 3)]),
    "Bilinear of vectors": (lambda t, **d: t.nn.Bilinear(2, 3, 1, **d), [(2,), (3,)]),
    "Identity": (lambda t, **d: t.nn.Identity(), [(2, 3)]),
    "Flatten": (lambda t, **d: t.nn.Flatten(), [(2, 3, 4)]),
    "Flatten inside": (lambda t, **d: t.nn.Flatten(0, 1), [(2, 3, 4)]),
    "Unflatten": (lambda t, **d: t.nn.Unflatten(1, (2, -1)), [(2, 6)]),
    "Threshold": (lambda t, **d: t.nn.Threshold(0.1, -2.0), [(4, 5)]),
    "ReLU": (lambda t, **d: t.nn.ReLU(), [(4, 5)]),
    "ReLU6": (lambda t, **d: t.nn.ReLU6(), [(40,)]),
    "RReLU": (lambda t, **d: t.nn.RReLU(), [(4, 5)]),
    "Hardtanh": (lambda t, **d: t.nn.Hardtanh(-0.5, 1.5), [(4, 5)]),
    "Sigmoid": (lambda t, **d: t.nn.Sigmoid(), [(4, 5)]),
    "Hardsigmoid": (lambda t, **d: t.nn.Hardsigmoid(), [(40,)]),
    "Tanh": (lambda t, **d: t.nn.Tanh(), [(4, 5)]),
    "SiLU": (lambda t, **d: t.nn.SiLU(), [(4, 5)]),
    "Mish": (lambda t, **d: t.nn.Mish(), [(4, 5)]),
    "Hardswish": (lambda t, **d: t.nn.Hardswish(), [(40,)]),
    "ELU": (lambda t, **d: t.nn.ELU(0.7), [(4, 5)]),
    "CELU": (lambda t, **d: t.nn.CELU(0.7), [(4, 5)]),
    "SELU": (lambda t, **d: t.nn.SELU(), [(4, 5)]),
    "GLU": (lambda t, **d: t.nn.GLU(), [(4, 6)]),
    "GLU of columns": (lambda t, **d: t.nn.GLU(0), [(4, 3)]),
    "GELU": (lambda t, **d: t.nn.GELU(), [(4, 5)]),
    "GELU by tanh": (lambda t, **d: t.nn.GELU("tanh"), [(4, 5)]),
    "Hardshrink": (lambda t, **d: t.nn.Hardshrink(0.7), [(4, 5)]),
    "LeakyReLU": (lambda t, **d: t.nn.LeakyReLU(0.3), [(4, 5)]),
    "LogSigmoid": (lambda t, **d: t.nn.LogSigmoid(), [(4, 5)]),
    "Softplus": (lambda t, **d: t.nn.Softplus(), [(4, 5)]),
    "Softplus with a threshold": (lambda t, **d: t.nn.Softplus(2.0, 1.0), [(4, 5)]),
    "Softshrink": (lambda t, **d: t.nn.Softshrink(0.7), [(4, 5)]),
    "PReLU": (lambda t, **d: t.nn.PReLU(**d), [(4, 5)]),
    "PReLU by channel": (lambda t, **d: t.nn.PReLU(5, 0.1, **d), [(4, 5, 2)]),
    "PReLU of a number": (lambda t, **d: t.nn.PReLU(**d), [()]),
    "Softsign": (lambda t, **d: t.nn.Softsign(), [(4, 5)]),
    "Tanhshrink": (lambda t, **d: t.nn.Tanhshrink(), [(4, 5)]),
    "Softmin": (lambda t, **d: t.nn.Softmin(1), [(4, 5)]),
    "Softmax": (lambda t, **d: t.nn.Softmax(0), [(4, 5)]),
    "Softmax without dim": (lambda t, **d: t.nn.Softmax(), [(4, 5, 2)]),
    "Softmax2d": (lambda t, **d: t.nn.Softmax2d(), [(2, 3, 2, 2)]),
    "LogSoftmax": (lambda t, **d: t.nn.LogSoftmax(-1), [(4, 5)]),
    "LogSoftmax without dim": (lambda t, **d: t.nn.LogSoftmax(), [(4, 5)]),
    "Softmin without dim": (lambda t, **d: t.nn.Softmin(), [(4,)]),
    "Dropout": (lambda t, **d: t.nn.Dropout(0.3), [(20, 30)]),
    "Dropout of everything": (lambda t, **d: t.nn.Dropout(1.0), [(4, 5)]),
    "Dropout of nothing": (lambda t, **d: t.nn.Dropout(0), [(4, 5)]),
    "Dropout of few": (lambda t, **d: t.nn.Dropout(0.5), [(3,)]),
    "Dropout1d": (lambda t, **d: t.nn.Dropout1d(), [(4, 5, 3)]),
    "Dropout1d of a sample": (lambda t, **d: t.nn.Dropout1d(), [(5, 3)]),
    "Dropout2d": (lambda t, **d: t.nn.Dropout2d(0.4), [(4, 5, 3, 2)]),
    "Dropout2d of 3 dimensions": (lambda t, **d: t.nn.Dropout2d(0.4), [(4, 5, 3)]),
    "Dropout2d of 2 dimensions": (lambda t, **d: t.nn.Dropout2d(0.4), [(4, 5)]),
    "Dropout3d": (lambda t, **d: t.nn.Dropout3d(), [(4, 5, 2, 1, 2)]),
    "Dropout3d of a sample": (lambda t, **d: t.nn.Dropout3d(), [(5, 2, 1, 2)]),
    "Dropout3d of a vector": (lambda t, **d: t.nn.Dropout3d(), [(5,)]),
    "AlphaDropout": (lambda t, **d: t.nn.AlphaDropout(0.3), [(20, 30)]),
    "AlphaDropout of everything": (lambda t, **d: t.nn.AlphaDropout(1), [(4, 5)]),
    "FeatureAlphaDropout": (lambda t, **d: t.nn.FeatureAlphaDropout(0.4), [(4, 5, 3)]),
    "LayerNorm": (lambda t, **d: t.nn.LayerNorm(5, **d), [(4, 5)]),
    "LayerNorm of two dimensions": (
        lambda t, **d: t.nn.LayerNorm((3, 5), 1e-3, bias=False, **d),
        [(4, 3, 5)],
    ),
    "LayerNorm without weights": (lambda t, **d: t.nn.LayerNorm([5], elementwise_affine=False, **d), [(5,)]),
    "RMSNorm": (lambda t, **d: t.nn.RMSNorm(5, **d), [(4, 5)]),
    "RMSNorm of two dimensions": (lambda t, **d: t.nn.RMSNorm((3, 5), eps=0.1, **d), [(4, 3, 5)]),
    "GroupNorm": (lambda t, **d: t.nn.GroupNorm(2, 4, **d), [(3, 4, 5)]),
    "GroupNorm of channels": (lambda t, **d: t.nn.GroupNorm(2, 12, **d), [(3, 12)]),
    "GroupNorm without weights": (lambda t, **d: t.nn.GroupNorm(4, 4, affine=False, **d), [(3, 4, 2, 2)]),
    "BatchNorm1d": (lambda t, **d: t.nn.BatchNorm1d(3, **d), [(5, 3)]),
    "BatchNorm1d of sequences": (lambda t, **d: t.nn.BatchNorm1d(3, momentum=0.4, **d), [(5, 3, 4)]),
    "BatchNorm1d that averages": (lambda t, **d: t.nn.BatchNorm1d(3, momentum=None, **d), [(5, 3)]),
    "BatchNorm1d without statistics": (
        lambda t, **d: t.nn.BatchNorm1d(3, track_running_stats=False, **d),
        [(5, 3)],
    ),
    "BatchNorm2d": (lambda t, **d: t.nn.BatchNorm2d(3, eps=0.1, bias=False, **d), [(2, 3, 4, 2)]),
    "BatchNorm3d": (lambda t, **d: t.nn.BatchNorm3d(2, affine=False, **d), [(2, 2, 3, 2, 2)]),
    "InstanceNorm1d": (lambda t, **d: t.nn.InstanceNorm1d(3, **d), [(2, 3, 5)]),
    "InstanceNorm1d of a sample": (lambda t, **d: t.nn.InstanceNorm1d(3, affine=True, **d), [(3, 5)]),
    "InstanceNorm2d": (
        lambda t, **d: t.nn.InstanceNorm2d(3, affine=True, track_running_stats=True, **d),
        [(2, 3, 4, 2)],
    ),
    "InstanceNorm3d": (
        lambda t, **d: t.nn.InstanceNorm3d(2, track_running_stats=True, **d),
        [(2, 2, 3, 2, 2)],
    ),
    "LazyLinear": (lambda t, **d: t.nn.LazyLinear(3, **d), [(5, 4)]),
    "LazyBatchNorm1d": (lambda t, **d: t.nn.LazyBatchNorm1d(**d), [(5, 3)]),
    "LazyBatchNorm2d": (lambda t, **d: t.nn.LazyBatchNorm2d(affine=False, **d), [(2, 3, 4, 2)]),
    "LazyBatchNorm3d": (lambda t, **d: t.nn.LazyBatchNorm3d(bias=False, **d), [(2, 2, 3, 2, 2)]),
    "LazyInstanceNorm1d": (lambda t, **d: t.nn.LazyInstanceNorm1d(**d), [(2, 3, 5)]),
    "LazyInstanceNorm2d": (
        lambda t, **d: t.nn.LazyInstanceNorm2d(track_running_stats=False, **d),
        [(2, 3, 4, 2)],
    ),
    "LazyInstanceNorm3d": (lambda t, **d: t.nn.LazyInstanceNorm3d(affine=False, **d), [(2, 2, 3, 2, 2)]),
}
TOLERANCE = {
    "float32": {"rtol": 2e-5, "atol": 2e-6},
    "float64": {"rtol": 2e-7, "atol": 1e-8},
}  # some of PyTorch's kernels have float32 constants


def randomise(lib, layer, arrays):
    """Give parameters and running statistics values of their own, the same in both libraries."""
    for name, tensor in layer.state_dict().items():
        if tensor.is_floating_point():
            if name not in arrays:
                arrays[name] = (
                    np.abs(np.random.default_rng(len(arrays)).standard_normal(tuple(tensor.shape))) + 0.1
                )
            with lib.no_grad():
                tensor.copy_(lib.tensor(arrays[name], dtype=tensor.dtype))


def run(lib, make, shapes, dtype, arrays):
    """Two training steps and an evaluation: outputs, gradients, state and the next random number."""
    lib.manual_seed(7)
    layer = make(lib, dtype=getattr(lib, dtype))
    rng = np.random.default_rng(1)
    found = {}
    for step in ("first", "second", "evaluation"):
        layer.train(step != "evaluation")
        inputs = [
            lib.tensor(rng.standard_normal(shape) * 3, dtype=getattr(lib, dtype), requires_grad=True)
            for shape in shapes
        ]
        if step == "first":
            layer(*inputs)  # a lazy layer has parameters only now
            randomise(lib, layer, arrays)
        output = layer(*inputs)
        weights = lib.tensor(rng.standard_normal(tuple(output.shape)), dtype=output.dtype)
        layer.zero_grad()
        (output * weights).sum().backward()
        found[f"{step} output"] = output
        for index, each in enumerate(inputs):
            found[f"{step} gradient {index}"] = each.grad
        for name, parameter in layer.named_parameters():
            found[f"{step} gradient of {name}"] = parameter.grad
        for name, value in layer.state_dict().items():
            found[f"{step} {name}"] = value.clone()
    found["drawn next"] = lib.rand(2)
    return {name: None if value is None else value.detach().numpy() for name, value in found.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, dtype):
    make, shapes = LAYERS[name]
    arrays = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = run(torch, make, shapes, dtype, arrays)
        ours = run(rushlight, make, shapes, dtype, arrays)
    assert list(ours) == list(theirs)
    for key, expected in theirs.items():
        if expected is None:
            assert ours[key] is None, key
        else:
            assert ours[key].dtype == expected.dtype, key
            np.testing.assert_allclose(ours[key], expected, **TOLERANCE[dtype], err_msg=key)


INPLACE = {
    "ReLU": lambda t: t.nn.ReLU(True),
    "ReLU6": lambda t: t.nn.ReLU6(True),
    "LeakyReLU": lambda t: t.nn.LeakyReLU(0.2, True),
    "ELU": lambda t: t.nn.ELU(0.5, True),
    "CELU": lambda t: t.nn.CELU(0.5, True),
    "SELU": lambda t: t.nn.SELU(True),
    "SiLU": lambda t: t.nn.SiLU(True),
    "Mish": lambda t: t.nn.Mish(True),
    "Hardswish": lambda t: t.nn.Hardswish(True),
    "Hardsigmoid": lambda t: t.nn.Hardsigmoid(True),
    "Hardtanh": lambda t: t.nn.Hardtanh(inplace=True),
    "Threshold": lambda t: t.nn.Threshold(0.5, 0.1, True),
    "RReLU": lambda t: t.nn.RReLU(inplace=True),
    "RReLU in evaluation": lambda t: t.nn.RReLU(inplace=True).eval(),
    "Dropout": lambda t: t.nn.Dropout(0.5, inplace=True),
    "Dropout2d": lambda t: t.nn.Dropout2d(0.5, inplace=True),
    "Dropout1d": lambda t: t.nn.Dropout1d(0.5, inplace=True),
}


@pytest.mark.parametrize("name", INPLACE)
def test_in_place(name):
    shape = {"Dropout1d": (2, 3, 2), "Dropout2d": (2, 3, 2, 2)}.get(name, (4, 5))
    values = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    found = []
    for lib in (rushlight, torch):
        lib.manual_seed(1)
        leaf = lib.tensor(values, requires_grad=True)
        changed = leaf * 2
        output = INPLACE[name](lib)(changed)
        assert output is changed
        (output * lib.tensor(values)).sum().backward()
        found.append((output.detach().numpy(), leaf.grad.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)


ERRORS = {
    "Dropout above 1": lambda t: t.nn.Dropout(1.2),
    "Dropout below 0": lambda t: t.nn.Dropout2d(-1),
    "dropout above 1": lambda t: t.nn.functional.dropout(t.ones(2), 1.5),
    "dropout2d above 1": lambda t: t.nn.functional.dropout2d(t.ones(2, 2, 2, 2), 1.5, training=False),
    "Dropout1d of a vector": lambda t: t.nn.Dropout1d()(t.ones(2)),
    "Dropout2d of a vector": lambda t: t.nn.Dropout2d()(t.ones(2)),
    "Dropout of whole numbers": lambda t: t.nn.Dropout()(t.ones(2, dtype=t.int64)),
    "Unflatten to a number": lambda t: t.nn.Unflatten(1, 3),
    "Unflatten to texts": lambda t: t.nn.Unflatten(1, ("a",)),
    "Unflatten that does not fit": lambda t: t.nn.Unflatten(1, (2, 2))(t.ones(2, 3)),
    "Flatten of a vector": lambda t: t.nn.Flatten()(t.ones(2)),
    "Linear features": lambda t: t.nn.Linear(2, 3)(t.ones(2, 3)),
    "Linear features of a vector": lambda t: t.nn.Linear(2, 3)(t.ones(3)),
    "Linear features of sequences": lambda t: t.nn.Linear(2, 3)(t.ones(2, 2, 3)),
    "Linear features without bias": lambda t: t.nn.Linear(2, 3, bias=False)(t.ones(2, 2, 3)),
    "Linear dtype": lambda t: t.nn.Linear(2, 3)(t.ones(2, 2, dtype=t.float64)),
    "Linear of whole numbers": lambda t: t.nn.Linear(2, 3)(t.ones(2, 2, dtype=t.int64)),
    "Linear of a number": lambda t: t.nn.Linear(2, 3)(3),
    "Linear of nothing": lambda t: t.nn.Linear(2, 3)(),
    "Linear of a 0-d tensor": lambda t: t.nn.Linear(2, 3)(t.ones(())),
    "Linear of negative size": lambda t: t.nn.Linear(-1, 3),
    "Bilinear size": lambda t: t.nn.Bilinear(2, 3, 4)(t.ones(2, 2), t.ones(2, 2)),
    "Bilinear batch": lambda t: t.nn.Bilinear(2, 3, 4)(t.ones(2, 2), t.ones(3, 3)),
    "Bilinear dimensions": lambda t: t.nn.Bilinear(2, 3, 4)(t.ones(2, 2), t.ones(1, 2, 3)),
    "Bilinear without features": lambda t: t.nn.Bilinear(0, 3, 4),
    "bilinear bias": lambda t: t.nn.functional.bilinear(
        t.ones(2, 2), t.ones(2, 2), t.ones(1, 2, 2), t.ones(2)
    ),
    "BatchNorm1d features": lambda t: t.nn.BatchNorm1d(3)(t.ones(2, 4)),
    "BatchNorm1d of one": lambda t: t.nn.BatchNorm1d(3)(t.ones(1, 3)),
    "BatchNorm1d of a vector": lambda t: t.nn.BatchNorm1d(3)(t.ones(3)),
    "BatchNorm2d of a matrix": lambda t: t.nn.BatchNorm2d(3)(t.ones(2, 3)),
    "BatchNorm3d of a matrix": lambda t: t.nn.BatchNorm3d(3)(t.ones(2, 3)),
    "BatchNorm1d dtype": lambda t: t.nn.BatchNorm1d(2)(t.ones(2, 2, dtype=t.float64)),
    "BatchNorm1d eps": lambda t: t.nn.BatchNorm1d(2, eps=0.0)(t.ones(2, 2)),
    "batch_norm without statistics": lambda t: t.nn.functional.batch_norm(t.ones(2, 4), None, None),
    "batch_norm without variance": lambda t: t.nn.functional.batch_norm(t.ones(2, 4), t.ones(4), None),
    "LayerNorm features": lambda t: t.nn.LayerNorm(3)(t.ones(2, 4)),
    "LayerNorm of too few dimensions": lambda t: t.nn.LayerNorm((2, 3))(t.ones(3)),
    "LayerNorm dtype": lambda t: t.nn.LayerNorm(2)(t.ones(2, 2, dtype=t.float64)),
    "layer_norm weight": lambda t: t.nn.functional.layer_norm(t.ones(2, 3), (3,), weight=t.ones(2)),
    "layer_norm over nothing": lambda t: t.nn.functional.layer_norm(t.ones(2, 3), ()),
    "RMSNorm features": lambda t: t.nn.RMSNorm(3)(t.ones(2, 4)),
    "GroupNorm groups": lambda t: t.nn.GroupNorm(3, 4),
    "GroupNorm channels": lambda t: t.nn.GroupNorm(2, 4)(t.ones(2, 5)),
    "GroupNorm of a vector": lambda t: t.nn.GroupNorm(2, 4)(t.ones(2)),
    "group_norm weight": lambda t: t.nn.functional.group_norm(t.ones(2, 4), 2, weight=t.ones(3)),
    "InstanceNorm1d of a vector": lambda t: t.nn.InstanceNorm1d(3)(t.ones(3)),
    "InstanceNorm1d channels": lambda t: t.nn.InstanceNorm1d(3)(t.ones(2, 4, 5)),
    "InstanceNorm1d channels, affine": lambda t: t.nn.InstanceNorm1d(3, affine=True)(t.ones(2, 4, 5)),
    "InstanceNorm1d of one": lambda t: t.nn.InstanceNorm1d(3)(t.ones(2, 3, 1)),
    "InstanceNorm2d of one": lambda t: t.nn.InstanceNorm2d(3)(t.ones(2, 3, 1, 1)),
    "instance_norm with half its statistics": lambda t: t.nn.functional.instance_norm(
        t.ones(2, 3, 4), t.zeros(3), None
    ),
    "instance_norm without statistics": lambda t: t.nn.functional.instance_norm(
        t.ones(2, 3, 4), use_input_stats=False
    ),
    "GLU of odd length": lambda t: t.nn.GLU()(t.ones(3)),
    "PReLU channels": lambda t: t.nn.PReLU(3)(t.ones(2, 2)),
    "PReLU channels of a vector": lambda t: t.nn.PReLU(2)(t.ones(2)),
    "Softmax2d of a vector": lambda t: t.nn.Softmax2d()(t.ones(2)),
    "ReLU of bool": lambda t: t.nn.ReLU()(t.ones(2, dtype=t.bool)),
    "GELU by stranger": lambda t: t.nn.GELU("stranger")(t.ones(2)),
    "Softmax dim": lambda t: t.nn.Softmax(5)(t.ones(2, 2)),
    "Hardtanh upside down": lambda t: t.nn.Hardtanh(2, 1),
    "hardtanh by old names": lambda t: repr(t.nn.Hardtanh(min_value=-3, max_value=2.5)),
    "RReLU upside down": lambda t: t.nn.RReLU(2, 1)(t.ones(3)),
    "CELU of 0": lambda t: t.nn.CELU(0)(t.ones(2)),
    "Threshold of whole numbers": lambda t: t.nn.Threshold(1, 2)(t.ones(2, dtype=t.int32)).tolist(),
    "Embedding index": lambda t: t.nn.Embedding(3, 4)(t.tensor([3])),
    "Embedding index below 0": lambda t: t.nn.Embedding(3, 4)(t.tensor([-1])),
    "Embedding of floats": lambda t: t.nn.Embedding(3, 4)(t.ones(2)),
    "Embedding padding": lambda t: t.nn.Embedding(3, 4, padding_idx=3),
    "Embedding padding below": lambda t: t.nn.Embedding(3, 4, padding_idx=-4),
    "Embedding weight": lambda t: t.nn.Embedding(3, 4, _weight=t.ones(2, 2)),
    "Embedding from a vector": lambda t: t.nn.Embedding.from_pretrained(t.ones(3)),
    "embedding padding": lambda t: t.nn.functional.embedding(t.tensor([1]), t.ones(2, 2), padding_idx=2),
    "EmbeddingBag mode": lambda t: t.nn.EmbeddingBag(3, 4, mode="stranger")(t.tensor([[1]])),
    "EmbeddingBag scaled max": lambda t: t.nn.EmbeddingBag(3, 4, mode="max", scale_grad_by_freq=True)(
        t.tensor([[1]])
    ),
    "EmbeddingBag without offsets": lambda t: t.nn.EmbeddingBag(3, 4)(t.tensor([1, 2])),
    "EmbeddingBag with offsets": lambda t: t.nn.EmbeddingBag(3, 4)(t.tensor([1, 2]), t.tensor([[0]])),
    "EmbeddingBag first offset": lambda t: t.nn.EmbeddingBag(3, 4)(t.tensor([1, 2]), t.tensor([1])),
    "EmbeddingBag last offset": lambda t: t.nn.EmbeddingBag(3, 4)(t.tensor([1, 2]), t.tensor([0, 5])),
    "EmbeddingBag of 3 dimensions": lambda t: t.nn.EmbeddingBag(3, 4)(t.tensor([[[1, 2]]])),
    "EmbeddingBag weights": lambda t: t.nn.EmbeddingBag(3, 4, mode="sum")(
        t.tensor([[1]]), per_sample_weights=t.ones(2)
    ),
    "EmbeddingBag weighted mean": lambda t: t.nn.EmbeddingBag(3, 4)(
        t.tensor([[1]]), per_sample_weights=t.ones(1, 1)
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    (kind, *ours), our_warnings = outcome(ERRORS[name], rushlight)
    (expected_kind, *theirs), their_warnings = outcome(ERRORS[name], torch)
    assert kind == expected_kind
    if kind == "raised":
        assert issubclass(ours[0], theirs[0])
        assert ours[1].startswith(theirs[1].split("\n")[0].rstrip(".")), (ours[1], theirs[1])
    else:
        assert ours == theirs
    assert our_warnings == their_warnings
