"""Saving and loading tensors, weights and checkpoints."""

import copy
import os
import tempfile

import torch
from torch import nn, optim

torch.manual_seed(8)


def make():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


model = make()
optimizer = optim.Adam(model.parameters(), lr=0.01)
x, y = torch.randn(16, 4), torch.randint(0, 2, (16,))
for _ in range(3):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
print("Model's state_dict:")
for name in model.state_dict():
    print(name, "\t", model.state_dict()[name].size())
print("Optimizer's state_dict:", optimizer.state_dict()["param_groups"])
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "weights.pth")
    torch.save(model.state_dict(), path)
    other = make()
    print(other.load_state_dict(torch.load(path, weights_only=True)))
    other.eval()
    print(torch.equal(other(x), model(x)))
    checkpoint = os.path.join(folder, "checkpoint.tar")
    torch.save(
        {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "loss": loss},
        checkpoint,
    )
    loaded = torch.load(checkpoint, weights_only=True, map_location="cpu")
    print(loaded["epoch"], loaded["loss"], sorted(loaded))
    resumed = make()
    resumed.load_state_dict(loaded["model"])
    resumed_optimizer = optim.Adam(resumed.parameters(), lr=0.5)
    resumed_optimizer.load_state_dict(loaded["optimizer"])
    for net, opt in ((model, optimizer), (resumed, resumed_optimizer)):
        opt.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        opt.step()
    print(all(torch.equal(p, q) for p, q in zip(model.parameters(), resumed.parameters(), strict=True)))
    pair = os.path.join(folder, "pair")
    torch.save([torch.arange(3), {"a": torch.ones(2)}], pair)
    print(torch.load(pair))
try:
    make().load_state_dict({"0.weight": torch.ones(8, 4), "extra": torch.ones(1)})
except RuntimeError as error:
    print(error)
try:
    nn.Linear(4, 3).load_state_dict(nn.Linear(4, 2).state_dict())
except RuntimeError as error:
    print(error)
print(make().load_state_dict({"0.weight": torch.ones(8, 4), "extra": torch.ones(1)}, strict=False))
twin = copy.deepcopy(model)
twin[0].weight.data.fill_(0)
print(model[0].weight.abs().sum() > 0, twin[0].weight.sum())
