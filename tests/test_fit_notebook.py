"""What a notebook shows: IPython's own display machinery, with its messages caught instead of sent."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("IPython", reason="needs the test extra")

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit import FitError, Trainer
from rushlight.fit.history import History
from rushlight.nn import functional as F


@pytest.fixture
def shell(tmp_path, monkeypatch) -> Iterator[Any]:
    """A shell such as a kernel has, whose messages are in ``display_pub.outputs``."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = InteractiveShell.instance(history_load_length=0)
    made.history_manager.enabled = False
    made.kernel = object()  # what tells a notebook from a terminal
    made.display_pub = CapturingDisplayPublisher(parent=made, shell=made)
    yield made
    InteractiveShell.clear_instance()


def trainer(**options: Any) -> Trainer:
    rl.manual_seed(0)
    inputs = rl.randn(64, 3)
    model = nn.Linear(3, 1)
    update = optim.SGD(model.parameters(), lr=options.pop("rate", 0.1))
    data = (inputs, inputs.sum(1, keepdim=True))
    return Trainer(model, F.mse_loss, update, data, epochs=3, batch_size=16, compiled=False, **options)


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def test_progress_is_one_output_that_changes(shell, capsys) -> None:
    run = trainer()
    run.fit()
    first, *updates = shell.display_pub.outputs
    assert not first.get("update") and all(each["update"] for each in updates)
    [name] = {each["transient"]["display_id"] for each in shell.display_pub.outputs}
    assert name
    pages = [each["data"]["text/html"] for each in shell.display_pub.outputs]
    bars = [re.search(r'<progress value="([\d.]+)" max="1">', page) for page in pages]
    shares = [float(bar[1]) for bar in bars if bar]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert bars[-1] is None, "the bar goes when the run is over"
    for epoch, row in enumerate(run.history, 1):
        assert f"epoch {epoch}/3  loss {row['train_loss']:.4f}" in text_of(pages[-1])
    assert capsys.readouterr() == ("", "")


def test_progress_stays_when_a_run_fails(shell) -> None:
    with pytest.raises(FitError, match="the loss became"):
        trainer(rate=1e30).fit()
    assert "<progress" not in shell.display_pub.outputs[-1]["data"]["text/html"]


def test_silence_is_silence(shell) -> None:
    trainer(progress=False).fit()
    assert shell.display_pub.outputs == []


def test_history_is_a_table_and_a_list(shell) -> None:
    history = trainer(progress=False).fit()
    shown, _ = shell.display_formatter.format(history)
    assert shown["text/plain"].startswith("[{'epoch': 1")
    assert shown["text/html"].count("<tr>") == 4
    assert "train_loss" in shown["text/html"] and f"{history[2]['train_loss']:.5g}" in shown["text/html"]
    assert history == list(history) and isinstance(history, list)
    odd = History([{"<b>": 1}, {"<b>": 2, "more": "&"}])
    assert "&lt;b&gt;" in odd._repr_html_() and "&amp;" in odd._repr_html_()


def test_a_sweep_is_a_picture(shell) -> None:
    shown, _ = shell.display_formatter.format(trainer(progress=False).find_lr(steps=20))
    assert shown["text/plain"].startswith("RateCurve(")
    assert "<svg" in shown["text/html"] or "data:image/" in shown["text/html"]
