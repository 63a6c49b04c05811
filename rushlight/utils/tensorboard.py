"""PyTorch's ``torch.utils.tensorboard``: a `SummaryWriter` that takes tensors.

tensorboardX writes the files and does the rest; it is imported when the first writer is made. Invariant: what
reaches it is NumPy arrays and Python's own objects.
"""

from __future__ import annotations

from typing import Any

from rushlight.tensor import Tensor

__all__ = ["SummaryWriter"]


def _plain(value: Any) -> Any:
    """Tensors as arrays, those in lists and dictionaries too."""
    if isinstance(value, Tensor):
        return value.detach().numpy()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(each) for each in value)
    return value


class SummaryWriter:
    """Writes what TensorBoard shows: scalars, histograms, images, text.

    The methods are those of tensorboardX's ``SummaryWriter``, named as PyTorch's; tensors are welcome in all
    of them. ``add_graph`` raises NotImplementedError: there is no graph to draw before a network has run.

    Args:
        log_dir: the folder of the event files; ``runs`` and a folder named for the time by default.
        comment: what is put behind that folder's name.
        purge_step: events from this step on, of a run that crashed, are hidden.
        max_queue: how many events may wait to be written.
        flush_secs: how often events are written.
        filename_suffix: what is put behind the names of the files.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        try:
            import tensorboardX
        except ImportError:
            raise ImportError("SummaryWriter needs tensorboardX: pip install tensorboardX") from None
        self._writer = tensorboardX.SummaryWriter(
            None if log_dir is None else str(log_dir),
            comment=comment,
            purge_step=purge_step,
            max_queue=max_queue,
            flush_secs=flush_secs,
            filename_suffix=filename_suffix,
        )
        self.log_dir = self._writer.logdir

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._writer, name)
        if not name.startswith("add_"):
            return method

        def with_arrays(*args: Any, **kwargs: Any) -> Any:
            return method(*_plain(args), **_plain(kwargs))

        return with_arrays

    def add_graph(self, model: Any, *args: Any, **kwargs: Any) -> None:
        """NotImplementedError: networks are not traced to a graph of modules."""
        raise NotImplementedError("add_graph() is not supported; print(model) shows the layers")

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()
