"""The report: complete, self-contained, and safe whatever text reaches it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit import Accuracy, FitError, Trainer, Wording
from rushlight.fit.report import Report, code, figure, gallery, image, paragraph, table
from rushlight.fit.summary import layers_of

HOSTILE = "<script>alert('&')</script>\"><img src=http://example.org/x onerror=run()>"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page: its text, its tags, what it would load; refuses tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def assert_safe(page: Page) -> None:
    """Nothing runs, and nothing is loaded from anywhere."""
    assert "script" not in page.tags
    assert all(each.startswith(("data:image/", "#")) for each in page.sources)


def run(folder: Path, **options: object) -> Trainer:
    """A short run."""
    rl.manual_seed(0)
    inputs = rl.randn(60, 4)
    labels = (inputs[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.05), (inputs, labels),
        (inputs, labels), epochs=4, batch_size=20, metrics={"accuracy": Accuracy()}, folder=folder,
        progress=False, compiled=False, wording=Wording(reproduce=f"train.py {HOSTILE}"),
        config={"job": "custom", "title": HOSTILE}, **options,
    )  # fmt: skip
    trainer.fit()
    return trainer


def test_a_run_folder_has_a_report(tmp_path: Path) -> None:
    """Every standard section, with the run's own numbers."""
    trainer = run(tmp_path / "run")
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert_safe(page)
    text = "\n".join(page.words)
    for heading in ("Verdict", "Curves", "Layers", "History", "Configuration", "Reproduce"):
        assert heading in page.words
    assert str(trainer.verdict()) in page.words
    assert "Linear(in_features=4, out_features=5, bias=True)" in page.words
    assert "37 parameters." in page.words
    assert f"{trainer.history[-1]['train_loss']:.5g}" in page.words
    assert HOSTILE in text
    assert page.tags.count("img") == 1


def test_sections_of_a_job(tmp_path: Path) -> None:
    """They stand between the curves and the layers; a report can be left out."""
    trainer = run(tmp_path / "run", report=False)
    assert not (tmp_path / "run" / "report.html").exists()
    picture = image(b"\x89PNG", HOSTILE)
    path = trainer.write_report(HOSTILE, [("Own", [paragraph("mine"), gallery([picture, picture])])])
    page = Page(path.read_text())
    assert_safe(page)
    headings = [page.words[i] for i in range(len(page.words)) if page.words[i] in ("Curves", "Own", "Layers")]
    assert headings[-3:] == ["Curves", "Own", "Layers"]
    with pytest.raises(TypeError, match="made of parts"):
        trainer.write_report("plain text", [("Own", ["<b>"])])


def test_parts_escape_what_they_are_given() -> None:
    """Cells, captions, code and titles; numbers are set in full."""
    report = Report(HOSTILE)
    parts = [code(HOSTILE), table([HOSTILE], [[HOSTILE], [1234567], [0.123456], [None]])]
    parts.append(figure(lambda canvas: canvas.subplots().set_title(HOSTILE), HOSTILE, (2, 2), "png"))
    report.add(HOSTILE, *parts)
    page = Page(report.html())
    assert_safe(page)
    assert page.words.count(HOSTILE) == 8
    assert "1,234,567" in page.words
    assert "0.12346" in page.words


def test_a_report_without_a_folder_is_refused(tmp_path: Path) -> None:
    trainer = run(tmp_path / "run")
    trainer.folder = None
    with pytest.raises(FitError, match="run folder"):
        trainer.write_report("x")
    with pytest.raises(FitError, match="cannot write"):
        Report("x").write(tmp_path / "none" / "report.html")


def test_layers_of_nested_and_bare_models() -> None:
    """Parameters beside child modules are counted, shapes are those of a real call, modes stay."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(rl.ones(3))
            self.inner = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))

        def forward(self, x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
            return self.inner(x) * self.scale + y

    model = Scaled()
    model.inner[0].weight.requires_grad_(False)
    layers = layers_of(model, [rl.zeros(7, 2), rl.zeros(7, 3)])
    assert [(each.name, each.shape, each.parameters, each.trained) for each in layers] == [
        ("inner.0", (7, 3), 9, 3),
        ("inner.1", (7, 3), 0, 0),
        ("(model)", (), 3, 3),
    ]
    assert layers[2].text == "Scaled: scale 3"
    assert model.inner[1].training
    assert sum(each.parameters for each in layers_of(model)) == 12
    assert np.isclose(layers_of(nn.Linear(2, 1))[0].parameters, 3)
