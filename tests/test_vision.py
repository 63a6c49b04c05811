"""Image datasets: where their files are found, what they hold, how they are fetched, and how they print."""

import gzip
import hashlib
import http.server
import os
import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight.utils.data import DataLoader, Subset, default_collate
from rushlight.vision import datasets, files, transforms
from rushlight.vision.datasets import KMNIST, MNIST, DatasetFolder, FakeData, FashionMNIST, ImageFolder

Image = pytest.importorskip("PIL.Image")

DATA = Path(__file__).resolve().parent.parent / "data"
COUNTS = {"train": 5, "t10k": 3}


def idx_bytes(array):
    return (
        bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype("u1").tobytes()
    )


def contents(seed=0):
    """The bytes of four small files by their names, and the arrays in them."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for part, count in COUNTS.items():
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28))
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, count)
    return {name: idx_bytes(array) for name, array in arrays.items()}, arrays


def write(folder, seed=0, compress=False):
    folder.mkdir(parents=True, exist_ok=True)
    written, arrays = contents(seed)
    for name, content in written.items():
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(content) if compress else content)
    return arrays


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty current folder, and a copy of the package's place without data beside it."""
    elsewhere = tmp_path / "here" / "below"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site" / "rushlight" / "vision" / "files.py"))
    return tmp_path


def labels_of(dataset):
    return dataset.targets.tolist()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("place", ["", "MNIST/raw", "mnist"])
def test_files_in_root(alone, place, compress):
    arrays = write(alone / "root" / place, compress=compress)
    for train, part in ((True, "train"), (False, "t10k")):
        data = MNIST(alone / "root", train=train)
        np.testing.assert_array_equal(data.data.numpy(), arrays[f"{part}-images-idx3-ubyte"])
        assert labels_of(data) == arrays[f"{part}-labels-idx1-ubyte"].tolist()
        assert data.data.dtype == torch.uint8 and data.targets.dtype == torch.int64
        assert len(data) == COUNTS[part]


@pytest.mark.parametrize("place", ["", "fashion-mnist"])
def test_files_in_the_folder_of_the_environment(alone, monkeypatch, place):
    arrays = write(alone / "shelf" / place)
    monkeypatch.setenv("RUSHLIGHT_DATA", str(alone / "shelf"))
    assert labels_of(FashionMNIST(alone / "nowhere")) == arrays["train-labels-idx1-ubyte"].tolist()


@pytest.mark.parametrize(
    "place", ["here/below/data/kmnist", "here/data/kmnist", "site/data/kmnist", "cache/rushlight/kmnist"]
)
def test_files_in_the_checkout_and_the_cache(alone, place):
    arrays = write(alone / place)
    assert labels_of(KMNIST("nowhere", train=False)) == arrays["t10k-labels-idx1-ubyte"].tolist()


def test_root_goes_first(alone, monkeypatch):
    write(alone / "shelf", seed=1)
    monkeypatch.setenv("RUSHLIGHT_DATA", str(alone / "shelf"))
    arrays = write(alone / "root", seed=2)
    assert labels_of(MNIST(alone / "root")) == arrays["train-labels-idx1-ubyte"].tolist()


def test_not_found_says_where_it_looked(alone):
    with pytest.raises(RuntimeError) as raised:
        MNIST("somewhere")
    text = str(raised.value)
    assert text.startswith("Dataset not found. You can use download=True to download it")
    assert "train-images-idx3-ubyte and train-labels-idx1-ubyte" in text
    for place in (
        "somewhere",
        os.path.join("somewhere", "MNIST", "raw"),
        str(alone / "cache" / "rushlight" / "mnist"),
    ):
        assert f"\n  {place}\n" in text + "\n"


