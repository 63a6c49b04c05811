"""Views, copies and writes against PyTorch beyond single calls: strides, in-place changes, storage."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

import rushlight

LIBRARIES = (rushlight, torch)


@pytest.fixture
def all_warnings():
    """PyTorch gives some warnings once per process: let it repeat them."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


def both(expression, **values):
    """What an expression gives, or the error it raises, in each library; `L` is the library."""
    outcomes = []
    for library in LIBRARIES:
        made = {name: library.tensor(value) for name, value in values.items()}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                outcome = eval(expression, {"L": library, "np": np, **made})
            except (
                RuntimeError,
                TypeError,
                ValueError,
                IndexError,
                AssertionError,
                NotImplementedError,
            ) as error:
                outcome = error
        outcomes.append((outcome, [str(each.message).split(".")[0] for each in caught]))
    return outcomes


def check(expression, **values):
    """Both libraries give the same: shape, strides, type and elements, or the same error."""
    (ours, our_warnings), (theirs, their_warnings) = both(expression, **values)
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), ours
        assert str(ours).startswith(str(theirs).split("\n")[0].split(". ")[0].rstrip("."))
        return
    assert not isinstance(ours, Exception), ours
    if not isinstance(theirs, torch.Tensor):
        assert ours == theirs or repr(ours) == repr(theirs)
        return
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    assert np.array_equal(ours.detach().numpy(), theirs.detach().numpy(), equal_nan=True)
    assert ours.is_contiguous() == theirs.is_contiguous()
    if theirs.numel():
        assert ours.stride() == theirs.stride()
        assert ours.storage_offset() == theirs.storage_offset()
    assert our_warnings == their_warnings


CUBE = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4).tolist()

STRIDES = """\
x|x.t if False else x.mT|x.transpose(0,2)|x.permute(2,0,1)|x.unsqueeze(0)|x.unsqueeze(1)
x.unsqueeze(-1)|x[None]|x[:,None]|x[...,None]|x[0]|x[:,1]|x[...,2]|x[1:,::2]|x[:,1:2]
x[:,1:2].squeeze(1)|x.expand(2,2,3,4)|x[:1].expand(5,3,4)|x[:1].expand(1,1,3,4)|x.view(4,6)
x.view(-1)|x.reshape(3,8)|x.transpose(0,1).reshape(6,4)|x.transpose(0,1).reshape(3,2,2,2)
x.flatten(1)|x.unflatten(1,(3,1))|x.diagonal()|x.diagonal(1,1,2)|x.diagonal(-1,0,2)|x.unfold(1,2,1)
x.unfold(2,2,2)|x.as_strided((2,3),(1,2),3)|x[1].as_strided((2,),(5,))|x.narrow(1,1,2)
x.select(-1,-1)|x.split(2,1)[1]|x.chunk(2,2)[1]|x.unbind(2)[3]|x.tensor_split(2,1)[1]
x.movedim(0,-1)|x.swapaxes(0,1)|x.mT.clone()|x.mT.contiguous()|x.permute(1,2,0).clone()
x.expand(2,2,3,4).clone()|x[:1].expand(2,3,4).clone()|x.mT.to(L.float64)|x.to(L.int8)
x[:,::2].clone()|x.mT+1|x[0].T|x[0].H|x[0].adjoint()|x.mH|L.cat([x.mT,x.mT])|L.stack([x.mT,x.mT],1)
x.mT.repeat(1,1,2)|x.mT.roll(1,0)|x.mT.flip(0)|x.mT.tril()|x[0].rot90()|x[0].t().rot90(2)
x[0].t().gather(0,L.zeros(1,3,dtype=L.int64))|x.mT.index_select(0,L.tensor([1]))|x.nonzero()
x.atleast_1d() if False else L.atleast_2d(x[0,0])|L.atleast_3d(x[0,0])|L.atleast_3d(x[0])|x.ravel()
x.mT.ravel()|x.view_as(x)"""


@pytest.mark.parametrize("expression", [each for line in STRIDES.split("\n") for each in line.split("|")])
def test_strides(expression):
    check(expression, x=CUBE)


