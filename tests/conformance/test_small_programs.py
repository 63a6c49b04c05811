"""Small programs of all kinds beside PyTorch: one for each thing that was once different."""

import pytest

pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same

SCRIPTS = {
    "arrays of tensors that require grad, while nothing is recorded": """
        w = torch.ones(2, 3, requires_grad=True)
        w.numpy()
        np.asarray(w)
        with torch.no_grad():
            note(w.numpy().shape, np.asarray(w).shape, np.asarray(w, np.float64).dtype)
        with torch.inference_mode():
            note(w.numpy().shape)
        class Sine(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return torch.as_tensor(np.sin(x.numpy()))
            @staticmethod
            def backward(ctx, g):
                return g
        Sine.apply(w)
        """,
    "values too large are infinite, without a warning": """
        torch.tensor([1e40, -1e40])
        torch.tensor(1e40)
        torch.Tensor([1e40])
        torch.tensor([65520.0], dtype=torch.half)
        torch.tensor(np.float64(1e40), dtype=torch.float)
        torch.as_tensor([1e40])
        torch.ones(2).new_tensor([1e40])
        torch.sum(torch.tensor([1e40, 1], dtype=torch.double), 0, out=torch.empty(()))
        """,
    "copies and pickles of what was computed": """
        import copy, pickle
        x = torch.ones(2, requires_grad=True) * 2
        copy.copy(x)
        copy.copy(x).is_leaf
        copy.copy(x).data_ptr() == x.data_ptr()
        pickle.loads(pickle.dumps(x))
        pickle.loads(pickle.dumps(x.detach()))
        pickle.loads(pickle.dumps(torch.ones(2, 2, requires_grad=True)[0]))
        copy.deepcopy(x)
        """,
    "a tensor that requires grad, plotted": """
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        plt.plot(torch.ones(2, requires_grad=True))
        """,
    "versions in a state_dict": """
        import io
        file = io.BytesIO()
        torch.save(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1)).state_dict(), file)
        _ = file.seek(0)
        torch.load(file)._metadata
        """,
    "out= says the type of sums": """
        x = torch.tensor([[0.6, 0.6], [1.6, 2.0]])
        whole = lambda *shape: torch.empty(*shape, dtype=torch.int)
        torch.sum(x, 0, out=whole(2))
        torch.prod(x, 0, out=whole(2))
        torch.mean(x, 0, out=whole(2))
        torch.cumsum(x, 0, out=whole(2, 2))
        torch.cumprod(x, 0, out=whole(2, 2))
        torch.sum(x.long(), 0, out=torch.empty(2))
        torch.sum(x, 0, out=torch.empty(2, dtype=torch.double))
        torch.sum(x, 0, dtype=torch.float, out=whole(2))
        """,
    "nothing is written or read": """
        x = torch.zeros(3, 4)
        x[[3, -1], :0]
        x[[3, -1], :0] = 7
        x[:0, [4]] = 7
        x[[3, 9], :0] = torch.zeros(2, 0)
        x[[3, 9], :0] = torch.zeros(2, 3)
        x[:0, 4] = 7
        x
        """,
    "modules of utils.data": """
        import importlib
        for name in ("utils.data.dataset", "utils.data.sampler", "utils.data.dataloader", "version"):
            note(importlib.import_module(f"{torch.__name__}.{name}").__name__.partition(".")[2])
        torch.utils.data.dataset.Dataset is torch.utils.data.Dataset
        torch.utils.data.sampler.RandomSampler is torch.utils.data.RandomSampler
        torch.utils.data.dataloader.DataLoader is torch.utils.data.DataLoader
        """,
    "ReLU6 is a Hardtanh": """
        layer = torch.nn.ReLU6(inplace=True)
        layer.min_val, layer.max_val, isinstance(layer, torch.nn.Hardtanh)
        layer
        layer(torch.tensor([-1.0, 2.0, 7.0]))
        """,
    "the factor before the last operand": """
        x = torch.ones(2)
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            note(torch.add(x, 1, x), torch.ones(2).add_(2, x), torch.sub(x, 2, x), torch.add(x, 2, 2))
            note(torch.ones(2).addcmul_(2, x, x), torch.addcdiv(x, 2, x, x))
        torch.add(x, x, x)
        torch.add(x, 2, x, x)
        """,
    "old constructors take no tensors of other types": """
        torch.LongTensor(torch.tensor([1.5]))
        torch.FloatTensor(torch.tensor([1]))
        torch.LongTensor(torch.tensor([1]))
        torch.Tensor(torch.tensor([1]))
        """,
    "the type of SoftMarginLoss": """
        loss = torch.nn.SoftMarginLoss()
        for a in (torch.half, torch.float, torch.double):
            for b in (torch.half, torch.float, torch.double, torch.long):
                note(loss(torch.ones(2, dtype=a), torch.ones(2, dtype=b)).dtype)
        loss(torch.ones(2).long(), torch.ones(2))
        loss(torch.ones(2).long(), torch.ones(2).long())
        """,
    "strides of empty tensors": """
        torch.tensor([]).stride()
        torch.zeros(0, 3).stride(), torch.zeros(3, 0).stride(), torch.zeros(2, 0, 3).stride()
        torch.zeros(0, 3).exp().stride()
        torch.zeros(3, 4)[:0].stride(), torch.zeros(3, 4)[:, :0].stride()
        torch.arange(3)[torch.arange(3) > 5].stride()
        torch.multinomial(torch.ones(2, 3), 2).stride()
        """,
    "the node of EmbeddingBag": """
        for mode in ("mean", "sum", "max"):
            note(torch.nn.EmbeddingBag(5, 3, mode=mode)(torch.tensor([[0, 1]])).grad_fn.name())
        """,
    "the state of LBFGS": """
        def state_after(steps):
            p = torch.nn.Parameter(torch.ones(2))
            optimizer = torch.optim.LBFGS([p], max_iter=steps)
            def closure():
                optimizer.zero_grad()
                loss = (p**4).sum()
                loss.backward()
                return loss
            found = []
            for _ in range(3):
                optimizer.step(closure)
                found.append(list(optimizer.state_dict()["state"][0]))
            return found
        state_after(3)
        state_after(1)
        """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_program(name):
    assert_same(SCRIPTS[name])
