"""Drawing views: the texts of indexing, reshaping, narrowing and turning that suit a tensor at hand.

Invariant: every choice is drawn from the program's own random numbers, so that a program depends on its
seed alone.
"""

import random

import torch

from tests.conformance.view_programs.program import Program


class ViewTexts:
    """What all drawing shares (names, picks, numbers), and the texts of views."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.program = Program(seed)
        self.count = 0

    def name(self):
        self.count += 1
        return f"t{self.count - 1}"

    def pick(self, accept=lambda tensor: True):
        """A live tensor that fits, later ones more often: its name and itself; None if there is none."""
        found = [(name, each) for name, each in self.program.tensors().items() if accept(each)]
        if not found:
            return None
        return self.random.choices(found, range(2, len(found) + 2))[0]

    def number(self):
        return self.random.choice([-2, -1.5, -1, -0.5, 0.25, 0.5, 1, 1.5, 2])

    @staticmethod
    def safe(question):
        """The answer, or False where asking raises (a stale view that may not exist any more)."""
        try:
            return question()
        except RuntimeError:
            return False

    def assign(self, expression, modes=True):
        """``name = expression``, now and then without recording."""
        line = f"{self.name()} = {expression}"
        if modes and self.random.random() < 0.06:
            line = f"with torch.no_grad():\n    {line}"
        self.program.run(line)

    def view(self):
        name, tensor = self.pick()
        self.assign(self.view_of(name, tensor))

    def view_of(self, name, tensor):
        choices = [self.indexed, self.shaped]
        if tensor.dim():
            choices += [self.windowed, self.windowed]
        if tensor.dim() >= 2:
            choices.append(self.turned)
        return self.random.choice(choices)(name, tensor)

    def indexed(self, name, tensor):
        return f"{name}[{self.index(tensor, basic=self.random.random() < 0.85)}]"

    def index(self, tensor, basic=True):
        """The text of an index."""
        draw = self.random.random
        if not basic and tensor.dim():
            length = tensor.shape[0]
            options = [f"{name}" for name in self.masks(tensor)] + [f"{self.any_name()} > 0.3"]
            if length:
                options.append(str([self.random.randrange(-length, length) for _ in range(2)]))
                options.append(f"torch.tensor({[self.random.randrange(length) for _ in range(3)]})")
            return self.random.choice(options)
        parts = []
        for size in tensor.shape:
            if draw() < 0.25:
                break
            kind = draw()
            if kind < 0.4 and size:
                parts.append(str(self.random.randrange(-size, size)))
            elif kind < 0.75:
                start, stop = sorted(self.random.choices(range(size + 1), k=2))
                step = self.random.choice(["", "", "", ":2"])
                parts.append(f"{start}:{stop}{step}" if start < stop else "::2")
            else:
                parts.append(":")
        if draw() < 0.1:
            parts.insert(self.random.randrange(len(parts) + 1), "None")
        elif draw() < 0.15:
            parts.insert(0, "...")
            parts[1:] = parts[1:][:1]
        return ", ".join(parts) or "..."

    def masks(self, tensor):
        """Names of live tensors that are masks for this one."""
        return [
            name
            for name, each in self.program.tensors().items()
            if each.dtype == torch.bool and each.shape == tensor.shape
        ]

    def any_name(self):
        return self.pick(lambda each: each.dtype != torch.bool)[0]

    def shaped(self, name, tensor):
        size, dims = tensor.numel(), tensor.dim()
        factors = [n for n in range(1, size + 1) if size % n == 0] or [1]
        first = self.random.choice(factors)
        shape = self.random.choice([f"{first}, -1", "-1", f"{size // first}, {first}", "1, -1"])
        place = self.random.randrange(-dims - 1, dims + 1)
        options = [
            f"{name}.view({shape})",
            f"{name}.reshape({shape})",
            f"{name}.unsqueeze({place})",
            f"{name}.squeeze()",
            f"{name}.flatten()",
            f"{name}.detach()",
            f"{name}.view_as({name})",
            f"{name}.expand(2, {', '.join(['-1'] * dims)})" if dims else f"{name}.expand(3)",
        ]
        if 1 in tensor.shape:
            dim = tensor.shape.index(1)
            options += [
                f"{name}.squeeze({dim})",
                f"{name}.expand({', '.join('3' if n == 1 else '-1' for n in tensor.shape)})",
            ]
        if size and tensor.storage_offset() == 0 and tensor.is_contiguous():
            options.append(
                f"torch.as_strided({name}, ({max(1, size // 2)},), (1,), {size - max(1, size // 2)})"
            )
        return self.random.choice(options)

    def windowed(self, name, tensor):
        dim = self.random.randrange(tensor.dim())
        size = tensor.shape[dim]
        start, stop = sorted(self.random.choices(range(size + 1), k=2))
        width = self.random.randint(1, max(1, size))
        options = [
            f"{name}.narrow({dim}, {start}, {stop - start})",
            f"{name}.unfold({dim}, {width}, {self.random.choice([1, width])})",
            f"{name}[{':, ' * dim}{start}:{max(stop, start + 1)}]",
        ]
        if size:
            options += [f"{name}.select({dim}, {self.random.randrange(size)})"] * 2
        return self.random.choice(options)

    def turned(self, name, tensor):
        dims = list(range(tensor.dim()))
        self.random.shuffle(dims)
        first, second = dims[:2]
        options = [
            f"{name}.transpose({first}, {second})",
            f"{name}.permute({', '.join(map(str, dims))})",
            f"{name}.diagonal(0, {first}, {second})",
            f"{name}.movedim({first}, {second})",
            f"{name}.flatten(0, 1)",
            f"{name}.mT",
            f"{name}.diagonal({self.random.choice([-1, 1])}, {first}, {second})",
        ]
        if tensor.dim() == 2:
            options += [f"{name}.T", f"{name}.t()"]
        return self.random.choice(options)

    def multiple(self):
        """Several views from one call."""
        found = self.pick(lambda each: each.dim() and max(each.shape) > 1 and 0 not in each.shape)
        if found is None:
            return
        name, tensor = found
        dim = max(range(tensor.dim()), key=lambda each: tensor.shape[each])
        size = tensor.shape[dim]
        parts = f"{self.name()}, *_"
        draw = self.random.choice
        line = f"{parts} = {name}.{draw(['unbind', 'split', 'chunk', 'tensor_split'])}"
        if line.endswith("unbind"):
            line += f"({dim})"
        else:
            line += f"({draw([1, 2, size])}, {dim})"
        self.program.run(line)
