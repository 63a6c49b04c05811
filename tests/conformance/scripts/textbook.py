"""In the manner of a textbook: linear regression by hand and with nn, lazy layers, initialisers, calculus."""

import collections
import inspect
import io
import os
import tempfile

import pandas as pd
import torch
from torch import nn
from torch.utils import data

torch.manual_seed(1)
os.makedirs(os.path.join(tempfile.gettempdir(), "d2l"), exist_ok=True)
inputs = pd.read_csv(
    io.StringIO("NumRooms,RoofType,Price\nNA,NA,127500\n2,NA,106000\n4,Slate,178100\nNA,NA,140000\n")
)
inputs, targets = inputs.iloc[:, 0:2], inputs.iloc[:, 2]
inputs = pd.get_dummies(inputs, dummy_na=True).fillna(inputs.select_dtypes("number").mean())
X, y = torch.tensor(inputs.to_numpy(dtype=float)), torch.tensor(targets.to_numpy(dtype=float))
print(X, y)


class HyperParameters:
    def save_hyperparameters(self, ignore=()):
        frame = inspect.currentframe().f_back
        _, _, _, local_vars = inspect.getargvalues(frame)
        self.hparams = {
            k: v
            for k, v in local_vars.items()
            if k not in {*ignore, "self", "__class__"} and not k.startswith("_")
        }
        for k, v in self.hparams.items():
            setattr(self, k, v)


class Module(nn.Module, HyperParameters):
    def loss(self, y_hat, y):
        raise NotImplementedError

    def forward(self, X):
        assert hasattr(self, "net"), "Neural network is defined"
        return self.net(X)

    def training_step(self, batch):
        return self.loss(self(*batch[:-1]), batch[-1])

    def apply_init(self, inputs, init=None):
        self.forward(*inputs)
        if init is not None:
            self.net.apply(init)


class SyntheticRegressionData(HyperParameters):
    def __init__(self, w, b, noise=0.01, num_train=500, num_val=200, batch_size=32):
        self.save_hyperparameters()
        n = num_train + num_val
        self.X = torch.randn(n, len(w))
        noise = torch.randn(n, 1) * noise
        self.y = torch.matmul(self.X, w.reshape((-1, 1))) + b + noise

    def get_tensorloader(self, tensors, train, indices=slice(0, None)):
        tensors = tuple(a[indices] for a in tensors)
        return data.DataLoader(data.TensorDataset(*tensors), self.batch_size, shuffle=train)

    def train_dataloader(self):
        return self.get_tensorloader((self.X, self.y), True, slice(0, self.num_train))

    def val_dataloader(self):
        return self.get_tensorloader((self.X, self.y), False, slice(self.num_train, None))


