"""AdaptiveLogSoftmaxWithLoss does what PyTorch's does: weights, results, gradients or none, text, errors."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

LIBRARIES = (torch, rushlight)
LAYERS = {
    "plain": lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 12]),
    "bias": lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 12, 15], 1.5, head_bias=True),
    "double": lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(16, 9, (4,), div_value=2, dtype=t.float64),
}
TARGETS = {
    "all": [0, 4, 5, 8, 3, 1],
    "head only": [0, 1, 2, 3, 3, 1],
    "no head": [8, 7, 6, 5, 6, 7],
    "one row": [8],
    "one sample": 7,
}


def outcome(lib, name, targets):
    lib.manual_seed(3)
    layer = LAYERS[name](lib)
    lib.manual_seed(4)
    shape = (16,) if isinstance(targets, int) else (len(targets), 16)
    x = lib.randn(shape, dtype=layer.head.weight.dtype, requires_grad=True)
    found = layer(x, lib.tensor(targets))
    found.loss.backward()
    assert found[0] is found.output
    rows = x if x.dim() == 2 else x.unsqueeze(0)
    arrays = [found.output, found.loss, layer.log_prob(rows), layer.predict(rows), layer.predict(rows * 9)]
    arrays += [x.grad, *layer.parameters(), *[each.grad for each in layer.parameters()]]
    layer.reset_parameters()
    texts = [repr(layer), list(layer.state_dict()), type(found).__name__, found._fields, layer.cutoffs]
    texts += [found.output.grad_fn.name(), found.loss.grad_fn.name()]
    return texts, [each if each is None else each.detach().numpy() for each in [*arrays, layer.head.weight]]


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, targets):
    theirs, ours = (outcome(lib, name, TARGETS[targets]) for lib in LIBRARIES)
    assert ours[0] == theirs[0]
    for mine, expected in zip(ours[1], theirs[1], strict=True):
        if expected is None:
            assert mine is None
        else:
            assert mine.dtype == expected.dtype
            np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)


def call(lib, input_shape, targets):
    return lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])(lib.ones(input_shape), lib.tensor(targets))


ERRORS = [
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(8, 20, []),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 5]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 4]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [0, 4]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [20]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4.5]),
    lambda t: call(t, (2, 8), [1, 2, 3]),
    lambda t: call(t, (2, 3, 8), [1, 2]),
    lambda t: call(t, (2, 8), [[1, 2]]),
    lambda t: call(t, (2, 8), 1),
    lambda t: call(t, (2, 8), [1, 20]),
    lambda t: call(t, (2, 8), [1, -1]),
    lambda t: call(t, (2, 7), [1, 9]),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number):
    raised = []
    for lib in LIBRARIES:
        with pytest.raises((ValueError, RuntimeError)) as error:
            ERRORS[number](lib)
        raised.append(error.value)
    theirs, ours = raised
    assert type(ours) is type(theirs)
    assert str(ours).startswith(str(theirs).split("\n")[0].strip())
