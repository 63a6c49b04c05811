"""Random programs of views, in-place operations and gradients, run line by line under PyTorch and Rushlight.

`generate` draws a program: it runs each line under PyTorch at once, so that the next line can be drawn to
fit the shapes at hand. `differences` runs the same lines under Rushlight and compares, after every line,
whether it raised, and at the end every tensor: value, type, strides, version, history, gradient. Programs
are plain text that runs under either library. Invariant: a program depends on its seed alone.
"""

import math
import random
import warnings

import numpy as np
import torch

import rushlight

HELPERS = '''
def ramp(t, scale):
    """Numbers of the shape and type of `t`, all different."""
    return (torch.arange(1, t.numel() + 1, dtype=t.dtype) * scale).reshape(t.shape)


def total(*tensors):
    """The sum of all elements, each with a weight of its own."""
    return sum((t.double() * ramp(t.double(), 0.25 / (i + 1))).sum() for i, t in enumerate(tensors))
'''

SHAPES = [(4,), (2, 3), (3, 2), (6,), (2, 2, 3), (3, 1), (1, 4), (), (3, 3), (2, 3, 2)]
LIMIT = 1e4  # programs keep their numbers below this, so that no difference hides in overflow


class Program:
    """The lines of a program and what PyTorch made of each: the error it raised, or None."""

    def __init__(self, seed):
        self.seed = seed
        self.lines = []
        self.errors = []
        self.names = namespace(torch)
        self.single = False  # whether float32 takes part, so that only its precision can be asked for
        self.versions = True  # whether versions can be compared
        self.stopped_in_backward = False  # where gradients got to then differs

    def run(self, line):
        """Run a line under PyTorch and keep it; returns whether it worked."""
        error = run_line(compile(line, "<program>", "exec"), self.names)
        self.lines.append(line)
        self.errors.append(error)
        return error is None

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


def run_line(code, names):
    """Run compiled text; the error it raised, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(code, names)
    except Exception as error:  # noqa: BLE001 - the error is what is compared
        return error
    return None


# -- drawing programs ----------------------------------------------------------------------------------------


class Generator:
    """Draws one program."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.program = Program(seed)
        self.count = 0

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

    # -- choosing --------------------------------------------------------------------------------------------

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

    def assign(self, expression, modes=True):
        """``name = expression``, now and then without recording."""
        line = f"{self.name()} = {expression}"
        if modes and self.random.random() < 0.06:
            line = f"with torch.no_grad():\n    {line}"
        self.program.run(line)

    def leaf(self):
        shape = self.random.choice(SHAPES)
        kind = self.random.choices(["float64", "float32", "int64"], [90, 7, 3])[0]
        values = [self.random.randint(-8, 8) / 4 for _ in range(math.prod(shape))]
        if kind == "int64":
            values = [int(4 * each) for each in values]
        nested = np.array(values).astype(kind).reshape(shape).tolist()
        self.program.single |= kind == "float32"
        flag = ", requires_grad=True" if kind != "int64" and self.random.random() < 0.6 else ""
        line = f"{self.name()} = torch.tensor({nested}, dtype=torch.{kind}{flag})"
        self.program.run(line)
        if (
            flag and self.random.random() < 0.7
        ):  # leaves cannot be written to; give the program something that can
            self.assign(f"t{self.count - 1} * {self.random.choice([1, 2, 0.5])}")

    # -- views -----------------------------------------------------------------------------------------------

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

    # -- new values ------------------------------------------------------------------------------------------

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
        self.program.single |= "float32" in expression
        self.assign(expression)

    @staticmethod
    def is_clear_of(tensor, *kinks):
        """Whether no element is so near a kink that the last bits decide its side."""
        values = tensor.detach().double()
        return all(bool(((values - kink).abs() > 1e-4).all()) for kink in kinks)

    # -- writes ----------------------------------------------------------------------------------------------

    def write(self):
        """An in-place operation on a tensor or on a view made for it."""
        name, tensor = self.pick(self.writable) or self.pick(lambda each: each.dtype != torch.bool)
        if self.random.random() < 0.15:
            line = self.assigned(name, tensor)
        else:
            target = name
            if self.random.random() < 0.25:
                target = self.view_of(name, tensor)
                seen = dict(self.program.names)
                if run_line(compile(f"seen = {target}", "<program>", "exec"), seen) is not None:
                    target = name
                else:
                    tensor = seen["seen"]
            line = f"{target}.{self.change(tensor)}"
            if not tensor.numel():
                self.program.versions = False  # PyTorch counts some writes to nothing twice
        if self.random.random() < 0.12:
            line = f"with torch.no_grad():\n    {line}"
        elif self.random.random() < 0.03:
            line = f"{name}.data.{self.change(tensor)}"
        self.program.run(line)

    def writable(self, tensor):
        """Whether a write is likely to be allowed; some that are not shall be tried too."""
        if tensor.dtype == torch.bool:
            return False
        base = tensor if tensor._base is None else tensor._base
        return not (base.requires_grad and base.is_leaf) or self.random.random() < 0.05

    def assigned(self, name, tensor):
        index = self.index(tensor, basic=self.random.random() < 0.6)
        if self.random.random() < 0.3:
            return f"{name}[{index}] {self.random.choice(['+=', '*=', '-='])} {self.number()}"
        value = str(self.number())
        other, partner = self.pick(lambda each: each.dtype != torch.bool)
        if self.random.random() < 0.6 and partner.dim() <= tensor.dim():
            value = other
        return f"{name}[{index}] = {value}"

    def change(self, tensor):
        """The text of an in-place method that keeps numbers small and kinks apart."""
        options = [f"add_({self.number()})", f"mul_({self.number()})", "zero_()", f"fill_({self.number()})"]
        options += ["neg_()", f"sub_({self.number()})"]
        other, partner = self.pick(lambda each: each.dtype != torch.bool)
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
        if tensor.dim() >= 2:
            options.append("t_()" if tensor.dim() == 2 else "transpose_(0, 1)")
        if tensor.dim():
            options += ["squeeze_()", f"unsqueeze_({self.random.randrange(tensor.dim() + 1)})"]
        return self.random.choice(options)

    # -- history ---------------------------------------------------------------------------------------------

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
            other, _ = self.pick(lambda each: each.shape == tensor.shape)
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
        if not self.program.run(line):
            self.program.stopped_in_backward = True

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
            return f"{', '.join(targets)}, = torch.autograd.grad(total({', '.join(roots)}), {sources}, {options})"
        made = f"g{self.count}"
        return (
            f"{made} = torch.autograd.grad(total({', '.join(roots)}), {sources}, create_graph=True, "
            "allow_unused=True)\n"
            f"{made} = [(g * g).sum() for g in {made} if g is not None and g.requires_grad]\n"
            f"if {made}: sum({made}).backward()"
        )

    @staticmethod
    def safe(question):
        """The answer, or False where asking raises (a stale view that may not exist any more)."""
        try:
            return question()
        except RuntimeError:
            return False


