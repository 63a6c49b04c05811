"""A model as a table: its layers, what they give for a batch, and how many parameters they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rushlight.autograd import no_grad
from rushlight.nn import Module
from rushlight.tensor import Tensor


@dataclass(frozen=True)
class Layer:
    """A module without children: its path in the model, its text, its output's shape (empty if it did not
    run) and its numbers of parameters.
    """

    name: str
    text: str
    shape: tuple[int, ...]
    parameters: int
    trained: int


def layers_of(model: Module, inputs: Sequence[Any] = ()) -> list[Layer]:
    """The layers in the order in which they were added; `inputs` is what the model is called with.

    >>> import rushlight as torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> for layer in layers_of(model, [torch.zeros(5, 3)]):
    ...     print(layer.name, layer.text, layer.shape, layer.parameters)
    0 Linear(in_features=3, out_features=4, bias=True) (5, 4) 16
    1 ReLU() (5, 4) 0
    2 Linear(in_features=4, out_features=2, bias=True) (5, 2) 10

    A module that says nothing of itself is described by the parameters it holds.
    """
    leaves = [(name, each) for name, each in model.named_modules() if not list(each.children())]
    owners = {id(each) for _, each in leaves}
    shapes: dict[int, tuple[int, ...]] = {}

    def note(module: Module, given: Any, made: Any) -> None:
        if isinstance(made, Tensor):
            shapes[id(module)] = tuple(made.shape)

    if inputs:
        handles = [each.register_forward_hook(note) for _, each in leaves]
        modes = [(each, each.training) for each in model.modules()]
        model.eval()
        try:
            with no_grad():
                model(*inputs)
        finally:
            for handle in handles:
                handle.remove()
            for module, mode in modes:
                module.training = mode
    rows = [_layer(name, each, shapes.get(id(each), ()), recurse=True) for name, each in leaves]
    for name, each in model.named_modules():  # parameters that a module holds beside its children
        if id(each) not in owners and list(each.parameters(recurse=False)):
            rows.append(_layer(name or "(model)", each, (), recurse=False))
    return rows


def _layer(name: str, module: Module, shape: tuple[int, ...], recurse: bool) -> Layer:
    parameters = list(module.parameters(recurse=recurse))
    name_of_type = type(module).__name__
    text = repr(module) if recurse else name_of_type
    if parameters and text in (name_of_type, f"{name_of_type}()"):
        own = ((each, " x ".join(map(str, p.shape))) for each, p in module.named_parameters(recurse=False))
        text = f"{name_of_type}: " + ", ".join(f"{each} {size or 1}" for each, size in own)
    return Layer(
        name or "(model)",
        " ".join(text.split()),
        shape,
        sum(each.numel() for each in parameters),
        sum(each.numel() for each in parameters if each.requires_grad),
    )