VARIOUS = """\
x.view(dtype=L.int32)|x.view(size=(6,4))|x.view(L.Size([6,4]))|L.reshape(input=x,shape=(4,6))
x.reshape(shape=(-1,))|x.permute(dims=(2,1,0))|x.expand(size=(2,3,4))|x.type()
x.type('torch.DoubleTensor')|x.type(L.int32)|x.type('torch.foo')|x.type(3)|x.to()|x.to(None)
x.to('cpu')|x.to('cpu',L.float64)|x.to(L.device('cpu'))|x.to(L.int32,copy=True)
x.to(dtype=L.float16)|x.to(device=None,dtype=L.int8)|x.to(float)|x.to('nowhere')|x.cpu()|x.half()
x.long()|x.byte()|x.bool()|x.layout|x.T|x[0,0].T|x[0,0,0].T|x[0,0,0].mT|x[0,0].mT|x[0,0,0].H
x[0,0].H|x.H|x[0,0,0].mH|x.new_zeros(2).resize_(3,2).shape|x.clone().resize_(2,2)
x.clone().resize_as_(x[0])|x[1].clone().resize_(1)|x.clone()[1].resize_(2)
x.new_zeros(2).set_(x).shape|x.new_zeros(2).set_()|x.new_zeros(2).set_(x,3,(2,2),(1,4))
x.new_zeros(2).set_(x.long())|x.copy_(x)._version|x.clone().copy_(3)|x.clone().copy_([1])
x.clone().copy_(x.double())|x.clone().fill_('a')|x.fill_diagonal_(1)|x[0].clone().fill_diagonal_(7)
L.zero_(x.clone())|x.zero_()._version|x.long().fill_(2.9)|L.fill(x,2)|x.storage_offset()
x.contiguous(memory_format=L.contiguous_format)|x.clone(memory_format=L.preserve_format)
x.mT.contiguous(memory_format=L.preserve_format)|L.cat([x,x],out=x.new_zeros(1))
L.cat([x,x.long()],out=x.new_empty(0,dtype=L.float64))|L.cat([x,x],out=x.long())
L.stack((x,x),out=x.new_empty(0))|L.broadcast_tensors(x,x[0])[1]
L.meshgrid(x[0,0],x[0,1],indexing='xy')[0]|L.where(x>3)[0]
x.index_put((L.tensor([0]),),L.tensor(1.))|L.nn.functional.pad(x,(1,2,0,1),value=3)
x.is_contiguous()|x.mT.is_contiguous()|x.dim()|x.as_strided((30,),(1,))|x[0,0].expand(-1,4)"""


@pytest.mark.usefixtures("all_warnings")
@pytest.mark.parametrize("expression", [each for line in VARIOUS.split("\n") for each in line.split("|")])
def test_various(expression):
    check(expression, x=CUBE)


def history(program, shape=(2, 3)):
    """Run a program on ``t = leaf * 1`` in both libraries; what it leaves behind, gradient included."""
    results = []
    for library in LIBRARIES:
        count = int(np.prod(shape))
        leaf = library.arange(float(count)).reshape(shape).requires_grad_()
        scope = {"L": library, "t": leaf * 1}
        try:
            for line in program.split(";"):
                exec(line.strip(), scope)
            values = [scope[name] for name in "tvw" if name in scope]
            loss = sum(
                (each * library.arange(1.0, each.numel() + 1).reshape(each.shape)).sum() for each in values
            )
            names = [each.grad_fn and each.grad_fn.name().split("::")[-1] for each in values]
            loss.backward()
            grad = None if leaf.grad is None else leaf.grad.tolist()
            results.append(
                [[each.tolist() for each in values], names, [each._version for each in values], grad]
            )
        except RuntimeError as error:
            results.append(str(error).split(". ")[0])
    return results