class LinearRegressionScratch(Module):
    def __init__(self, num_inputs, lr, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.w = torch.normal(0, sigma, (num_inputs, 1), requires_grad=True)
        self.b = torch.zeros(1, requires_grad=True)

    def forward(self, X):
        return torch.matmul(X, self.w) + self.b

    def loss(self, y_hat, y):
        return ((y_hat - y) ** 2 / 2).mean()

    def configure_optimizers(self):
        return SGD([self.w, self.b], self.lr)


class SGD(HyperParameters):
    def __init__(self, params, lr):
        self.save_hyperparameters()

    def step(self):
        for param in self.params:
            param -= self.lr * param.grad

    def zero_grad(self):
        for param in self.params:
            if param.grad is not None:
                param.grad.zero_()


class LinearRegression(Module):
    def __init__(self, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.LazyLinear(1)
        self.net.weight.data.normal_(0, 0.01)
        self.net.bias.data.fill_(0)

    def loss(self, y_hat, y):
        return nn.MSELoss()(y_hat, y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


def fit(model, d, epochs):
    optim = model.configure_optimizers()
    for e in range(epochs):
        model.train()
        for batch in d.train_dataloader():
            loss = model.training_step(batch)
            optim.zero_grad()
            with torch.no_grad():
                loss.backward()
                optim.step()
        model.eval()
        with torch.no_grad():
            v = torch.stack([model.training_step(b) for b in d.val_dataloader()]).mean()
        print(f"epoch {e + 1}, train {loss.item():.5f}, val {v.item():.5f}")


d = SyntheticRegressionData(w=torch.tensor([2, -3.4]), b=4.2)
print("features:", d.X[0], "\nlabel:", d.y[0])
Xb, yb = next(iter(d.train_dataloader()))
print("X shape:", Xb.shape, "\ny shape:", yb.shape, len(d.train_dataloader()))
model = LinearRegressionScratch(2, lr=0.03)
fit(model, d, 3)
with torch.no_grad():
    print(f"error in estimating w: {d.w - model.w.reshape(d.w.shape)}")
try:
    model = LinearRegression(lr=0.03)
    print(model)
    fit(model, d, 2)
    w, b = model.net.weight.data, model.net.bias.data
    print(w, b)
except (RuntimeError, ValueError) as e:
    print(type(e).__name__, str(e)[:100])

# lazy MLP
net = nn.Sequential(nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10))
print(net[0].weight)
print(net)
X = torch.rand(2, 20)
print(net(X).shape, net[0].weight.shape)
print([(name, param.shape) for name, param in net.named_parameters()])
print(net[2].state_dict().keys(), type(net[2].bias), net[2].bias.data[:3])


def init_normal(module):
    if type(module) is nn.Linear:
        nn.init.normal_(module.weight, mean=0, std=0.01)
        nn.init.zeros_(module.bias)


net.apply(init_normal)
print(net[0].weight.data[0][:4], net[0].bias.data[0])


def init_xavier(module):
    if type(module) is nn.Linear:
        nn.init.xavier_uniform_(module.weight)


def init_42(module):
    if type(module) is nn.Linear:
        nn.init.constant_(module.weight, 42)


net[0].apply(init_xavier)
net[2].apply(init_42)
print(net[0].weight.data[0][:4])
print(net[2].weight.data[0][:3])


def my_init(module):
    if type(module) is nn.Linear:
        print("Init", *next((n, p.shape) for n, p in module.named_parameters()))
        nn.init.uniform_(module.weight, -10, 10)
        module.weight.data *= module.weight.data.abs() >= 5


net.apply(my_init)
print(net[0].weight[:2, :5])
shared = nn.LazyLinear(8)
net = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.LazyLinear(1))
net(X)
net[2].weight.data[0, 0] = 100
print(net[2].weight.data[0] == net[4].weight.data[0], len(list(net.parameters())))


def dropout_layer(X, dropout):
    assert 0 <= dropout <= 1
    if dropout == 1:
        return torch.zeros_like(X)
    mask = (torch.rand(X.shape) > dropout).float()
    return mask * X / (1.0 - dropout)


X = torch.arange(16, dtype=torch.float32).reshape((2, 8))
print("dropout_p = 0:", dropout_layer(X, 0))
print("dropout_p = 0.5:", dropout_layer(X, 0.5))

# matrices, reductions, calculus
A = torch.arange(6, dtype=torch.float32).reshape(2, 3)
B = A.clone()
print(
    A,
    A + B,
    A * B,
    A.sum(axis=0).shape,
    A.mean(axis=0),
    A / A.sum(axis=1, keepdims=True),
    A.cumsum(axis=0),
    sep="\n",
)
x = torch.arange(3, dtype=torch.float32)
y = torch.ones(3)
print(torch.dot(x, y), torch.mv(A, x), A @ x, torch.norm(torch.ones((4, 9))), torch.abs(x).sum())
x = torch.arange(4.0, requires_grad=True)
y = 2 * torch.dot(x, x)
print(y)
y.backward()
print(x.grad == 4 * x)
x.grad.zero_()
y = x * x
y.backward(gradient=torch.ones(len(y)))
print(x.grad)
x.grad.zero_()
u = (x * x).detach()
z = u * x
z.sum().backward()
print(x.grad == u)


def f(a):
    b = a * 2
    while b.norm() < 1000:
        b = b * 2
    return b if b.sum() > 0 else 100 * b


a = torch.randn(size=(), requires_grad=True)
dd = f(a)
dd.backward()
print(a.grad == dd / a)
fair_probs = torch.ones(6) / 6
counts = collections.Counter(int(v) for v in torch.randint(0, 5, (50,)))
print(sorted(counts.items()))
buffer = io.BytesIO()
torch.save({"net": net.state_dict(), "X": X}, buffer)
buffer.seek(0)
back = torch.load(buffer)
print(list(back), back["X"].shape, torch.equal(back["net"]["2.weight"], net[2].weight))
