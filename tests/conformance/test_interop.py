"""NumPy, pandas, DLPack and Python's buffers: what goes in, what comes out and what memory is shared, beside
PyTorch's.
"""

import math
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

import rushlight
from tests.conformance.side_by_side import assert_same

SCRIPTS = {
    "NumPy arrays": """
        a = np.arange(6.0).reshape(2, 3)
        x = torch.from_numpy(a)
        a[0, 0] = 9.0
        x
        x[1, 2] = 7.0
        a
        torch.from_numpy([1.0])
        torch.from_numpy(a[::-1])
        torch.from_numpy(a.astype(">f8"))
        torch.from_numpy(np.array(["a"]))
        torch.from_numpy(a.T).stride()
        torch.as_tensor(a, dtype=torch.float32)
        torch.as_tensor(a) is x
        torch.tensor(a)
        torch.tensor(np.float32(2.5))
        torch.tensor([np.float64(1.5), 2])
        torch.tensor([np.int32(1), np.int32(2)])
        torch.tensor(np.array(3, dtype=np.int16))
        torch.tensor([np.ones(2), np.zeros(2)])
        torch.tensor(np.array([[1, 2], [3, 4]], dtype=np.uint8))
        np.asarray(x)
        np.concatenate([x, x]).shape
        np.stack([x, x]).shape
        np.allclose(x, a)
        np.where(x > 1, 1, 0)
        x.numpy() is a
        x.numpy().dtype.name
        x.requires_grad_()
        x.numpy()
        np.asarray(x)
        x.detach().numpy().shape
        x.numpy(force=True).shape
    """,
    "Python numbers and mixtures": """
        a = np.arange(6.0).reshape(2, 3)
        float(torch.tensor(2.5))
        int(torch.tensor(2.9))
        bool(torch.tensor(0))
        torch.tensor(3).__index__()
        [1, 2, 3][torch.tensor(1)]
        complex(torch.tensor(1.0))
        list(torch.arange(3))
        len(torch.ones(2, 3))
        len(torch.tensor(1.0))
        float(torch.ones(2))
        bool(torch.ones(2))
        bool(torch.ones(0))
        torch.ones(2).item()
        torch.ones(1, 1).item()
        torch.arange(4).reshape(2, 2).tolist()
        torch.tensor(1.5).tolist()
        1.5 in torch.tensor([1.0, 1.5])
        max(torch.tensor([1, 3, 2]))
        sum(torch.tensor([1, 3, 2]))
        a + torch.ones(2, 3)
        np.float64(2.0) * torch.ones(2)
        torch.ones(2) * np.float64(2.0)
        a[0] * torch.ones(3)
        torch.ones(3, dtype=torch.int64) + np.int64(2)
        np.ones(3)[torch.tensor([0, 2])]
        torch.ones(3)[np.array([0, 2])]
        torch.ones(3)[np.array([True, False, True])]
        torch.ones(2, 3)[np.int64(1)]
        b = torch.zeros(3)
        b[np.array([0, 1])] = np.array([5.0, 6.0])
        b
        b[:] = [1, 2, 3]
    """,
    "DLPack": """
        y = torch.from_dlpack(np.arange(3.0))
        y
        np.from_dlpack(torch.arange(3))
        np.from_dlpack(torch.ones(2, requires_grad=True))
        torch.from_dlpack(torch.arange(3))
        torch.ones(1).__dlpack_device__()[1]
        c = np.zeros(2)
        d = torch.from_dlpack(c, copy=True)
        d.add_(1)
        c
        e = torch.from_dlpack(c)
        e.add_(1)
        c
        torch.from_dlpack(c, copy=False)
        torch.from_dlpack(c, device="cpu")
        torch.from_dlpack(np.array([True, False]))
    """,
    "buffers": """
        m = bytearray(b"abcdefgh")
        f = torch.frombuffer(m, dtype=torch.int16)
        f[0] = 0
        note(list(m))
        torch.frombuffer(m, dtype=torch.uint8, count=3, offset=2)
        torch.frombuffer(m, dtype=torch.float32, requires_grad=True).shape
        torch.frombuffer(m, dtype=torch.int32, offset=3)
        torch.frombuffer(m, dtype=torch.int32, count=3)
        torch.frombuffer(bytearray(), dtype=torch.int32)
        torch.frombuffer(m, dtype=torch.int32, offset=9)
        torch.frombuffer(m, dtype=torch.int32, offset=-1)
        torch.frombuffer(m, dtype=torch.int32, count=0)
        torch.frombuffer(m, dtype=torch.int32, requires_grad=True)
        torch.frombuffer(5, dtype=torch.int32)
        torch.frombuffer(np.arange(3, dtype=np.int64), dtype=torch.int64)
    """,
    "pandas": """
        import pandas as pd
        s = pd.Series([1.5, 2.5, 3.5], index=[5, 6, 7])
        torch.tensor(s.values)
        torch.tensor(s.to_numpy())
        torch.from_numpy(s.to_numpy(copy=True))
        torch.as_tensor(s.values.copy())
        frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
        torch.tensor(frame.values)
        torch.tensor(frame.to_numpy(), dtype=torch.float32)
        torch.tensor(frame["a"])
        torch.tensor(pd.Series([1, 2], dtype="int32").values)
        torch.tensor(pd.Series([True, False]).values)
        pd.Series(torch.arange(3).numpy()).tolist()
        pd.DataFrame(torch.ones(2, 2).numpy()).shape
        torch.tensor(pd.Series([1, 2], index=[0, 1]))
        torch.tensor(pd.Series([1.0, 2.0], index=[3, 4]).tolist())
    """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_interop(name):
    if name == "pandas":
        pytest.importorskip("pandas", reason="needs the data extra")
    assert_same(SCRIPTS[name], text=70)


def test_dlpack_between_the_libraries():
    """Either library takes the other's tensors, and both see one memory."""
    ours = rushlight.arange(4.0)
    theirs = torch.from_dlpack(ours)
    theirs[0] = 9.0
    assert ours.tolist() == [9.0, 1.0, 2.0, 3.0]
    back = rushlight.from_dlpack(theirs.view(2, 2).T)
    back[1, 0] = -1.0
    assert theirs.tolist() == ours.tolist() == [9.0, -1.0, 2.0, 3.0]
    assert back.stride() == (1, 2)
    for kind in ("int8", "int64", "uint8", "bool", "float16", "float64"):
        one = rushlight.from_dlpack(torch.ones(2, dtype=getattr(torch, kind)))
        assert str(one.dtype) == f"torch.{kind}"
        assert torch.from_dlpack(one).tolist() == one.tolist()


def test_functions_of_numpy_on_tensors():
    """They compute without the warnings that PyTorch's tensors give."""
    x = rushlight.tensor([[1.0, 4.0], [9.0, 16.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.sqrt(x).tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert np.sum(x).item() == 30.0
        assert np.mean(x, axis=0).tolist() == [5.0, 10.0]
        assert np.array(x, dtype=np.float32, copy=True).dtype == np.float32
        assert np.asarray(x) is x.numpy()


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_truths_from_functions_of_numpy_are_bytes():
    for function in (np.isnan, np.logical_not, np.signbit):
        found = [function(library.tensor([1.0, math.nan, 0.0])) for library in (rushlight, torch)]
        assert found[0].tolist() == found[1].tolist()
        assert str(found[0].dtype) == str(found[1].dtype) == "torch.uint8"


def test_a_read_only_buffer_is_copied():
    with pytest.warns(UserWarning, match="The given buffer is not writable"):
        x = rushlight.frombuffer(b"abc", dtype=rushlight.uint8)
    x[0] = 0
    assert x.tolist() == [0, 98, 99]
