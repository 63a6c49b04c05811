"""Cells in the manner of a NumPy notebook on handwritten digits that takes its data from torchvision."""

# %%
import random

import matplotlib.pyplot as plt
import numpy as np
from torchvision import datasets

random.seed(1)
np.random.seed(1)


# %%
def to_rows(data, count):
    width, height = data[0][0].size
    x, y = np.zeros([count, width * height]), np.zeros(count)
    for i in range(count):
        x[i, :] = np.asarray(data[i][0]).flatten() / 255
        y[i,] = data[i][1]
    return x, y


def one_hot(labels):
    y = np.zeros([len(labels), 10])
    for i, label in enumerate(labels.astype(int)):
        y[i, label] = 1
    return y


def relu(x):
    y = np.copy(x)
    y[x <= 0] = 0
    return y


def softmax(x):
    y = np.exp(x - x.max(axis=1, keepdims=True))
    return y / y.sum(axis=1, keepdims=True)


# %%
train_data = datasets.MNIST(root="nowhere", train=True, download=False, transform=None)
test_data = datasets.MNIST(root="nowhere", train=False, transform=None)
x, y = train_data[0]
print(x)
print(y, len(train_data), len(test_data), type(train_data))
plt.imshow(x)
np.asarray(x)[14]

# %%
x_train, y_train = to_rows(train_data, 3000)
x_test, labels = to_rows(test_data, 500)
y_train = one_hot(y_train)
print(x_train.shape, y_train.shape, x_train.mean(), y_train.sum(axis=0))

# %%
batch_size, lr = 4, 0.05
w1, b1 = (np.random.rand(784, 32) - 0.5) / 10, np.zeros(32)
w2, b2 = (np.random.rand(32, 10) - 0.5) / 10, np.zeros(10)
for epoch in range(3):
    order = list(range(len(x_train)))
    random.shuffle(order)
    for j in range(0, len(order), batch_size):
        x, y = x_train[order[j : j + batch_size]], y_train[order[j : j + batch_size]]
        h = relu(x @ w1 + b1)
        z = softmax(h @ w2 + b2)
        dz = (z - y) / len(x)
        dh = (dz @ w2.T) * (h > 0)
        w2 -= lr * h.T @ dz
        b2 -= lr * dz.sum(axis=0)
        w1 -= lr * x.T @ dh
        b1 -= lr * dh.sum(axis=0)
    print(f"epoch {epoch + 1}, loss {-np.sum(y * np.log(z)):.3f}")

# %%
predicted = np.argmax(relu(x_test @ w1 + b1) @ w2 + b2, axis=1)
print(f"Correct rate: {np.mean(predicted == labels)}")