def test_a_file_of_the_pair_is_not_enough(alone):
    write(alone / "root")
    (alone / "root" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(RuntimeError, match="Dataset not found"):
        MNIST(alone / "root")
    assert len(MNIST(alone / "root", train=False)) == 3


def test_digits_are_not_taken_for_clothes(alone):
    """The files of all these datasets have the same names."""
    shutil.copytree(DATA / "mnist", alone / "root")
    assert len(MNIST(alone / "root", train=False)) == 10000
    with pytest.raises(RuntimeError, match=r"(?s)Dataset not found.*root \(this is mnist\)"):
        FashionMNIST(alone / "root", train=False)


def test_damaged_files_are_named(alone):
    write(alone / "root", compress=True)
    path = alone / "root" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz.*truncated"):
        MNIST(alone / "root")


def test_labels_beyond_the_classes_are_refused(alone):
    write(alone / "root")
    (alone / "root" / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 2, 10, 4])))
    with pytest.raises(ValueError, match="label 10 at position 3 is out of range 0-9"):
        MNIST(alone / "root")


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves ``answers``: a path's content, or a number to answer with an error."""

    answers: dict = {}
    asked: list = []

    def do_GET(self):
        self.asked.append(self.path)
        answer = self.answers.get(self.path, 404)
        self.send_response(answer if isinstance(answer, int) else 200)
        body = b"" if isinstance(answer, int) else answer
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(Mirror, "answers", {})
    monkeypatch.setattr(Mirror, "asked", [])
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Small(MNIST):
    """MNIST with small files to download."""

    packed = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in contents(3)[0].items()}
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in packed.items()]


def serve(monkeypatch, address, *mirrors):
    monkeypatch.setattr(Small, "mirrors", [f"{address}/{name}/" for name in mirrors])


def test_download_from_the_first_mirror_that_has_the_right_file(alone, mirror, monkeypatch, capsys):
    serve(monkeypatch, mirror, "gone", "wrong", "good")
    Mirror.answers = {f"/wrong/{name}": b"something else" for name in Small.packed}
    Mirror.answers |= {f"/good/{name}": content for name, content in Small.packed.items()}
    data = Small(alone / "root", download=True)
    assert labels_of(data) == contents(3)[1]["train-labels-idx1-ubyte"].tolist()
    assert sorted(os.listdir(alone / "root" / "Small" / "raw")) == sorted(Small.packed)
    assert f"Downloading {mirror}/good/t10k-labels-idx1-ubyte.gz" in capsys.readouterr().err
    asked = len(Mirror.asked)
    Small(alone / "root", train=False, download=True)
    assert len(Mirror.asked) == asked, "what is there is not fetched again"


def test_a_download_that_fails_tells_what_each_mirror_said_and_leaves_nothing(alone, mirror, monkeypatch):
    serve(monkeypatch, mirror, "gone", "wrong")
    monkeypatch.setattr(Small, "mirrors", [*Small.mirrors, "http://127.0.0.1:9/"])
    Mirror.answers = {f"/wrong/{name}": b"something else" for name in Small.packed}
    with pytest.raises(RuntimeError) as raised:
        Small(alone / "root", download=True)
    text = str(raised.value)
    assert text.startswith("Error downloading train-images-idx3-ubyte.gz:\nTried ")
    assert "404" in text and "MD5 checksum" in text and "refused" in text
    assert os.listdir(alone / "root" / "Small" / "raw") == []


def test_nothing_is_downloaded_unasked(alone, mirror, monkeypatch):
    serve(monkeypatch, mirror, "good")
    with pytest.raises(RuntimeError, match="Dataset not found"):
        Small(alone / "root")
    assert Mirror.asked == []


def test_checksums_are_those_of_the_files_in_the_repository():
    for name, md5 in MNIST.resources:
        assert hashlib.md5((DATA / "mnist" / name).read_bytes()).hexdigest() == md5


def mnist(**options):
    return MNIST(DATA, train=False, **options)


def test_items_are_images_and_ints():
    data = mnist()
    image, label = data[0]
    assert isinstance(image, Image.Image) and image.mode == "L" and image.size == (28, 28)
    assert type(label) is int and label == 7
    np.testing.assert_array_equal(np.array(image), data.data[0].numpy())
    assert [data[i][1] for i in (1, 2, -1)] == [2, 1, 6]


def test_transforms_of_image_and_target():
    image, label = mnist(transform=transforms.ToTensor(), target_transform=lambda label: -label)[0]
    assert image.shape == (1, 28, 28) and image.dtype == torch.float32 and image.max() <= 1
    assert label == -7


def test_classes():
    assert mnist().class_to_idx["7 - seven"] == 7
    assert FashionMNIST.classes[9] == "Ankle boot" and KMNIST.classes[:2] == ["o", "ki"]


def test_printed_text():
    data = MNIST(str(DATA), transform=transforms.Compose([transforms.ToTensor()]), target_transform=int)
    assert repr(data) == (
        f"Dataset MNIST\n    Number of datapoints: 60000\n    Root location: {DATA}\n    Split: Train\n"
        "    StandardTransform\nTransform: Compose(\n               ToTensor()\n           )\n"
        "Target transform: <class 'int'>"
    )
    assert repr(mnist()).endswith(f"Number of datapoints: 10000\n    Root location: {DATA}\n    Split: Test")


