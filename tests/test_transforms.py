"""Transforms of images: values, shapes, random draws and printed text, for Pillow images and for tensors.

What is expected is known beforehand (by hand, by Pillow's own methods, or from torchvision 0.29's output).
"""

import random

import numpy as np
import pytest

import rushlight as torch
from rushlight.vision import transforms as T
from rushlight.vision.transforms import functional as F

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")


def grey(height=4, width=6):
    return Image.fromarray(np.arange(height * width, dtype=np.uint8).reshape(height, width))


def colour(height=5, width=7, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def array(image):
    return np.asarray(image).tolist()


def same(image, expected):
    return image.mode == expected.mode and array(image) == array(expected)


# -- images, arrays and tensors


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [
        ("L", (1, 5, 7), torch.float32),
        ("RGB", (3, 5, 7), torch.float32),
        ("RGBA", (4, 5, 7), torch.float32),
        ("1", (1, 5, 7), torch.float32),
        ("I", (1, 5, 7), torch.int32),
        ("F", (1, 5, 7), torch.float32),
        ("I;16", (1, 5, 7), torch.int16),
    ],
)
def test_to_tensor_of_every_mode(mode, shape, dtype):
    image = colour().convert("L" if mode == "I;16" else mode)
    image = Image.fromarray(np.asarray(image).astype(np.uint16)) if mode == "I;16" else image
    tensor = T.ToTensor()(image)
    assert tensor.shape == shape and tensor.dtype == dtype and tensor.is_contiguous()
    values = np.asarray(image).reshape(5, 7, -1).transpose(2, 0, 1).astype(np.float32)
    scale = 255 if mode in ("L", "RGB", "RGBA") else 1
    np.testing.assert_array_equal(tensor.numpy(), values / np.float32(scale))


def test_to_tensor_of_arrays():
    assert T.ToTensor()(np.full((2, 3), 255, np.uint8)).tolist() == [[[1.0] * 3] * 2]
    assert T.ToTensor()(np.zeros((2, 3, 4))).shape == (4, 2, 3)
    assert T.ToTensor()(np.zeros((2, 3), np.int32)).dtype == torch.int32
    with pytest.raises(ValueError, match=r"2/3 dimensional. Got 1 dimensions"):
        T.ToTensor()(np.zeros(3))
    with pytest.raises(TypeError, match=r"pic should be PIL Image or ndarray. Got <class 'list'>"):
        T.ToTensor()([1])


def test_to_tensor_follows_the_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        assert T.ToTensor()(grey()).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_pil_to_tensor_keeps_the_values():
    assert T.PILToTensor()(grey()).tolist() == [array(grey())]
    assert T.PILToTensor()(colour()).dtype == torch.uint8
    with pytest.raises(TypeError, match="pic should be PIL Image"):
        T.PILToTensor()(np.zeros((2, 2)))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "HSV", "YCbCr", "CMYK", "LA"])
def test_there_and_back(mode):
    image = colour().convert(mode)
    assert same(T.ToPILImage(mode)(T.PILToTensor()(image)), image)
    assert same(T.ToPILImage(mode)(np.asarray(image)), image)


def test_to_pil_image_of_floats_and_of_wide_types():
    assert array(T.ToPILImage()(torch.tensor([[[0.0, 0.5, 1.0]]]))) == [[0, 127, 255]]
    assert (
        T.ToPILImage()(
            torch.tensor([[1.5, -2.0]]),
        ).mode
        == "L"
    )
    assert array(T.ToPILImage("F")(torch.tensor([[1.5, -2.0]]))) == [[1.5, -2.0]]
    assert T.ToPILImage()(torch.tensor([[70000]], dtype=torch.int32)).getpixel((0, 0)) == 70000
    assert T.ToPILImage()(np.array([[300]], np.int16)).mode.startswith("I;16")


