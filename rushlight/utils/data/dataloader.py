"""PyTorch's ``torch.utils.data.dataloader``: the names of `rushlight.data`."""

from rushlight.data.collate import default_collate, default_convert
from rushlight.data.loader import DataLoader
from rushlight.data.worker import get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]
