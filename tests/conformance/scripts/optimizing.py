"""A polynomial fitted to a sine: by hand, with autograd, with nn, with every common optimizer."""

import math

import torch
from torch import nn, optim
from torch.optim import lr_scheduler

torch.manual_seed(5)
x = torch.linspace(-math.pi, math.pi, 200)
y = torch.sin(x)

a, b, c, d = (torch.randn((), requires_grad=True) for _ in range(4))
learning_rate = 5e-6
for step in range(60):
    y_pred = a + b * x + c * x**2 + d * x**3
    loss = (y_pred - y).pow(2).sum()
    if step % 20 == 19:
        print(step, f"{loss.item():.4f}")
    loss.backward()
    with torch.no_grad():
        for each in (a, b, c, d):
            each -= learning_rate * each.grad
            each.grad = None
print(f"Result: y = {a.item():.4f} + {b.item():.4f} x + {c.item():.4f} x^2 + {d.item():.4f} x^3")

powers = x.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
for kind, settings in [
    (optim.SGD, {"lr": 1e-6, "momentum": 0.9}),
    (optim.Adam, {"lr": 1e-2}),
    (optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    (optim.RMSprop, {"lr": 1e-3}),
    (optim.Adagrad, {"lr": 1e-1}),
    (optim.Adadelta, {"lr": 1.0}),
    (optim.NAdam, {"lr": 1e-2}),
]:
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0, 1))
    loss_fn = nn.MSELoss(reduction="sum")
    optimizer = kind(model.parameters(), **settings)
    for _ in range(40):
        optimizer.zero_grad()
        loss = loss_fn(model(powers), y)
        loss.backward()
        optimizer.step()
    print(kind.__name__, f"{loss.item():.3f}", model[0].weight.data, kind.__module__)
print(optimizer)

model = nn.Linear(3, 1)
optimizer = optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias]}], lr=0.5)
schedules = [
    lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5),
    lr_scheduler.ExponentialLR(optimizer, gamma=0.9),
]
for _ in range(6):
    optimizer.step()
    for schedule in schedules:
        schedule.step()
    print([round(group["lr"], 6) for group in optimizer.param_groups])
one_cycle = lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=6)
for _ in range(5):
    optimizer.step()
    one_cycle.step()
    print(f"{one_cycle.get_last_lr()[0]:.6f}")
weights = [torch.randn(4, requires_grad=True) for _ in range(2)]
sum((w**2).sum() for w in weights).backward()
print(nn.utils.clip_grad_norm_(weights, 1.0), weights[0].grad)

point = torch.tensor([-1.5, 2.0], requires_grad=True)
newton = optim.LBFGS([point], line_search_fn="strong_wolfe")


def closure():
    newton.zero_grad()
    value = (1 - point[0]) ** 2 + 100 * (point[1] - point[0] ** 2) ** 2
    value.backward()
    return value


for _ in range(3):
    newton.step(closure)
print(point.detach().round(decimals=3))
