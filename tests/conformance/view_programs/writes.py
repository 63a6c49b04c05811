"""Drawing writes: the texts of in-place methods and index assignments that suit a tensor at hand.

Invariant: a write keeps numbers small and away from kinks, so that the last bits of a value decide nothing.
"""

import numpy as np
import torch

from rushlight.views import is_dense, repeats_memory
from tests.conformance.view_programs.program import run_line, strides
from tests.conformance.view_programs.views import ViewTexts


def broadcasts(first, second):
    """The broadcast shape, or None."""
    try:
        return torch.Size(np.broadcast_shapes(first, second))
    except ValueError:
        return None


def is_woven(tensor):
    """Whether elements share memory in another way than by `expand`, which PyTorch does not notice."""
    shape, steps = tensor.shape, tensor.stride()
    repeated = any(step == 0 and n > 1 for n, step in zip(shape, steps, strict=True))
    return not repeated and repeats_memory(shape, steps)


def is_read_late(target, other, moved=False):
    """Whether a write to `target` would change `other` while reading it, without PyTorch's noticing.

    `moved`: elements are not written where they are read, even if both are the same window.
    """
    mine, yours = (each.detach().numpy() for each in (target, other))
    if not np.shares_memory(mine, yours):
        return False
    if moved or mine.shape != yours.shape:
        return True  # in another order, or expanded first
    if mine.size == 1 or (strides(target) == strides(other) and target.stride() != other.stride()):
        return True  # PyTorch also compares the strides of single elements, which mean nothing
    places = [(each.__array_interface__["data"], each.shape, each.strides) for each in (mine, yours)]
    if places[0] == places[1]:
        return 0 in mine.strides  # PyTorch looks at nothing in `x.copy_(x)`
    return not (is_dense(mine) and is_dense(yours))


class WriteTexts(ViewTexts):
    """The texts of writes."""

    @staticmethod
    def is_clear_of(tensor, *kinks):
        """Whether no element is so near a kink that the last bits decide its side."""
        values = tensor.detach().double()
        return all(bool(((values - kink).abs() > 1e-4).all()) for kink in kinks)

    def write(self):
        """An in-place operation on a tensor or on a view made for it."""
        name, tensor = self.pick(self.writable) or self.pick(lambda each: each.dtype != torch.bool)
        if self.random.random() < 0.15:
            line = self.assigned(name, tensor)
        else:
            target = name
            if self.random.random() < 0.25:
                target = self.view_of(name, tensor)
                seen = self.evaluated(target)
                target, tensor = (name, tensor) if seen is None else (target, seen)
            line = f"{target}.{self.change(tensor)}"
            if not tensor.numel():
                self.program.versions = False  # PyTorch counts some writes to nothing twice
        if is_woven(tensor):
            return  # what PyTorch makes of it depends on the order in which it writes
        if self.random.random() < 0.12:
            line = f"with torch.no_grad():\n    {line}"
        elif self.random.random() < 0.03 and not is_woven(self.program.names[name]):
            line = f"{name}.data.{self.change(tensor)}"
        self.program.run(line)

    def evaluated(self, expression):
        """The tensor that an expression gives under PyTorch, None if it raises."""
        seen = dict(self.program.names)
        error = run_line(compile(f"seen = {expression}", "<program>", "exec"), seen)
        return None if error else seen["seen"]

    def operand(self, target, moved=False):
        """A live number tensor to read while `target` is written to."""
        found = self.pick(lambda each: each.dtype != torch.bool and not is_read_late(target, each, moved))
        return found or ("torch.tensor(1.0)", torch.tensor(1.0))

    def writable(self, tensor):
        """Whether a write is likely to be allowed; some that are not shall be tried too."""
        if tensor.dtype == torch.bool:
            return False
        base = tensor if tensor._base is None else tensor._base
        return not (base.requires_grad and base.is_leaf) or self.random.random() < 0.05

    def assigned(self, name, tensor):
        basic = self.random.random() < 0.6
        index = self.index(tensor, basic=basic)
        if self.random.random() < 0.3:
            return f"{name}[{index}] {self.random.choice(['+=', '*=', '-='])} {self.number()}"
        value = str(self.number())
        window = self.evaluated(f"{name}[{index}]") if basic else tensor
        other, partner = self.operand(tensor if window is None else window, moved=not basic)
        # Whole numbers written from a tensor with history get one in PyTorch, through some kinds of index:
        # nothing can be done with it but fail an internal assertion in backward.
        gains_history = partner.requires_grad and not tensor.is_floating_point()
        if self.random.random() < 0.6 and partner.dim() <= tensor.dim() and not gains_history:
            value = other
        return f"{name}[{index}] = {value}"

    def change(self, tensor):
        """The text of an in-place method that keeps numbers small and kinks apart."""
        options = [f"add_({self.number()})", f"mul_({self.number()})", "zero_()", f"fill_({self.number()})"]
        options += ["neg_()", f"sub_({self.number()})"]
        other, partner = self.operand(tensor)
        if broadcasts(tensor.shape, partner.shape) == tensor.shape or self.random.random() < 0.1:
            alpha = f", alpha={self.number()}"
            options += [f"add_({other})", f"add_({other}{alpha})", f"sub_({other})", f"copy_({other})"] * 2
            options += [f"mul_({other})"] * 2
            if partner.numel() and float(partner.detach().double().abs().min()) > 0.2:
                options.append(f"div_({other})")
            if self.is_clear_of(partner, 0.3):
                options.append(f"masked_fill_({other} > 0.3, {self.number()})")
        if tensor.is_floating_point():
            options += ["sigmoid_()", "tanh_()", "sin_()", f"div_({self.number()})"]
            if tensor.numel() and float(tensor.detach().max()) < 3:
                options.append("exp_()")
            if self.is_clear_of(tensor, 0):
                options += ["relu_()", "abs_()"]
            if self.is_clear_of(tensor, -1, 1):
                options += ["clamp_(-1, 1)", "clamp_(min=1)"]
            if self.is_clear_of(tensor, *(sum_ / 2 for sum_ in range(-5, 6))):
                options.append("pow_(2)")
        if tensor.dim() and tensor.shape[0] > 1:
            options += [f"index_fill_(0, torch.tensor([0]), {self.number()})"]
        if tensor.retains_grad or self.safe(lambda: tensor.requires_grad and tensor.is_leaf):
            return self.random.choice(options)  # PyTorch mixes up the shapes before and after t_ and its like
        if tensor.dim() >= 2:
            options.append("t_()" if tensor.dim() == 2 else "transpose_(0, 1)")
        if tensor.dim():
            options += ["squeeze_()", f"unsqueeze_({self.random.randrange(tensor.dim() + 1)})"]
        return self.random.choice(options)
