"""What torch.nn is: logistic regression on digits, from bare tensors to nn, optim and DataLoader."""

import gzip
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

FOLDER = Path(__file__).resolve().parents[3] / "data" / "mnist"
torch.manual_seed(9)


def read(name, offset, count, size):
    with gzip.open(FOLDER / name) as file:
        file.read(offset)
        return np.frombuffer(file.read(count * size), dtype=np.uint8).reshape(count, size)


images = read("train-images-idx3-ubyte.gz", 16, 1200, 784)
labels = read("train-labels-idx1-ubyte.gz", 8, 1200, 1)[:, 0]
x_all, y_all = map(torch.tensor, (images.astype(np.float32) / 255, labels.astype(np.int64)))
x_train, y_train, x_valid, y_valid = x_all[:1000], y_all[:1000], x_all[1000:], y_all[1000:]
n, c = x_train.shape
print(x_train.shape, y_train.min(), y_train.max(), y_train[:10])

weights = torch.randn(784, 10) / math.sqrt(784)
weights.requires_grad_()
bias = torch.zeros(10, requires_grad=True)


def log_softmax(x):
    return x - x.exp().sum(-1).log().unsqueeze(-1)


def model(xb):
    return log_softmax(xb @ weights + bias)


def nll(input, target):
    return -input[range(target.shape[0]), target].mean()


def accuracy(out, yb):
    preds = torch.argmax(out, dim=1)
    return (preds == yb).float().mean()


bs = 64
preds = model(x_train[:bs])
print(preds[0], preds.shape, nll(preds, y_train[:bs]), accuracy(preds, y_train[:bs]))
lr = 0.5
for _ in range(2):
    for i in range((n - 1) // bs + 1):
        xb, yb = x_train[i * bs : i * bs + bs], y_train[i * bs : i * bs + bs]
        loss = nll(model(xb), yb)
        loss.backward()
        with torch.no_grad():
            weights -= weights.grad * lr
            bias -= bias.grad * lr
            weights.grad.zero_()
            bias.grad.zero_()
print(f"{nll(model(xb), yb).item():.4f}", accuracy(model(xb), yb))


class Logistic(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(784, 10)

    def forward(self, xb):
        return self.lin(xb)


train_dl = DataLoader(TensorDataset(x_train, y_train), batch_size=bs, shuffle=True)
valid_dl = DataLoader(TensorDataset(x_valid, y_valid), batch_size=bs * 2)


def loss_batch(model, loss_func, xb, yb, opt=None):
    loss = loss_func(model(xb), yb)
    if opt is not None:
        loss.backward()
        opt.step()
        opt.zero_grad()
    return loss.item(), len(xb)


def fit(epochs, model, loss_func, opt, train_dl, valid_dl):
    for epoch in range(epochs):
        model.train()
        for xb, yb in train_dl:
            loss_batch(model, loss_func, xb, yb, opt)
        model.eval()
        with torch.no_grad():
            losses, nums = zip(*[loss_batch(model, loss_func, xb, yb) for xb, yb in valid_dl], strict=True)
        print(epoch, f"{sum(a * b for a, b in zip(losses, nums, strict=True)) / sum(nums):.4f}")


net = Logistic()
fit(3, net, F.cross_entropy, optim.SGD(net.parameters(), lr=0.5, momentum=0.9), train_dl, valid_dl)
print(accuracy(net(x_valid), y_valid), net)
deep = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
fit(2, deep, F.cross_entropy, optim.Adam(deep.parameters(), lr=1e-2), train_dl, valid_dl)
print(accuracy(deep(x_valid), y_valid))
