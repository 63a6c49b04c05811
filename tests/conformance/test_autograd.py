"""The backward pass beside PyTorch's: errors, what is retained or created, inputs, hooks and their order."""

import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same

SCRIPTS = {
    "a graph that was freed": """
        x = torch.tensor([1.0, 2.0], requires_grad=True)
        y = (x * x).sum()
        y.backward()
        x.grad
        y.backward()
        y = x.exp().sum()
        torch.autograd.grad(y, x)
        torch.autograd.grad(y, x)
        y = (x + 1).sum()
        y.backward()
        y.backward()
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward()
        x.grad
    """,
    "in-place changes of what was saved": """
        x = torch.ones(3, requires_grad=True)
        y = x * 2
        z = y * y
        y.add_(1)
        z.sum().backward()
        y = x.exp()
        y.mul_(2)
        y.sum().backward()
        w = torch.ones(3)
        y = x * w
        w.zero_()
        y.sum().backward()
        y = x.sigmoid()
        y[0] = 5.0
        y.sum().backward()
        y, i = x.sort()
        y.mul_(2).sum().backward()
        x.grad
        i.add_(1)
        (x.sort()[0] * 1).sum().backward()
        y, i = x.sort()
        i.add_(1)
        y.sum().backward()
    """,
    "in place on leaves": """
        x = torch.ones(3, requires_grad=True)
        x.add_(1)
        x[0] = 2.0
        x.view(3).mul_(2)
        x[:2].zero_()
        x += 1
        x.fill_(3.0)
        x.requires_grad_(False)
        x.data.add_(1)
        x
        with torch.no_grad():
            x.add_(1)
        x
        a, b = (x.clone().requires_grad_() * 1).split(2)
        a.add_(1)
        c = (x.clone().requires_grad_() * 1).unbind()[0]
        c.mul_(2)
    """,
    "backward of what is no number": """
        x = torch.ones(2, requires_grad=True)
        (x * 2).backward()
        (x * 2).backward(torch.ones(3))
        (x * 2).backward(torch.tensor([1.0, 2.0]))
        x.grad
        (x * 2).backward(gradient=[1.0, 2.0])
        (x * 2).sum().backward(torch.ones(1))
        torch.autograd.grad(x * 2, x)
        torch.autograd.grad([x * 2, x.sum()], [x], [torch.ones(2), None])
        torch.autograd.grad(x.sum(), [x], [torch.ones(()), torch.ones(())])
        torch.autograd.backward([x.sum(), x.prod()])
        x.grad
        torch.autograd.backward([x.sum(), x * 3], [None, torch.ones(2)])
        x.grad
        torch.ones(2).sum().backward()
        torch.tensor(1.0).backward()
        torch.autograd.grad(torch.ones(1), x)
        torch.tensor([1, 2]).requires_grad_()
        torch.ones(2, dtype=torch.int64, requires_grad=True)
        (x * 2).requires_grad_(False)
        x.backward(torch.ones(2))
        x.grad
        (x * 2).sum().backward(torch.ones((), dtype=torch.float64))
    """,
    "inputs": """
        x = torch.ones(2, requires_grad=True)
        w = torch.full((2,), 3.0, requires_grad=True)
        y = x * w
        y.sum().backward(inputs=[x])
        note(x.grad, w.grad)
        y = x * w
        y.sum().backward(inputs=w)
        note(x.grad, w.grad)
        (x * w).sum().backward(inputs=[])
        y = x * w
        z = y.sum()
        z.backward(inputs=[y])
        y.grad
        torch.autograd.grad((x * 2).sum(), w)
        torch.autograd.grad((x * 2).sum(), w, allow_unused=True)
        torch.autograd.grad((x * 2).sum(), [x, w], materialize_grads=True)
        torch.autograd.grad((x * 2).sum(), [x, w], allow_unused=False, materialize_grads=True)
        y = x * w
        torch.autograd.grad(y.sum(), y)
        torch.autograd.grad(x.sum(), x, is_grads_batched=False)
        torch.autograd.grad(x.sum(), torch.ones(2))
        torch.autograd.grad((x * w).sum(), [x, x])
        torch.autograd.grad((x * w).sum(), ())
        y = x * w
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        note(g, g.requires_grad)
        torch.autograd.grad(g.sum(), w)
    """,
    "second order": """
        x = torch.tensor([0.5, 1.5], requires_grad=True)
        y = (x ** 3).sum()
        (g,) = torch.autograd.grad(y, x, create_graph=True)
        g
        (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
        h
        torch.autograd.grad(h.sum(), x)
        torch.autograd.grad(h.sum(), x)
        y = (x.sin()).sum()
        y.backward(create_graph=True)
        x.grad
        y.backward()
        x.grad
        x.grad = None
        y = x.exp().sum()
        (g,) = torch.autograd.grad(y, x, retain_graph=True)
        g.requires_grad
        torch.autograd.grad(g.sum(), x)
        x = torch.tensor(2.0, requires_grad=True)
        y = x * x * x
        y.backward(create_graph=True, retain_graph=True)
        x.grad.backward()
        x.grad
    """,
    "accumulation": """
        x = torch.ones(2, requires_grad=True)
        (x * 2).sum().backward()
        g = x.grad
        (x * 3).sum().backward()
        note(x.grad, g is x.grad)
        x.grad = torch.zeros(3)
        x.grad = torch.zeros(2, dtype=torch.float64)
        x.grad = 1.0
        x.grad = torch.tensor([1.0, 1.0])
        x.sum().backward()
        x.grad
        del x.grad
        x.grad
        y = x * 2
        y.grad
        y.retain_grad()
        y.retains_grad
        y.sum().backward()
        y.grad
        x.retain_grad()
        x.retains_grad
        torch.ones(2).retain_grad()
        z = (x * 2).detach()
        note(z.requires_grad, z.grad_fn)
        x.detach_()
        note(x.requires_grad)
        v = (torch.ones(2, requires_grad=True) * 2)[0]
        v.detach_()
    """,
    "modes": """
        x = torch.ones(2, requires_grad=True)
        with torch.no_grad():
            y = x * 2
            note(y.requires_grad, torch.is_grad_enabled())
            with torch.enable_grad():
                note((x * 2).requires_grad)
        with torch.set_grad_enabled(False):
            note((x * 2).requires_grad)
        _ = torch.set_grad_enabled(False)
        (x * 2).requires_grad
        _ = torch.set_grad_enabled(True)
        @torch.no_grad()
        def f(a):
            return a * 2
        f(x).requires_grad
        with torch.inference_mode():
            z = x * 2
            note(z.is_inference(), z.requires_grad)
        z.is_inference()
        z * x
        z.add_(1)
        z.requires_grad_()
        z._version
        z.clone().is_inference()
        with torch.inference_mode(False):
            note((x * 2).requires_grad)
        w = torch.ones(2)
        with torch.inference_mode():
            w.add_(1)
            v = w[:1]
            note(v.is_inference())
        v.add_(1)
    """,
    "hooks of tensors, in order": """
        x = torch.ones(2, requires_grad=True)
        _ = x.register_hook(lambda g: note("leaf 1", g))
        _ = x.register_hook(lambda g: g * 2)
        _ = x.register_hook(lambda g: note("leaf 3", g))
        _ = x.register_post_accumulate_grad_hook(lambda t: note("accumulated", t.grad))
        y = x * 3
        h = y.register_hook(lambda g: g + 1)
        y.retain_grad()
        _ = y.register_hook(lambda g: note("y 2", g))
        _ = y.grad_fn.register_prehook(lambda g: note("before", g))
        _ = y.grad_fn.register_hook(lambda i, o: note("after", i[0], o))
        y.sum().backward()
        note(x.grad, y.grad)
        h.remove()
        h.remove()
        x.grad = None
        (x * 3).sum().backward()
        x.grad
        _ = (x * 2).register_post_accumulate_grad_hook(lambda t: None)
        _ = torch.ones(2).register_hook(lambda g: None)
        y = x * 2
        _ = y.register_hook(lambda g: "nonsense")
        y.sum().backward()
        y = x * 2
        _ = y.register_hook(lambda g: torch.ones(3))
        y.sum().backward()
        y = x * 2
        _ = y.grad_fn.register_hook(lambda i, o: (torch.full((2,), 7.0),))
        x.grad = None
        y.sum().backward()
        x.grad
        y = x * 2
        _ = y.grad_fn.register_hook(lambda i, o: ())
        y.sum().backward()
    """,
    "hooks are called once for a sum of gradients": """
        x = torch.ones(2, requires_grad=True)
        y = x * 2
        _ = y.register_hook(lambda g: note("y", g))
        _ = x.register_hook(lambda g: note("x", g))
        (y * 3 + y * 4 + x).sum().backward()
        x.grad
        y = x * 2
        _ = y.register_hook(lambda g: note("given", g))
        torch.autograd.grad((y * 3).sum(), [y, x])
        z = x.clone()
        _ = z.register_hook(lambda g: note("before the write", g))
        z.mul_(5)
        _ = z.register_hook(lambda g: note("after the write", g))
        z.sum().backward()
    """,
    "the graph": """
        x = torch.ones(2, requires_grad=True)
        y = (x * 2 + 1).relu()
        note(y.grad_fn, y.grad_fn.next_functions[0][0], y.grad_fn.next_functions[0][0].next_functions)
        y.grad_fn._saved_result
        (x * x).grad_fn._saved_self
        x.grad_fn
        x.is_leaf
        y.is_leaf
        y.output_nr
        x.unbind()[1].output_nr
        y.detach().is_leaf
        y.sum().backward()
        y.grad_fn._saved_result
    """,
    "detecting anomalies": """
        x = torch.tensor([0.0, 1.0], requires_grad=True)
        with torch.autograd.set_detect_anomaly(True):
            y = (x / x).sum()
            y.backward()
        with torch.autograd.detect_anomaly(check_nan=False):
            (x / x).sum().backward()
        with torch.autograd.detect_anomaly():
            x.log().sum().sqrt().backward()
        torch.is_anomaly_enabled()
    """,
    "hooks on saved tensors": """
        x = torch.tensor([2.0, 3.0], requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 10, lambda t: t / 10):
            y = x * x
        y.sum().backward()
        x.grad
        with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
            with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                x * x
        with torch.autograd.graph.save_on_cpu():
            y = x.exp()
        x.grad = None
        y.sum().backward()
        x.grad
    """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_backward(name):
    assert_same(SCRIPTS[name], text=110)
