"""Attention layers and transformers do what PyTorch's do: weights under a seed, values, gradients, errors.

Every case builds its layer with the library it is given, under one seed, and the data under another, so that
initial weights, the order of draws in training, results and gradients are compared at once.
"""

import re
import warnings

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

LIBRARIES = (torch, rushlight)


def causal(lib, size):
    return lib.triu(lib.ones(size, size, dtype=lib.bool), 1)


def padding(lib, *lengths, size=5):
    return lib.tensor([[place >= length for place in range(size)] for length in lengths])


def tensors(found):
    """The tensors among what a layer returned."""
    return [each for each in (found if isinstance(found, tuple) else (found,)) if each is not None]


def outcome(lib, make, call, training):
    """All that one forward and backward pass shows: texts to be equal, and arrays to be close."""
    lib.manual_seed(3)
    layer = make(lib.nn)
    layer.train(training)
    inputs = call(lib)
    leaves = [each for each in inputs["args"] if each.requires_grad]
    lib.manual_seed(5)
    found = tensors(layer(*inputs["args"], **inputs.get("kwargs", {})))
    sum((each * each.sin()).sum() for each in found).backward()
    texts = [repr(layer), list(layer.state_dict()), [name for name, _ in layer.named_parameters()]]
    texts += [(each.grad_fn.name(), tuple(each.stride()), tuple(each.shape)) for each in found]
    parameters = list(layer.parameters())
    arrays = [*found, *parameters, *[each.grad for each in [*leaves, *parameters]], lib.rand(2)]
    return texts, [each if each is None else each.detach().numpy() for each in arrays]


def compare(make, call, training):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = (outcome(lib, make, call, training) for lib in LIBRARIES)
    assert ours[0] == theirs[0]
    for mine, expected in zip(ours[1], theirs[1], strict=True):
        if expected is None:
            assert mine is None
        else:
            assert mine.dtype == expected.dtype
            np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=2e-5)


def words(lib, *shape):
    return lib.randn(*shape, requires_grad=True)


def self_attention(lib, **kwargs):
    lib.manual_seed(4)
    x = words(lib, 5, 5, 16)
    return {"args": (x, x, x), "kwargs": kwargs}


def other_attention(lib, keys=16, values=16, **kwargs):
    """Five queries of five sequences to five places; one tensor where keys and values have one width."""
    lib.manual_seed(4)
    query, key = words(lib, 5, 5, 16), words(lib, 5, 5, keys)
    return {"args": (query, key, key if keys == values else words(lib, 5, 5, values)), "kwargs": kwargs}


