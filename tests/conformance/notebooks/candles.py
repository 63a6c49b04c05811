"""Cells in the manner of a PyTorch notebook on price candles: lagged features, a linear model, a network."""

# %%
import pandas as pd

candles = pd.read_csv("candles.csv", index_col=0)
print(candles.shape)
candles.head(2)

# %%
lagged = [candles.shift(n).add_suffix(f"_s{n}") for n in (3, 2, 1)]
table = pd.concat([*lagged, candles], axis=1)
table.columns

# %%
numbers = table.drop(columns=[c for c in table if c.startswith("time")]).dropna()
numbers.shape

# %%
import torch
import torch.nn.functional as F
from torch import nn, tensor

torch.manual_seed(2023)
torch.initial_seed()

# %%
target = tensor(numbers["high"].values, dtype=torch.float)
print(target.shape)
target

# %%
inputs = tensor(numbers.loc[:, numbers.columns != "high"].values, dtype=torch.float)
inputs.shape

# %%
import math

n, c = inputs.shape
weights = torch.randn(c) / math.sqrt(n)
weights.requires_grad_()

# %%
inputs * weights

# %%
coeffs = torch.rand(inputs.shape[1]) - 0.5
coeffs

# %%
preds = (inputs * coeffs).sum(axis=1)
print(preds[0], preds.dtype)
preds

# %%
print("absolute:", F.l1_loss(preds, target))
print("squared:", F.mse_loss(preds, target))
F.cross_entropy(preds, target)

# %%
loss = nn.CrossEntropyLoss()((inputs * coeffs.requires_grad_()).sum(axis=1), target)
print(loss)
loss.backward(retain_graph=True)
print(coeffs.grad)
loss.backward()
coeffs.grad

# %%
scaled = inputs / inputs.max(dim=0).values
wanted = target / target.max()


def predict(coeffs):
    return (scaled * coeffs).sum(axis=1)


def mistake(coeffs):
    return torch.abs(predict(coeffs) - wanted).mean()


mistake(coeffs)

# %%
coeffs = (torch.rand(c) - 0.5).requires_grad_()
for epoch in range(5):
    loss = mistake(coeffs)
    loss.backward()
    with torch.no_grad():
        coeffs.sub_(coeffs.grad * 0.05)
        coeffs.grad.zero_()
    print(f"{epoch}: {loss.item():.4f}", end="; ")
coeffs


# %%
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.stack = nn.Sequential(nn.Linear(28 * 28, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.stack(self.flatten(x))


device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
model = Network().to(device)
print(model)
model

# %%
X = torch.rand(1, 28, 28, device=device)
chances = nn.Softmax(dim=1)(model(X))
print(f"Predicted class: {chances.argmax(1)}")
chances

# %%
image = torch.ones(3, 2, 2)
image[1].add_(1)
image[0, 1, 1].add_(1)
flat = nn.Flatten()(image)
layer = nn.Linear(in_features=4, out_features=2, bias=False)
nn.init.ones_(layer.weight)
print(f"{image.size()} {layer.weight}\n{layer(flat)}")
flat @ layer.weight.T

# %%
test = torch.randn(3, 2, 4, 2)
print(test[2], type(test), type(layer), test.grad_fn)
test
