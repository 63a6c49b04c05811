"""Size and device behave as PyTorch's: the same results in print, the same errors in their first sentence."""

import copy
import pickle

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

SIZE_EXPRESSIONS = [
    "Size([2, 3])", "Size()", "Size(range(3))", "Size([True])", "Size([np.int64(3)])", "Size([-1])",
    "Size([2.0])", "Size('ab')", "Size(3)", "Size([None])", "Size([np.float32(3)])", "Size(S)",
    "str(S)", "f'{S}'", "S.numel()", "Size().numel()", "Size([0, 5]).numel()", "type(S.numel())",
    "S[0]", "S[-1]", "S[:1]", "S[::-1]", "S[5:]", "S[5]", "S['a']", "type(S[0])",
    "S + S", "S + (1,)", "(1,) + S", "S + (1.5,)", "(1, 'a') + S", "S + [1]", "S + 5",
    "S * 2", "2 * S", "S * 0", "S * -1", "S * np.int64(2)", "S + np.array([1, 2])", "S * np.array([1, 2])",
    "hash(S) == hash((2, 3))", "S == (2, 3)", "S == [2, 3]", "S != (2, 3)", "S < (3,)", "S.count(2)",
    "S.index(3)", "S.index(9)", "2 in S", "len(S)", "list(S)", "tuple(S)", "sorted([S, Size([1])])",
    "copy.copy(S)", "copy.deepcopy(S)", "pickle.loads(pickle.dumps(S))", "[*S, 4]", "isinstance(S, tuple)",
]  # fmt: skip

DEVICE_EXPRESSIONS = [
    "device('cpu')", "device('cpu', 0)", "device('cpu:1')", "device('cuda')", "device('cuda', 1)",
    "device('cuda:127')", "device('mps')", "device('meta')", "device(type='cpu')",
    "device(type='cuda', index=1)", "device(index=0, type='cpu')", "device(device('cuda:1'))",
    "device(device='cpu')", "device('cpu', None)", "str(device('cpu'))", "str(device('cuda:1'))",
    "f'{device(\"cpu\", 0)}'", "device('cpu').type", "device('cpu').index", "device('cpu', 0).index",
    "device('cpu', -1)", "device('cpu:-1')", "device('cuda:01')", "device('cuda:x')", "device('cuda:')",
    "device('cuda:1:2')", "device(':1')", "device('cuda: 1')", "device('cuda:1', 1)", "device('foo')",
    "device('foo:1')", "device('')", "device('CPU')", "device(0)", "device(1)", "device(-1)",
    "device('cpu', '0')", "device('cpu', 0.0)", "device('cpu', True)", "device(None)",
    "device(1.5)", "device(True)", "device('cpu') == device('cpu')", "device('cpu') == device('cpu', 0)",
    "device('cpu') == 'cpu'", "device('cpu') != device('cuda')", "device('cpu') == 1",
    "hash(device('cuda', 1)) == hash(device('cuda:1'))", "bool(device('cpu'))",
    "pickle.loads(pickle.dumps(device('cpu', 0)))", "copy.deepcopy(device('cuda:1'))",
    "zeros(2).device", "zeros(2, device='cpu').device", "zeros(2, device='cpu:1').device",
    "zeros(2, device=device('cpu', 0)).device", "zeros(2, device=None).device", "zeros(2).to('cpu:3').device",
    "zeros(2).to(device('cpu')).device", "zeros(2).cpu().device", "zeros(2, device='cuda')",
    "zeros(2, device='cuda:5')", "zeros(2, device='xpu')", "zeros(2, device='foo')", "zeros(2, device=0)",
    "zeros(2).to('cuda')", "zeros(2).to(device('cuda', 1))", "zeros(2).cuda()", "zeros(2).to('xpu')",
    "zeros(2).to('mps')", "zeros(2).to('hip')", "zeros(2).to('foo')", "tensor(1, device='cuda')",
    "nn.Linear(2, 2).to('cuda')", "nn.Linear(2, 2, device='cuda')", "nn.Linear(2, 2).to('cpu').weight.device",
    "Generator('cpu').device", "cuda.is_available()", "cuda.device_count()", "cuda.is_initialized()",
    "cuda.is_bf16_supported()", "cuda.memory_allocated()", "cuda.max_memory_allocated()",
    "cuda.manual_seed(1)", "cuda.manual_seed_all(1)", "cuda.empty_cache()", "cuda.synchronize()",
    "cuda.current_device()",
    "cuda.get_device_name(0)", "cuda.get_device_properties(0)", "accelerator.is_available()",
    "accelerator.current_accelerator()", "accelerator.device_count()", "accelerator.current_device_index()",
    "accelerator.set_device_index(0)", "accelerator.synchronize()", "backends.mps.is_available()",
    "backends.mps.is_built()", "backends.cuda.is_built()", "backends.cuda.matmul.allow_tf32",
    "backends.cudnn.is_available()", "backends.cudnn.version()", "backends.cudnn.enabled",
    "backends.cudnn.benchmark", "backends.cudnn.deterministic", "backends.cudnn.allow_tf32",
    "zeros(2).is_cuda",
]  # fmt: skip


NAMES = ("Size", "device", "zeros", "tensor", "nn", "Generator", "cuda", "accelerator", "backends")


def _outcome(library, expression):
    """The printed result, or the type and text of the error."""
    names = {name: getattr(library, name) for name in NAMES}
    names |= {"S": library.Size([2, 3]), "np": np, "copy": copy, "pickle": pickle}
    try:
        return repr(eval(expression, names))
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize("expression", SIZE_EXPRESSIONS + DEVICE_EXPRESSIONS)
def test_same_outcome(expression):
    ours, theirs = _outcome(rushlight, expression), _outcome(torch, expression)
    if isinstance(theirs, tuple) and isinstance(ours, tuple):
        # PyTorch's sentence comes first and advice may follow; its list of overloads is not compared.
        sentence = theirs[1].split(" * (torch.device")[0].split(", but expected")[0].rstrip(". ")
        assert ours[0] == theirs[0]
        assert ours[1].startswith(sentence)
    else:
        assert ours == theirs


def _default_devices(library):
    """What `get_default_device` and a new tensor say in nested blocks and after `set_default_device`."""
    seen = []
    with library.device("cpu:1"):
        seen.append(library.get_default_device())
        with library.device("cpu"):
            seen.append(library.get_default_device())
        seen.append(library.zeros(2).device)
    library.set_default_device("cpu:0")
    seen.append(library.get_default_device())
    library.set_default_device(None)
    seen.append(library.get_default_device())
    return repr(seen)


def test_default_devices():
    assert _default_devices(rushlight) == _default_devices(torch)