def broadcasts(first, second):
    """The broadcast shape, or None."""
    try:
        return torch.Size(np.broadcast_shapes(first, second))
    except ValueError:
        return None


def generate(seed):
    """The program of a seed, already run under PyTorch."""
    return Generator(seed).generate()


# -- comparing -----------------------------------------------------------------------------------------------


def differences(program):
    """What Rushlight does differently from PyTorch in this program: a list of sentences."""
    names = namespace(rushlight)
    for number, (line, theirs) in enumerate(zip(program.lines, program.errors, strict=True)):
        ours = run_line(compile(line, "<program>", "exec"), names)
        problem = compare_errors(ours, theirs)
        if problem:
            return [f"line {number} ({line!r}) {problem}"]
    found = []
    tolerance = 1e-4 if program.single else 1e-9
    for name, tensor in program.tensors().items():
        problem = compare_tensors(names.get(name), tensor, tolerance, program)
        if problem:
            found.append(f"{name}: {problem}")
    return found


def compare_errors(ours, theirs):
    """Why two outcomes of a line differ, or an empty string."""
    if ours is None and theirs is None:
        return ""
    if ours is None:
        return f"works, where PyTorch raises {theirs!r}"
    if theirs is None:
        return f"raises {ours!r}, where PyTorch works"
    if first_sentence(ours)[:60] != first_sentence(theirs)[:60] or not isinstance(ours, type(theirs)):
        return f"raises {ours!r}, where PyTorch raises {theirs!r}"
    return ""


def first_sentence(error):
    return str(error).split("\n")[0].split(". ")[0].rstrip(".")


def compare_tensors(ours, theirs, tolerance, program):
    """Why two tensors differ, or an empty string."""
    if not isinstance(ours, rushlight.Tensor):
        return f"is {ours!r}"
    problem = compare_values(ours, theirs, tolerance)
    if problem:
        return problem
    for what, ask in FACTS.items():
        if what == "_version" and not program.versions:
            continue
        mine, yours = (outcome(ask, each) for each in (ours, theirs))
        if mine != yours:
            return f"{what} is {mine}, PyTorch's {yours}"
    if program.stopped_in_backward:
        return ""
    a, b = gradient(ours), gradient(theirs)
    if (a is None) != (b is None):
        return f"grad is {a}, PyTorch's {b}"
    if b is not None:
        problem = compare_values(a, b, tolerance) or (
            "" if a.requires_grad == b.requires_grad else "requires_grad differs"
        )
        if problem:
            return f"grad: {problem}"
    return ""


def compare_values(ours, theirs, tolerance):
    """Type, shape, strides and elements."""
    if str(ours.dtype) != str(theirs.dtype):
        return f"dtype {ours.dtype}, PyTorch's {theirs.dtype}"
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"shape {tuple(ours.shape)}, PyTorch's {tuple(theirs.shape)}"
    a, b = (each.detach().numpy().astype(np.float64) for each in (ours, theirs))
    scale = max(1.0, float(np.abs(b).max())) if b.size and np.isfinite(b).all() else 1.0
    if not np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        return f"{a.tolist()}, PyTorch's {b.tolist()}"
    if theirs.numel() > 0 and strides(ours) != strides(theirs):
        return f"strides {ours.stride()}, PyTorch's {theirs.stride()}"
    return ""


def strides(tensor):
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def outcome(ask, tensor):
    """The answer, or the error's first sentence."""
    try:
        return ask(tensor)
    except RuntimeError as error:
        return first_sentence(error)


def gradient(tensor):
    """``.grad`` of a tensor that may have one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tensor.grad


def maker(tensor):
    """The name of the node that made a tensor."""
    return None if tensor.grad_fn is None else tensor.grad_fn.name().rsplit(":", 1)[-1]


FACTS = {
    "_version": lambda tensor: tensor._version,
    "requires_grad": lambda tensor: tensor.requires_grad,
    "is_leaf": lambda tensor: tensor.is_leaf,
    "grad_fn": maker,
    "_is_view": lambda tensor: tensor._is_view(),
    "retains_grad": lambda tensor: tensor.retains_grad,
    "output_nr": lambda tensor: tensor.output_nr,
}
