"""Names that scripts use around a model: Variable, DataParallel, amp, safe globals, SummaryWriter."""

from __future__ import annotations

import builtins
import copy
import fractions
import io
import pickle
from pathlib import Path
from typing import Any

import pytest

import rushlight as torch
from rushlight import nn
from rushlight.autograd import Variable
from rushlight.utils.tensorboard import SummaryWriter


def test_a_variable_is_a_tensor_that_shares_memory() -> None:
    x = torch.ones(2)
    made = Variable(x, requires_grad=True)
    assert type(made) is torch.Tensor and made is not x and made.data_ptr() == x.data_ptr()
    assert isinstance(x, Variable) and not isinstance(3, Variable)
    assert made.requires_grad and not x.requires_grad and not Variable(x).requires_grad
    with pytest.raises(NotImplementedError, match="volatile"):
        Variable(x, volatile=True)


def test_data_parallel_calls_the_module() -> None:
    inner = nn.Linear(2, 1)
    model = nn.DataParallel(inner, device_ids=[0, 1])
    x = torch.ones(3, 2)
    assert torch.equal(model(x), inner(x)) and model.device_ids == [] and model.module is inner
    assert list(model.state_dict()) == ["module.weight", "module.bias"]
    assert torch.equal(nn.parallel.data_parallel(inner, x), inner(x))


def test_mixed_precision_is_off() -> None:
    with pytest.warns(UserWarning, match="CUDA is not available. Disabling autocast"):
        block = torch.amp.autocast(device_type="cuda", dtype=torch.float16)
    with block:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32
    with pytest.raises(NotImplementedError, match="enabled=False"):
        torch.autocast("cpu")
    with pytest.warns(UserWarning, match="GradScaler is enabled, but CUDA is not available"):
        scaler = torch.amp.GradScaler("cuda")
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scaler.scale(weight * 2).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert weight.item() == 0 and scaler.get_scale() == 1 and scaler.state_dict() == {}
    with pytest.warns() as caught:
        torch.cuda.amp.GradScaler()
    assert [each.category for each in caught] == [FutureWarning, UserWarning]
    with pytest.warns(FutureWarning), torch.cuda.amp.autocast(enabled=False):
        pass

    @torch.autocast("cpu", enabled=False)
    def twice(x: Any) -> Any:
        return x * 2

    assert twice(torch.ones(1)).item() == 2 and twice.__name__ == "twice"


def checkpoint_with(value: Any) -> io.BytesIO:
    """A checkpoint that PyTorch could have written, of an object that is not plain data."""
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("archive/version", "3")
    file.seek(0)
    return file


def test_only_what_a_program_names_is_safe_to_load() -> None:
    value = {"share": fractions.Fraction(1, 3)}
    with pytest.raises(RuntimeError, match=r"asks for fractions\.Fraction.*serialization\.safe_globals"):
        torch.load(checkpoint_with(value))
    with torch.serialization.safe_globals([fractions.Fraction]):
        assert torch.load(checkpoint_with(value), weights_only=True) == value
    with pytest.raises(RuntimeError, match="asks for"):
        torch.load(checkpoint_with(value))
    with torch.serialization.safe_globals([(divmod, "fractions.Fraction")]):
        assert torch.load(checkpoint_with([fractions.Fraction(1, 2)])) == [(0, 1)]
    assert torch.serialization.get_safe_globals() == []


def test_the_switch_for_deterministic_algorithms_keeps_its_position() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_a_module_compiled_in_place_trains_and_copies() -> None:
    plain, model = nn.Linear(3, 1), nn.Linear(3, 1)
    model.load_state_dict(plain.state_dict())
    model.compile()
    x = torch.ones(2, 3)
    for net in (plain, model):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(x).pow(2).mean().backward()
            optimizer.step()
    torch.testing.assert_close(model.weight, plain.weight)
    assert list(model.state_dict()) == ["weight", "bias"]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            twin.weight.zero_()
        assert torch.equal(twin(x), twin.bias.expand(2, 1)) and not torch.equal(twin(x), model(x))


def test_the_summary_writer_takes_tensors(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    with SummaryWriter(log_dir=tmp_path / "runs") as writer:
        writer.add_scalar("loss", torch.tensor(0.5, requires_grad=True), 1)
        writer.add_scalars("both", {"a": torch.tensor(1.0), "b": 2.0}, 1)
        writer.add_histogram("weights", torch.randn(100), 1)
        writer.add_image("digit", torch.rand(1, 28, 28), 0)
        writer.add_text("note", "done")
        with pytest.raises(NotImplementedError, match="add_graph"):
            writer.add_graph(nn.Linear(2, 1), torch.ones(1, 2))
    written = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert written and sum(path.stat().st_size for path in written) > 500


def test_without_tensorboardx_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "tensorboardX":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"^SummaryWriter needs tensorboardX: pip install tensorboardX$"):
        SummaryWriter()