HEADS = {
    "plain": lambda nn: nn.MultiheadAttention(16, 4),
    "dropout": lambda nn: nn.MultiheadAttention(16, 4, dropout=0.3),
    "no bias": lambda nn: nn.MultiheadAttention(16, 2, bias=False),
    "more keys": lambda nn: nn.MultiheadAttention(16, 4, add_bias_kv=True, add_zero_attn=True),
    "batch first": lambda nn: nn.MultiheadAttention(16, 4, 0.1, batch_first=True),
}
HEAD_CALLS = {
    "self": self_attention,
    "others": other_attention,
    "no weights": lambda t: self_attention(t, need_weights=False),
    "weights of heads": lambda t: self_attention(t, average_attn_weights=False, attn_mask=causal(t, 5)),
    "causal": lambda t: self_attention(t, need_weights=False, attn_mask=causal(t, 5), is_causal=True),
    "padding": lambda t: other_attention(t, key_padding_mask=padding(t, 5, 4, 3, 2, 1)),
    "both masks": lambda t: self_attention(
        t, need_weights=False, attn_mask=causal(t, 5), key_padding_mask=padding(t, 5, 4, 3, 2, 1)
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("call", HEAD_CALLS)
@pytest.mark.parametrize("name", HEADS)
def test_heads(name, call, training):
    compare(HEADS[name], HEAD_CALLS[call], training)


def single(lib):
    lib.manual_seed(4)
    x = words(lib, 5, 16)
    return {"args": (x, x, x), "kwargs": {"key_padding_mask": lib.tensor([False] * 4 + [True])}}


OTHER_HEADS = {
    "other widths": (
        lambda nn: nn.MultiheadAttention(16, 4, 0.2, kdim=8, vdim=6),
        lambda t: other_attention(t, 8, 6, attn_mask=causal(t, 5).float()),
    ),
    "without a batch": (lambda nn: nn.MultiheadAttention(16, 4, batch_first=True), single),
}


@pytest.mark.parametrize("name", OTHER_HEADS)
def test_heads_of_other_inputs(name):
    make, call = OTHER_HEADS[name]
    compare(make, call, True)


def test_heads_in_double_precision():
    found = []
    for lib in LIBRARIES:
        lib.manual_seed(3)
        layer = lib.nn.MultiheadAttention(8, 2, dtype=lib.float64)
        x = lib.randn(3, 2, 8, dtype=lib.float64)
        result, weights = layer(x, x, x, attn_mask=causal(lib, 3))
        found.append([result.detach().numpy(), weights.detach().numpy()])
    for expected, mine in zip(*found, strict=True):
        assert mine.dtype == np.float64
        np.testing.assert_allclose(mine, expected, atol=1e-7)  # normal draws agree to that


def test_merged_masks():
    for lib in LIBRARIES:
        layer, x = lib.nn.MultiheadAttention(4, 2), lib.zeros(3, 5, 4)
        mask, pad = lib.ones(5, 5), lib.ones(3, 5)
        assert layer.merge_masks(None, None, x) == (None, None)
        assert layer.merge_masks(None, pad, x)[1] == 1
        merged, kind = layer.merge_masks(mask, pad, x)
        assert (tuple(merged.shape), kind, float(merged.sum())) == ((3, 2, 5, 5), 2, 300.0)
        assert tuple(layer.merge_masks(lib.ones(6, 5, 5), None, x)[0].shape) == (3, 2, 5, 5)


def test_linear_of_heads():
    """It is a Linear under another name, in the place where PyTorch has it."""
    for lib in LIBRARIES:
        kind = lib.nn.modules.linear.NonDynamicallyQuantizableLinear
        lib.manual_seed(0)
        layer = kind(3, 2, bias=False, dtype=lib.float64)
        lib.manual_seed(0)
        assert lib.equal(layer.weight, lib.nn.Linear(3, 2, bias=False, dtype=lib.float64).weight)
        assert repr(layer) == "NonDynamicallyQuantizableLinear(in_features=3, out_features=2, bias=False)"
        assert type(lib.nn.MultiheadAttention(4, 2).out_proj) is kind
        assert lib.nn.modules.activation.MultiheadAttention is lib.nn.MultiheadAttention
        for name in lib.nn.modules.transformer.__all__:
            assert getattr(lib.nn.modules.transformer, name) is getattr(lib.nn, name)


# -- transformers --------------------------------------------------------------------------------------------


def source(lib, **kwargs):
    lib.manual_seed(4)
    return {"args": (words(lib, 5, 5, 16),), "kwargs": kwargs}


def pair(lib, **kwargs):
    lib.manual_seed(4)
    return {"args": (words(lib, 4, 5, 16), words(lib, 5, 5, 16)), "kwargs": kwargs}


def encoder(nn, **kwargs):
    layer = nn.TransformerEncoderLayer(16, 2, 24, **kwargs)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(16), enable_nested_tensor=False)


TRANSFORMERS = {
    "encoder layer": (lambda nn: nn.TransformerEncoderLayer(16, 4, 24), source),
    "encoder layer, all": (
        lambda nn: nn.TransformerEncoderLayer(16, 4, 24, 0.3, "gelu", 1e-3, True, True, False),
        lambda t: source(t, src_mask=causal(t, 5), src_key_padding_mask=padding(t, 5, 4, 3, 2, 1)),
    ),
    "encoder layer, hint": (
        lambda nn: nn.TransformerEncoderLayer(16, 4, 24, activation=nn.Tanh()),
        lambda t: source(t, src_mask=causal(t, 5), is_causal=True),
    ),
    "decoder layer": (lambda nn: nn.TransformerDecoderLayer(16, 4, 24), pair),
    "decoder layer, all": (
        lambda nn: nn.TransformerDecoderLayer(16, 2, 24, 0.0, nn.functional.silu, 1e-3, False, True, False),
        lambda t: pair(
            t,
            tgt_mask=causal(t, 4).float(),
            memory_mask=t.zeros(4, 5),
            tgt_key_padding_mask=padding(t, 4, 4, 3, 2, 1, size=4).float(),
            memory_key_padding_mask=padding(t, 5, 4, 3, 2, 1).float(),
        ),
    ),
    "encoder": (encoder, lambda t: source(t, mask=causal(t, 5))),
    "encoder, padding": (
        lambda nn: encoder(nn, norm_first=True, activation="gelu", batch_first=True),
        lambda t: source(t, src_key_padding_mask=padding(t, 5, 4, 3, 2, 1)),
    ),
    "decoder": (
        lambda nn: nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 24), 2),
        lambda t: pair(t, tgt_mask=t.nn.Transformer.generate_square_subsequent_mask(4)),
    ),
    "transformer": (
        lambda nn: nn.Transformer(16, 2, 2, 1, 24),
        lambda t: pair(t, tgt_mask=causal(t, 5), src_mask=causal(t, 4), memory_mask=t.zeros(5, 4)),
    ),
    "transformer, batch first": (
        lambda nn: nn.Transformer(16, 2, 1, 2, 24, batch_first=True, norm_first=True, bias=False),
        lambda t: {"args": (words(t, 2, 3, 16), words(t, 2, 4, 16))},
    ),
    "transformer, one sequence": (
        lambda nn: nn.Transformer(16, 2, 1, 1, 24, dropout=0.0),
        lambda t: {"args": (words(t, 3, 16), words(t, 4, 16))},
    ),
    "transformer, own parts": (
        lambda nn: nn.Transformer(
            16,
            2,
            custom_encoder=encoder(nn),
            custom_decoder=nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 8), 1),
        ),
        pair,
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name, training):
    make, call = TRANSFORMERS[name]
    compare(make, call, training)


