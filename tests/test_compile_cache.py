"""Machine code on disk: found again, told apart, never trusted blindly, never needed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

import rushlight as rl
from rushlight import nn
from rushlight.compile import built, cache
from rushlight.compile.native import Native
from rushlight.compile.program import Program
from rushlight.nn import functional as F
from rushlight.ops import full_table
from rushlight.ops.table import Op
from rushlight.utils.data import DataLoader, TensorDataset

SCRIPT = """
import sys
import rushlight as rl
from rushlight import nn
from rushlight.compile import built
from rushlight.nn import functional as F
if "cached" in sys.argv:
    def refuse(text):
        raise AssertionError("LLVM was asked to compile")
    built.object_code = refuse
rl.manual_seed(0)
model = nn.Sequential(nn.Linear(9, 5), nn.GELU(), nn.Dropout(), nn.Linear(5, 3))
optimizer = rl.optim.Adam(model.parameters())
x, y = rl.rand(4, 9), rl.tensor([0, 2, 1, 1])
@rl.compile
def step(x, y):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
print([step(x, y).item() for _ in range(5)], step)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def program_of(function: Callable[..., Any], *given: Any) -> Program:
    """What a function is recorded as."""
    compiled = rl.compile(function, backend="replay")
    compiled(*given)
    compiled(*given)
    return next(compiled.all_recordings()).program


def name_of(program: Program) -> str | None:
    return built.name_of(program, program.kept, [])


X = rl.arange(12.0).reshape(3, 4)


def scaled(x: rl.Tensor) -> rl.Tensor:
    return (x * 2 + 1).tanh().sum(1)


def run(program: Program, x: rl.Tensor = X) -> np.ndarray:
    return Native(program).run([x.numpy()])[0]


def refuse(*_: Any) -> Any:
    raise AssertionError("compiled once more")