@pytest.mark.parametrize(
    ("pic", "mode", "error", "message"),
    [
        (torch.zeros(1, 1, 2, 2), None, ValueError, "2/3 dimensional. Got 4"),
        (torch.zeros(5, 2, 2), None, ValueError, "should not have > 4 channels. Got 5"),
        (torch.zeros(3, 2, 2), "L", ValueError, r"Only modes \['RGB', 'YCbCr', 'HSV'\] are supported for 3D"),
        (
            torch.zeros(2, 2, dtype=torch.int32),
            "L",
            ValueError,
            r"Incorrect mode \(L\) supplied.*Should be I",
        ),
        (torch.zeros(2, 2, dtype=torch.int64), None, TypeError, "Input type int64 is not supported"),
        ("cat", None, TypeError, "pic should be Tensor or ndarray"),
    ],
)
def test_to_pil_image_refuses(pic, mode, error, message):
    with pytest.raises(error, match=message):
        T.ToPILImage(mode)(pic)


@pytest.mark.parametrize(
    ("value", "old", "new", "expected"),
    [
        (255, "uint8", "float32", 1.0),
        (255, "uint8", "int16", 255 * 128),
        (255, "uint8", "int32", 255 * 2**23),
        (32767, "int16", "uint8", 255),
        (1.0, "float32", "uint8", 255),
        (0.5, "float32", "uint8", 127),
        (0.25, "float32", "float64", 0.25),
        (7, "uint8", "uint8", 7),
    ],
)
def test_convert_image_dtype(value, old, new, expected):
    image = torch.full((1, 1, 1), value, dtype=getattr(torch, old))
    converted = T.ConvertImageDtype(getattr(torch, new))(image)
    assert converted.dtype == getattr(torch, new) and converted.item() == expected


def test_convert_image_dtype_refuses_what_floats_cannot_hold():
    with pytest.raises(
        RuntimeError, match=r"cast from torch.float32 to torch.int32 cannot be performed safely"
    ):
        F.convert_image_dtype(torch.zeros(1, 1, 1), torch.int32)


def test_normalize():
    image = torch.arange(8.0).reshape(2, 2, 2)
    expected = [[[-1.0, 1.0], [3.0, 5.0]], [[8.0, 12.0], [16.0, 20.0]]]
    assert T.Normalize(mean=(0.5, 2.0), std=(0.5, 0.25))(image).tolist() == expected
    assert image.flatten().tolist() == list(range(8))
    assert T.Normalize((0.5, 2.0), (0.5, 0.25), inplace=True)(image) is image
    assert image.tolist() == expected


def test_normalize_takes_batches():
    batch = torch.ones(2, 3, 1, 1)
    assert T.Normalize((0.5,) * 3, (0.5,) * 3)(batch).flatten().tolist() == [1.0] * 6


@pytest.mark.parametrize(
    ("image", "std", "error", "message"),
    [
        (np.zeros((1, 2, 2)), 1.0, TypeError, "img should be Tensor Image. Got <class 'numpy.ndarray'>"),
        (
            torch.zeros(1, 2, 2, dtype=torch.uint8),
            1.0,
            TypeError,
            "should be a float tensor. Got torch.uint8",
        ),
        (
            torch.zeros(2, 2),
            1.0,
            ValueError,
            r"size \(..., C, H, W\). Got tensor.size\(\) = torch.Size\(\[2, 2\]\)",
        ),
        (torch.zeros(1, 2, 2), 0.0, ValueError, "std evaluated to zero after conversion to torch.float32"),
    ],
)
def test_normalize_refuses(image, std, error, message):
    with pytest.raises(error, match=message):
        T.Normalize((0.5,), (std,))(image)


def test_lambda_must_be_callable():
    with pytest.raises(TypeError, match="Argument lambd should be callable, got 'int'"):
        T.Lambda(3)


# -- sizes


@pytest.mark.parametrize(
    ("size", "max_size", "expected"),
    [((3, 5), None, (3, 5)), (2, None, (2, 3)), ([8], None, (8, 12)), (8, 10, (6, 10)), (4, None, (4, 6))],
)
def test_resized_sizes(size, max_size, expected):
    resize = T.Resize(size, max_size=max_size)
    assert resize(grey()).size == expected[::-1]
    assert resize(T.PILToTensor()(grey())).shape == (1, *expected)