@pytest.mark.parametrize("mask_check", [True, False])
@pytest.mark.parametrize("lengths", [(5, 3, 1), (5, 5, 4), (3, 3, 2)])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_padding_in_evaluation(lengths, mask_check):
    """Places that were padding are zeros, before the last normalisation."""
    found = []
    for lib in LIBRARIES:
        lib.manual_seed(3)
        layer = lib.nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        norm = lib.nn.LayerNorm(8)
        net = lib.nn.TransformerEncoder(layer, 2, norm, mask_check=mask_check).eval()
        lib.nn.init.constant_(norm.bias, 0.5)
        x = lib.randn(3, 5, 8)
        mask = padding(lib, *lengths)
        with lib.no_grad():
            results = [net(x, src_key_padding_mask=each) for each in (mask, mask.float() * -3)]
            if mask_check:
                results.append(net(x, src_key_padding_mask=mask.flip(1)))
            lib.backends.mha.set_fastpath_enabled(False)
            results.append(net(x, src_key_padding_mask=mask))
            lib.backends.mha.set_fastpath_enabled(True)
        results.append(net(x, src_key_padding_mask=mask))
        found.append([each.detach().numpy() for each in results])
    for expected, mine in zip(*found, strict=True):
        np.testing.assert_allclose(mine, expected, atol=2e-6)
    assert (found[1][0][2, 4] == 0.5).all()


def test_warnings_of_encoders():
    """Why padding is not taken away."""
    made = {
        "norm_first": {"norm_first": True, "batch_first": True},
        "batch_first": {},
        "bias": {"bias": False, "batch_first": True},
        "activation": {"activation": "gelu", "batch_first": True},
        "other activation": {"activation": torch.tanh, "batch_first": True},
        "heads": {"nhead": 1, "batch_first": True},
    }
    for name, options in made.items():
        texts = []
        for lib in LIBRARIES:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                layer = lib.nn.TransformerEncoderLayer(**{"d_model": 4, "nhead": 2, **options})
                net = lib.nn.TransformerEncoder(layer, 1)
                lib.nn.TransformerEncoder(lib.nn.Linear(1, 1), 1)
                lib.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            texts.append([str(each.message) for each in caught] + [net.use_nested_tensor])
        assert texts[0] == texts[1], name


@pytest.mark.parametrize("kind", ["float32", "float64", "bool"])
def test_masks_of_two_types(kind):
    for lib in LIBRARIES:
        layer, x = lib.nn.MultiheadAttention(4, 2), lib.zeros(3, 1, 4)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            layer(
                x,
                x,
                x,
                lib.zeros(1, 3, dtype=lib.bool),
                attn_mask=lib.zeros(3, 3, dtype=getattr(lib, kind)) if kind != "float64" else None,
            )
        expected = "Support for mismatched key_padding_mask and attn_mask is deprecated."
        assert [str(each.message).startswith(expected) for each in caught] == [True] * (kind == "float32")


