"""state_dict and load_state_dict: PyTorch's keys, versions, hooks, and its words for what does not fit."""

from collections import OrderedDict

import pytest

pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.test_nn_module import compare, module


def loaded(lib, change, strict=True, assign=False, target=None):
    """What loading a changed state into a fresh network gives."""
    source = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.BatchNorm1d(3), module(lib))
    state = source.state_dict()
    change(state)
    target = target or lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.BatchNorm1d(3), module(lib))
    result = target.load_state_dict(state, strict=strict, assign=assign)
    return repr(result), list(result), target.state_dict()


class WithExtraState:
    """A mixin that saves a text of its own."""

    text = "unset"

    def get_extra_state(self):
        return {"text": self.text}

    def set_extra_state(self, state):
        self.text = state["text"]


def extra_state(lib, drop=False, strict=True):
    class Noted(WithExtraState, lib.nn.Linear):
        pass

    net = lib.nn.Sequential(Noted(2, 1))
    net[0].text = "set"
    state = net.state_dict()
    keys = list(state)
    if drop:
        del state["0._extra_state"]
    fresh = lib.nn.Sequential(Noted(2, 1))
    return keys, list(fresh.load_state_dict(state, strict=strict)), fresh[0].text


def hooked(lib):
    """The order in which the hooks of a nested module run, with what they were given."""
    seen = []
    net = lib.nn.Sequential(lib.nn.Linear(1, 1), lib.nn.ReLU())
    for name, each in net.named_modules():
        each.register_state_dict_pre_hook(
            lambda m, prefix, keep, name=name: seen.append(("pre", name, prefix, keep))
        )
        each.register_state_dict_post_hook(
            lambda m, state, prefix, meta, name=name: seen.append(
                ("post", name, prefix, list(state), dict(meta))
            )
        )
        each.register_load_state_dict_pre_hook(
            lambda m, state, prefix, meta, strict, *lists, name=name: seen.append(
                ("load pre", name, prefix, list(state), dict(meta), strict, [list(each) for each in lists])
            )
        )
        each.register_load_state_dict_post_hook(
            lambda m, keys, name=name: seen.append(
                ("load post", name, list(keys.missing_keys), keys.unexpected_keys)
            )
        )
    net.load_state_dict(net.state_dict())
    return seen


def forgiving(lib):
    net = lib.nn.Linear(2, 1)
    net.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    return list(net.load_state_dict({"weight": lib.ones(1, 2)}))


def renaming(lib):
    net = lib.nn.Sequential(lib.nn.Linear(2, 1))

    def rename(m, state, prefix, *others):
        state[prefix + "weight"] = state.pop(prefix + "old")

    net[0].register_load_state_dict_pre_hook(rename)
    state = {"0.weight": lib.ones(1, 2), "0.bias": lib.ones(1)}
    state["0.old"] = state.pop("0.weight")
    return list(net.load_state_dict(state)), list(state)


def returning(lib, register):
    net = lib.nn.Linear(2, 1)
    getattr(net, register)(lambda *args: {})
    return net.load_state_dict(net.state_dict())


def removed(lib):
    seen = []
    net = lib.nn.Linear(2, 1)
    handle = net.register_state_dict_pre_hook(lambda *args: seen.append(1))
    net.state_dict()
    handle.remove()
    net.state_dict()
    return seen


def in_place(lib):
    """Loading keeps the tensors a module has; assigning replaces them and keeps requires_grad."""
    net = lib.nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    before = dict(net.named_parameters())
    net.load_state_dict({"weight": lib.ones(1, 2).double(), "bias": lib.zeros(1)})
    kept = [net.weight is before["weight"], net.weight.dtype]
    state = {"weight": lib.ones(1, 2).double(), "bias": lib.nn.Parameter(lib.zeros(1))}
    net.load_state_dict(state, assign=True)
    replaced = [net.weight.dtype, net.weight.requires_grad, net.bias is state["bias"], net.bias.requires_grad]
    return kept, replaced, net.weight.data_ptr() == state["weight"].data_ptr()


def lazily(lib, initialised):
    net = lib.nn.Sequential(lib.nn.LazyLinear(2), lib.nn.LazyBatchNorm1d())
    source = lib.nn.Sequential(lib.nn.Linear(3, 2), lib.nn.BatchNorm1d(2))
    lib.manual_seed(1)
    state = source.state_dict() if initialised else lib.nn.Sequential(*net).state_dict()
    result = list(net.load_state_dict(state))
    output = net(lib.ones(2, 3))
    return result, repr(net[0]), list(output.shape)