def test_the_second_time_nothing_is_compiled(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(program_of(scaled, X))
    assert len(list(place.iterdir())) == 1
    monkeypatch.setattr(built, "build", refuse)
    assert (run(program_of(scaled, X)) == first).all()
    with pytest.raises(AssertionError, match="once more"):
        run(program_of(lambda x: x.exp(), X))


@pytest.mark.parametrize("where", ["mark", "hash", "head", "middle", "end"])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_broken_file_is_replaced(place: Path, where: str, how: str) -> None:
    program = program_of(scaled, X)
    expected = run(program)
    (path,) = place.iterdir()
    whole = path.read_bytes()
    start = len(cache.MARK) + 32
    at = {"mark": 3, "hash": start - 9, "head": start + 5, "middle": len(whole) // 2, "end": len(whole) - 1}
    broken = bytearray(whole)
    if how == "cut":
        del broken[at[where] :]
    else:
        broken[at[where]] ^= 16
    path.write_bytes(broken)
    assert cache.load(path.stem) is None
    assert not path.exists()
    path.write_bytes(broken)
    assert (run(program) == expected).all()
    assert path.read_bytes() == whole


def test_a_file_under_another_name_is_not_taken(place: Path) -> None:
    cache.store("one", b"content")
    assert cache.load("one") == b"content"
    assert cache.load("other") is None
    (place / "one.code").rename(place / "other.code")
    assert cache.load("other") is None


@pytest.mark.parametrize("content", [b"", b"{}\ncode", b"[]\ncode", b"\xff\ncode", b"[" * 10**5, b"no code"])
def test_what_is_no_program_is_made_anew(place: Path, content: bytes) -> None:
    program = program_of(scaled, X)
    expected = run(program)
    (path,) = place.iterdir()
    whole = path.read_bytes()
    cache.store(path.stem, content)
    assert (run(program) == expected).all()
    assert path.read_bytes() == whole


def test_files_that_have_changed_names_are_not_run(place: Path) -> None:
    programs = [program_of(each, X) for each in (scaled, lambda x: x.exp())]
    expected = [run(each) for each in programs]
    one, other = place.iterdir()
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    for program, found in zip(programs, expected, strict=True):
        assert (run(program) == found).all()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")
def test_code_of_other_users_is_not_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("one", b"content")
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    assert cache.load("one") is None
    assert len(list(place.iterdir())) == 1


def test_processes_at_once_share_it(place: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [each.communicate(timeout=120)[0] for each in both]
    assert told[0] == told[1]
    assert "1 recorded" in told[0]
    assert [path.suffix for path in place.iterdir()] == [".code"]
    third = subprocess.run([*command, "cached"], capture_output=True, text=True, timeout=120, check=True)
    assert third.stdout == told[0]


def test_readers_never_see_half_a_file(place: Path) -> None:
    contents = [bytes([each]) * 200_000 for each in (1, 2)]
    cache.store("one", contents[0])
    writer = (
        "from rushlight.compile import cache\n"
        "for each in range(100): cache.store('one', bytes([1 + each % 2]) * 200_000)"
    )
    process = subprocess.Popen([sys.executable, "-c", writer])
    seen = set()
    while process.poll() is None:
        seen.add(contents.index(cache.load("one") or b""))
    assert process.returncode == 0
    assert seen == {0, 1}


@pytest.mark.parametrize("case", ["read-only", "a file in its place", "below a file"])
def test_it_works_without_a_usable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    folder = tmp_path / "folder"
    if case == "read-only":
        folder.mkdir()
        folder.chmod(0o500)
        if os.access(folder, os.W_OK):  # as for root: nothing is read-only
            monkeypatch.setattr(cache, "write_bytes", _refused)
    else:
        folder.write_text("a file")
    monkeypatch.setenv("RUSHLIGHT_CACHE", str(folder / "code" if case == "below a file" else folder))
    assert (run(program_of(scaled, X)) == scaled(X).numpy()).all()
    assert not folder.is_dir() or not list(folder.iterdir())


def _refused(*_: Any, **__: Any) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("value", ["0", "off", "OFF"])
def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("RUSHLIGHT_CACHE", value)
    run(program_of(scaled, X))
    assert not list(tmp_path.iterdir())
    cache.store("one", b"content")
    assert cache.load("one") is None
    monkeypatch.delenv("RUSHLIGHT_CACHE")
    run(program_of(scaled, X))
    assert len(list((tmp_path / "rushlight" / "code").iterdir())) == 1


def test_what_was_not_used_for_longest_goes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(["new", "old", "older", "oldest"]):
        cache.store(name, bytes(1000))
        os.utime(place / f"{name}.code", (10_000 - age, 10_000 - age))
    (place / "mine.txt").write_bytes(bytes(5000))
    (place / ".old.code.half").write_bytes(bytes(1000))  # a process was killed while it wrote
    os.utime(place / ".old.code.half", (1, 1))
    assert cache.load("older") is not None  # used now
    monkeypatch.setattr(cache, "LIMIT", 3500)
    cache.store("newest", bytes(1000))
    assert {path.name for path in place.iterdir()} == {"newest.code", "older.code", "new.code", "mine.txt"}


def test_the_folder_stays_within_the_limit_and_is_seldom_looked_through(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda *given: looks.append(given) or scandir(*given))
    monkeypatch.setattr(cache, "LIMIT", 40_000)
    for number in range(100):
        cache.store(f"{number}", bytes(500))
        assert sum(os.path.getsize(place / each) for each in os.listdir(place)) <= 40_000
    assert cache.load("99") is not None and cache.load("0") is None
    assert 0 < len(looks) < 34


# -- names ---------------------------------------------------------------------------------------------------


def test_the_same_step_has_the_same_name() -> None:
    assert name_of(program_of(scaled, X)) == name_of(program_of(lambda x: (x * 2 + 1).tanh().sum(1), X))


def change_column(column: int) -> Callable[[rl.Tensor], rl.Tensor]:
    """A step whose gradient goes through a view that was changed in place."""
    weight = rl.ones(3, 4, requires_grad=True)

    def step(x: rl.Tensor) -> rl.Tensor:
        product = weight * x
        product[:, column].mul_(2.0)
        product.sum().backward()
        weight.grad = None
        return product.detach()

    return step


def test_other_programs_have_other_names() -> None:
    programs = [
        program_of(scaled, X),
        program_of(scaled, X.double()),
        program_of(scaled, X.t()),
        program_of(scaled, X[:2]),
        program_of(lambda x: (x * 3 + 1).tanh().sum(1), X),
        program_of(lambda x: (x * True + 1).tanh().sum(1), X),
        program_of(lambda x: (x * 2.0 + 1).tanh().sum(1), X),
        program_of(lambda x: (x * 2 - 1).tanh().sum(1), X),
        program_of(lambda x: (x * 2 + 1).sinh().sum(1), X),
        program_of(lambda x: (x * 2 + 1).tanh().sum(0), X),
        program_of(lambda x: (x * 2 + 1).tanh().sum(1, keepdim=True), X),
        program_of(lambda x: x.mul_(0.0), X.clone()),
        program_of(lambda x: x.mul_(-0.0), X.clone()),
        program_of(lambda x: x.index_select(1, rl.tensor([0, 1])), X),
        program_of(change_column(0), X),
        program_of(change_column(1), X),
        program_of(lambda x: (x * 2, x * 3)[0], X),
        program_of(lambda x: (x * 2, x * 3)[1], X),
    ]
    names = [name_of(each) for each in programs]
    assert None not in names
    assert len(set(names)) == len(names)


def test_names_tell_what_is_kept_and_what_is_live() -> None:
    program = program_of(scaled, X)
    plain = built.name_of(program, [], [])
    assert plain != built.name_of(program, [program.calls[0].outputs[0]], [])
    assert plain != built.name_of(program, [], [program.buffers[0]])
    program.repeats = False
    assert plain != built.name_of(program, [], [])


@pytest.mark.parametrize(
    "change",
    [
        ("target", lambda: ("0.50.0", (22, 1, 0), "x86_64-unknown-linux-gnu", "another-cpu", "+sse2")),
        ("_own_sources", lambda: b"an older compiler"),
        ("get_default_dtype", lambda: rl.float64),
    ],
)
def test_surroundings_are_part_of_the_name(change: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of(scaled, X)
    before = name_of(program)
    monkeypatch.setattr(built, *change)
    assert name_of(program) != before


def test_what_cannot_be_described_is_not_cached(place: Path) -> None:
    program = program_of(scaled, X)
    program.calls[0].params = {**program.calls[0].params, "odd": object()}
    assert name_of(program) is None
    with pytest.raises(TypeError):  # the call has no such parameter: it was not looked up
        run(program)
    assert not place.exists()


def test_formulas_are_told_apart() -> None:
    full_table()
    known: dict[str, Any] = {}
    gc.unfreeze()  # most were made when the tests were collected
    found = [each for each in gc.get_objects() if issubclass(type(each), Op) and each.formula is not None]
    gc.freeze()
    for op in found:
        text = repr(built._function(op.formula))
        same = known.setdefault(text, op.formula)
        assert same.__code__ is op.formula.__code__, op
        assert _closed(same) == _closed(op.formula), op
    assert len(known) > 100


def _closed(function: Any) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]


# -- what runs -----------------------------------------------------------------------------------------------


def both_ways(
    function: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    *given: Any,
    generators: Sequence[rl.Generator] = (),
) -> tuple[Any, list[Any]]:
    """A step recorded twice from the same state, compiled the first time and from the cache the second; the
    compiled function, and what three calls of each returned."""
    found = []
    for _ in range(2):
        for each in (rl.default_generator, *generators):
            each.manual_seed(1)
        compiled = rl.compile(function)
        for _ in range(3):
            found.append(compiled(*given).tolist())
        assert "1 recorded" in repr(compiled)
        monkeypatch.setattr(built, "build", refuse)
    assert found[:3] == found[3:]
    return compiled, found


def test_random_numbers_from_the_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = rl.Generator()

    def draws(x: rl.Tensor) -> rl.Tensor:
        return rl.stack([F.dropout(x, 0.5), rl.rand(3, 4), rl.rand(3, 4, generator=other), rl.rand(3, 4)])

    compiled, found = both_ways(draws, monkeypatch, X, generators=[other])
    assert found[0] != found[1]
    made = []
    for function in (compiled, draws):
        rl.manual_seed(2)
        other.manual_seed(3)
        made.append(function(X))
    assert (made[0] == made[1]).all()


def test_calls_of_numpy_from_the_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, _ = both_ways(lambda x: (x * 2).sort(descending=True)[0].cumsum(0) + 1, monkeypatch, X)
    (recording,) = compiled.all_recordings()
    assert any(not isinstance(each, str) for each in recording.executor.segments)


def test_failed_checks_from_the_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = nn.Embedding(5, 3).requires_grad_(False)

    def look_up(rows: rl.Tensor) -> rl.Tensor:
        table(rows)  # nobody reads it, and yet it has to raise
        return table(rows + 1).sum()

    compiled, _ = both_ways(look_up, monkeypatch, rl.tensor([0, 3]))
    for wrong in ([0, 4], [-1, 0]):
        with pytest.raises(IndexError, match="index out of range in self"):
            compiled(rl.tensor(wrong))
    compiled(rl.tensor([1, 1]))


def two_epochs() -> list[float]:
    """The losses of a short run, and what became of the weights."""
    rl.manual_seed(1)
    model = nn.Linear(3, 2)
    optimizer = rl.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @rl.compile
    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    data = TensorDataset(rl.arange(60.0).reshape(20, 3).sin(), rl.arange(20) % 2)
    loader = DataLoader(data, batch_size=8, shuffle=True)
    losses = [*step.over(loader).tolist(), *step.over(loader).tolist()]
    assert all(each.executor.can_run_many for each in step.all_recordings())
    return [*losses, model.weight.sum().item()]


def test_epochs_from_the_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = two_epochs()
    monkeypatch.setattr(built, "build", refuse)
    assert two_epochs() == before
