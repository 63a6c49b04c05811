"""The digit job as a user runs it, on a small folder of IDX files.

Training, pipes, signals and full disks are tried with commands in a process of their own; what a command does
with its arguments and files is the same in this one, and takes a tenth of the time.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rushlight.cli import main

RUSHLIGHT = [sys.executable, "-m", "rushlight.cli"]
SMALL = ["--hidden", "16", "--batch-size", "20", "--epochs", "3"]


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One command line in a process of its own, with its output."""
    command = [*RUSHLIGHT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One command line in this process, with its output."""
    given, out, errors = [str(each) for each in arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main(given)
    return subprocess.CompletedProcess(given, code, out.getvalue(), errors.getvalue())


def write_idx(path: Path, array: np.ndarray) -> None:
    """An IDX file of unsigned bytes."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_dataset(folder: Path, train: int = 400, test: int = 100) -> None:
    """Bright bars on noise: the class is the column of the bar."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for name, count in (("train", train), ("t10k", test)):
        labels = rng.integers(0, 4, count)
        images = rng.integers(0, 60, (count, 8, 8))
        images[np.arange(count), :, 2 * labels] = 250
        write_idx(folder / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small dataset."""
    folder = tmp_path_factory.mktemp("data") / "bars"
    write_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report."""
    out = tmp_path_factory.mktemp("runs") / "done"
    finished = in_a_process("train", data, *SMALL, "--out", out)
    assert finished.returncode == 0, finished.stderr
    assert "test accuracy 100.00%" in finished.stdout
    return out


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command ended as a user's mistake does: exit code 2, one sentence, no traceback."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("rushlight: ")
    for word in words:
        assert word in result.stderr


def test_a_run_folder_holds_model_settings_history_and_picture(trained: Path) -> None:
    """What the job promises to leave behind."""
    config = json.loads((trained / "config.json").read_text())
    assert config["settings"]["hidden"] == [16]
    assert config["data"]["shape"] == [8, 8]
    rows = list(csv.DictReader((trained / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["validation_accuracy"]) == 1.0
    assert (trained / "report.png").read_bytes().startswith(b"\x89PNG")
    safetensors = pytest.importorskip("safetensors.numpy")
    shapes = {
        name: array.shape for name, array in safetensors.load_file(trained / "model.safetensors").items()
    }
    assert shapes == {"0.weight": (16, 64), "0.bias": (16,), "2.weight": (4, 16), "2.bias": (4,)}


def test_output_to_a_pipe_is_plain(data: Path, tmp_path: Path) -> None:
    """No control codes where nobody looks at a terminal; no picture when none is wanted."""
    finished = in_a_process("train", data, *SMALL, "--no-report", "--out", tmp_path / "plain")
    assert finished.returncode == 0, finished.stderr
    assert "\x1b" not in finished.stdout + finished.stderr
    assert "epoch 3/3" in finished.stdout
    assert not (tmp_path / "plain" / "report.png").exists()


def test_evaluate_repeats_the_test_accuracy(trained: Path) -> None:
    """The saved model is the one that was tested."""
    result = run("evaluate", trained)
    assert result.returncode == 0, result.stderr
    assert result.stdout.rstrip().endswith("test accuracy 100.00%")


def test_predict_takes_pictures_of_any_size_and_colour(trained: Path, tmp_path: Path) -> None:
    """White bars on black, black bars on white paper, colour and transparency all find their class."""
    image_module = pytest.importorskip("PIL.Image")
    grey = np.zeros((8, 8), np.uint8)
    grey[:, 4] = 250
    grey[::2, ::2] += 3
    big = image_module.fromarray(grey).resize((64, 64), image_module.Resampling.NEAREST)
    big.save(tmp_path / "dark.png")
    image_module.eval(big, lambda value: 255 - value).convert("RGB").save(tmp_path / "paper.jpg", quality=95)
    glass = image_module.new("RGBA", (64, 64), (0, 0, 0, 0))
    glass.paste((10, 10, 10, 255), (32, 0, 40, 64))
    glass.save(tmp_path / "glass.png")
    result = run("predict", trained, tmp_path / "dark.png", tmp_path / "paper.jpg", tmp_path / "glass.png")
    assert result.returncode == 0, result.stderr
    assert [line.split(": ")[1][0] for line in result.stdout.splitlines()] == ["2", "2", "2"]


def test_predict_goes_on_after_a_bad_picture(trained: Path, tmp_path: Path) -> None:
    """Each bad file is named; the good ones are still classified; the exit code says that something was
    wrong.
    """
    image_module = pytest.importorskip("PIL.Image")
    image_module.fromarray(np.eye(8, dtype=np.uint8) * 200).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    result = run("predict", trained, tmp_path / "bad.png", tmp_path / "none.png", tmp_path / "good.png")
    assert result.returncode == 2
    assert "bad.png is not a picture" in result.stderr
    assert "there is no file" in result.stderr
    assert "good.png: " in result.stdout
    assert "Traceback" not in result.stderr


# -- stopping and going on -----------------------------------------------------------------------------------


def model_bytes(run_folder: Path) -> bytes:
    """The exact weights of the last state."""
    from rushlight.serialize import load

    model = load(run_folder / "last.pt")["model"]
    return b"".join(model[name].numpy().tobytes() for name in sorted(model))


def interrupt_and_resume(data: Path, whole: Path, out: Path, wait: float) -> subprocess.CompletedProcess[str]:
    """Start a long run, stop it with Ctrl-C after `wait` seconds of training, and resume it."""
    settings = ["--hidden", "16", "--batch-size", "4", "--epochs", "12", "--no-report"]
    command = [*RUSHLIGHT, "train", str(data), *settings, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # the line printed when training begins
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "What was learnt is saved" in errors
    assert "Traceback" not in errors
    resumed = in_a_process("train", data, "--resume", out, "--no-report")
    assert resumed.returncode == 0, resumed.stderr
    reference = in_a_process("train", data, *settings, "--out", whole)
    assert reference.returncode == 0, reference.stderr
    return resumed


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_saves_and_resume_gives_the_same_bits(data: Path, tmp_path: Path) -> None:
    """An interrupted and resumed run ends with the very weights and history of one that ran through."""
    whole, out = tmp_path / "whole", tmp_path / "parts"
    interrupt_and_resume(data, whole, out, wait=0.25)
    assert model_bytes(out) == model_bytes(whole)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (out / "history.csv").read_text() == (whole / "history.csv").read_text()


def test_a_finished_run_can_be_resumed_without_harm(data: Path, trained: Path) -> None:
    """There is nothing left to do, and the result is the same."""
    before = model_bytes(trained)
    result = run("train", data, "--resume", trained, "--no-report")
    assert result.returncode == 0, result.stderr
    assert model_bytes(trained) == before


def test_resume_refuses_other_settings(data: Path, trained: Path) -> None:
    """A run goes on as it began."""
    refused(run("train", data, "--resume", trained, "--lr", "0.5"), "--lr")
    refused(run("train", "mnist", "--resume", trained), "dataset")


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--epochs", "0", "--epochs"),
        ("--batch-size", "0", "--batch-size"),
        ("--lr", "-1", "--lr"),
        ("--validation", "1", "--validation"),
        ("--hidden", "0", "--hidden"),
    ],
)
def test_senseless_settings_are_named(
    data: Path, tmp_path: Path, option: str, value: str, words: str
) -> None:
    """The option is in the sentence, and no run folder is left."""
    refused(run("train", data, option, value, "--out", tmp_path / "run"), words)
    assert not (tmp_path / "run").exists()


def test_unknown_data_and_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No dataset, no run, an empty folder."""
    monkeypatch.chdir(tmp_path)
    refused(in_a_process("train", "nothing"), "nothing")
    refused(run("evaluate", tmp_path / "no-run"), "no-run")
    refused(run("predict", tmp_path, "x.png"), "config.json")
    refused(run("train", tmp_path), "idx")


def damage_images(folder: Path) -> None:
    """Cut the training images short."""
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])


