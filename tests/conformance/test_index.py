"""Indexing against PyTorch: each expression here reads, writes, differentiates and fails as it does there."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

import rushlight
from rushlight.tensor import wrap

SHAPE = (2, 3, 4)


class Index:
    """An object with ``__index__``, which counts as an int."""

    def __index__(self):
        return 1


def names(library):
    """What an index expression may mention, as objects of one library."""
    make = library.tensor
    m23 = [[True, False, True], [False, True, True]]
    return {
        "np": np,
        "Index": Index,
        "i": make([0, 1]),
        "j": make([2, 0, -1]),
        "ij": make([[0, 1], [1, 1]]),
        "i32": make([1, 0], dtype=library.int32),
        "zero": make(1),
        "small": make(1, dtype=library.int8),
        "none": make([], dtype=library.int64),
        "m2": make([True, False]),
        "m3": make([True, False, True]),
        "m4": make([False, True, True, False]),
        "m23": make(m23),
        "m34": make([[True, False, False, True]] * 3),
        "m234": make([[[True, False, False, True]] * 3] * 2),
        "nothing": make([[False] * 3] * 2),
        "yes": make(True),
        "no": make(False),
        "byte": make([1, 0], dtype=library.uint8),
        "tensor": make,
        "f": make([0.0, 1.0]),
    }


BASIC = """0|-1|np.int64(1)|Index()|1:|:1|::2|-10:10|1:0|5:|:|...|()|None|0,1|0,1,2|0,1:|1:,0|:,0|:,:,0|:,:
...,0|0,...|...,None|None,0|0,None|:,None,1|1:,...,None,::2|0,...,1|None,None|None,...,None|0,:,1|:,1:,::3|zero|small|0,zero
zero,1:|np.array(1)|np.int64(0):np.int32(2)|None:None:None|zero:|Index():|-1,-1,-1"""

PICKS = """i|j[1:]|ij|i32|none|[0,1]|[]|range(2)|[[0,1],[1,1]],|np.array([0,1])|np.array([[1,0]])
np.array([True,False])|[True,False]|m2|m23|m234|nothing|byte|yes|no|True|False|True,False|0,True|i,True|True,i|i,yes
np.array([1,0],dtype=np.uint16)|[np.int64(0),1]|(0,1),|i,i|i,[[0],[1]]|i,0|0,i|:,j|:,0,i|0,:,i|i,:,i|:,i,i|...,i
...,i,i|i,...,i|i,None,i|None,i,None,i|None,i|i,None|i,1:|i,:,1:|1:,j|1:,j,::2|i,i,i|ij,i|i,ij,1|m2,j|m2,:,j
m2,m3|:,m3|:,:,m4|...,m34|m23,1|m23,1:|m23,None|m23,:,None|None,m23|m23,...|0,m3|0,m34|:,m34|m2,0|m23,tensor([0,1,2,3])
[0,1],...|[0,1],:,[0,1]|[0,1],1:,[0,1]|[0,1],0,[0,1]|none,none|i,none[:0].reshape(0,1)|[0]*40|list(range(2))*20
0,[0,1],slice(None)|[tensor(0),tensor(1)],|tensor([[[0]]]),:,tensor([3,-4])"""

DEPRECATED = "[[0,1],[0,1]]|[0,slice(None)]|[i,i]|[None,0]|[m2]|[tensor(0),tensor(1)]"

WRONG = """2|-3|0,5|:,:,-5|0,1,2,3|i,i,i,i|m234,0|1.5|{}|'a'|np.bool_(True)|::-1|::0|1.5:|f|m3
:,m2|m34|m23.T|tensor([5])|tensor([-3])|:,tensor([0,7])|i,tensor([0,7])|i,j|i,none|m2,m2[:1]|tensor([1],dtype=int8)|0,...,0,0,0|i,1.0
tensor([[True]])|object()"""


def listed(text):
    return [each for line in text.split("\n") for each in line.split("|")]


def read(library, expression, data, layout):
    """The tensor indexed, what ``x[...]`` gave, and the error it raised, if any."""
    leaf = (wrap(data.copy()) if library is rushlight else torch.from_numpy(data.copy())).requires_grad_()
    x = leaf * 1
    if layout == "transposed":
        x = x.transpose(0, 2).contiguous().transpose(0, 2)
    scope = names(library) | {"x": x, "int8": library.int8}
    try:
        return leaf, x, eval(f"x[{expression}]", scope), None
    except (IndexError, TypeError, ValueError, RuntimeError) as error:
        return leaf, x, None, error


@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
@pytest.mark.parametrize("expression", listed(BASIC) + listed(PICKS))
def test_reading(expression, layout):
    data = np.arange(24, dtype=np.float32).reshape(SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaf, x, ours, error = read(rushlight, expression, data, layout)
        their_leaf, _, theirs, their_error = read(torch, expression, data, layout)
    assert error is None, error
    assert their_error is None
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert np.array_equal(ours._array, theirs.detach().numpy())
    assert ours._is_view() == theirs._is_view()
    assert ours.grad_fn.name() == theirs.grad_fn.name()
    if ours._is_view():
        assert np.shares_memory(ours._array, x._array) or ours.numel() == 0
        assert ours.storage_offset() == theirs.storage_offset() or ours.numel() == 0
    weights = np.linspace(-1, 1, ours.numel(), dtype=np.float32).reshape(ours.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns about bytes once more
        (ours * wrap(weights)).sum().backward()
        (theirs * torch.from_numpy(weights)).sum().backward()
    assert np.allclose(leaf.grad._array, their_leaf.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("expression", listed(DEPRECATED))
def test_lists_that_count_as_tuples_warn(expression):
    data = np.arange(24, dtype=np.float32).reshape(SHAPE)
    with pytest.warns(
        UserWarning, match="Using a non-tuple sequence for multidimensional indexing is deprecated"
    ):
        _, _, ours, _ = read(rushlight, expression, data, "contiguous")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, theirs, _ = read(torch, expression, data, "contiguous")
    assert np.array_equal(ours._array, theirs.detach().numpy())


@pytest.mark.parametrize("expression", listed(WRONG))
def test_errors(expression):
    data = np.arange(24, dtype=np.float32).reshape(SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        error = read(rushlight, expression, data, "contiguous")[3]
        expected = read(torch, expression, data, "contiguous")[3]
    assert type(error) is type(expected)
    assert str(error).startswith(str(expected))


@pytest.mark.parametrize("expression", ["0", ":", "0,", "zero", "i", "m2", "1:,"])
def test_errors_on_0d(expression):
    data = np.array(3, dtype=np.float32)
    error = read(rushlight, expression, data, "contiguous")[3]
    expected = read(torch, expression, data, "contiguous")[3]
    assert type(error) is type(expected)
    assert str(error).startswith(str(expected))


@pytest.mark.parametrize("expression", ["...", "()", "None", "True", "False", "yes", "no", "None,None"])
def test_0d(expression):
    data = np.array(3, dtype=np.float32)
    ours, theirs = (read(library, expression, data, "contiguous")[2] for library in (rushlight, torch))
    assert np.array_equal(ours._array, theirs.detach().numpy())
    assert ours.grad_fn.name() == theirs.grad_fn.name()


EMPTY = "0:|:,0|none|:,none|...,None|nothing[:0]"


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
@pytest.mark.parametrize("expression", [*listed(EMPTY), "tensor([0])", "tensor([5])", ":,tensor([0])", "0"])
def test_empty(expression, shape):
    data = np.zeros(shape, np.float32)
    _, _, ours, error = read(rushlight, expression, data, "contiguous")
    _, _, theirs, expected = read(torch, expression, data, "contiguous")
    assert type(error) is type(expected)
    if expected is not None:
        assert str(error).startswith(str(expected))
    else:
        assert tuple(ours.shape) == tuple(theirs.shape)


# -- writing -------------------------------------------------------------------------------------------------


def write(library, expression, data, value, through=None):
    """A leaf, the tensor written to, and the error, if any."""
    leaf = (wrap(data.copy()) if library is rushlight else torch.from_numpy(data.copy())).requires_grad_()
    x = leaf * 1
    target = x if through is None else through(x)
    if isinstance(value, np.ndarray):
        value = wrap(value.copy()) if library is rushlight else torch.from_numpy(value.copy())
        if value.dtype.is_floating_point:
            value.requires_grad_()
    scope = names(library) | {"x": target, "value": value, "int8": library.int8}
    try:
        exec(f"x[{expression}] = value", scope)
    except (IndexError, TypeError, ValueError, RuntimeError) as error:
        return leaf, x, value, error
    return leaf, x, value, None


def compare_written(expression, value, through=None):
    data = np.arange(24, dtype=np.float32).reshape(SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaf, x, given, error = write(rushlight, expression, data, value, through)
        their_leaf, their_x, their_given, expected = write(torch, expression, data, value, through)
    assert type(error) is type(expected), error or expected
    if expected is not None:
        assert str(error).startswith(str(expected))
        return
    assert np.array_equal(x._array, their_x.detach().numpy())
    assert x._version == their_x._version
    assert x.grad_fn.name().split("::")[-1] == their_x.grad_fn.name().split("::")[-1]
    weights = np.linspace(-1, 1, 24, dtype=np.float32).reshape(SHAPE)
    (x * wrap(weights)).sum().backward()
    (their_x * torch.from_numpy(weights)).sum().backward()
    assert np.allclose(leaf.grad._array, their_leaf.grad.numpy(), atol=1e-6)
    if getattr(their_given, "grad", None) is not None:
        assert np.allclose(given.grad._array, their_given.grad.numpy(), atol=1e-5)


# Where an index repeats places, which value stays is not defined, so only equal ones can be compared.
REPEATING = {"ij", "[[0,1],[1,1]],", "ij,i", "i,ij,1", "[0]*40", "list(range(2))*20", "j[1:]"}


WRITABLE = [
    each for each in listed(BASIC) + listed(PICKS) if each != "byte"
]  # which PyTorch's masked_fill_ refuses


@pytest.mark.parametrize("expression", WRITABLE)
def test_writing_a_number(expression):
    compare_written(expression, 7.5)


@pytest.mark.parametrize("expression", WRITABLE)
def test_writing_a_0d_tensor(expression):
    compare_written(expression, np.array(7.5, np.float32))


@pytest.mark.parametrize("expression", [each for each in WRITABLE if each not in REPEATING])
def test_writing_a_tensor(expression):
    data = np.arange(24, dtype=np.float32).reshape(SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = tuple(read(torch, expression, data, "contiguous")[2].shape)
    values = np.linspace(5, 6, max(int(np.prod(shape)), 1), dtype=np.float32)[: int(np.prod(shape))].reshape(
        shape
    )
    compare_written(expression, values)
    compare_written(expression, values[None])
    if len(shape) > 1 and shape[0]:
        compare_written(expression, values[0])


@pytest.mark.parametrize("expression", ["0", "i", "m23", ":,j", "i,:,i", "..."])
def test_writing_through_a_view(expression):
    compare_written(expression, 7.5, lambda x: x.transpose(0, 1).transpose(0, 1)[:, :3])
    compare_written(expression, np.array(7.5, np.float32), lambda x: x.view(2, 3, 4))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0", np.zeros((5,), np.float32)),
        ("0,0,0", np.zeros((2,), np.float32)),
        ("0", np.zeros((2, 3, 4), np.float32)),
        ("i", np.zeros((2, 2, 3, 4), np.float32)),
        ("i", np.zeros((5,), np.float32)),
        ("i", np.zeros((2, 3, 4), np.int64)),
        ("i", np.zeros((1,), np.int64)),
        ("m23", np.zeros((1,), np.int64)),
        ("m23", np.zeros((3, 4), np.float32)),
        ("0", [1, 2]),
        ("0", None),
        ("0", "a"),
        ("0", np.float64(2)),
        ("0", np.int64(2)),
        ("0", 1e50),
        ("0", True),
        *[(each, 1.0) for each in listed(WRONG)],
    ],
)
def test_writing_the_wrong_thing(expression, value):
    compare_written(expression, value)


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "bool", "float16", "float64"])
@pytest.mark.parametrize("value", [2.7, 3, True, np.array(2.7), np.array([1.5, 0.0, 3.0, -1.0])])
@pytest.mark.parametrize("expression", ["0", "[0,1]"])
def test_types_of_values(expression, value, kind):
    results = []
    for library in (rushlight, torch):
        x = library.zeros(3, 4, dtype=getattr(library, kind))
        given = library.tensor(value.tolist()) if isinstance(value, np.ndarray) else value
        try:
            exec(f"x[{expression}] = given", {"x": x, "given": given})
            results.append(x.tolist())
        except RuntimeError as error:
            results.append(str(error).split(".")[0])
    assert results[0] == results[1]


def test_writing_part_of_itself_is_refused():
    for library in (rushlight, torch):
        x = library.arange(4.0)
        with pytest.raises(
            RuntimeError, match="some elements of the input tensor and the written-to tensor refer"
        ):
            x[1:] = x[:-1]


def test_writing_to_a_leaf_is_refused():
    for library in (rushlight, torch):
        x = library.zeros(3, requires_grad=True)
        with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used"):
            x[0] = 1.0
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used"):
            x[[0]] = 1.0