@pytest.mark.parametrize(
    "old, new",
    [("train_data", "data"), ("test_labels", "targets"), ("test_data", "data"), ("train_labels", "targets")],
)
def test_old_names_warn(old, new):
    data = mnist()
    with pytest.warns(UserWarning, match=f"{old} has been renamed {new}"):
        assert getattr(data, old) is getattr(data, new)


NORMALIZE = transforms.Normalize((0.1307,), (0.3081,))


@pytest.mark.parametrize(
    "transform",
    [
        transforms.ToTensor(),
        transforms.Compose([transforms.ToTensor(), NORMALIZE]),
        transforms.Compose([transforms.ToTensor()]),
    ],
)
def test_batches_at_once_equal_those_one_by_one(transform, monkeypatch):
    data = Subset(mnist(transform=transform), range(100, 140))
    one_by_one = list(DataLoader(data, 16, collate_fn=lambda samples: default_collate(samples)))
    monkeypatch.setattr(data.dataset, "transform", transform)
    monkeypatch.setattr(datasets.mnist, "from_array", None)
    at_once = list(DataLoader(data, 16))
    assert [type(batch) for batch in at_once] == [list] * 3
    for ours, theirs in zip(at_once, one_by_one, strict=True):
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))


def test_other_transforms_are_applied_to_every_image():
    seen = []
    data = mnist(
        transform=transforms.Compose(
            [transforms.ToTensor(), transforms.Lambda(lambda x: seen.append(1) or x)]
        )
    )
    next(iter(DataLoader(data, 4)))
    assert len(seen) == 4


def test_a_dataset_can_be_pickled():
    data = pickle.loads(pickle.dumps(mnist(transform=transforms.ToTensor())))
    assert data[0][1] == 7


def image_folder(root):
    for name, colour in (("cat", 200), ("dog", 100)):
        (root / name / "more").mkdir(parents=True)
        for i in range(2):
            Image.new("L", (4, 3), colour + i).save(root / name / f"{i}.png")
        Image.new("RGB", (4, 3), (colour, 0, 0)).save(root / name / "more" / "a.PNG")
        (root / name / "notes.txt").write_text("not an image")


def test_image_folders(tmp_path):
    image_folder(tmp_path)
    data = ImageFolder(tmp_path, transform=transforms.ToTensor())
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert [Path(path).relative_to(tmp_path).as_posix() for path, _ in data.samples[:3]] == [
        "cat/0.png",
        "cat/1.png",
        "cat/more/a.PNG",
    ]
    assert data.targets == [0, 0, 0, 1, 1, 1] and data.imgs is data.samples
    image, label = data[5]
    assert (
        image.shape == (3, 3, 4)
        and label == 1
        and image[:, 0, 0].tolist() == pytest.approx([100 / 255, 0, 0])
    )


def test_dataset_folders_read_what_the_loader_reads(tmp_path):
    image_folder(tmp_path)
    data = DatasetFolder(tmp_path, loader=lambda path: Path(path).read_text(), extensions=(".txt",))
    assert [data[i] for i in range(2)] == [("not an image", 0), ("not an image", 1)]
    picked = DatasetFolder(tmp_path, loader=str, is_valid_file=lambda path: path.endswith("1.png"))
    assert len(picked) == 2


def test_image_folders_that_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match="Couldn't find any class folder in"):
        ImageFolder(tmp_path)
    image_folder(tmp_path)
    (tmp_path / "eel").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"Found no valid file for the classes eel. Supported extensions are: .jpg"
    ):
        ImageFolder(tmp_path)
    assert len(ImageFolder(tmp_path, allow_empty=True).classes) == 3
    with pytest.raises(ValueError, match="cannot be None or not None at the same time"):
        DatasetFolder(tmp_path, loader=str)


def test_made_up_data():
    data = FakeData(size=3, image_size=(3, 8, 6), num_classes=4, transform=transforms.ToTensor())
    state = torch.get_rng_state().tolist()
    image, label = data[1]
    assert image.shape == (3, 8, 6) and type(label) is int and 0 <= label < 4
    assert torch.equal(data[1][0], image) and not torch.equal(data[2][0], image)
    assert torch.get_rng_state().tolist() == state
    assert len(list(data)) == 3


def test_transforms_exclude_each_other():
    with pytest.raises(ValueError, match="Only transforms or transform/target_transform"):
        datasets.VisionDataset("root", transforms=print, transform=print)