def damage_labels(folder: Path) -> None:
    """Put images where labels belong."""
    (folder / "train-labels-idx1-ubyte").write_bytes((folder / "train-images-idx3-ubyte").read_bytes())


def damage_gzip(folder: Path) -> None:
    """A gzip file that is none."""
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b\x08\x00 not compressed")


def drop_a_label(folder: Path) -> None:
    """One label too few."""
    labels = np.zeros(399, np.uint8)
    write_idx(folder / "train-labels-idx1-ubyte", labels)


@pytest.mark.parametrize("damage", [damage_images, damage_labels, damage_gzip, drop_a_label])
def test_damaged_data_is_one_clear_error(tmp_path: Path, damage: object) -> None:
    """The file is named and nothing is trained."""
    folder = tmp_path / "data"
    write_dataset(folder)
    damage(folder)  # type: ignore[operator]
    refused(run("train", folder, "--out", tmp_path / "run"), "train-")
    assert not (tmp_path / "run").exists()


def copied(trained: Path, to: Path) -> Path:
    """A copy of a run folder to break."""
    to.mkdir()
    for path in trained.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_damaged_run_is_one_clear_error(data: Path, trained: Path, tmp_path: Path) -> None:
    """Each file of a run folder, cut short, swapped or of another version."""
    cut = copied(trained, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:200])
    refused(run("evaluate", cut), "model.safetensors")
    state = copied(trained, tmp_path / "state")
    (state / "last.pt").write_bytes((state / "last.pt").read_bytes()[:-500])
    refused(run("train", data, "--resume", state), "last.pt")
    version = copied(trained, tmp_path / "version")
    config = json.loads((version / "config.json").read_text())
    (version / "config.json").write_text(json.dumps({**config, "format": 99}))
    refused(run("evaluate", version), "another version")
    broken = copied(trained, tmp_path / "broken")
    (broken / "config.json").write_text("{")
    refused(run("evaluate", broken), "config.json")


