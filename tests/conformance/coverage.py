"""Run the op matrix and write its results to docs/coverage.md: ``python -m tests.conformance.coverage``.

The page says how many ops there are, which checks ran for each and with what result, and which of PyTorch's
names are missing. It exits with 1 if a check failed. Invariant: the same table gives the same page.
"""

import sys
import types
from collections import Counter
from pathlib import Path

import torch

import rushlight
from rushlight.ops import full_table
from tests.conformance import teaching
from tests.conformance.checks import EntryChecks, Report
from tests.conformance.exemptions import WITHOUT_SAMPLES
from tests.conformance.matrix import samples_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coverage.md"
TABLE = full_table()
COLUMNS = ("value", "gradient", "second order", "noncontiguous", "zero-size", "0-d", "in-place", "out")
FUNCTIONS = (types.BuiltinFunctionType, types.FunctionType, types.MethodDescriptorType)

TEXT = """# Coverage of PyTorch's ops

Written by `python -m tests.conformance.coverage`, which runs the op matrix: every entry of the op
table, on all its samples, under PyTorch {version} and Rushlight, from the same data. Do not edit by hand.

**{total} ops** in the table: {ops} with a forward of their own and {composite} composed of others;
{inplace} of them have an in-place variant. {checked} ops are checked here on {samples} samples, with
{runs} checks: **{passed} ops pass all of theirs, {failed} fail.** The other {exempt} are tested
elsewhere, for the reasons below.

The numbers are how often each check ran: *value* compares values, types, shapes, shared memory,
`requires_grad`, `grad_fn` and errors; *gradient* and *second order* the derivatives for random
cotangents, in every variant; *noncontiguous*, *zero-size* and *0-d* the call on such inputs; *in-place*
and *out* the variants that store their result.

| op | samples | {columns} | result |
|:---|---:|{rules}:---|
{rows}

## Tested elsewhere

{exempted}

## Not offered

Documented functions of `torch` that Rushlight does not have: {functions}.

Documented methods of `torch.Tensor` that Rushlight does not have: {methods}.

Of the names that public teaching code uses most ({asked} of 320, without those of graphics
processors) Rushlight does not have: {teaching}. `torch.linalg.eig` is
there and says that it would need complex numbers.
"""


def count(report: Report, column: str) -> int:
    """How often a check ran; derivatives are counted in all variants."""
    if column in ("gradient", "second order"):
        return sum(number for check, number in report.runs.items() if check.endswith(column))
    return report.runs[column]


def documented_functions(place: object) -> set[str]:
    """The functions of a module or class that have a docstring."""
    found = {name: getattr(place, name) for name in dir(place) if not name.startswith("_")}
    return {name for name, each in found.items() if isinstance(each, FUNCTIONS) and each.__doc__}


def listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def main() -> int:
    """Run everything, print the result and write the page."""
    reports = {name: EntryChecks(TABLE[name]).run() for name in sorted(TABLE.keys() - WITHOUT_SAMPLES.keys())}
    rows = []
    for name, report in reports.items():
        numbers = [len(samples_of(TABLE[name])), *(count(report, column) for column in COLUMNS)]
        result = "passed" if not report.problems else f"**{len(report.problems)} failed**"
        rows.append(f"| {name} | {' | '.join(str(each or '') for each in numbers)} | {result} |")
        for problem in report.problems:
            print(f"{name}: {problem}")
    failed = [name for name, report in reports.items() if report.problems]
    summary = {
        "version": torch.__version__.split("+")[0],
        "total": len(TABLE),
        "ops": sum(entry.op is not None for entry in TABLE.values()),
        "composite": sum(entry.op is None for entry in TABLE.values()),
        "inplace": sum(entry.inplace is not None for entry in TABLE.values()),
        "checked": len(reports),
        "samples": sum(len(samples_of(TABLE[name])) for name in reports),
        "runs": sum((report.runs for report in reports.values()), Counter()).total(),
        "passed": len(reports) - len(failed),
        "failed": len(failed),
        "exempt": len(WITHOUT_SAMPLES),
    }
    PAGE.write_text(
        TEXT.format(
            **summary,
            columns=" | ".join(COLUMNS),
            rules="---:|" * len(COLUMNS),
            rows="\n".join(rows),
            exempted="\n".join(f"- `{name}`: {why}" for name, why in sorted(WITHOUT_SAMPLES.items())),
            functions=listed(documented_functions(torch) - set(dir(rushlight))),
            asked=len(teaching.asked_for()),
            teaching=listed(set(teaching.missing())),
            methods=listed(documented_functions(torch.Tensor) - set(dir(rushlight.Tensor))),
        ),
        "utf-8",
    )
    print(
        "{total} ops; {runs} checks on {samples} samples; {passed} ops pass, {failed} fail".format(**summary)
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