@pytest.mark.parametrize("mode", list(T.InterpolationMode))
def test_images_are_resized_by_pillow(mode):
    name = "NEAREST" if mode.name == "NEAREST_EXACT" else mode.name
    expected = colour().resize((4, 9), getattr(Image.Resampling, name))
    assert same(T.Resize((9, 4), mode)(colour()), expected)


def test_tensors_are_resized():
    row = torch.tensor([[[0.0, 1.0, 2.0, 3.0]]])
    resize = {mode.value: T.Resize((1, 2), mode) for mode in T.InterpolationMode}
    assert resize["nearest"](row).tolist() == [[[0.0, 2.0]]]
    assert resize["nearest-exact"](row).tolist() == [[[1.0, 3.0]]]
    assert resize["bilinear"](row).flatten().tolist() == pytest.approx([5 / 7, 16 / 7])
    assert T.Resize((1, 2), antialias=False)(row).tolist() == [[[0.5, 2.5]]]
    assert T.Resize((1, 8))(row).flatten().tolist() == [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]
    assert T.Resize((1, 2))(torch.tensor([[[0, 1, 9, 9]]], dtype=torch.uint8)).tolist() == [[[2, 8]]]
    with pytest.raises(NotImplementedError, match="interpolation='lanczos'"):
        resize["lanczos"](row)


def test_pillows_numbers_are_interpolation_modes_too():
    assert T.Resize(2, Image.Resampling.BICUBIC).interpolation is T.InterpolationMode.BICUBIC
    with pytest.raises(TypeError, match="interpolation should be a InterpolationMode"):
        F.resize(grey(), 2, "bilinear")


@pytest.mark.parametrize("both", [T.PILToTensor(), lambda image: image])
def test_cropping_and_mirroring(both):
    image = both(grey(4, 6))
    pixels = np.arange(24).reshape(4, 6)

    def values(result):
        return np.asarray(result).reshape(-1, np.asarray(result).shape[-1]).tolist()

    assert values(F.crop(image, 1, 2, 2, 3)) == pixels[1:3, 2:5].tolist()
    assert values(F.crop(image, -1, 4, 3, 4)) == [[0] * 4, [4, 5, 0, 0], [10, 11, 0, 0]]
    assert values(T.CenterCrop(2)(image)) == pixels[1:3, 2:4].tolist()
    assert values(T.CenterCrop((6, 3))(image)) == np.pad(pixels, ((1, 1), (0, 0)))[:, 2:5].tolist()
    assert values(F.hflip(image)) == pixels[:, ::-1].tolist()
    assert values(F.vflip(image)) == pixels[::-1].tolist()
    assert values(T.Pad((1, 2))(image)) == np.pad(pixels, ((2, 2), (1, 1))).tolist()
    assert (
        values(T.Pad([1, 0, 2, 1], fill=9)(image))
        == np.pad(pixels, ((0, 1), (1, 2)), constant_values=9).tolist()
    )
    assert values(F.pad(image, [-1, 0, 1, -1])) == np.pad(pixels[:3, 1:], ((0, 0), (0, 1))).tolist()
    for mode in ("edge", "reflect", "symmetric"):
        assert values(T.Pad(2, padding_mode=mode)(image)) == np.pad(pixels, 2, mode).tolist()


def test_padding_keeps_a_palette():
    image = colour().convert("P")
    assert F.pad(image, 2).getpalette()[:30] == image.getpalette()[:30]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("1",), TypeError, "Got inappropriate padding arg"),
        (((1, 2, 3),), ValueError, "not a 3 element tuple"),
        ((1, "red"), TypeError, "Got inappropriate fill arg"),
        ((1, 0, "wrap"), ValueError, "Padding mode should be either constant, edge, reflect or symmetric"),
    ],
)
def test_paddings_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        T.Pad(*arguments)


