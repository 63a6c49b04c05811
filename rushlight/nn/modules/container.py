"""Containers, where PyTorch keeps them: ``torch.nn.modules.container``."""

from rushlight.nn.containers import ModuleDict, ModuleList, Sequential
from rushlight.nn.parameter_containers import ParameterDict, ParameterList

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]
