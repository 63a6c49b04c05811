"""Layers, containers, parameters and how models print."""

import torch
from torch import nn

torch.manual_seed(3)
device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
print(f"Using {device} device")


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        x = self.flatten(x)
        return self.linear_relu_stack(x)


model = NeuralNetwork().to(device)
print(model)
X = torch.rand(1, 28, 28, device=device)
logits = model(X)
pred_probab = nn.Softmax(dim=1)(logits)
print(f"Predicted class: {pred_probab.argmax(1)}", pred_probab)
for name, param in model.named_parameters():
    print(f"Layer: {name} | Size: {param.size()} | Values : {param[:2]} \n")
print(
    sum(p.numel() for p in model.parameters() if p.requires_grad), type(model.flatten), nn.Module.__module__
)

lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(1))
print(lazy)
lazy(torch.rand(2, 20))
print(lazy, lazy[0].weight.shape)


class Block(nn.Module):
    def __init__(self, size, bias=True):
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.layers = nn.ModuleList([nn.Linear(size, size, bias=bias) for _ in range(2)])
        self.scale = nn.Parameter(torch.ones(size))
        self.register_buffer("seen", torch.zeros(1, dtype=torch.long))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        self.seen += 1
        for layer in self.layers:
            x = x + torch.tanh(layer(self.norm(x)))
        return self.drop(x * self.scale)


block = Block(4)
block.apply(lambda m: nn.init.xavier_uniform_(m.weight) if isinstance(m, nn.Linear) else None)
print(block, list(block.state_dict()))
print(block(torch.rand(3, 4)))
block.eval()
print(block(torch.rand(3, 4)), block.seen, block.training)
embedding = nn.Embedding(10, 3, padding_idx=0)
print(embedding(torch.tensor([[0, 2, 5]])), embedding)
norm = nn.BatchNorm1d(4)
print(norm(torch.rand(6, 4)).mean(0).abs() < 1e-5, norm.running_mean, norm)
table = nn.ModuleDict({"relu": nn.LeakyReLU(0.1), "gelu": nn.GELU()})
for key, layer in table.items():
    print(key, layer(torch.tensor([-1.0, 1.0])))
seen = []
handle = block.layers[0].register_forward_hook(lambda module, args, output: seen.append(output.shape))
block(torch.rand(2, 4))
handle.remove()
print(seen, [type(m).__name__ for m in block.modules()], [n for n, _ in block.named_children()])