PROGRAMS = """t.t_()
t.unsqueeze_(0)
t.unsqueeze_(0); t.squeeze_(0)
t.transpose_(0, 1); t.mul_(2)
t.swapaxes_(0, 1)
t.as_strided_((2, 2), (1, 1))
v = t.view(6); t.t_(); v.mul_(2)
v = t.view(6); t.unsqueeze_(0); w = v * 1
v = t[:, :2]; v.t_()
v = t[:, :2]; v.t_(); v.mul_(3)
v = t[:, :2]; v.unsqueeze_(0); t.mul_(2)
v = t[0]; v.zero_()
v = t[0]; v.fill_(2.0)
v = t[0]; v.copy_(t[1].clone())
v = t[0]; t.zero_()
t[0] = t[1]
t[:, 0] = t[:, 1] * 2
t[0, 1:] = t[1, :2].clone()
t[[0, 1], [0, 2]] = 5.0
t[t > 2] = t[t > 2] * 2
v = t.unbind()[0]; v.mul_(2)
v = t.split(1)[0]; t.mul_(2)
v = t.split(1)[0]; t.mul_(2); w = v * 1
v = t.tensor_split(2)[0]; v.mul_(2)
v = t.diagonal(); v.mul_(3)
v = t.view(-1).unfold(0, 2, 2); v.mul_(2)
v = t.as_strided((2, 2), (3, 1), 1); v.mul_(2)
v = t.as_strided((3,), (1,), 1); t.mul_(2)
v = t.expand(2, 2, 3); t.mul_(2)
v = t.expand(2, 2, 3); v.mul_(2)
v = t.t().reshape(-1); v.mul_(2)
v = t.reshape(-1); v.mul_(2)
v = t.detach(); v.mul_(2)
v = t.clone(); v.mul_(2)
t.fill_diagonal_(7)
t.index_add_(0, L.tensor([0, 0]), L.ones(2, 3)); v = t[0]
t.index_copy_(1, L.tensor([2]), t[:, :1].clone())
t.scatter_(0, L.tensor([[0, 1, 0]]), 9.0)
t.scatter_add_(0, L.tensor([[0, 0, 0]]), t[1:].clone())
t.masked_scatter_(t > 2, t.detach() * 2)
t.put_(L.tensor([1, -1]), t.detach()[0, :2])
t.index_put_((L.tensor([0, 0]),), L.ones(2, 3), accumulate=True)
t.copy_(t.detach() * 2)
v = t.view(6); v[2:4] = 1.5
v = t.view(3, 2).t(); v[0] = 1.5
t[0] = t
t[1:] = t[:1]
t.view(-1)[1:] = t.view(-1)[:-1]
t.index_put_((L.tensor([0, 1]),), t)
t.index_add_(0, L.tensor([0, 1]), t)
t.tril_()
t.triu_(1); v = t[1]
v = t.data; v.mul_(2)
v = t.squeeze(); v.add_(1)
v = t.movedim(0, 1); v[0].mul_(3)
v, w = t.chunk(2); t.add_(1)
v = L.cat([t, t]); v[0] = 0.0; w = t * v[2:]
v = t[:, None]; v += 1; w = t[..., 0]
v = t.gather(0, L.tensor([[0, 1, 0]])); t.mul_(2)
v = t.index_select(0, L.tensor([0])); t.mul_(2)
v = t[L.tensor([0])]; t.mul_(2)
v = t * t; t.t_()"""


@pytest.mark.parametrize("program", PROGRAMS.split("\n"))
def test_history(program):
    ours, theirs = history(program)
    assert ours == theirs


@pytest.mark.parametrize("name", ["T", "mT", "H", "mH", "layout", "is_leaf", "ndim", "nbytes", "itemsize"])
def test_properties_are_properties(name):
    assert not callable(getattr(rushlight.zeros(2, 2), name))


def test_functions_and_methods_exist_where_pytorch_has_them():
    from rushlight.ops import full_table

    wrong = []
    for name, entry in full_table().items():
        module = entry.function.__module__.removeprefix("rushlight.ops.")
        if module in (
            "shape",
            "broadcast",
            "transpose",
            "slicing",
            "split",
            "join",
            "arrange",
            "triangle",
            "gather",
            "masks",
        ):
            on_top = "." not in entry.torch_name
            if on_top != hasattr(torch, name) or (entry.method and not hasattr(torch.Tensor, name)):
                wrong.append(name)
    assert wrong == []
