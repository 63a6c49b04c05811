"""``rushlight.as_torch``: ``import torch`` answered by Rushlight, in processes of their own.

Each test runs a small program; an assertion in it that fails is the program's exit code.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import rushlight
from rushlight.alias.places import ABSENT, PLACES
from rushlight.alias.version import Version

ROOT = Path(rushlight.__file__).parents[1]


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that finds this Rushlight."""
    place = folder / "program.py"
    place.write_text(textwrap.dedent(program), "utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", str(place)],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def runs(program: str, folder: Path) -> str:
    """What a program prints that must end well."""
    finished = python(program, folder)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_underscored_names_that_programs_use(tmp_path: Path) -> None:
    printed = runs(
        """
        import rushlight.as_torch
        import torch
        from torch.nn.modules.loss import _Loss, _WeightedLoss
        from torch.optim.lr_scheduler import LRScheduler, _LRScheduler
        from torch.nn.utils.rnn import pad_sequence

        assert issubclass(torch.nn.MSELoss, _Loss) and issubclass(torch.nn.NLLLoss, _WeightedLoss)
        assert issubclass(_LRScheduler, LRScheduler)
        norm = torch.nn.BatchNorm1d(2)
        assert isinstance(norm, torch.nn.modules.batchnorm._BatchNorm)
        assert torch.nn.utils.rnn.pad_sequence is pad_sequence
        print(torch.nn.init._calculate_fan_in_and_fan_out(torch.ones(3, 4)), hasattr(torch.nn.init, "_no"))
        """,
        tmp_path,
    )
    assert printed == "(4, 3) False\n"


def test_the_same_objects_under_pytorchs_names(tmp_path: Path) -> None:
    printed = runs(
        """
        import rushlight
        import rushlight.as_torch
        import torch, torchvision
        import torch.nn as nn
        import torch.nn.functional as F
        from torch.utils.data import DataLoader, TensorDataset
        from torch.optim.lr_scheduler import StepLR
        from torch.nn.modules.linear import Linear
        from torchvision import datasets, transforms
        import torch.backends.cudnn as cudnn

        assert torch.Tensor is rushlight.Tensor and nn.Linear is Linear is rushlight.nn.Linear
        assert F.relu is rushlight.nn.functional.relu
        assert datasets.MNIST is rushlight.vision.datasets.MNIST
        assert isinstance(rushlight.ones(2), torch.Tensor)
        assert not torch.cuda.is_available()
        cudnn.benchmark = True
        assert rushlight.backends.cudnn.benchmark and torch.backends.cudnn.benchmark
        assert torch.version.cuda is None and torch.__version__ >= "2.9" and torch.__version__ < (3,)
        print(torch.__name__, torch.__version__, torch.nn.functional.__name__)
        print(type(torch.ones(2)), nn.Linear, torch.optim.SGD, DataLoader, torch.optim.AdamW)
        print(transforms.ToTensor, datasets.MNIST, torch.typename(nn.ReLU()))
        """,
        tmp_path,
    )
    assert printed.splitlines() == [
        "torch 2.13.0+rushlight torch.nn.functional",
        "<class 'torch.Tensor'> <class 'torch.nn.modules.linear.Linear'> <class 'torch.optim.sgd.SGD'> "
        "<class 'torch.utils.data.dataloader.DataLoader'> <class 'torch.optim.adamw.AdamW'>",
        "<class 'torchvision.transforms.transforms.ToTensor'> <class 'torchvision.datasets.mnist.MNIST'> "
        "torch.nn.modules.activation.ReLU",
    ]


def test_every_place_can_be_imported_and_none_is_also_absent(tmp_path: Path) -> None:
    assert not ABSENT & PLACES.keys()
    runs(
        """
        import importlib
        import rushlight.as_torch
        from rushlight.alias.places import ABSENT, PLACES

        for place in PLACES:
            module = importlib.import_module(place)
            assert all(hasattr(module, name) for name in dir(module)), place
        for place in ABSENT:
            try:
                importlib.import_module(place)
            except ModuleNotFoundError as error:
                assert f"No module named '{place}'" in str(error), error
            else:
                raise AssertionError(place)
        """,
        tmp_path,
    )