def test_padding_a_tensor_by_more_than_it_can_mirror():
    with pytest.raises(
        RuntimeError, match="Padding size should be less than the corresponding input dimension"
    ):
        F.pad(torch.zeros(1, 3, 4), 4, padding_mode="reflect")


# -- turning


def test_images_are_turned_by_pillow():
    image = colour(9, 9)
    expected = image.rotate(30, Image.Resampling.BILINEAR, True, None, fillcolor=(7, 7, 7))
    assert same(F.rotate(image, 30, T.InterpolationMode.BILINEAR, expand=True, fill=7), expected)


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_quarter_turns(angle):
    pixels = np.arange(16).reshape(4, 4)
    turned = np.rot90(pixels, angle // 90).tolist()
    image = Image.fromarray(pixels.astype(np.uint8))
    assert array(F.rotate(image, angle)) == turned
    for mode in (T.InterpolationMode.NEAREST, T.InterpolationMode.BILINEAR):
        tensor = F.rotate(torch.from_numpy(pixels)[None], angle, mode)
        assert tensor.tolist() == [turned]


def test_expanding_a_turned_tensor_and_filling_it():
    turned = F.rotate(torch.ones(1, 3, 5), 90, expand=True, fill=[0.5])
    assert turned.tolist() == [[[1.0] * 3] * 5]
    turned = F.rotate(torch.ones(1, 4, 4), 45, fill=[0.5])
    assert turned[0, 0, 0] == 0.5 and turned[0, 2, 2] == 1


@pytest.mark.parametrize("image", [grey(4, 6), T.PILToTensor()(grey(4, 6))])
def test_moving_and_scaling(image):
    moved = np.asarray(F.affine(image, 0, (2, 1), 1.0, 0)).reshape(4, 6)
    assert moved.tolist() == np.pad(np.arange(24).reshape(4, 6), ((1, 0), (2, 0)))[:4, :6].tolist()
    halved = np.asarray(
        F.affine(image, 0, (0, 0), 0.5, 0, fill=[9] if isinstance(image, torch.Tensor) else 9)
    )
    assert (halved == 9).sum() == 24 - 2 * 3


def test_fill_must_fit_the_channels():
    with pytest.raises(ValueError, match=r"number of elements in 'fill' does not match.*\(2 != 3\)"):
        F.rotate(colour(), 10, fill=(1, 2))
    with pytest.raises(ValueError, match=r"number of elements in 'fill' cannot broadcast.*\(2 != 3\)"):
        F.rotate(torch.zeros(3, 4, 4), 10, fill=(1, 2))
    with pytest.raises(ValueError, match="Interpolation mode 'bicubic' is unsupported with Tensor input"):
        F.rotate(torch.zeros(3, 4, 4), 10, T.InterpolationMode.BICUBIC)


# -- colours


def test_grey_versions():
    image = colour()
    assert same(T.Grayscale()(image), image.convert("L"))
    three = T.Grayscale(3)(image)
    assert three.mode == "RGB" and all(same(band, image.convert("L")) for band in three.split())
    tensor = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    assert F.rgb_to_grayscale(tensor).item() == pytest.approx(0.2989 + 2 * 0.587 + 3 * 0.114)
    assert F.rgb_to_grayscale(tensor, 3).shape == (3, 1, 1)
    with pytest.raises(ValueError, match="num_output_channels should be either 1 or 3"):
        F.rgb_to_grayscale(image, 2)


def test_brightness_contrast_and_saturation_of_tensors():
    image = torch.tensor([0.2, 0.4, 0.9]).reshape(3, 1, 1)
    assert F.adjust_brightness(image, 2.0).flatten().tolist() == pytest.approx([0.4, 0.8, 1.0])
    grey = 0.2989 * 0.2 + 0.587 * 0.4 + 0.114 * 0.9
    assert F.adjust_contrast(image, 0.0).flatten().tolist() == pytest.approx([grey] * 3)
    assert F.adjust_saturation(image, 0.5).flatten().tolist() == pytest.approx(
        [(v + grey) / 2 for v in (0.2, 0.4, 0.9)]
    )
    assert F.adjust_gamma(image, 2.0, 0.5).flatten().tolist() == pytest.approx([0.02, 0.08, 0.405])
    assert F.invert(torch.tensor([[[0, 255, 7]]], dtype=torch.uint8)).tolist() == [[[255, 0, 248]]]
    with pytest.raises(ValueError, match=r"brightness_factor \(-1\) is not non-negative"):
        F.adjust_brightness(image, -1)


def test_a_third_of_a_turn_of_the_colour_wheel():
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)
    assert F.adjust_hue(red, 1 / 3).flatten().tolist() == pytest.approx([0.0, 1.0, 0.0], abs=1e-6)
    assert F.adjust_hue(red, -1 / 3).flatten().tolist() == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)
    image = torch.rand(3, 4, 4)
    assert torch.allclose(F.adjust_hue(image, 0.0), image, atol=1e-6)
    assert same(F.adjust_hue(grey(), 0.3), grey())