def test_state_dicts_go_both_ways():
    for options in ({}, {"kdim": 3, "vdim": 2}, {"add_bias_kv": True}, {"bias": False}):
        ours, theirs = (lib.nn.MultiheadAttention(4, 2, **options) for lib in (rushlight, torch))
        theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
        ours.load_state_dict({k: rushlight.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
        assert list(ours.state_dict()) == list(theirs.state_dict())


# -- errors --------------------------------------------------------------------------------------------------


def attend(lib, *shapes, **kwargs):
    return lib.nn.MultiheadAttention(4, 2)(*[lib.ones(shape) for shape in shapes], **kwargs)


X = (3, 2, 4)
ERRORS = {
    "width": lambda t: t.nn.MultiheadAttention(0, 2),
    "heads": lambda t: t.nn.MultiheadAttention(4, -1),
    "not divisible": lambda t: t.nn.MultiheadAttention(5, 2),
    "four dimensions": lambda t: attend(t, (1, *X), X, X),
    "key without batch": lambda t: attend(t, X, X[1:], X),
    "query without batch": lambda t: attend(t, X[1:], X, X),
    "other width": lambda t: attend(t, (3, 2, 5), (3, 2, 5), (3, 2, 5)),
    "keys and values": lambda t: attend(t, X, X, (2, 2, 4)),
    "width of keys": lambda t: attend(t, X, (3, 2, 5), (3, 2, 5)),
    "shape of mask": lambda t: attend(t, X, X, X, attn_mask=t.ones(2, 3)),
    "shape of mask of heads": lambda t: attend(t, X, X, X, attn_mask=t.ones(2, 3, 3)),
    "mask of a sequence": lambda t: attend(t, (3, 4), (3, 4), (3, 4), attn_mask=t.ones(3, 3, 3)),
    "dimensions of mask": lambda t: attend(t, X, X, X, attn_mask=t.ones(3)),
    "type of mask": lambda t: attend(t, X, X, X, attn_mask=t.ones(3, 3, dtype=t.int64)),
    "type of padding": lambda t: attend(t, X, X, X, key_padding_mask=t.ones(2, 3, dtype=t.uint8)),
    "shape of padding": lambda t: attend(t, X, X, X, key_padding_mask=t.ones(3, 2)),
    "dimensions of padding": lambda t: attend(t, X, X, X, key_padding_mask=t.ones(3)),
    "hint alone": lambda t: attend(t, X, X, X, is_causal=True),
    "other type": lambda t: t.nn.MultiheadAttention(4, 2)(*[t.ones(X, dtype=t.float64)] * 3),
    "scale": lambda t: t.nn.functional.scaled_dot_product_attention(*[t.ones(X)] * 3, scale="x"),
    "share": lambda t: t.nn.functional.scaled_dot_product_attention(*[t.ones(X)] * 3, dropout_p="x"),
    "switch": lambda t: t.nn.functional.scaled_dot_product_attention(*[t.ones(X)] * 3, is_causal=1),
    "no mask": lambda t: t.nn.functional.scaled_dot_product_attention(*[t.ones(X)] * 3, attn_mask=1),
    "activation": lambda t: t.nn.TransformerEncoderLayer(4, 2, activation="tanh"),
    "activation of decoder": lambda t: t.nn.TransformerDecoderLayer(4, 2, activation="tanh"),
    "dropout": lambda t: t.nn.TransformerEncoderLayer(4, 2, dropout=2.0),
    "batches": lambda t: t.nn.Transformer(4, 2, 1, 1, 8)(t.ones(3, 2, 4), t.ones(3, 3, 4)),
    "batches first": lambda t: t.nn.Transformer(4, 2, 1, 1, 8, batch_first=True)(
        t.ones(3, 2, 4), t.ones(2, 2, 4)
    ),
    "model width": lambda t: t.nn.Transformer(4, 2, 1, 1, 8)(t.ones(3, 2, 4), t.ones(3, 2, 5)),
    "mask of source": lambda t: t.nn.TransformerEncoderLayer(4, 2, 8)(
        t.ones(3, 2, 4), t.ones(3, 3, dtype=t.int32)
    ),
    "hint of encoder": lambda t: t.nn.TransformerEncoderLayer(4, 2, 8)(t.ones(3, 2, 4), is_causal=True),
    "padding of encoder": lambda t: t.nn.TransformerEncoderLayer(4, 2, 8)(
        t.ones(3, 2, 4), src_key_padding_mask=t.ones(3, 3)
    ),
    "memory of decoder": lambda t: t.nn.TransformerDecoderLayer(4, 2, 8)(t.ones(3, 2, 4), t.ones(3, 2, 5)),
    "no layers": lambda t: t.nn.TransformerEncoder(t.nn.TransformerEncoderLayer(4, 2, 8), 0)(t.ones(3, 2, 4)),
    "negative mask": lambda t: t.nn.Transformer.generate_square_subsequent_mask(-1),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_errors(name):
    raised = []
    for lib in LIBRARIES:
        with pytest.raises(Exception) as error:
            ERRORS[name](lib)
        raised.append(error.value)
    theirs, ours = raised
    assert isinstance(ours, type(theirs))
    assert re.sub(r"\s+", " ", str(ours)).startswith(str(theirs).split("\n")[0].rstrip("."))


# -- ways of attention ---------------------------------------------------------------------------------------


def tried(lib, ways, options):
    """The node, or the error, of attention of one kind where these ways are allowed."""
    lib.manual_seed(0)
    x = lib.randn(1, 2, 3, 4, requires_grad=True)
    if options.get("dims"):
        x = x[0]
    kwargs = {key: value for key, value in options.items() if key not in ("dims", "mask")}
    if "mask" in options:
        kwargs["attn_mask"] = lib.zeros(options["mask"], requires_grad=options["mask"] == (3, 3))
    module = lib.nn.attention
    given = [getattr(module.SDPBackend, name) for name in ways]
    try:
        with warnings.catch_warnings(), module.sdpa_kernel(given):
            warnings.simplefilter("ignore")
            result = lib.nn.functional.scaled_dot_product_attention(x, x, x, **kwargs)
    except RuntimeError as error:
        return str(error)
    result.sum().backward()
    name = result.grad_fn.name()
    return name if name.startswith("Scaled") else "formula", result.detach().numpy()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dropout_p": 0.5},
        {"dims": 3},
        {"mask": (3, 3)},
        {"mask": (1, 3)},
        {"mask": (2, 3, 3)},
        {"mask": (1, 3), "is_causal": True},
    ],
)
def test_ways_of_attention(options):
    allowed = (["MATH"], ["FLASH_ATTENTION"], ["EFFICIENT_ATTENTION"], ["MATH", "FLASH_ATTENTION"], [])
    for ways in allowed:
        theirs, ours = (tried(lib, ways, options) for lib in LIBRARIES)
        assert ours[0] == theirs[0], ways
        if isinstance(theirs, tuple):
            np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)


