"""What Rushlight's modules do beyond PyTorch's: errors that name the module, and calls that cost little."""

import copy
import pickle
import sys

import pytest

import rushlight as torch
from rushlight import nn


def last_line(program):
    """The line an error gained on its way out of the modules."""
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)) as caught:
        program()
    return str(caught.value).split("\n")[-1]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), Block()])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_the_sentence_comes_first_and_the_place_after_it():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(RuntimeError) as caught:
        net(torch.ones(2, 4))
    assert str(caught.value) == (
        "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x2)\nin module net.2 (Linear(in_features=4, "
        "out_features=2, bias=True)): expects 4 features, got shape (2, 3)"
    )


def test_the_path_leads_through_modules_that_are_not_called():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder()

        def forward(self, x):
            return self.encoder(x)

    model = Model()
    line = last_line(lambda: model(torch.ones(2, 3)))
    assert line.startswith("in module model.encoder.layers.1.fc (Linear(in_features=4")


def test_the_path_begins_with_the_attribute_where_no_variable_holds_the_model():
    line = last_line(lambda: nn.Sequential(nn.Linear(1, 1))(torch.ones(2)))
    assert line.startswith("in module 0 (Linear(")


def test_the_path_begins_with_self_where_an_object_holds_the_model():
    class Trainer:
        def __init__(self, model):
            self.model = model

        def fit(self):
            self.model(torch.ones(2, 3))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList([nn.Linear(2, 2), Block()])

        def encode(self):
            return self.parts[1](torch.ones(2, 3))

    assert last_line(Trainer(nn.Sequential(Block())).fit).startswith("in module self.model.0.fc (Linear(")
    assert last_line(Pair().encode).startswith("in module self.parts.1.fc (Linear(")


def test_a_module_alone_is_named_by_its_variable():
    layer = nn.Linear(2, 1)
    assert last_line(lambda: layer(torch.ones(3))).startswith("in module layer (Linear(")


def test_a_module_without_any_name_is_shown_alone():
    assert last_line(lambda: nn.Linear(2, 1)(torch.ones(3))).startswith("in module (Linear(in_features=2")


def test_a_module_that_is_not_registered_ends_the_path():
    class Model(nn.Module):
        def forward(self, x):
            hidden = Block()
            return hidden(x)

    model = Model()
    line = last_line(lambda: model(torch.ones(2, 3)))
    assert line.startswith("in module fc (Linear(in_features=4")


def test_the_place_is_that_of_the_innermost_module_where_several_hold_it():
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, nn.Sequential(shared, nn.Linear(3, 1)))
    assert last_line(lambda: net(torch.ones(1, 2))).startswith("in module net.1.1 (Linear(in_features=3")


def test_a_wrong_dtype_is_told_with_the_parameters_dtype():
    layer = nn.Linear(2, 1)
    line = last_line(lambda: layer(torch.ones(3, 2, dtype=torch.float64)))
    assert line.endswith(
        "expects 2 features, got shape (3, 2) of torch.float64; the parameters are torch.float32, "
        "convert one of them with .to()"
    )


def test_a_wrong_index_is_told_with_the_values():
    table = nn.Embedding(3, 2)
    line = last_line(lambda: table(torch.tensor([1, 5])))
    assert line == (
        "in module table (Embedding(3, 2)): expects row numbers from 0 to 2, "
        "got shape (2,) of torch.int64 with values from 1 to 5"
    )


def test_keyword_arguments_are_named():
    class Model(nn.Module):
        def forward(self, x, mask):
            raise ValueError("no")

    model = Model()
    assert last_line(lambda: model(torch.ones(1), mask=torch.ones(2))) == (
        "in module model (Model()): got shape (1,), mask of shape (2,)"
    )


def test_a_module_with_children_is_named_by_its_class():
    class Model(Block):
        def forward(self, x):
            raise RuntimeError("no")

    model = Model()
    assert last_line(lambda: model(3)) == "in module model (Model): got no tensor"