# -- chance


def test_flips_draw_one_number_each():
    for transform, flip in ((T.RandomHorizontalFlip(0.4), F.hflip), (T.RandomVerticalFlip(0.4), F.vflip)):
        torch.manual_seed(5)
        drawn = [torch.rand(1).item() for _ in range(20)]
        torch.manual_seed(5)
        results = [array(transform(grey())) for _ in range(20)]
        assert results == [array(flip(grey()) if number < 0.4 else grey()) for number in drawn]


def test_random_crops_draw_top_and_left():
    torch.manual_seed(5)
    top, left = torch.randint(0, 4 + 2 - 3 + 1, (1,)).item(), torch.randint(0, 6 + 2 - 2 + 1, (1,)).item()
    torch.manual_seed(5)
    assert same(T.RandomCrop((3, 2), padding=1)(grey()), F.crop(F.pad(grey(), 1), top, left, 3, 2))
    assert T.RandomCrop.get_params(grey(), (4, 6)) == (0, 0, 4, 6)
    assert T.RandomCrop(10, pad_if_needed=True)(grey()).size == (10, 10)
    with pytest.raises(
        ValueError, match=r"Required crop size \(5, 2\) is larger than input image size \(4, 6\)"
    ):
        T.RandomCrop((5, 2))(grey())


def test_random_resized_crops_stay_inside():
    torch.manual_seed(0)
    for _ in range(50):
        top, left, height, width = T.RandomResizedCrop.get_params(grey(40, 60), (0.2, 0.5), (0.5, 2.0))
        assert 0 <= top <= 40 - height and 0 <= left <= 60 - width
        assert 0.15 < height * width / 2400 < 0.55
    assert T.RandomResizedCrop.get_params(grey(40, 10), (1.0, 1.0), (1.0, 1.0)) == (15, 0, 10, 10)
    assert T.RandomResizedCrop(9)(grey()).size == (9, 9)


def test_random_rotation_draws_an_angle():
    torch.manual_seed(3)
    angle = torch.empty(1).uniform_(-30, 30).item()
    torch.manual_seed(3)
    assert same(T.RandomRotation(30)(colour()), F.rotate(colour(), angle, fill=0))


def test_random_affine_draws_in_this_order():
    torch.manual_seed(3)
    draw = [
        torch.empty(1).uniform_(*limits).item() for limits in ((-10, 10), (-6, 6), (-2, 2), (0.5, 2), (-5, 5))
    ]
    expected = (draw[0], (round(draw[1]), round(draw[2])), draw[3], (draw[4], 0.0))
    torch.manual_seed(3)
    assert T.RandomAffine.get_params((-10, 10), (0.1, 0.2), (0.5, 2), (-5, 5), [60, 10]) == expected
    assert T.RandomAffine(10, translate=(0.1, 0.2), shear=(1, 2, 3, 4))(colour()).size == colour().size


