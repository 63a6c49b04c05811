"""Every entry of the op table against PyTorch, on all its samples.

One entry alone is checked by ``pytest tests/conformance/test_op_matrix.py -k "test_op[mul]"``.
"""

import re

import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

import rushlight
from rushlight.ops.define import INT_TO_FLOAT, Entry, apply
from rushlight.ops.kinds import elementwise_op
from rushlight.ops.samples import Sample, T, unary
from tests.conformance.checks import EntryChecks
from tests.conformance.coverage import PAGE, TABLE
from tests.conformance.exemptions import METHODS, NODES, WITHOUT_SAMPLES


@pytest.mark.parametrize("name", sorted(TABLE.keys() - WITHOUT_SAMPLES.keys()))
def test_op(name):
    report = EntryChecks(TABLE[name]).run()
    if report.problems:
        pytest.fail(f"{len(report.problems)} problems\n" + "\n".join(report.problems[:40]), pytrace=False)


def test_exemptions_name_entries_and_reasons():
    for exempt in (WITHOUT_SAMPLES, METHODS, NODES):
        assert set(exempt) <= set(TABLE)
        assert all(exempt.values())
    assert [name for name in WITHOUT_SAMPLES if TABLE[name].samples is not None] == []


def test_the_coverage_page_is_that_of_this_table():
    head, *rows = re.findall(r"^\| ([\w.]+) \|", PAGE.read_text("utf-8"), re.M)
    assert head == "op"
    assert rows == sorted(TABLE.keys() - WITHOUT_SAMPLES.keys()), "run python -m tests.conformance.coverage"


def exp_with(formula=None, rule=None, samples=unary, **how):
    """The problems the matrix finds with an `exp` of this formula and gradient rule."""
    op = elementwise_op(
        "exp",
        formula or (lambda k, input: k.exp(input)),
        dict(input=rule or (lambda g, out: g * out)),
        promote=how.pop("promote", INT_TO_FLOAT),
        **how,
    )

    def function(input, *, out=None):
        return apply(op, (input,), out=out)

    function.__name__ = "exp"
    entry = Entry("exp", function, op=op, samples=samples, inplace=rushlight.Tensor.exp_)
    return EntryChecks(entry).run().problems


def wrong(problems, *parts):
    return any(all(part in problem for part in parts) for problem in problems)


def test_the_matrix_has_nothing_against_a_right_op():
    assert exp_with() == []


def test_the_matrix_finds_wrong_values():
    assert wrong(exp_with(lambda k, input: k.exp(input) * 1.00001), "value: ", "value at")
    assert wrong(exp_with(lambda k, input: k.exp(abs(input))), "noncontiguous: ", "value at")
    assert wrong(exp_with(lambda k, input: k.exp(input).astype("float64")), "dtype torch.float64")
    assert wrong(exp_with(lambda k, input: k.exp(input.reshape(-1))), "shape")
    assert wrong(exp_with(promote=0), "dtype", "int64") or wrong(
        exp_with(promote=0), "float64 != torch.float32"
    )


def test_the_matrix_finds_wrong_gradients():
    assert wrong(exp_with(rule=lambda g, out: g * out * 1.001), "gradient: ", "gradient 0")
    assert wrong(exp_with(rule=lambda g, out: (g * out).detach()), "second order: ")
    assert wrong(exp_with(rule=lambda g, out: None), "gradient: ", "missing")
    assert wrong(exp_with(rule=lambda g, out: g.undefined), "gradient: ", "raises AttributeError")
    assert wrong(exp_with(node_name="EBackward0"), "grad_fn EBackward0 != ExpBackward0")


def test_the_matrix_finds_wrong_errors():
    bad = [Sample([T((2,))], raises=True)]
    assert wrong(exp_with(samples=lambda: bad), "nothing raised")
    unlabelled = [Sample([T((2,)), T((2,))])]
    assert wrong(exp_with(samples=lambda: unlabelled), "say raises=True")

    def refuse(input):
        raise ValueError("no")

    assert wrong(exp_with(check=refuse), "raises ValueError('no') where PyTorch does not")


def test_without_a_counterpart_gradients_are_compared_with_differences():
    def problems(function):
        return EntryChecks(Entry("unheard_of", function, samples=lambda: unary(ints=False))).run().problems

    def squared_tanh(input):
        return input.tanh() * input.tanh()

    def forgetful(input):
        return input.tanh() * input.tanh().detach()

    assert [each for each in problems(squared_tanh) if "float16" not in each] == []
    assert wrong(problems(forgetful), "gradient: ", "by differences")


def test_the_matrix_wants_samples():
    assert exp_with(samples=list) == ["no samples"]
