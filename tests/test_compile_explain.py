"""``explain()``: what became of a compiled function, as facts, as text and as tables."""

from __future__ import annotations

import re

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.compile import explain as explaining
from rushlight.compile.peak import Peak
from rushlight.nn import functional as F

pytest.importorskip("llvmlite", reason="native code needs llvmlite")


@pytest.fixture(autouse=True)
def known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that need not be measured."""
    monkeypatch.setattr(explaining, "measured_peak", lambda: Peak(1e11, 1e10))


def classifier():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    @torch.compile
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for rows in (8, 8, 5):
        step(torch.rand(rows, 20), torch.randint(0, 4, (rows,)))
    return model, step


def test_operations_and_bytes_are_counted_from_the_plan() -> None:
    compiled = torch.compile(lambda x, w: torch.relu(x @ w).sum(0))
    compiled(torch.rand(6, 5), torch.rand(5, 32))
    (program,) = compiled.explain().programs
    product = next(each for each in program.groups if "mm" in each.ops)
    assert product.ops == ["mm", "relu"]
    assert product.loops == (6, 32, 5)
    assert product.operations == 6 * 32 * (2 * 5 + 1)
    assert product.bytes == 4 * (6 * 5 + 5 * 32 + 6 * 32)
    total = program.groups[-1]
    assert (total.ops, total.loops, total.operations) == (["sum"], (6, 32), 6 * 32)
    assert total.bytes == 4 * (6 * 32 + 32)
    assert program.memory == {
        "arguments": 4 * (6 * 5 + 5 * 32),
        "results and gradients": 4 * 32 + 4,
        "arena": program.memory["arena"],
    }


def test_each_recording_says_why_it_was_made() -> None:
    model, step = classifier()
    model[1].register_forward_hook(lambda *_: None)
    step(torch.rand(5, 20), torch.randint(0, 4, (5,)))
    programs = step.explain().programs
    assert [each.reason for each in programs] == [
        "there was no program yet",
        "argument 0 has shape (5, 20), not (8, 20)",
        "a hook was added",
    ]
    assert programs[1].arguments == ["argument0 (5, 20) float32", "argument1 (5,) int64"]
    assert programs[1].watched["tensor"] > 4


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ((torch.ones(2), 3), (torch.ones(2), 4), "argument 1 is 4, not 3"),
        ((torch.ones(2), 3), (torch.ones(2),), "the number of arguments is 1, not 2"),
        ((torch.ones(2),), (torch.ones(2, dtype=torch.float64),), "argument 0 has type float64, not float32"),
        (([torch.ones(2)],), ([torch.ones(3)],), "argument 0 is another value"),
    ],
)
def test_what_tells_calls_apart(first, second, reason: str) -> None:
    compiled = torch.compile(lambda x, times=1: (x[0] if isinstance(x, list) else x) * times)
    compiled(*first)
    compiled(*second)
    assert compiled.explain().programs[1].reason == reason


def test_text_and_tables_have_a_row_for_each_group() -> None:
    _, step = classifier()
    found = step.explain()
    text, page = str(found), found._repr_html_()
    assert text.startswith("step: 2 programs\n")
    assert "recorded because argument 0 has shape (5, 20), not (8, 20)" in text
    rows = re.findall(r"^ +\d+  \S", text, re.M)
    assert len(rows) == sum(len(each.groups) for each in found.programs)
    update = next(line for line in text.splitlines() if "addcdiv" in line and " 0.weight" in line)
    assert "mm + lerp" in update
    assert re.search(r"test_compile_explain\.py:\d+,\d+$", update)
    assert page.count("<tr>") == len(rows) + 2 * len(found.programs)
    assert "peak" not in text


def test_what_numpy_carries_out_is_told_with_the_reason_and_the_line() -> None:
    compiled = torch.compile(lambda x: torch.cumsum(x * 2, 0) + 1)
    compiled(torch.rand(7))
    found = compiled.explain(measure=True)
    (program,) = found.programs
    by_numpy = [each for each in program.groups if each.reason]
    assert [each.ops for each in by_numpy] == [["cumsum"]]
    assert by_numpy[0].operations is None
    assert "test_compile_explain.py:" in by_numpy[0].places[0]
    assert "3 groups, 1 of them by NumPy" in str(found)
    assert "by NumPy: cumsum: cumsum has no loops (" in str(found)
    replayed = torch.compile(lambda x: x + 1, backend="replay")
    replayed(torch.rand(7))
    assert replayed.explain().programs[0].groups[0].reason == "the program runs op by op"


def test_measuring_leaves_everything_as_it_is() -> None:
    model, step = classifier()
    before = [each.detach().clone() for each in model.parameters()]
    streams = torch.get_rng_state()
    torch.set_num_threads(2)
    found = step.explain(measure=True)
    for one, other in zip(before, model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(streams, torch.get_rng_state())
    for program in found.programs:
        assert all(each.seconds is not None and each.seconds > 0 for each in program.groups)
        assert program.threads in (1, 2)
    text = str(found)
    assert "product peak" in text
    assert "100.0%" in text
    assert "100 Gop/s in a large matrix product, 10 GB/s in a large copy" in text


def test_a_group_that_threads_share_is_measured_on_several() -> None:
    torch.set_num_threads(2)
    compiled = torch.compile(lambda x, w: torch.tanh(x @ w))
    compiled(torch.rand(64, 64), torch.rand(64, 64))
    found = compiled.explain(measure=True)
    (program,) = found.programs
    assert any(each.units > 1 for each in program.groups)
    assert "in step.over() up to 2 threads share" in str(found)


def test_a_module_and_its_backward_half() -> None:
    model = torch.compile(nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="call it first"):
        model.explain()
    model(torch.ones(4, 3)).sum().backward()
    forward, backward = model.explain().programs
    assert (forward.title, backward.title) == ("recording 1", "recording 1, backward")
    assert "gradient0 (4, 2) float32" in backward.arguments
    assert np.sum([each.operations for each in backward.groups]) > 0
