"""`autograd.Function` beside PyTorch's: its context, its marks, its errors and second derivatives."""

import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same

SCRIPTS = {
    "a context": """
        class Mul(torch.autograd.Function):
            @staticmethod
            def forward(ctx, a, b, scale=2, name=None):
                note(ctx.needs_input_grad)
                ctx.save_for_backward(a, b)
                ctx.scale = scale
                return a * b * scale
            @staticmethod
            def backward(ctx, g):
                a, b = ctx.saved_tensors
                note(ctx.needs_input_grad, ctx.scale, torch.is_grad_enabled())
                return g * b * ctx.scale, g * a * ctx.scale, None, None
        x, y = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0])
        z = Mul.apply(x, y)
        z
        z.grad_fn.name()
        z.grad_fn.scale
        z.grad_fn.saved_tensors
        z.sum().backward()
        x.grad
        z.sum().backward()
        z.grad_fn.saved_tensors
        y.requires_grad_()
        z = Mul.apply(x, y, 3)
        (g,) = torch.autograd.grad(z.sum(), x, create_graph=True)
        g
        torch.autograd.grad(g.sum(), y)
        with torch.no_grad():
            note(Mul.apply(x, y).requires_grad)
        Mul.apply(torch.ones(2), torch.ones(2))
        Mul.apply(x, y, scale=4)
        Mul()(x, y)
    """,
    "setup_context": """
        class Scale(torch.autograd.Function):
            @staticmethod
            def forward(x, factor=3.0):
                return x * factor, x.sum()
            @staticmethod
            def setup_context(ctx, inputs, output):
                x, factor = inputs
                note(len(output))
                ctx.factor = factor
                ctx.save_for_backward(x)
            @staticmethod
            def backward(ctx, g, h):
                (x,) = ctx.saved_tensors
                return g * ctx.factor + h, None
        x = torch.ones(2, requires_grad=True)
        y, s = Scale.apply(x)
        (y.sum() + s).backward()
        x.grad
        Scale.apply(x, 5.0)[0]
        class Forgets(torch.autograd.Function):
            @staticmethod
            def forward(x):
                return x * 2
            @staticmethod
            def backward(ctx, g):
                return g
        Forgets.apply(x)
    """,
    "once_differentiable": """
        once_differentiable = torch.autograd.function.once_differentiable
        class Square(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x
            @staticmethod
            @once_differentiable
            def backward(ctx, g):
                note(torch.is_grad_enabled())
                return 2 * g * ctx.saved_tensors[0]
        x = torch.ones(2, requires_grad=True)
        (g,) = torch.autograd.grad(Square.apply(x).sum(), x, create_graph=True)
        note(g.requires_grad)
        g.sum().backward()
        w = torch.ones(2, requires_grad=True)
        (g,) = torch.autograd.grad((Square.apply(x) * w).sum(), x, create_graph=True)
        note(g.requires_grad, g.grad_fn)
        torch.autograd.grad(g.sum(), w)
        Square.apply(x).sum().backward()
        x.grad
    """,
    "mark_dirty": """
        class Double(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                x.mul_(2)
                ctx.mark_dirty(x)
                return x
            @staticmethod
            def backward(ctx, g):
                return g * 2
        x = torch.ones(2, requires_grad=True)
        Double.apply(x)
        y = x * 1
        z = Double.apply(y)
        note(z is y, y._version)
        z.sum().backward()
        x.grad
        a = x * 1
        v = a[0]
        Double.apply(v)
        a.sum().backward()
        x.grad
        b = x * 3
        s = b * b
        Double.apply(b)
        s.sum().backward()
        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                x.mul_(2)
                ctx.mark_dirty(x)
                return x * 1
            @staticmethod
            def backward(ctx, g):
                return g
        Wrong.apply(x * 1)
    """,
    "mark_non_differentiable": """
        class Sort(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                values, order = x.sort()
                halves = values * 0.5
                ctx.mark_non_differentiable(halves, order)
                ctx.save_for_backward(order)
                return values, order, halves
            @staticmethod
            def backward(ctx, g, g_order, g_halves):
                note(g_order, g_halves)
                (order,) = ctx.saved_tensors
                return torch.zeros_like(g).index_add(0, order, g)
        x = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
        v, o, h = Sort.apply(x)
        note(v, o, h)
        (v * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
        x.grad
        h.sum().backward()
    """,
    "gradients that are not materialized": """
        class Two(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, keep):
                ctx.set_materialize_grads(keep)
                return x * 2, x * 3
            @staticmethod
            def backward(ctx, g, h):
                note(g, h)
                return (0 if g is None else g * 2) + (0 if h is None else h * 3), None
        x = torch.ones(2, requires_grad=True)
        for keep in (True, False):
            Two.apply(x, keep)[1].sum().backward()
        x.grad
    """,
    "wrong gradients": """
        def function(*results):
            class Made(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x, y):
                    return x * 1
                @staticmethod
                def backward(ctx, g):
                    return results
            return Made
        x = torch.ones(2, requires_grad=True)
        function(torch.ones(2)).apply(x, 2).sum().backward()
        function(torch.ones(2), None, None).apply(x, 2).sum().backward()
        function(torch.ones(2), torch.ones(2)).apply(x, 2).sum().backward()
        function(torch.ones(3), None).apply(x, 2).sum().backward()
        function("text", None).apply(x, 2).sum().backward()
        function(torch.ones(1), None).apply(x, 2).sum().backward()
        x.grad = None
        function(None, None).apply(x, 2).sum().backward()
        x.grad
        function(torch.ones(2, dtype=torch.float64), None).apply(x, 2).sum().backward()
        x.grad
        class Bare(torch.autograd.Function):
            pass
        Bare.apply(x)
        class NoBackward(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2
        NoBackward.apply(x).sum().backward()
        class SavesText(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward("text")
                return x * 2
        SavesText.apply(x)
    """,
    "inputs handed through, views and no tensors": """
        class Same(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x
            @staticmethod
            def backward(ctx, g):
                return g * 7
        x = torch.ones(2, requires_grad=True)
        y = Same.apply(x)
        note(y is x, y)
        y.sum().backward()
        x.grad
        y.mul_(2)
        class View(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.view(-1)
            @staticmethod
            def backward(ctx, g):
                return g.view(2, 1)
        v = View.apply(torch.ones(2, 1, requires_grad=True) * 1)
        v
        v.add_(1)
        class Mixed(torch.autograd.Function):
            @staticmethod
            def forward(ctx, xs, n):
                return xs[0] * n, n, None
            @staticmethod
            def backward(ctx, g, *rest):
                note(rest)
                return None, None
        Mixed.apply([x], 3)
        class Count(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2, 5, torch.tensor([1, 2])
            @staticmethod
            def backward(ctx, g, *rest):
                note(rest)
                return g * 2
        Count.apply(x)
        Count.apply(x)[0].sum().backward()
    """,
    "saved tensors that change": """
        class Exp(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                y = x.exp()
                ctx.save_for_backward(x, y, None)
                return y
            @staticmethod
            def backward(ctx, g):
                x, y, nothing = ctx.saved_tensors
                note(nothing)
                return g * y
        x = torch.zeros(2, requires_grad=True)
        y = Exp.apply(x)
        s = y.sum()
        y.add_(1)
        s.backward()
        y = Exp.apply(x)
        s = y.sum()
        y.add_(1)
        del y
        s.backward()
        y = Exp.apply(x)
        with torch.no_grad():
            x.add_(1)
        y.sum().backward()
        y = Exp.apply(x)
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        torch.autograd.grad(g.sum(), x)
        torch.autograd.gradcheck(Exp.apply, torch.zeros(3, dtype=torch.float64, requires_grad=True))
    """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_function(name):
    assert_same(SCRIPTS[name], text=110)
