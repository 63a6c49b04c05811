"""Printing without PyTorch at hand: pinned texts, options and their scope, the cost of large tensors."""

import math
import time

import numpy as np
import pytest

import rushlight
from rushlight.printing import array_text, get_printoptions, printoptions, set_printoptions


@pytest.fixture(autouse=True)
def default_options():
    """Every test starts and ends with the default options."""
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.5, -1.25], "[ 0.5000, -1.2500]"),
        ([1.0, 20.0], "[ 1., 20.]"),
        ([1e-5, 1.0], "[1.0000e-05, 1.0000e+00]"),
        ([math.nan, math.inf, 2.0], "[nan, inf, 2.]"),
        ([math.nan, -math.inf, 0.5], "[   nan,   -inf, 0.5000]"),
        ([-0.0, 0.0], "[-0., 0.]"),
        ([1, 10, -3], "[ 1, 10, -3]"),
        ([True, False], "[ True, False]"),
        ([[1, 2], [3, 4]], "[[1, 2],\n [3, 4]]"),
        ([[[1], [2]], [[3], [4]]], "[[[1],\n  [2]],\n\n [[3],\n  [4]]]"),
        ([], "[]"),
        (7.25, "7.2500"),
    ],
)
def test_array_text(values, text):
    assert array_text(np.array(values)) == text


def test_lines_break_at_the_line_width_and_keep_the_indent():
    set_printoptions(linewidth=20)
    assert array_text(np.arange(9), indent=7) == "[0, 1, 2, 3,\n        4, 5, 6, 7,\n        8]"


def test_above_the_threshold_only_the_edges_are_shown():
    set_printoptions(threshold=10, edgeitems=2)
    assert array_text(np.arange(30).reshape(6, 5)) == (
        "[[ 0,  1,  ...,  3,  4],\n"
        " [ 5,  6,  ...,  8,  9],\n"
        " ...,\n"
        " [20, 21,  ..., 23, 24],\n"
        " [25, 26,  ..., 28, 29]]"
    )


def test_hidden_numbers_do_not_widen_the_columns():
    values = np.ones(2000)
    values[1000] = 123456.5
    assert array_text(values) == "[1., 1., 1.,  ..., 1., 1., 1.]"


def test_tensor_text():
    assert repr(rushlight.tensor([1.0, 2.5])) == "tensor([1.0000, 2.5000])"
    assert repr(rushlight.zeros(2, 0)) == "tensor([], size=(2, 0))"
    assert repr(rushlight.tensor([1.0], dtype=rushlight.float64)) == "tensor([1.], dtype=torch.float64)"
    leaf = rushlight.tensor([1.0, 2.0], requires_grad=True)
    assert repr(leaf) == "tensor([1., 2.], requires_grad=True)"
    assert repr(leaf * 2) == "tensor([2., 4.], grad_fn=<MulBackward0>)"


def test_facts_go_to_a_new_line_when_the_line_is_full():
    row = rushlight.full((9,), 0.125, requires_grad=True)
    assert repr(row).endswith("0.1250],\n       requires_grad=True)")


def test_a_subclass_prints_its_own_name():
    class Measured(rushlight.Tensor):
        pass

    assert repr(Measured([1.0, 2.0])) == "Measured([1., 2.])"


def test_format():
    assert f"{rushlight.tensor(3.14159):.2f}" == "3.14"
    assert f"{rushlight.ones(2)}" == "tensor([1., 1.])"
    with pytest.raises(TypeError, match=r"unsupported format string passed to Tensor\.__format__"):
        format(rushlight.ones(2), ".2f")


def test_options_are_kept_until_changed_except_sci_mode():
    set_printoptions(precision=2, sci_mode=True)
    set_printoptions(edgeitems=1)
    assert get_printoptions() == {
        "precision": 2, "threshold": 1000, "edgeitems": 1, "linewidth": 80, "sci_mode": None,
    }  # fmt: skip


def test_printoptions_end_with_their_block():
    before = get_printoptions()
    with pytest.raises(KeyError), printoptions(profile="full", precision=1):
        assert array_text(np.arange(2000)).endswith("1999]")
        raise KeyError
    assert get_printoptions() == before


def test_an_unknown_profile_is_refused_and_changes_nothing():
    before = get_printoptions()
    with pytest.raises(ValueError, match=r"'default', 'short', 'full', got 'long'"):
        set_printoptions(profile="long", precision=1)
    assert get_printoptions() == before


@pytest.mark.parametrize("shape", [(60_000, 784), (10, 4_000_000)])
def test_a_large_tensor_prints_at_once(shape):
    large = np.broadcast_to(np.float32(0.5), shape)
    start = time.process_time()
    text = array_text(large)
    assert time.process_time() - start < 0.25
    assert text.count("0.5000") == 36


def test_given_contents_stand_for_the_numbers():
    assert rushlight.ones(2, dtype=rushlight.float64).__repr__(tensor_contents="...") == (
        "tensor(..., dtype=torch.float64)"
    )