def test_a_taken_or_unwritable_folder_is_refused(data: Path, trained: Path, tmp_path: Path) -> None:
    """A finished run is never overwritten, and a folder that cannot be made is named."""
    before = (trained / "model.safetensors").read_bytes()
    refused(run("train", data, *SMALL, "--out", trained), "already holds a run")
    assert (trained / "model.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("in the way")
    refused(run("train", data, *SMALL, "--out", tmp_path / "file" / "run"), "file")


def test_a_batch_may_be_larger_than_anything(data: Path, tmp_path: Path) -> None:
    """Nothing of the size is made, not even to compile the step of a named dataset ahead."""
    given = ["--batch-size", 10**20, "--epochs", 1, "--no-report", "--out", tmp_path / "large"]
    assert run("train", data, *given).returncode == 0
    from rushlight.jobs.images import Settings, step_to_compile

    assert step_to_compile(Settings("mnist", batch_size=10**20))() is None
    refused(run("train", data, "--hidden", 10**20, "--out", tmp_path / "wide"), "not enough memory")


def test_a_loss_that_is_not_finite_stops_the_run(data: Path, tmp_path: Path) -> None:
    """The sentence names the rate to try."""
    result = run("train", data, *SMALL, "--optimizer", "sgd", "--lr", "1e30", "--out", tmp_path / "nan")
    refused(result, "loss became", "--lr")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_leaves_what_was_saved(data: Path, trained: Path, tmp_path: Path) -> None:
    """When the state cannot be written the run ends with one sentence, and the old state is still there."""
    script = (
        "import errno, os, sys\n"
        "import rushlight.files as files\n"
        "def full(descriptor):\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "files.os.fsync = full\n"
        "from rushlight.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    run_folder = copied(trained, tmp_path / "full")
    before = (run_folder / "last.pt").read_bytes()
    state_before = {path.name for path in run_folder.iterdir()}
    command = [sys.executable, "-c", script, "train", str(data), *SMALL, "--out", str(tmp_path / "new")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    refused(result, "No space left")
    assert (run_folder / "last.pt").read_bytes() == before
    assert {path.name for path in run_folder.iterdir()} == state_before


@pytest.mark.parametrize(
    ("package", "modules"),
    [("safetensors", ["safetensors"]), ("matplotlib", ["matplotlib"]), ("pillow", ["PIL", "PIL.Image"])],
)
def test_a_missing_package_is_one_sentence_before_training(
    package: str,
    modules: list[str],
    data: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in modules:
        monkeypatch.setitem(sys.modules, each, None)
    begun = run("train", data, *SMALL, "--out", tmp_path / "run")
    refused(begun, f"needs {package}", f"pip install {package}")
    assert begun.stdout == "" and not (tmp_path / "run").exists()
    refused(run("train", data, "--resume", trained), f"pip install {package}")
    if package == "safetensors":
        refused(run("evaluate", trained), f"pip install {package}")
    if package == "pillow":
        refused(run("predict", trained, "x.png"), f"pip install {package}")


def test_an_import_that_fails_in_a_job_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, trained: Path
) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'PIL'", name="PIL")

    monkeypatch.setattr("rushlight.jobs.images.load_best", missing)
    refused(run("evaluate", trained), "this needs pillow, which is not installed: pip install pillow")


@pytest.mark.parametrize(
    ("place", "value"), [("shape", [8, -1]), ("shape", None), ("classes", -1), ("shape", [8, 10**30])]
)
def test_a_run_of_images_that_there_are_not(place: str, value: object, trained: Path, tmp_path: Path) -> None:
    out = copied(trained, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    config["data"][place] = value
    (out / "config.json").write_text(json.dumps(config))
    (tmp_path / "x.png").write_bytes(b"")
    for command in ("evaluate", "predict"):
        result = run(command, out, *([tmp_path / "x.png"] if command == "predict" else []))
        refused(result, "enough memory" if value == [8, 10**30] else "config.json is damaged")
