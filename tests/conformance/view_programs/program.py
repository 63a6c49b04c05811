"""A random program: lines of text that run under PyTorch or Rushlight, and what PyTorch made of each.

Nothing here draws or compares. Invariant: `names` is PyTorch's state after the lines so far.
"""

import warnings

import torch

from rushlight.views import repeats_memory

HELPERS = '''
def ramp(t, scale):
    """Numbers of the shape and type of `t`, all different."""
    return (torch.arange(1, t.numel() + 1, dtype=t.dtype) * scale).reshape(t.shape)


def total(*tensors):
    """The sum of all elements, each with a weight of its own."""
    return sum((t.double() * ramp(t.double(), 0.25 / (i + 1))).sum() for i, t in enumerate(tensors))
'''


class Program:
    """The lines of a program and what PyTorch made of each: the error it raised, or None."""

    def __init__(self, seed, lines=(), versions=True):
        self.seed = seed
        self.lines = []
        self.errors = []
        self.layouts = []  # after each line: the strides of every tensor
        self.names = namespace(torch)
        self.versions = versions  # whether versions can be compared
        self.repeating = set()  # the names of tensors that showed an element of memory in several places
        self.single = False  # whether float32 takes part, so that only its precision can be asked for
        for line in lines:
            self.run(line)

    def run(self, line):
        """Run a line under PyTorch and keep it; returns whether it worked."""
        error = run_line(compile(line, "<program>", "exec"), self.names)
        self.lines.append(line)
        self.errors.append(error)
        tensors = self.tensors()
        self.repeating |= {
            name for name, each in tensors.items() if repeats_memory(each.shape, each.stride())
        }
        self.layouts.append({name: strides(each) for name, each in tensors.items()})
        self.single |= any(each.dtype == torch.float32 for each in tensors.values())
        return error is None

    @property
    def stopped_in_backward(self):
        """Whether a backward raised half way, so that where gradients got to differs."""
        return any(
            error is not None and ("backward(" in line or "autograd.grad(" in line)
            for line, error in zip(self.lines, self.errors, strict=True)
        )

    def tensors(self):
        """The live tensors by name."""
        return {name: each for name, each in self.names.items() if isinstance(each, torch.Tensor)}

    def text(self):
        """The program as a script."""
        lines = []
        for line, error in zip(self.lines, self.errors, strict=True):
            if error is None:
                lines.append(line)
                continue
            shown = str(error).split("\n")[0][:100]
            indented = "\n".join("    " + each for each in line.split("\n"))
            lines += ["try:", indented, "except Exception as error:", f"    print(error)  # {shown}"]
        return "import torch  # or: import rushlight as torch\n" + HELPERS + "\n\n" + "\n".join(lines) + "\n"


def namespace(library):
    """Where a program runs: the library under the name torch, and the helpers."""
    names = {"torch": library}
    exec(HELPERS, names)
    return names


def strides(tensor):
    """The strides that mean something: those of dimensions with several elements."""
    if not tensor.numel():
        return []
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def run_line(code, names):
    """Run compiled text; the error it raised, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(code, names)
    except Exception as error:  # noqa: BLE001 - the error is what is compared
        return error
    return None
