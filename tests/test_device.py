"""Devices: naming and comparing them, choosing a default, and the refusal of any that is not the CPU."""

import copy
import pickle
import threading

import pytest

from rushlight.device import CPU, check_device, device, get_default_device, set_default_device


@pytest.fixture(autouse=True)
def cpu_by_default():
    """No default device outlives its test."""
    yield
    set_default_device(None)


@pytest.mark.parametrize(
    ("made", "text", "name"),
    [
        (device("cpu"), "device(type='cpu')", "cpu"),
        (device("cpu", 0), "device(type='cpu', index=0)", "cpu:0"),
        (device("cuda:1"), "device(type='cuda', index=1)", "cuda:1"),
        (device(type="cuda", index=1), "device(type='cuda', index=1)", "cuda:1"),
        (device(device="mps"), "device(type='mps')", "mps"),
        (device(device("cpu")), "device(type='cpu')", "cpu"),
        (copy.deepcopy(device("cuda:2")), "device(type='cuda', index=2)", "cuda:2"),
        (pickle.loads(pickle.dumps(device("cpu", 0))), "device(type='cpu', index=0)", "cpu:0"),
    ],
)
def test_naming(made, text, name):
    assert repr(made) == text
    assert str(made) == name
    assert (made.type, made.index) == (name.split(":")[0], int(name[-1]) if ":" in name else None)


def test_equality_and_hash():
    assert device("cuda:1") == device("cuda", 1)
    assert device("cpu") != device("cpu", 0)
    assert device("cpu") != "cpu"
    assert len({device("cpu"), device("cpu"), device("cpu:0")}) == 2


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        device("cpu").type = "cuda"
    with pytest.raises(AttributeError):
        device("cpu").note = "mine"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("",), RuntimeError, "Device string must not be empty"),
        (("gpu",), RuntimeError, "Expected one of cpu, cuda, .* device type at start of device string: gpu"),
        (("cuda:x",), RuntimeError, "Invalid device string: 'cuda:x'"),
        (("cuda:01",), RuntimeError, "Invalid device string: 'cuda:01'"),
        (
            ("cuda:1", 1),
            RuntimeError,
            "must not include an index because index was passed explicitly: cuda:1",
        ),
        (("cuda", -1), RuntimeError, "Device index must not be negative"),
        ((0,), RuntimeError, "Cannot access accelerator device when none is available"),
        ((-1,), RuntimeError, "Device index must not be negative"),
        (("cpu", "0"), TypeError, r"argument 'index' \(position 2\) must be int, not str"),
        (("cpu", True), TypeError, r"argument 'index' \(position 2\) must be int, not bool"),
        ((), TypeError, "invalid combination of arguments"),
        ((1.5,), TypeError, r"got \(float\)"),
        ((True,), TypeError, r"got \(bool\)"),
    ],
)
def test_refused_names(arguments, error, message):
    with pytest.raises(error, match=message):
        device(*arguments)


@pytest.mark.parametrize("wanted", [None, "cpu", "cpu:3", CPU, device("cpu", 0)], ids=str)
def test_every_cpu_is_the_cpu(wanted):
    assert check_device(wanted) is CPU


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ("cuda", AssertionError, "^Torch not compiled with CUDA enabled. .* write 'cpu' instead of 'cuda'"),
        (device("cuda", 1), AssertionError, "^Torch not compiled with CUDA enabled. .* instead of 'cuda:1'"),
        ("xpu", AssertionError, "^Torch not compiled with XPU enabled"),
        ("mps", RuntimeError, "^PyTorch is not linked with support for mps devices"),
        ("meta", NotImplementedError, "no tensors without data"),
        ("gpu", RuntimeError, "device type at start of device string: gpu"),
        (0, RuntimeError, "Cannot access accelerator device"),
        (1.5, TypeError, "argument 'device' must be torch.device, not float"),
        (True, TypeError, "argument 'device' must be torch.device, not bool"),
    ],
)
def test_other_devices_are_refused_on_use(wanted, error, message):
    with pytest.raises(error, match=message):
        check_device(wanted)


def test_with_block_chooses_the_default():
    with device("cpu:1"):
        assert get_default_device() == device("cpu:1")
        with device("cpu:2") as inner:
            assert get_default_device() is inner
        assert get_default_device() == device("cpu:1")
        assert check_device() is CPU
    assert get_default_device() is CPU


def test_with_block_ends_when_it_raises():
    with pytest.raises(KeyError), device("cpu:1"):
        raise KeyError
    assert get_default_device() is CPU


def test_an_unusable_default_is_refused_at_once():
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"), device("cuda"):
        pytest.fail("the block was entered")
    for wanted, error in (("cuda", AssertionError), ("gpu", RuntimeError), (0, RuntimeError)):
        with pytest.raises(error):
            set_default_device(wanted)
    assert get_default_device() is CPU


def test_set_default_device():
    set_default_device("cpu:0")
    assert get_default_device() == device("cpu:0")
    with device("cpu"):
        assert get_default_device() == CPU
    set_default_device(None)
    assert get_default_device() is CPU


def test_each_thread_has_its_own_default():
    seen = []
    with device("cpu:1"):
        thread = threading.Thread(target=lambda: seen.append(get_default_device()))
        thread.start()
        thread.join()
    assert seen == [CPU]