def untrained_into_trained(lib):
    return lib.nn.Linear(3, 2).load_state_dict(lib.nn.LazyLinear(2).state_dict())


def without_versions(lib):
    """A state without metadata, as from a safetensors file, may lack BatchNorm's count."""
    net = lib.nn.BatchNorm1d(2)
    state = {key: value for key, value in net.state_dict().items() if key != "num_batches_tracked"}
    return list(net.load_state_dict(state))


PROGRAMS = {
    "unchanged": lambda t: loaded(t, lambda s: None),
    "assigned": lambda t: loaded(t, lambda s: None, assign=True),
    "missing": lambda t: loaded(t, lambda s: s.pop("0.weight")),
    "two missing": lambda t: loaded(t, lambda s: (s.pop("0.weight"), s.pop("2.child.weight"))),
    "missing, not strict": lambda t: loaded(t, lambda s: s.pop("0.weight"), strict=False),
    "unexpected": lambda t: loaded(t, lambda s: s.update(stranger=t.ones(1))),
    "unexpected deep": lambda t: loaded(
        t, lambda s: s.update({"2.child.stranger.x": t.ones(1), "7.x": t.ones(1)})
    ),
    "unexpected, not strict": lambda t: loaded(t, lambda s: s.update({"0.x": t.ones(1)}), strict=False),
    "missing and unexpected": lambda t: loaded(t, lambda s: s.update({"0.wight": s.pop("0.weight")})),
    "size": lambda t: loaded(t, lambda s: s.update({"0.weight": t.ones(3, 3)})),
    "size, not strict": lambda t: loaded(t, lambda s: s.update({"0.weight": t.ones(3, 3)}), strict=False),
    "everything wrong": lambda t: loaded(
        t,
        lambda s: s.update(
            {"0.weight": t.ones(3), "0.b": s.pop("0.bias"), "1.bias": 3, "2.weight": t.ones(2, 1)}
        ),
    ),
    "a number": lambda t: loaded(t, lambda s: s.update({"0.weight": 3})),
    "a list": lambda t: loaded(t, lambda s: s.update({"0.weight": [1.0]})),
    "one element for a 0-d buffer": lambda t: loaded(
        t, lambda s: s.update({"1.num_batches_tracked": t.ones(1, dtype=t.int64)})
    ),
    "BatchNorm's count is missing": lambda t: loaded(t, lambda s: s.pop("1.num_batches_tracked")),
    "BatchNorm's count is missing and there is no version": without_versions,
    "no dict": lambda t: t.nn.ReLU().load_state_dict([1]),
    "no keys": lambda t: list(t.nn.ReLU().load_state_dict({})),
    "prefix of a wrapper": lambda t: t.nn.Linear(1, 1).load_state_dict(
        {"module.weight": t.ones(1, 1), "module.bias": t.ones(1)}
    ),
    "with a prefix": lambda t: list(module(t).state_dict(prefix="net.")),
    "into a dict": lambda t: (lambda d: (module(t).state_dict(destination=d) is d, list(d)))({"x": 1}),
    "into an ordered dict": lambda t: list(module(t).state_dict(destination=OrderedDict(x=1), prefix="a.")),
    "by position": lambda t: list(module(t).state_dict(OrderedDict(), "p.", True)),
    "detached": lambda t: [each.requires_grad for each in module(t).state_dict().values()],
    "keep_vars": lambda t: [each.requires_grad for each in module(t).state_dict(keep_vars=True).values()],
    "shares memory": lambda t: (lambda m: (m.state_dict()["weight"].detach().fill_(7), m.weight.detach()))(
        module(t)
    )[1],
    "metadata": lambda t: dict(t.nn.Sequential(t.nn.BatchNorm1d(1), module(t)).state_dict()._metadata),
    "extra state": extra_state,
    "extra state is missing": lambda t: extra_state(t, drop=True),
    "extra state is missing, not strict": lambda t: extra_state(t, drop=True, strict=False),
    "unexpected extra state": lambda t: t.nn.ReLU().load_state_dict({"_extra_state": 1}),
    "hooks": hooked,
    "a hook that forgives": forgiving,
    "a hook that renames": renaming,
    "a post hook that returns": lambda t: returning(t, "register_state_dict_post_hook"),
    "a load hook that returns": lambda t: returning(t, "register_load_state_dict_post_hook"),
    "a removed hook": removed,
    "in place or assigned": in_place,
    "initialised into lazy": lambda t: lazily(t, initialised=True),
    "lazy into lazy": lambda t: lazily(t, initialised=False),
    "lazy into initialised": untrained_into_trained,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_state(name):
    compare(PROGRAMS[name])
