"""What freezes must not lie: layers and parameters in lists and dictionaries of modules, and the order of
what is in a dictionary.
"""

from __future__ import annotations

import collections
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from tests.footguns import ONE, Made, assert_seen

# -- lists and dictionaries of modules and parameters -------------------------------------------------------


class Scale(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return x * self.by + 1


class Own(nn.ModuleList):
    """A list that somebody writes."""


def parameter(value: float) -> nn.Parameter:
    return nn.Parameter(rl.full((1,), float(value)))


class Held(nn.Module):
    """Has one of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.own = nn.ModuleList([Scale(2), Scale(3)]), Own([Scale(2), Scale(3)])
        self.stack = nn.Sequential(Scale(2), Scale(3))
        self.heads = nn.ModuleDict({"a": Scale(2), "b": Scale(3)})
        self.weights = nn.ParameterList([parameter(2), parameter(3)])
        self.named = nn.ParameterDict({"a": parameter(2), "b": parameter(3)})
        self.mixed = nn.ParameterList([2.0, parameter(3)])
        self.table = nn.ParameterDict({"a": 2.0, "b": parameter(3)})


USES: dict[str, Callable[[Any, rl.Tensor], rl.Tensor]] = {
    "layers": lambda held, x: through(held.layers, x),
    "own": lambda held, x: through(held.own, x),
    "stack": lambda held, x: held.stack(x),
    "stack, each": lambda held, x: through(held.stack, x),
    "heads": lambda held, x: through(held.heads.values(), x),
    "weights": lambda held, x: times(held.weights, x),
    "named": lambda held, x: times(held.named.values(), x),
    "mixed": lambda held, x: times(held.mixed, x),
    "table": lambda held, x: times(held.table.values(), x),
}


def through(layers: Any, x: rl.Tensor) -> rl.Tensor:
    for each in layers:
        x = each(x)
    return x


def times(factors: Any, x: rl.Tensor) -> rl.Tensor:
    for each in factors:
        x = x * each + 1
    return x


def swapped(table: dict[str, Any]) -> None:
    table["a"] = table.pop("a")


CHANGES: list[tuple[str, str, Callable[[Any], Any]]] = [
    *(
        (use, what, change)
        for use in ("layers", "own", "stack", "stack, each")
        for what, change in (
            ("append", lambda each: each.append(Scale(5))),
            ("extend", lambda each: each.extend([Scale(5)])),
            ("insert", lambda each: each.insert(0, Scale(5))),
            ("pop", lambda each: each.pop(0)),
            ("del", lambda each: each.__delitem__(-1)),
            ("set", lambda each: each.__setitem__(1, Scale(5))),
            ("exchange", lambda each: each._modules.update({"0": each[1], "1": each[0]})),
            ("order", lambda each: each._modules.update({"0": each._modules.pop("0")})),
            ("table", lambda each: setattr(each, "_modules", {"0": Scale(5)})),
        )
    ),
    *(
        ("heads", what, change)
        for what, change in (
            ("set", lambda each: each.__setitem__("c", Scale(5))),
            ("replace", lambda each: each.__setitem__("a", Scale(5))),
            ("pop", lambda each: each.pop("a")),
            ("update", lambda each: each.update({"a": Scale(5), "c": Scale(7)})),
            ("clear and fill", lambda each: (each.clear(), each.update({"a": Scale(5), "b": Scale(7)}))),
            ("order", swapped),
        )
    ),
    *(
        (use, what, change)
        for use in ("weights", "mixed")
        for what, change in (
            ("append", lambda each: each.append(parameter(5))),
            ("append a number", lambda each: each.append(5.0)),
            ("extend", lambda each: each.extend([parameter(5)])),
            ("set", lambda each: each.__setitem__(0, parameter(5))),
        )
    ),
    ("mixed", "set a number", lambda each: each.__setitem__(0, 5.0)),
    *(
        (use, what, change)
        for use in ("named", "table")
        for what, change in (
            ("set", lambda each: each.__setitem__("c", parameter(5))),
            ("replace", lambda each: each.__setitem__("a", parameter(5))),
            ("pop", lambda each: each.pop("a")),
            ("order", swapped),
        )
    ),
    ("table", "replace by a number", lambda each: each.__setitem__("a", 5.0)),
]


@pytest.mark.parametrize("whole", [True, False], ids=["model", "step"])
@pytest.mark.parametrize(
    ("use", "what", "change"), CHANGES, ids=[f"{use}: {what}" for use, what, _ in CHANGES]
)
def test_containers_of_modules(use: str, what: str, change: Callable[[Any], Any], whole: bool) -> None:
    class Net(Held):
        def forward(self, x: rl.Tensor) -> rl.Tensor:
            return USES[use](self, x)

    def make() -> Made:
        held = Net()
        container = getattr(held, use.partition(",")[0])
        return (lambda: held(ONE)) if whole else (lambda: USES[use](held, ONE)), lambda: change(container)

    assert_seen(make)


@pytest.mark.parametrize(("use", "what", "change"), CHANGES[::4], ids=[each[1] for each in CHANGES[::4]])
def test_containers_in_a_compiled_module(use: str, what: str, change: Callable[[Any], Any]) -> None:
    class Net(Held):
        def forward(self, x: rl.Tensor) -> rl.Tensor:
            return USES[use](self, x)

    net = Net()
    compiled = rl.compile(net)
    for _ in range(3):
        before = compiled(ONE).item()
    change(getattr(net, use.partition(",")[0]))
    assert compiled(ONE).item() == net(ONE).item() != before


WALKS: dict[str, Callable[[nn.Module], rl.Tensor]] = {
    "parameters": lambda net: ONE * sum(each.sum() for each in net.parameters()),
    "named_parameters": lambda net: ONE * sum(each.sum() for _, each in net.named_parameters()),
    "own parameters": lambda net: ONE * sum(each.sum() for each in net.parameters(recurse=False)),
    "children": lambda net: ONE * sum(each.by for each in net.children() if isinstance(each, Scale)),
    "modules": lambda net: ONE * sum(getattr(each, "by", 1) for each in net.modules()),
    "buffers": lambda net: ONE * sum(each.sum() for each in net.buffers()),
    "vector": lambda net: nn.utils.parameters_to_vector(net.parameters()).sum(),
    "_modules": lambda net: ONE * len(net._modules),
    "state_dict": lambda net: ONE * len(net.state_dict()),
}


@pytest.mark.parametrize("walk", WALKS)
def test_modules_that_a_step_only_goes_through(walk: str) -> None:
    def make() -> Made:
        net = Held()
        net.register_buffer("mean", rl.ones(1))
        net.weight = parameter(4)
        net.scale = Scale(2)

        def change() -> None:
            net.register_buffer("other", rl.ones(2))
            net.more, net.another = parameter(5), Scale(5)
            net.stack.append(nn.Linear(1, 1))

        return lambda: WALKS[walk](net), change

    assert_seen(make)


# -- order ---------------------------------------------------------------------------------------------------


def in_order(table: Any) -> rl.Tensor:
    x = ONE
    for name, value in table.items():
        x = x * value if name in ("mul", 1) else x + value
    return x


@pytest.mark.parametrize("names", [("mul", "add"), (1, 2)])
@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
@pytest.mark.parametrize("length", [2, 100])
def test_the_order_of_a_dictionary(names: tuple[Any, Any], kind: Any, length: int) -> None:
    def make() -> Made:
        table = kind({names[0]: 2.0, names[1]: 3.0, **dict.fromkeys(map(str, range(length - 2)), 0.0)})

        def change() -> None:
            if kind is dict:
                table[names[0]] = table.pop(names[0])
            else:
                table.move_to_end(names[0])

        return lambda: in_order(table), change

    assert_seen(make)


def test_the_order_of_keyword_arguments() -> None:
    def plain(x: rl.Tensor, **extra: Any) -> rl.Tensor:
        for each in extra.values():
            x = x * 2 + each
        return x

    step, five = rl.compile(plain), rl.full((1,), 5.0)
    for _ in range(3):
        assert step(ONE, a=ONE, b=five).item() == plain(ONE, a=ONE, b=five).item()
        assert step(ONE, b=five, a=ONE).item() == plain(ONE, b=five, a=ONE).item()
        assert step(ONE, a=1.0, b=five).item() == plain(ONE, a=1.0, b=five).item()
        assert step(ONE, b=five, a=1.0).item() == plain(ONE, b=five, a=1.0).item()
    assert repr(step).endswith("4 recorded>")


# -- containers in containers, and other people's ------------------------------------------------------------


class Item:
    def __init__(self, k: Any = 1.0) -> None:
        self.k = k


def test_views_that_a_step_makes_are_its_own() -> None:
    table = {"k": 2.0}
    step = rl.compile(lambda x: x * sum(table.values()) * len({**table}.items()))
    assert [step(ONE).item() for _ in range(3)] == [2.0] * 3
    assert repr(step).endswith("1 recorded>")


def long_lists(size: int) -> Callable[[], Made]:
    def make() -> Made:
        rows = [[1.0, 2.0] for _ in range(size)]
        return lambda: ONE * sum(row[0] for row in rows), lambda: rows[size // 2].__setitem__(0, 5.0)

    return make


def long_tables() -> Made:
    table = {str(number): {"k": (1.0, [2.0])} for number in range(100)}
    return lambda: ONE * table["50"]["k"][1][0], lambda: table["50"]["k"][1].__setitem__(0, 5.0)


def long_objects() -> Made:
    items = [Item() for _ in range(200)]
    return lambda: ONE * sum(each.k for each in items), lambda: setattr(items[150], "k", 5.0)


def user_dict(replaced: bool) -> Callable[[], Made]:
    def make() -> Made:
        table = collections.UserDict(k=1.0)
        change = (lambda: setattr(table, "data", {"k": 5.0})) if replaced else lambda: table.update(k=5.0)
        return lambda: ONE * table["k"], change

    return make


def user_list() -> Made:
    values = collections.UserList([1.0])
    return lambda: ONE * values[0], lambda: values.__setitem__(0, 5.0)


def chain_map(own: bool) -> Callable[[], Made]:
    def make() -> Made:
        below, above = {"k": 1.0}, dict[str, float]()
        chain = collections.ChainMap(above, below)
        return lambda: ONE * chain["k"], lambda: (above if own else below).update(k=5.0)

    return make


def proxied(use: str) -> Callable[[], Made]:
    def make() -> Made:
        table = {"k": 1.0}
        proxy, values, items, get = types.MappingProxyType(table), table.values(), table.items(), table.get
        uses: dict[str, Callable[[], float]] = {
            "mapping": lambda: proxy["k"],
            "values": lambda: sum(values),
            "items": lambda: sum(value for _, value in items),
            "get": lambda: get("k") or 0.0,
        }
        return lambda: ONE * uses[use](), lambda: table.update(k=5.0)

    return make


def referred(use: str) -> Callable[[], Made]:
    def make() -> Made:
        item = Item()
        reference, proxy, members, keys = weakref.ref(item), weakref.proxy(item), {item}, {item: 1}
        table = np.array([item, None], object)
        uses: dict[str, Callable[[], float]] = {
            "reference": lambda: reference().k,  # type: ignore[union-attr]
            "proxy": lambda: proxy.k,
            "set": lambda: sum(each.k for each in members),
            "keys": lambda: sum(each.k for each in keys),
            "array": lambda: table[0].k,
        }
        return lambda: ONE * uses[use](), lambda: setattr(item, "k", 5.0)

    return make


def object_array() -> Made:
    values = np.array([1.0, None], object)
    return lambda: ONE * values[0], lambda: values.__setitem__(0, 5.0)


def memory_view() -> Made:
    memory = bytearray([1, 2])
    view = memoryview(memory)
    return lambda: ONE * view[0], lambda: memory.__setitem__(0, 5)


OTHERS: dict[str, Callable[[], Made]] = {
    "100 lists": long_lists(100),
    "500 lists": long_lists(500),
    "tables": long_tables,
    "objects": long_objects,
    "UserDict": user_dict(False),
    "UserDict, replaced": user_dict(True),
    "UserList": user_list,
    "ChainMap": chain_map(False),
    "ChainMap, above": chain_map(True),
    **{use: proxied(use) for use in ("mapping", "values", "items", "get")},
    **{use: referred(use) for use in ("reference", "proxy", "set", "keys", "array")},
    "object array": object_array,
    "memory": memory_view,
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_containers(case: str) -> None:
    assert_seen(OTHERS[case])


def test_numbers_of_another_type_in_a_set() -> None:
    members: set[Any] = {1}
    step = rl.compile(lambda x: x * next(iter(members)))
    x = rl.ones(2, dtype=rl.int64)
    for _ in range(3):
        assert step(x).dtype is rl.int64
    members.clear()
    members.add(1.0)
    assert step(x).dtype is rl.float32


def test_what_is_no_plain_value_any_longer() -> None:
    rows: list[Any] = [[1.0] for _ in range(100)]
    step = rl.compile(lambda x: x * (rows[3][0] if type(rows[3][0]) is float else 7.0))
    assert [step(ONE).item() for _ in range(3)] == [1.0] * 3
    rows[3][0] = Item()
    assert [step(ONE).item() for _ in range(3)] == [7.0] * 3