def test_errors_of_other_kinds_pass_untouched():
    class Stop(RuntimeError):
        pass

    class Model(nn.Module):
        def forward(self, error):
            raise error

    for error in (
        Stop("enough"),
        KeyError("key"),
        AttributeError("x"),
        RuntimeError("two", "texts"),
        ValueError(3),
    ):
        arguments = error.args
        with pytest.raises(type(error)) as caught:
            nn.Sequential(Model())(error)
        assert caught.value is error
        assert error.args == arguments


def test_the_place_is_named_where_hooks_are_registered():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 2))
    net[1].register_forward_hook(lambda *args: None)
    assert last_line(lambda: net(torch.ones(2, 4))).startswith("in module net.1 (Linear(")


def test_an_error_in_backward_is_left_alone():
    net = nn.Sequential(nn.Linear(2, 1))
    output = net(torch.ones(1, 2)).sum()
    output.backward()
    with pytest.raises(RuntimeError) as caught:
        output.backward()
    assert "in module" not in str(caught.value)


def test_keys_that_differ_by_a_prefix_are_explained():
    net = nn.Linear(2, 1)
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"differ by the prefix \"module\.\" alone") as caught:
        net.load_state_dict(state)
    assert 'Missing key(s) in state_dict: "weight", "bias". ' in str(caught.value)
    net.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})


def test_keys_that_differ_otherwise_are_not_explained():
    net = nn.Linear(2, 1)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict({"a.weight": net.weight, "b.bias": net.bias})
    assert "prefix" not in str(caught.value)


def test_accelerators_are_refused_with_advice():
    layer = nn.Linear(1, 1)
    for change in (layer.cuda, layer.xpu, lambda: layer.cuda("cuda:1"), lambda: layer.to("cuda:1")):
        with pytest.raises(AssertionError, match="Rushlight computes on the CPU only"):
            change()


def test_bfloat16_is_refused():
    with pytest.raises(NotImplementedError, match="bfloat16"):
        nn.Linear(1, 1).bfloat16()


def test_sparse_gradients_are_refused():
    for make in (nn.Embedding, nn.EmbeddingBag):
        with pytest.raises(NotImplementedError, match="sparse"):
            make(3, 2, sparse=True)


def test_a_call_without_hooks_is_one_function_call_more_than_forward():
    called = []

    def note_call(frame, event, argument):
        if event in ("call", "c_call"):
            called.append(frame.f_code.co_name if event == "call" else argument.__name__)

    layer, x = nn.Identity(), torch.ones(1)
    sys.setprofile(note_call)
    try:
        layer(x)
    finally:
        sys.setprofile(None)
    assert called == ["__call__", "forward", "setprofile"]


def test_hooks_survive_a_copy():
    net = nn.Sequential(nn.ReLU())
    net.notes = []
    net.register_forward_hook(note)
    twin = copy.deepcopy(net)
    twin(torch.ones(1))
    assert (len(net.notes), len(twin.notes)) == (0, 1)
    unpickled = pickle.loads(pickle.dumps(net))
    unpickled(torch.ones(1))
    assert (len(net.notes), len(unpickled.notes)) == (0, 1)


def note(module, args, output):
    module.notes.append(output.shape)


def test_a_lazy_module_leaves_no_hook_behind():
    net = copy.deepcopy(nn.Sequential(nn.LazyLinear(2)))
    net(torch.ones(1, 3))
    assert type(net[0]) is nn.Linear
    assert not net[0]._forward_pre_hooks
    assert not hasattr(net[0], "_initialize_hook")


def test_a_parameter_shares_the_memory_and_the_count_of_changes_of_its_tensor():
    data = torch.ones(2)
    weight = nn.Parameter(data)
    loss = (weight * weight).sum()
    data.add_(1)
    assert weight.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_is_computed_from_a_parameter_is_a_plain_tensor():
    weight = nn.Parameter(torch.ones(2))
    for result in (weight + 1, weight.detach(), weight.data, weight.clone(), weight[0]):
        assert type(result) is torch.Tensor


def test_every_name_of_the_package_is_exported():
    for package in (nn, nn.functional, nn.utils):
        assert sorted(set(package.__all__)) == sorted(package.__all__)
        for name in package.__all__:
            assert hasattr(package, name), name
