"""Clipping gradients and joining parameters do what PyTorch's do."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.test_nn_module import compare


def parameters(lib, scale=1.0, kind="float32"):
    """Three parameters with gradients and one without."""
    rng = np.random.default_rng(4)
    made = []
    for shape in [(2, 3), (4,), (), (2,)]:
        parameter = lib.nn.Parameter(lib.zeros(shape, dtype=getattr(lib, kind)))
        if shape != (2,):
            parameter.grad = lib.tensor(rng.standard_normal(shape) * scale, dtype=parameter.dtype)
        made.append(parameter)
    return made


def clipped(lib, function, *args, scale=1.0, kind="float32", **options):
    """What a function returns, and the gradients afterwards."""
    made = parameters(lib, scale, kind)
    result = getattr(lib.nn.utils, function)(made, *args, **options)
    return [result, *(parameter.grad for parameter in made)]


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(
    ("args", "options"),
    [
        (("clip_grad_norm_", 1.0), {}),
        (("clip_grad_norm_", 100.0), {}),
        (("clip_grad_norm_", 1.0), {"norm_type": 1.0}),
        (("clip_grad_norm_", 0.5), {"norm_type": float("inf")}),
        (("clip_grad_norm_", 0.5), {"norm_type": "inf"}),
        (("clip_grad_norm_", 0.5), {"norm_type": 3}),
        (("clip_grad_norm_", 0.0), {"foreach": True}),
        (("clip_grad_norm_", 1.0), {"scale": 1e-3, "foreach": False}),
        (("clip_grad_value_", 0.5), {}),
        (("clip_grad_value_", 10), {}),
    ],
)
def test_clipping(args, options, kind):
    ours, theirs = (clipped(lib, *args, kind=kind, **options) for lib in (rushlight, torch))
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if other is not None:
            assert str(one.dtype) == str(other.dtype)
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-6, atol=1e-7)


def after(lib, function):
    made = parameters(lib)
    return function(lib.nn.utils, made), made


PROGRAMS = {
    "no parameters": lambda t: t.nn.utils.clip_grad_norm_([], 1.0),
    "no gradients": lambda t: t.nn.utils.clip_grad_norm_([t.ones(2)], 1.0),
    "an empty generator": lambda t: t.nn.utils.clip_grad_norm_((p for p in []), 1.0),
    "a generator": lambda t: t.nn.utils.clip_grad_norm_((p for p in parameters(t, 0.0)), 1.0),
    "one tensor": lambda t: t.nn.utils.clip_grad_norm_(parameters(t, 0.0)[0], 1.0),
    "one tensor's values": lambda t: t.nn.utils.clip_grad_value_(parameters(t, 0.0)[0], 1.0),
    "old name": lambda t: t.nn.utils.clip_grad_norm([], 1.0),
    "not finite": lambda t: t.nn.utils.clip_grad_norm_(
        parameters(t, float("inf")), 1.0, error_if_nonfinite=True
    ),
    "total norm of zeros": lambda t: t.nn.utils.get_total_norm([t.zeros(2), t.zeros(3)]),
    "total norm of one": lambda t: t.nn.utils.get_total_norm(t.tensor([3.0, 4.0])),
    "total norm of none": lambda t: t.nn.utils.get_total_norm([]),
    "scale by a norm": lambda t: after(
        t, lambda utils, made: utils.clip_grads_with_norm_(made[2], 1.0, t.tensor(4.0))
    )[1][2].grad.sign(),
    "vector": lambda t: t.nn.utils.parameters_to_vector([t.ones(2, 2), t.zeros(3), t.tensor(5.0)]),
    "vector of nothing": lambda t: t.nn.utils.parameters_to_vector([]),
    "back from a vector": lambda t: after(
        t, lambda utils, made: utils.vector_to_parameters(t.arange(13.0), made)
    ),
    "back from a list": lambda t: t.nn.utils.vector_to_parameters([1.0], parameters(t)),
    "back from a short vector": lambda t: t.nn.utils.vector_to_parameters(t.ones(2), parameters(t)),
    "round trip": lambda t: after(
        t, lambda utils, made: utils.vector_to_parameters(utils.parameters_to_vector(made) + 1, made)
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    compare(PROGRAMS[name])


RNN_CALLS = {
    "right": lambda lib, rows: lib.nn.utils.rnn.pad_sequence(rows),
    "left": lambda lib, rows: lib.nn.utils.rnn.pad_sequence(rows, padding_side="left"),
    "batch first": lambda lib, rows: lib.nn.utils.rnn.pad_sequence(rows, True, -1),
    "generator": lambda lib, rows: lib.nn.utils.rnn.pad_sequence(each for each in rows),
    "a tensor": lambda lib, rows: lib.nn.utils.rnn.pad_sequence(lib.ones(2, 3)),
    "mixed types": lambda lib, rows: lib.nn.utils.rnn.pad_sequence([rows[0].long(), rows[1]]),
    "none": lambda lib, rows: lib.nn.utils.rnn.pad_sequence([]),
    "a number": lambda lib, rows: lib.nn.utils.rnn.pad_sequence(3),
    "numbers": lambda lib, rows: lib.nn.utils.rnn.pad_sequence([rows[0], 3]),
    "other side": lambda lib, rows: lib.nn.utils.rnn.pad_sequence(rows, padding_side="up"),
    "widths": lambda lib, rows: lib.nn.utils.rnn.pad_sequence([rows[0], rows[1][:, :1]]).shape,
    "back": lambda lib, rows: lib.nn.utils.rnn.unpad_sequence(
        lib.nn.utils.rnn.pad_sequence(rows), lib.tensor([len(row) for row in rows])
    ),
    "back, batch first": lambda lib, rows: lib.nn.utils.rnn.unpad_sequence(
        lib.nn.utils.rnn.pad_sequence(rows, True), lib.tensor([2, 1, 0]), batch_first=True
    ),
    "too many": lambda lib, rows: lib.nn.utils.rnn.unpad_sequence(rows[0], lib.tensor([1, 1, 1])),
}


@pytest.mark.parametrize("name", RNN_CALLS)
def test_padded_sequences(name):
    found = []
    for lib in (rushlight, torch):
        numbers = np.random.default_rng(2).standard_normal((6, 2))
        rows = [lib.tensor(each, requires_grad=True) for each in (numbers[:3], numbers[3:4], numbers[4:])]
        try:
            made = RNN_CALLS[name](lib, rows)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is what is compared
            found.append((type(error), str(error)))
            continue
        tensors = made if isinstance(made, list) else [made]
        if tensors[0].__class__ is lib.Tensor and tensors[0].requires_grad:
            sum((each * each * each).sum() for each in tensors).backward()
        grads = [None if row.grad is None else row.grad.tolist() for row in rows]
        tensors = [each.tolist() if isinstance(each, lib.Tensor) else tuple(each) for each in tensors]
        found.append((tensors, str(getattr(made, "dtype", "")), grads))
    assert found[0] == found[1]


def test_the_precision_of_products_is_kept():
    for lib in (rushlight, torch):
        assert lib.get_float32_matmul_precision() == "highest"
        lib.set_float32_matmul_precision("medium")
        with pytest.warns(UserWarning, match="low is not one of 'highest', 'high', or 'medium'"):
            lib.set_float32_matmul_precision("low")
        assert lib.get_float32_matmul_precision() == "medium"
        lib.set_float32_matmul_precision("highest")
        with pytest.raises(RuntimeError, match="set_float32_matmul_precision expects a str, but got int"):
            lib.set_float32_matmul_precision(3)
