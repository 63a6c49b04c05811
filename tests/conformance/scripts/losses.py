"""Losses as functions and as modules, with weights, ignored classes and reductions."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(4)
scores = torch.randn(4, 3, requires_grad=True)
classes = torch.tensor([0, 2, 1, 2])
print(F.cross_entropy(scores, classes), nn.NLLLoss()(F.log_softmax(scores, dim=1), classes))
print(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1)(scores, classes))
print(F.cross_entropy(scores, torch.tensor([0, -100, 1, 2]), reduction="none"))
F.cross_entropy(scores, classes, reduction="sum").backward()
print(scores.grad)
a, b = torch.rand(5), torch.rand(5)
for loss in (nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.HuberLoss(delta=0.5), nn.BCELoss()):
    print(loss, loss(a, b))
print(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))(a, (b > 0.5).float()))
print(F.kl_div(a.log(), b, reduction="batchmean"), F.one_hot(classes, 4), F.softmax(scores, dim=-1))
print(nn.CosineSimilarity(dim=0)(a, b), F.relu(scores), F.gelu(a), F.softplus(b), F.dropout(a, 0.5))
try:
    F.mse_loss(a, torch.rand(4))
except RuntimeError as error:
    print(str(error)[:70])
try:
    F.cross_entropy(scores, torch.tensor([0, 3, 1, 2]))
except IndexError as error:
    print(str(error)[:24])
