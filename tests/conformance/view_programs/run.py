"""Comparing many programs, and cutting one that differs down to the lines that matter.

    python -m tests.conformance.view_programs.run --count 3000 [--seed N]

prints every program that differs and exits with 1 if there are any. Invariant: the seed that is printed
repeats the run.
"""

import argparse
import secrets
import sys
from collections import Counter

import torch

from tests.conformance.view_programs.compare import ACCEPTED, Comparison
from tests.conformance.view_programs.generate import generate
from tests.conformance.view_programs.program import Program


def shrink(program):
    """The program with every line left out without which it still differs."""
    lines = list(program.lines)
    place = len(lines) - 1
    while place >= 0:
        shorter = Program(program.seed, lines[:place] + lines[place + 1 :], program.versions)
        if same_outcomes(shorter, program) and Comparison(shorter).problems:
            program, lines = shorter, shorter.lines
            place = min(place, len(lines))
        place -= 1
    return program


def same_outcomes(shorter, program):
    """Whether the lines that are left do under PyTorch what they did before."""
    before = dict(zip(program.lines, program.errors, strict=True))
    return all(
        str(error)[:60] == str(before[line])[:60]
        for line, error in zip(shorter.lines, shorter.errors, strict=True)
    )


def failures(seed, count, accepted):
    """For each program that differs, of `count` from a seed on: a text with its lines and what differs.

    `accepted` counts the differences that were let pass.
    """
    for each in range(seed, seed + count):
        comparison = Comparison(generate(each))
        accepted.update(comparison.accepted)
        if comparison.problems:
            program = shrink(comparison.program)
            problems = Comparison(program).problems
            yield f"seed {each}:\n{program.text()}\n# " + "\n# ".join(problems) + "\n"


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=3000, help="how many programs (3000)")
    parser.add_argument("--seed", type=int, help="the seed of the first program (default: a fresh one)")
    options = parser.parse_args()
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    torch.set_num_threads(1)
    print(f"{options.count} programs from seed {seed} on", flush=True)
    found = 0
    accepted = Counter()
    for text in failures(seed, options.count, accepted):
        found += 1
        print(text, flush=True)
    for reason, times in sorted(accepted.items()):
        print(f"accepted in {times} programs: {ACCEPTED[reason]}")
    print(f"{found} of {options.count} programs differ")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
