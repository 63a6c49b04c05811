"""Making tensors, their attributes, operations, indexing, and the bridge to NumPy."""

import numpy as np
import torch

torch.manual_seed(1)
data = [[1, 2], [3, 4]]
x_data = torch.tensor(data)
x_np = torch.from_numpy(np.array(data))
x_ones = torch.ones_like(x_data)
x_rand = torch.rand_like(x_data, dtype=torch.float)
print(f"Ones Tensor: \n {x_ones} \n")
print(f"Random Tensor: \n {x_rand} \n", x_np)
shape = (2, 3)
print(torch.rand(shape), torch.ones(shape), torch.zeros(shape), torch.full((2,), 7), torch.eye(2))

tensor = torch.rand(3, 4)
print(f"Shape of tensor: {tensor.shape}")
print(f"Datatype of tensor: {tensor.dtype}")
print(f"Device tensor is stored on: {tensor.device}", type(tensor), tensor.is_contiguous())
if torch.accelerator.is_available():
    tensor = tensor.to(torch.accelerator.current_accelerator())

tensor = torch.ones(4, 4)
print(f"First row: {tensor[0]}")
print(f"First column: {tensor[:, 0]}")
print(f"Last column: {tensor[..., -1]}")
tensor[:, 1] = 0
print(tensor)
t1 = torch.cat([tensor, tensor, tensor], dim=1)
print(t1, t1.size(), t1.stride())

y1 = tensor @ tensor.T
y2 = tensor.matmul(tensor.T)
y3 = torch.rand_like(y1)
torch.matmul(tensor, tensor.T, out=y3)
print(torch.equal(y1, y2), torch.allclose(y2, y3), (tensor * tensor).sum())
agg = tensor.sum()
print(agg.item(), type(agg.item()), agg.mean(), tensor.mean(dim=0, keepdim=True), tensor.std())
print(f"{tensor} \n")
tensor.add_(5)
print(tensor)

t = torch.ones(5)
n = t.numpy()
t.add_(1)
print(f"t: {t}", f"n: {n}")
np.add(n, 1, out=n)
print(f"t: {t}", f"n: {n}")

X = torch.arange(12, dtype=torch.float32).reshape(3, 4)
print(X.sum(axis=0), X.mean(), X.numel(), X[1:3], X[X > 5], torch.exp(X[0]))
print(torch.linspace(0, 1, 5), torch.randint(0, 10, (2, 5)), torch.randperm(6))
print(torch.normal(0.0, 1.0, (2, 2)))
values, indices = torch.topk(X, 2, dim=1)
print(values, indices, X.max(dim=1), torch.sort(torch.tensor([3, 1, 2])))
print(X.view(-1, 6).unsqueeze(0).shape, X.permute(1, 0)[0], X.flatten().squeeze())
print(torch.stack([X[0], X[1]]).T)
print(torch.where(X > 4, X, torch.zeros_like(X)), X.clamp(2, 8), X.cumsum(0), torch.einsum("ij,kj->ik", X, X))
torch.set_printoptions(precision=2, sci_mode=False)
print(torch.tensor([1234.5678, 0.00012]), torch.randn(2, 2))
try:
    X @ X
except RuntimeError as error:
    print(str(error).split("\n")[0][:60])
