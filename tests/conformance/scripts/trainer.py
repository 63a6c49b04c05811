"""A trainer in the manner of text books: data module, model, fit loop; weight decay and early stopping."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SyntheticRegression:
    def __init__(self, w, b, noise=0.01, num_train=400, num_val=100, batch_size=32):
        self.batch_size, self.num_train = batch_size, num_train
        n = num_train + num_val
        self.X = torch.randn(n, len(w))
        self.y = torch.matmul(self.X, w.reshape((-1, 1))) + b + torch.randn(n, 1) * noise

    def dataloader(self, train):
        part = slice(0, self.num_train) if train else slice(self.num_train, None)
        return DataLoader(TensorDataset(self.X[part], self.y[part]), self.batch_size, shuffle=train)


class LinearRegression(nn.Module):
    def __init__(self, lr, wd=0.0):
        super().__init__()
        self.lr, self.wd = lr, wd
        self.net = nn.LazyLinear(1)

    def forward(self, X):
        return self.net(X)

    def loss(self, y_hat, y):
        return nn.MSELoss()(y_hat, y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr, weight_decay=self.wd)


class Trainer:
    def __init__(self, max_epochs, gradient_clip_val=0.0, patience=3):
        self.max_epochs, self.clip, self.patience = max_epochs, gradient_clip_val, patience

    def fit(self, model, data):
        train, valid = data.dataloader(True), data.dataloader(False)
        model(next(iter(train))[0])
        optim = model.configure_optimizers()
        best, waited, history = float("inf"), 0, []
        for epoch in range(self.max_epochs):
            model.train()
            for X, y in train:
                loss = model.loss(model(X), y)
                optim.zero_grad()
                loss.backward()
                if self.clip > 0:
                    nn.utils.clip_grad_norm_(model.parameters(), self.clip)
                optim.step()
            model.eval()
            with torch.no_grad():
                losses = [model.loss(model(X), y) for X, y in valid]
            mean = torch.stack(losses).mean().item()
            history.append(mean)
            print(f"epoch {epoch + 1:2}: training {loss.item():.5f}, validation {mean:.5f}")
            waited = 0 if mean < best else waited + 1
            best = min(best, mean)
            if waited >= self.patience:
                print("stopped early")
                break
        return history


torch.manual_seed(10)
w, b = torch.tensor([2, -3.4]), 4.2
data = SyntheticRegression(w, b)
model = LinearRegression(lr=0.03)
Trainer(max_epochs=5).fit(model, data)
print(f"error in estimating w: {w - model.net.weight.data.reshape(w.shape)}")
print(f"error in estimating b: {b - model.net.bias.data}")
decayed = LinearRegression(lr=0.05, wd=3.0)
Trainer(max_epochs=8, gradient_clip_val=1.0).fit(decayed, data)
print("L2 norm of w:", float((decayed.net.weight**2).sum() / 2).__format__(".4f"))
with torch.inference_mode():
    print(model(torch.tensor([[1.0, 1.0]])))
