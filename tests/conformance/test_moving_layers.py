"""Layers that pad, shuffle and resize against PyTorch: printed text, results, gradients."""

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

LAYERS = [
    ("ZeroPad1d(2)", (2, 3, 4)),
    ("ZeroPad2d((1, 1, 2, 0))", (2, 3, 4, 5)),
    ("ZeroPad3d((1, 0, 2, 1, 0, -1))", (2, 3, 4, 5)),
    ("ConstantPad1d((0, 2), 3.5)", (2, 3, 4)),
    ("ConstantPad2d(2, 3.5)", (3, 4, 5)),
    ("ConstantPad3d(1, -1)", (1, 2, 3, 4, 5)),
    ("ReflectionPad1d((2, 1))", (3, 4)),
    ("ReflectionPad2d(2)", (2, 3, 4, 5)),
    ("ReflectionPad3d(1)", (1, 2, 3, 4, 5)),
    ("ReplicationPad1d(2)", (2, 3, 4)),
    ("ReplicationPad2d((1, 2, 0, 3))", (3, 4, 5)),
    ("ReplicationPad3d(1)", (1, 2, 3, 4, 5)),
    ("CircularPad1d((1, 2))", (2, 3, 4)),
    ("CircularPad2d(2)", (2, 3, 4, 5)),
    ("CircularPad3d(1)", (1, 2, 3, 4, 5)),
    ("PixelShuffle(2)", (2, 8, 3, 4)),
    ("PixelUnshuffle(2)", (8, 6, 4)),
    ("ChannelShuffle(3)", (2, 6, 4, 5)),
    ("Upsample(scale_factor=2)", (2, 3, 4)),
    ("Upsample((5, 9))", (2, 3, 4, 5)),
    ("Upsample(scale_factor=(1.5, 0.7), mode='nearest-exact')", (2, 3, 4, 5)),
    ("Upsample(7, mode='linear')", (2, 3, 4)),
    ("Upsample(scale_factor=2.3, mode='bilinear')", (2, 3, 4, 5)),
    ("Upsample(scale_factor=2.3, mode='bilinear', recompute_scale_factor=True)", (2, 3, 4, 5)),
    ("Upsample((3, 1), mode='bilinear', align_corners=True)", (2, 3, 4, 5)),
    ("Upsample((7, 9), mode='bicubic')", (2, 3, 4, 5)),
    ("Upsample(scale_factor=0.6, mode='bicubic', align_corners=True)", (2, 3, 9, 8)),
    ("Upsample((3, 4, 7), mode='trilinear')", (1, 2, 3, 4, 5)),
    ("Upsample((3, 2), mode='area')", (2, 3, 4, 5)),
    ("UpsamplingNearest2d(scale_factor=3)", (2, 3, 4, 5)),
    ("UpsamplingBilinear2d((6, 7))", (2, 3, 4, 5)),
]


@pytest.mark.parametrize(("code", "shape"), LAYERS)
def test_layer(code, shape):
    values = torch.linspace(0.1, 9, torch.Size(shape).numel()).sin().reshape(shape)
    found = []
    for lib, input in ((rushlight, rushlight.from_numpy(values.numpy().copy())), (torch, values.clone())):
        layer = eval(f"lib.nn.{code}", {"lib": lib})
        input.requires_grad_()
        output = layer(input)
        output.square().sum().backward()
        bases = {each.__name__ for each in type(layer).__mro__ if hasattr(torch.nn, each.__name__)}
        node = output.grad_fn.name().rpartition("::")[2]
        found.append((repr(layer), bases, node, output, input.grad))
    assert found[0][:3] == found[1][:3]
    for mine, other in zip(found[0][3:], found[1][3:], strict=True):
        torch.testing.assert_close(torch.from_numpy(mine.detach().numpy().copy()), other.detach())


def test_whole_numbers_are_repeated():
    values = torch.arange(12, dtype=torch.uint8).reshape(1, 1, 3, 4)
    ours = rushlight.nn.functional.interpolate(rushlight.from_numpy(values.numpy()), scale_factor=2)
    assert ours.tolist() == torch.nn.functional.interpolate(values, scale_factor=2).tolist()
    assert ours.dtype == rushlight.uint8


MISTAKES = [
    "F.interpolate(x)",
    "F.interpolate(x, 5, 2)",
    "F.interpolate(x, 5, mode='linear')",
    "F.interpolate(x, 5, mode='foo')",
    "F.interpolate(x, 5, align_corners=True)",
    "F.interpolate(x, (5, 6, 7))",
    "F.interpolate(x, scale_factor=(2, 2, 2))",
    "F.interpolate(x[0, 0], 5)",
    "F.interpolate(x, 5, recompute_scale_factor=True)",
    "F.interpolate(x, 5, antialias=True)",
    "F.interpolate(x, 0)",
]


@pytest.mark.parametrize("code", MISTAKES)
def test_mistakes(code):
    found = []
    for lib in (rushlight, torch):
        with pytest.raises((RuntimeError, ValueError, NotImplementedError)) as caught:
            eval(code, {"F": lib.nn.functional, "x": lib.zeros(2, 3, 4, 5)})
        found.append((caught.type, str(caught.value).partition("\n")[0]))
    assert found[0] == found[1]