def test_color_jitter_draws_an_order_and_then_factors():
    torch.manual_seed(3)
    order, factor = torch.randperm(4).tolist(), torch.empty(1).uniform_(0.6, 1.4).item()
    torch.manual_seed(3)
    assert T.ColorJitter.get_params((0.6, 1.4), None, None, None) == (order, factor, None, None, None)
    assert T.ColorJitter(0.5, 0.5, 0.5, 0.1)(colour()).size == colour().size
    assert T.ColorJitter().hue is None and T.ColorJitter(2.0).brightness == (0.0, 3.0)
    with pytest.raises(ValueError, match=r"hue values should be between \(-0.5, 0.5\)"):
        T.ColorJitter(hue=1.0)


def test_choosing_among_transforms():
    pad, crop = T.Pad(1), T.CenterCrop(2)
    random.seed(0)
    sizes = {T.RandomChoice([pad, crop])(grey()).size for _ in range(20)}
    assert sizes == {(8, 6), (2, 2)}
    assert {T.RandomOrder([pad, crop])(grey()).size for _ in range(20)} == {(4, 4), (2, 2)}
    assert {T.RandomApply([pad, pad], p=0.5)(grey()).size for _ in range(20)} == {(10, 8), (6, 4)}
    assert T.RandomApply([pad], p=1.0)(grey()).size == (8, 6)
    assert same(T.RandomInvert(1.0)(grey()), ImageOps.invert(grey()))
    assert T.RandomGrayscale(1.0)(colour()).mode == "RGB"


# -- text


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (T.ToPILImage(), "ToPILImage()"),
        (T.ToPILImage("RGB"), "ToPILImage(mode=RGB)"),
        (T.Lambda(abs), "Lambda()"),
        (T.Normalize((0.5,), [0.25]), "Normalize(mean=(0.5,), std=[0.25])"),
        (T.ConvertImageDtype(torch.float64), "ConvertImageDtype()"),
        (T.Resize(28), "Resize(size=28, interpolation=bilinear, max_size=None, antialias=True)"),
        (T.CenterCrop(24), "CenterCrop(size=(24, 24))"),
        (T.Pad(2), "Pad(padding=2, fill=0, padding_mode=constant)"),
        (T.RandomCrop(28, padding=4), "RandomCrop(size=(28, 28), padding=4)"),
        (T.RandomHorizontalFlip(), "RandomHorizontalFlip(p=0.5)"),
        (
            T.RandomResizedCrop(9),
            "RandomResizedCrop(size=(9, 9), scale=(0.08, 1.0), ratio=(0.75, 1.3333), interpolation=bilinear, "
            "antialias=True)",
        ),
        (
            T.RandomRotation(10),
            "RandomRotation(degrees=[-10.0, 10.0], interpolation=nearest, expand=False, fill=0)",
        ),
        (
            T.RandomRotation((1, 2), center=(3, 4)),
            "RandomRotation(degrees=[1.0, 2.0], interpolation=nearest, expand=False, center=(3, 4), fill=0)",
        ),
        (
            T.RandomAffine(10, (0.1, 0.2), (0.5, 2), 3, T.InterpolationMode.BILINEAR, 1),
            "RandomAffine(degrees=[-10.0, 10.0], translate=(0.1, 0.2), scale=(0.5, 2), shear=[-3.0, 3.0], "
            "interpolation=bilinear, fill=1)",
        ),
        (T.Grayscale(), "Grayscale(num_output_channels=1)"),
        (T.RandomGrayscale(), "RandomGrayscale(p=0.1)"),
        (T.ColorJitter(0.5), "ColorJitter(brightness=(0.5, 1.5), contrast=None, saturation=None, hue=None)"),
        (T.RandomApply([T.ToTensor()], p=0.3), "RandomApply(\n    p=0.3\n    ToTensor()\n)"),
        (T.RandomOrder([T.ToTensor()]), "RandomOrder(\n    ToTensor()\n)"),
        (T.RandomChoice([T.ToTensor()]), "RandomChoice(\n    ToTensor()\n)(p=None)"),
        (T.Compose([]), "Compose(\n)"),
    ],
)
def test_printed_text(transform, text):
    assert repr(transform) == text
