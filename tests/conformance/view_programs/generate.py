"""Drawing whole programs of views, in-place operations and gradients.

Each line runs under PyTorch at once, so that the next can be drawn to fit the shapes at hand. Programs are
plain text that runs under either library. Invariant: a program depends on its seed alone.
"""

import math

import numpy as np
import torch

from tests.conformance.view_programs.program import Program
from tests.conformance.view_programs.writes import WriteTexts, broadcasts

SHAPES = [(4,), (2, 3), (3, 2), (6,), (2, 2, 3), (3, 1), (1, 4), (), (3, 3), (2, 3, 2)]
LIMIT = 1e4  # programs keep their numbers below this, so that no difference hides in overflow


class Generator(WriteTexts):
    """Draws one program."""

    def generate(self):
        """The program, of about fifteen lines."""
        for _ in range(self.random.choice([1, 2, 2, 3])):
            self.leaf()
        steps = [
            (self.view, 30),
            (self.write, 34),
            (self.compute, 14),
            (self.state, 9),
            (self.multiple, 4),
            (self.leaf, 3),
            (self.differentiate, 4),
        ]
        actions, weights = [each for each, _ in steps], [weight for _, weight in steps]
        for _ in range(self.random.randint(5, 16)):
            self.random.choices(actions, weights)[0]()
            if self.stopped():
                break
        else:
            self.differentiate()
            if not self.stopped() and self.random.random() < 0.4:
                self.differentiate()
        return self.program

    def stopped(self):
        """Whether to end here: numbers too large, or a backward that raised half way."""
        if self.program.stopped_in_backward:
            return True
        tensors = self.program.tensors().values()
        return any(
            each.numel() and not bool((each.detach().double().abs() < LIMIT).all()) for each in tensors
        )

    def leaf(self):
        shape = self.random.choice(SHAPES)
        kind = self.random.choices(["float64", "float32", "int64"], [90, 7, 3])[0]
        values = [self.random.randint(-8, 8) / 4 for _ in range(math.prod(shape))]
        if kind == "int64":
            values = [int(4 * each) for each in values]
        nested = np.array(values).astype(kind).reshape(shape).tolist()
        flag = ", requires_grad=True" if kind != "int64" and self.random.random() < 0.6 else ""
        line = f"{self.name()} = torch.tensor({nested}, dtype=torch.{kind}{flag})"
        self.program.run(line)
        if flag and self.random.random() < 0.7:
            # leaves cannot be written to; give the program something that can
            self.assign(f"t{self.count - 1} * {self.random.choice([1, 2, 0.5])}")

    def compute(self):
        name, tensor = self.pick()
        if not tensor.is_floating_point():
            self.assign(f"{name}.double()" if self.random.random() < 0.5 else f"{name} * {self.number()}")
            return
        options = [
            f"{name} * {self.number()}",
            f"{name} + {self.number()}",
            f"{name}.clone()",
            f"{name}.contiguous()",
            f"{name}.sigmoid()",
            f"{name} * {name}",
            f"{name} > 0.3",
            f"{name}.sum()",
            f"-{name}",
            f"{name}.to(torch.{self.random.choice(['float64', 'float32'])})",
        ]
        if self.is_clear_of(tensor, 0):
            options.append(f"{name}.relu()")
        if tensor.dim():
            options.append(f"{name}.sum({self.random.randrange(tensor.dim())})")
            options.append(f"torch.cat([{name}, {name}])")
        if tensor.numel() and float(tensor.detach().abs().max()) < 3:
            options += [f"{name}.exp()", f"{name}.tanh()"]
        other, partner = self.pick(lambda each: each.dtype != torch.bool)
        if broadcasts(tensor.shape, partner.shape) is not None:
            options += [f"{name} * {other}", f"{name} + {other}", f"{name} - {other}"]
        expression = self.random.choice(options)
        self.assign(expression)

    def state(self):
        """Changes of a tensor's place in the history."""
        name, tensor = self.pick(lambda each: each.is_floating_point()) or (None, None)
        if name is None:
            return
        options = [
            f"{name}.retain_grad()",
            f"{name}.retain_grad()",
            f"{name}.detach_()",
            f"{name}.requires_grad_()",
            f"{name}.requires_grad_(False)",
            f"{name}.is_leaf, {name}.register_hook(lambda g: g * 2)",  # PyTorch crashes if a view was not
            f"{name}.is_leaf, {name}.register_hook(lambda g: None)",  # looked at since its base changed
            f"{self.name()} = {name}.data",
            f"{self.name()} = {name}.detach()",
            f"{name} = {name}.detach().clone().requires_grad_()",
        ]
        if tensor._base is None and not any(each._base is tensor for each in self.program.tensors().values()):
            other, _ = self.pick(lambda each: each.shape == tensor.shape and each.dtype == tensor.dtype)
            options.append(f"{name}.data = {other}")
        self.program.run(self.random.choice(options))

    def differentiate(self):
        """Gradients of random sums, in all the ways there are."""
        wanted = [
            name for name, each in self.program.tensors().items() if each.is_floating_point() and each.numel()
        ]
        roots = self.random.sample(wanted, min(len(wanted), self.random.choice([1, 1, 2, 3])))
        recorded = [
            each for each in roots if self.safe(lambda name=each: self.program.names[name].requires_grad)
        ]
        if not recorded:
            recorded = [
                each for each in wanted if self.safe(lambda name=each: self.program.names[name].requires_grad)
            ][-2:]
        if recorded:
            roots = recorded
        if not roots:
            return
        keep = self.random.choice(["", "retain_graph=True", "retain_graph=True"])
        kind = self.random.random()
        if kind < 0.5:
            line = f"total({', '.join(roots)}).backward({keep})"
        elif kind < 0.65:
            name = roots[0]
            line = f"{name}.backward(ramp({name}, 0.5){', ' if keep else ''}{keep})"
        else:
            line = self.gradients(roots, keep, kind)
        self.program.run(line)

    def gradients(self, roots, keep, kind):
        """`autograd.grad`, or backward for some tensors alone, or a second derivative."""
        candidates = [
            name
            for name, each in self.program.tensors().items()
            if self.safe(lambda each=each: each.requires_grad) and each.is_floating_point()
        ]
        if not candidates:
            return f"total({', '.join(roots)}).backward({keep})"
        inputs = self.random.sample(candidates, min(len(candidates), self.random.choice([1, 2, 3])))
        sources = f"[{', '.join(inputs)}]"
        if kind < 0.72:
            return f"total({', '.join(roots)}).backward(inputs={sources}{', ' if keep else ''}{keep})"
        options = ", ".join(each for each in (keep, "allow_unused=True") if each)
        if kind < 0.85:
            targets = [self.name() for _ in inputs]
            call = f"torch.autograd.grad(total({', '.join(roots)}), {sources}, {options})"
            return f"{', '.join(targets)}, = {call}"
        made = f"g{self.count}"
        return (
            f"{made} = torch.autograd.grad(total({', '.join(roots)}), {sources}, create_graph=True, "
            "allow_unused=True)\n"
            f"{made} = [(g * g).sum() for g in {made} if g is not None and g.requires_grad]\n"
            f"if {made}: sum({made}).backward()"
        )


def generate(seed):
    """The program of a seed, run under PyTorch anew: looking at a tensor, to draw, may renew its history."""
    drawn = Generator(seed).generate()
    return Program(seed, drawn.lines, drawn.versions)
