"""``rushlight run``: a script sees what it sees under Python, and what happens to it is passed on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rushlight

ROOT = Path(rushlight.__file__).parents[1]


def command(folder: Path, *arguments: str, program: tuple[str, ...] = ("-m", "rushlight.cli", "run")):
    """Run Python with arguments in a folder."""
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, "utf-8")


def test_arguments_name_and_search_path(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner, "beside.py", "word = 'found'\n")
    write(
        inner,
        "script.py",
        "import sys, torch, beside\nprint(sys.argv, __name__, __file__, beside.word, torch.__version__)\n",
    )
    finished = command(tmp_path, "inner/script.py", "--epochs", "3", "-m", "--help")
    assert finished.returncode == 0, finished.stderr
    arguments = "['inner/script.py', '--epochs', '3', '-m', '--help']"
    assert finished.stdout == f"{arguments} __main__ inner/script.py found 2.13.0+rushlight\n"


def test_a_module_in_place_of_a_script(tmp_path: Path) -> None:
    write(tmp_path, "tool.py", "import sys, torch\nprint(sys.argv[1:], __name__, torch.ones(1))\n")
    finished = command(tmp_path, "-m", "tool", "-q", "--help", "x")
    assert (finished.returncode, finished.stdout) == (0, "['-q', '--help', 'x'] __main__ tensor([1.])\n")


TRAINING = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)LAST)

    def forward(self, x):
        return self.layers(x)

torch.manual_seed(0)
inputs, labels = torch.randn(64, 4), torch.arange(64) % 3
model = Network()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(12):
    ZERO
    loss = nn.functional.cross_entropy(model(inputs), labels)  # the loss
    loss.backward()
    optimizer.step()  # the step
    EVALUATE
print(f"{loss.item():.4f}")
"""
PROPER = {
    "LAST": "",
    "ZERO": "optimizer.zero_grad()",
    "EVALUATE": "model.eval(); model(inputs).argmax(1); model.train()",
}
PLANTED = {
    "softmax before cross_entropy": ({"LAST": ", nn.Softmax(1)"}, "# the loss"),
    "gradients are never zeroed": ({"ZERO": ""}, "# the step"),
    "evaluation in training mode": ({"EVALUATE": "with torch.no_grad(): model(inputs)"}, "model(inputs)"),
    "": ({}, ""),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_mistakes_in_a_script_are_told_with_their_line(tmp_path: Path, mistake: str) -> None:
    changed, marker = PLANTED[mistake]
    text = TRAINING
    for name, part in {**PROPER, **changed}.items():
        text = text.replace(name, part)
    write(tmp_path, "train.py", text)
    plain, watched = command(tmp_path, "train.py"), command(tmp_path, "--watch", "train.py")
    assert (plain.returncode, watched.returncode, plain.stderr) == (0, 0, "")
    assert watched.stdout == plain.stdout
    if not mistake:
        assert watched.stderr == ""
        return
    place, _, said = watched.stderr.partition(": MistakeWarning: ")
    assert said.startswith(mistake) and watched.stderr.count("MistakeWarning: ") == 1
    name, line = place.rsplit(":", 1)
    assert Path(name).name == "train.py" and marker in text.splitlines()[int(line) - 1]


def test_exit_codes(tmp_path: Path) -> None:
    write(tmp_path, "seven.py", "import sys\nsys.exit(7)\n")
    write(tmp_path, "words.py", "raise SystemExit('no data')\n")
    write(tmp_path, "stopped.py", "raise KeyboardInterrupt\n")
    assert command(tmp_path, "seven.py").returncode == 7
    words = command(tmp_path, "words.py")
    assert (words.returncode, words.stderr) == (1, "no data\n")
    stopped = command(tmp_path, "stopped.py")
    assert stopped.returncode == 130
    assert stopped.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "rushlight" not in stopped.stderr


def test_tracebacks_are_those_of_python(tmp_path: Path) -> None:
    write(
        tmp_path,
        "fails.py",
        "def f():\n    try:\n        1 / 0\n    except ValueError:\n        pass\n\n\nf()\n",
    )
    write(tmp_path, "chained.py", "try:\n    {}['a']\nexcept KeyError as e:\n    raise OSError('b') from e\n")
    write(tmp_path, "grammar.py", "x = = 3\n")
    for script in ("fails.py", "chained.py"):
        ours, plain = command(tmp_path, script), command(tmp_path, script, program=())
        assert plain.stderr and ours.stderr.replace(str(tmp_path) + os.sep, "") == plain.stderr.replace(
            str(tmp_path) + os.sep, ""
        )
        assert ours.returncode == plain.returncode == 1
    grammar = command(tmp_path, "grammar.py")
    assert grammar.returncode == 1
    assert [line.strip() for line in grammar.stderr.splitlines()][1:] == [
        "x = = 3",
        "^",
        "SyntaxError: invalid syntax",
    ]


def test_what_a_user_can_mend_is_one_line(tmp_path: Path) -> None:
    for arguments, said in [
        (["nowhere.py"], "rushlight: there is no script nowhere.py\n"),
        ([], "rushlight: run needs a script, or -m and a module\n"),
    ]:
        finished = command(tmp_path, *arguments)
        assert (finished.returncode, finished.stdout, finished.stderr) == (2, "", said)
