"""Datasets, samplers, the DataLoader, collating and splitting."""

import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

torch.manual_seed(7)


class Landmarks(Dataset):
    def __init__(self, count, transform=None):
        self.points = torch.rand(count, 4, 2)
        self.transform = transform

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        sample = {"index": index, "landmarks": self.points[index], "name": f"face {index}"}
        return self.transform(sample) if self.transform else sample


def centred(sample):
    return {**sample, "landmarks": sample["landmarks"] - sample["landmarks"].mean(0)}


dataset = Landmarks(10, centred)
print(len(dataset), dataset[3]["landmarks"])
for number, batch in enumerate(DataLoader(dataset, batch_size=4, shuffle=True)):
    print(number, batch["index"], batch["landmarks"].shape, batch["name"])
print(type(DataLoader(dataset)), len(DataLoader(dataset, batch_size=4, drop_last=True)))

numbers = TensorDataset(torch.arange(12).float(), torch.arange(12) % 3)
train, test = random_split(numbers, [0.75, 0.25], generator=torch.Generator().manual_seed(42))
print(train.indices, list(test))
for x, y in DataLoader(train, batch_size=5, shuffle=True):
    print(x, y)
print(next(iter(DataLoader(ConcatDataset([test, Subset(numbers, [0, 1])]), batch_size=5))))
sampler = WeightedRandomSampler([0.1, 0.9, 0.4], num_samples=8, replacement=True)
print(list(sampler), list(RandomSampler(range(5))))
for x, y in DataLoader(numbers, batch_size=6, sampler=WeightedRandomSampler(torch.ones(12), 6)):
    print(x, y)


class Countdown(IterableDataset):
    def __init__(self, start):
        self.start = start

    def __iter__(self):
        return iter(range(self.start, 0, -1))


print(list(DataLoader(Countdown(7), batch_size=3)))


def padded(batch):
    longest = max(map(len, batch))
    return torch.stack([torch.nn.functional.pad(row, (0, longest - len(row))) for row in batch])


rows = [torch.ones(n) for n in (1, 3, 2)]
print(next(iter(DataLoader(rows, batch_size=3, collate_fn=padded))))
if __name__ == "__main__":
    loader = DataLoader(Landmarks(6), batch_size=2, shuffle=True, num_workers=2)
    print([batch["index"].tolist() for batch in loader], [batch["name"] for batch in loader])