def test_a_missing_name_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    printed = runs(
        """
        import rushlight.as_torch
        import torch

        for line in (
            "torch.nn.Lineer", "torch.one_hot", "from torch import zeross", "from torch.nn import Vacuum",
            "import torch.distributed", "import torch.oness.such", "torch.jobs", "torch.nn.functional.rellu",
        ):
            try:
                exec(line)
            except (AttributeError, ImportError) as error:
                print(type(error).__name__, error, sep=": ")
        assert not hasattr(torch, "jobs") and not hasattr(torch.nn, "Lineer")
        """,
        tmp_path,
    )
    assert printed.splitlines() == [
        "AttributeError: module 'torch.nn' has no attribute 'Lineer': Rushlight does not have it; "
        "the nearest name it has is 'torch.nn.Linear'",
        "AttributeError: module 'torch' has no attribute 'one_hot': "
        "Rushlight has 'torch.nn.functional.one_hot'",
        "ImportError: cannot import name 'zeross' from 'torch': Rushlight does not have it; "
        "the nearest name it has is 'torch.zeros'",
        "ImportError: cannot import name 'Vacuum' from 'torch.nn': Rushlight does not have it",
        "ModuleNotFoundError: No module named 'torch.distributed': Rushlight has no counterpart of it",
        "ImportError: cannot import name 'oness' from 'torch': Rushlight does not have it; "
        "the nearest name it has is 'torch.ones'",
        "AttributeError: module 'torch' has no attribute 'jobs': Rushlight does not have it",
        "AttributeError: module 'torch.nn.functional' has no attribute 'rellu': Rushlight does not have it; "
        "the nearest name it has is 'torch.nn.functional.relu'",
    ]


def test_undo_gives_the_name_back(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("answer = 42\n", "utf-8")
    runs(
        """
        import sys
        import rushlight.as_torch
        import torch, torch.nn
        from rushlight.as_torch import install, is_installed, undo

        path = list(sys.path)
        kept = torch.nn.Linear
        assert kept.__module__ == "torch.nn.modules.linear" and is_installed()
        undo()
        undo()
        import rushlight
        assert kept.__module__ == rushlight.nn.Linear.__module__ == "rushlight.nn.linear"
        assert not is_installed() and len(sys.path) == len(path) - 1
        import torch
        assert torch.answer == 42
        try:
            install()
        except ImportError as error:
            assert "torch itself is imported already, from" in str(error), error
        else:
            raise AssertionError("PyTorch was imported, and nothing was said")
        del sys.modules["torch"]
        install()
        import torch
        assert torch.Tensor is rushlight.Tensor and sys.path == path
        """,
        tmp_path,
    )


def test_replacing_a_name_reaches_the_library(tmp_path: Path) -> None:
    runs(
        """
        import rushlight.as_torch
        import torch
        from unittest import mock

        with mock.patch("torch.nn.functional.relu", lambda x, inplace=False: x + 100):
            assert torch.nn.ReLU()(torch.zeros(1)).item() == 100
        assert torch.nn.ReLU()(torch.zeros(1)).item() == 0
        """,
        tmp_path,
    )


def test_processes_started_anew_have_it_too(tmp_path: Path) -> None:
    printed = runs(
        """
        import rushlight.as_torch
        import torch
        from torch.utils.data import DataLoader, Dataset

        class Squares(Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, index):
                return torch.tensor(index) ** 2

        if __name__ == "__main__":
            for batch in DataLoader(Squares(), 2, num_workers=1, multiprocessing_context="spawn"):
                print(batch)
        """,
        tmp_path,
    )
    assert printed == "tensor([0, 1])\ntensor([4, 9])\n"


def test_versions_compare_by_number() -> None:
    version = Version("2.13.0+rushlight")
    assert version > "2.2.1" and version >= "2.13" and version < "2.13.1" and version != "2.13.0"
    assert version > Version("2.13.0rc1") and version <= (2, 14) and version > (2, 12)
    assert version == "2.13+rushlight" and hash(version) == hash(Version("2.13+rushlight"))
    assert version.split("+")[1] == "rushlight" and {version: 1}[Version("2.13.0+rushlight")] == 1


def test_places_are_attributes_of_the_package_too() -> None:
    program = "import rushlight\nfor name in {names}:\n    found = rushlight\n"
    program += "    for part in name.split('.')[1:]:\n        found = getattr(found, part)\n"
    names = sorted(
        place.partition(":")[0]
        for name, place in PLACES.items()
        if name.startswith("torch.") and name.count(".") == 1
    )
    public = [name for name in names if name.partition(".")[2] not in ("alias.version", "storages")]
    finished = subprocess.run(
        [sys.executable, "-c", program.format(names=public)],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
