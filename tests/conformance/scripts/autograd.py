"""Gradients: functions of tensors, switching them off, Jacobians, functions with a backward of their own."""

import torch
from torch.autograd import Function, grad
from torch.autograd.functional import hessian, jacobian

x = torch.ones(5)
y = torch.zeros(3)
torch.manual_seed(0)
w = torch.randn(5, 3, requires_grad=True)
b = torch.randn(3, requires_grad=True)
z = torch.matmul(x, w) + b
loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
print(f"Gradient function for z = {z.grad_fn is not None}", loss)
loss.backward()
print(w.grad)
print(b.grad)

z = torch.matmul(x, w) + b
print(z.requires_grad)
with torch.no_grad():
    z = torch.matmul(x, w) + b
print(z.requires_grad, (w + 1).detach().requires_grad, torch.is_grad_enabled())

inp = torch.eye(4, 5, requires_grad=True)
out = (inp + 1).pow(2).t()
out.backward(torch.ones_like(out), retain_graph=True)
print(f"First call\n{inp.grad}")
out.backward(torch.ones_like(out), retain_graph=True)
print(f"\nSecond call\n{inp.grad}")
inp.grad.zero_()
out.backward(torch.ones_like(out), retain_graph=True)
print(f"\nCall after zeroing gradients\n{inp.grad}")

a = torch.tensor([2.0, 3.0], requires_grad=True)
Q = 3 * a**3 - a.sum() ** 2
Q.backward(gradient=torch.tensor([1.0, 1.0]))
print(a.grad, a.is_leaf, Q.is_leaf, Q)

t = torch.tensor(0.5, requires_grad=True)
(first,) = grad(torch.sin(t), t, create_graph=True)
(second,) = grad(first, t)
print(first, second)
print(jacobian(lambda v: v**2, torch.tensor([1.0, 2.0])))
print(hessian(lambda v: (v**3).sum(), torch.tensor([1.0, 2.0])))


class LegendrePolynomial3(Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input**3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input**2 - 1)


points = torch.linspace(-1, 1, 5, dtype=torch.double, requires_grad=True)
LegendrePolynomial3.apply(points).sum().backward()
print(points.grad, torch.autograd.gradcheck(LegendrePolynomial3.apply, (points,)))
try:
    loss.backward()
except RuntimeError as error:
    print(str(error)[:60])
hooked = torch.tensor([1.0, 2.0], requires_grad=True)
hooked.register_hook(lambda g: g * 10)
(hooked * 2).sum().backward()
print(hooked.grad)
