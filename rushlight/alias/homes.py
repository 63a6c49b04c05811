"""Where classes say they come from: ``torch.nn.modules.linear``, say, while Rushlight answers for PyTorch.

Programs print types, and compare them by their names. Invariant: `restore` puts back what each class said
before, and a class that a program defined itself is never touched.
"""

from __future__ import annotations

import importlib

from rushlight.alias.places import PLACES

# Places whose own classes are at home there.
HOMES = tuple(
    name
    for name in PLACES
    if name.startswith(
        (
            "torch.distributions.",
            "torch.nn.modules.",
            "torch.optim.",
            "torch.utils.data.",
            "torchvision.datasets.",
            "torchvision.transforms.transforms",
        )
    )
    or name
    in (
        "torch.autograd.anomaly_mode",
        "torch.autograd.function",
        "torch.autograd.grad_mode",
        "torch.autograd.graph",
        "torch.autograd.variable",
        "torch.nn.parameter",
        "torch.storage",
    )
)

# Classes that PyTorch keeps elsewhere than in the module that corresponds to Rushlight's.
EXCEPTIONS = {
    "rushlight.amp:GradScaler": "torch.amp.grad_scaler",
    "rushlight.amp:autocast": "torch.amp.autocast_mode",
    "rushlight.nn:DataParallel": "torch.nn.parallel.data_parallel",
    "rushlight:Generator": "torch._C",
    "rushlight:Size": "torch",
    "rushlight:Tensor": "torch",
    "rushlight:device": "torch",
    "rushlight:dtype": "torch",
    "rushlight:finfo": "torch",
    "rushlight:iinfo": "torch",
    "rushlight:layout": "torch",
    "rushlight:memory_format": "torch",
    "rushlight.linalg:LinAlgError": "torch._C",
    "rushlight.optim:Adam": "torch.optim.adam",
    "rushlight.optim:AdamW": "torch.optim.adamw",
    "rushlight.vision.transforms:InterpolationMode": "torchvision.transforms.functional",
}


class Homes:
    """The classes that were moved, with what they said before."""

    def __init__(self) -> None:
        self._before: list[tuple[type, str]] = []

    def move(self) -> None:
        """Have every class say that it comes from where PyTorch keeps it."""
        for home in HOMES:
            module = importlib.import_module(PLACES[home])
            offered = getattr(module, "__all__", vars(module))
            for kind in [getattr(module, name) for name in offered]:
                if isinstance(kind, type) and (
                    offered is not vars(module) or kind.__module__ == module.__name__
                ):
                    self._set(kind, home)
        for name, home in EXCEPTIONS.items():
            place, _, attribute = name.partition(":")
            self._set(getattr(importlib.import_module(place), attribute), home)

    def restore(self) -> None:
        """Put back what each class said."""
        for kind, module in reversed(self._before):
            kind.__module__ = module
        self._before.clear()

    def _set(self, kind: type, home: str) -> None:
        if kind.__module__.startswith(("rushlight", "torch")):
            self._before.append((kind, kind.__module__))
            kind.__module__ = home
