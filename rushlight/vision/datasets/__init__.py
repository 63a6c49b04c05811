"""Image datasets: the MNIST family, CIFAR-10, folders of images, and made-up data."""

from rushlight.vision.datasets.base import VisionDataset
from rushlight.vision.datasets.cifar import CIFAR10
from rushlight.vision.datasets.fake import FakeData
from rushlight.vision.datasets.folder import DatasetFolder, ImageFolder
from rushlight.vision.datasets.mnist import KMNIST, MNIST, FashionMNIST

__all__ = [
    "CIFAR10",
    "KMNIST",
    "MNIST",
    "DatasetFolder",
    "FakeData",
    "FashionMNIST",
    "ImageFolder",
    "VisionDataset",
]
