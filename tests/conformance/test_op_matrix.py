"""Every entry of the op table against PyTorch, on all its samples: ``pytest
tests/conformance/test_op_matrix.py -k mul``."""

import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from rushlight.ops.define import TABLE
from tests.conformance.checks import EntryChecks
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