def test_switches_of_attention():
    """They are as they were after a block, and what is no way is refused."""
    for lib in LIBRARIES:
        ways, cuda = lib.nn.attention, lib.backends.cuda
        names = ("flash", "math", "mem_efficient", "cudnn")
        with ways.sdpa_kernel(ways.SDPBackend.MATH, set_priority=True):
            with ways.sdpa_kernel([ways.SDPBackend.CUDNN_ATTENTION]):
                assert [getattr(cuda, f"{name}_sdp_enabled")() for name in names] == [
                    False,
                    False,
                    False,
                    True,
                ]
            assert [getattr(cuda, f"{name}_sdp_enabled")() for name in names] == [False, True, False, False]
        for name in names:
            getattr(cuda, f"enable_{name}_sdp")(False)
            assert not getattr(cuda, f"{name}_sdp_enabled")()
            getattr(cuda, f"enable_{name}_sdp")(True)
            assert getattr(cuda, f"{name}_sdp_enabled")()
        refused = pytest.raises(AssertionError, match="Backend must be an instance of SDPBackend or a list")
        with refused, ways.sdpa_kernel("math"):
            pass
    ours, theirs = (lib.nn.attention.SDPBackend for lib in (rushlight, torch))
    assert {n: int(w) for n, w in ours.__members__.items()} == {
        n: int(w) for n, w in theirs.__members__.items()
    }
    assert repr(ours.FLASH_ATTENTION) == repr(theirs.FLASH_ATTENTION)


def test_differences_in_evaluation():
    """What docs/differences.md says of attention in evaluation without gradients."""
    for lib in LIBRARIES:
        layer, x = lib.nn.MultiheadAttention(4, 2, batch_first=True).eval(), lib.ones(1, 3, 4)
        hidden = lib.ones(1, 3, dtype=lib.bool)
        with lib.no_grad():
            found, _ = layer(x, x, x, key_padding_mask=hidden, need_weights=False)
            assert bool(found.isnan().all()) == (lib is torch)
            if lib is torch:
                layer(x, x, x, is_causal=True)
            else:
                with pytest.raises(RuntimeError, match="Need attn_mask if specifying the is_causal hint"):
                    layer(x, x, x, is_causal=True)
            # a mask of numbers: added here, taken as bools by PyTorch
            encoder_layer = lib.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
            plain, masked = encoder_layer(x), encoder_layer(x, lib.full((3, 3), -1.0))
            assert lib.allclose(plain, masked, atol=1e-6) == (lib is rushlight)


def test_modules_as_activations_of_decoders():
    """Copies keep theirs; PyTorch's have relu."""
    for lib in LIBRARIES:
        decoder = lib.nn.TransformerDecoder(
            lib.nn.TransformerDecoderLayer(4, 2, 8, activation=lib.nn.Tanh()), 1
        )
        used = decoder.layers[0].activation
        assert isinstance(used, lib.nn.Tanh) if lib is rushlight else used is lib.nn.functional.relu
