"""A convolutional network on drawn pictures, and one that reads names, in the manner of tutorials."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.fc1 = nn.Linear(16 * 3 * 3, 20)
        self.fc2 = nn.Linear(20, 4)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.norm(self.conv2(x))))
        x = torch.flatten(x, 1)
        return self.fc2(F.relu(self.fc1(x)))


net = Net()
print(net)
print(sum(p.numel() for p in net.parameters()))

pictures = torch.zeros(48, 3, 16, 16)
labels = torch.arange(48) % 4
for number in range(48):
    row, column = (labels[number] // 2) * 8, (labels[number] % 2) * 8
    pictures[number, :, row : row + 8, column : column + 8] = torch.rand(3, 8, 8)
loader = DataLoader(TensorDataset(pictures, labels), batch_size=12, shuffle=True)
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
for epoch in range(3):
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch}  loss {total / len(loader):.4f}")
net.eval()
with torch.no_grad():
    print((net(pictures).argmax(1) == labels).float().mean())

up = nn.Sequential(nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1), nn.Tanh(), nn.Upsample(scale_factor=2))
print(up(torch.ones(1, 4, 3, 3)).shape, up)


class Names(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(27, 8, padding_idx=0)
        self.rnn = nn.GRU(8, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 3)

    def forward(self, text, lengths):
        packed = pack_padded_sequence(self.embedding(text), lengths, batch_first=True, enforce_sorted=False)
        output, hidden = self.rnn(packed)
        self.length = pad_packed_sequence(output, batch_first=True)[1]
        return self.head(torch.cat([hidden[0], hidden[1]], dim=1))


words = ["anna", "otto", "sophie", "max", "ada", "konstantin"]
rows = [torch.tensor([ord(letter) - 96 for letter in word]) for word in words]
text, lengths = pad_sequence(rows, batch_first=True), torch.tensor([len(each) for each in rows])
model = Names()
print(model)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for step in range(5):
    loss = F.cross_entropy(model(text, lengths), lengths % 3)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    print(f"step {step}  loss {loss.item():.4f}")
print(model.length)

cell, state = nn.LSTMCell(3, 5), None
for step in range(3):
    state = cell(torch.full((2, 3), 0.1 * step), state)
print(state[0], state[1].detach())
