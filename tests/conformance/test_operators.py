"""Python's operators on tensors, numbers, arrays and strangers: results and errors as PyTorch's.

Every line holds expressions of `x` (floats), `i` (int64), `b` (bools), `u` (uint8), `n` (a NumPy array) and
others, which are evaluated under both libraries.
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

import rushlight
from tests.conformance.matrix import array_of, is_tensor

EXPRESSIONS = """
x + i; x - i; x * i; x / i; x // i; x % i; x ** i; i / i; i // i; i % i; i ** i
x + 1; 1 + x; x - 1; 1 - x; x * 2; 2 * x; x / 2; 2 / x; x // 2; 2 // x; x % 2; 2 % x; x ** 2; 2 ** x
i + 1; 1 + i; i - 1; 1 - i; i * 2; 2 * i; i / 2; 2 / i; i // 2; 2 // i; i % 2; 5 % i; i ** 2; 2 ** i
i + 1.5; 1.5 - i; i * 2.5; i // 2.5; 2.5 % i; i ** 0.5; 2.5 ** i; u + 300; u * -1; -u; u - 5
x + True; True * x; i + True; b + 1; b * 2; b + b; b * b; b + True; b / 2; b ** 2
x - True; b - b; b - 1; 1 - b; x - b; -b; +b; abs(b); b // 1; b % 1; b ** b; i // 0; i % 0; i ** -1
-x; +x; abs(x); abs(-i); ~b; ~i; ~u; ~x; +i
x == i; x != i; x < i; x <= i; x > i; x >= i; x == 2; 2 == x; x != 2; 1 < x; 1 >= x; i == 1.5; i < 2.5; u < -1
x == 'a'; x != 'a'; x == None; x != None; x == [1, 2, 3]; x < 'a'; x > None; x <= [1]
b & b; b | b; b ^ b; b & True; True | b; b ^ 1; i & 1; 6 & i; i | 8; 8 ^ i; x & x; x & 1; 1 | x; i & 1.5
i << 1; i >> 1; 1 << i; 16 >> i; i << i; x << 1; b << 1
x + 'a'; 'a' + x; x - None; None - x; x * 'a'; x / 'a'; 'a' / x; x // 'a'; x % 'a'; x ** 'a'; x ** None
x + [1, 2, 3]; [1] + x; x + (1,); b & 'a'; i << 'a'; x + object; pow(x, 2, 3); divmod(x, 2); round(x)
x + n; x - n; x * n; x / n; x // n; x % n; x ** n; x == n; n == x; x < n; n / x; n - x; n * x; n ** x
n // x; n % x; i & n.astype(int); n.astype(int) & i; x @ n; n @ x; r + n; n * r
x + s; s + x; s - x; x - s; s * x; s / x; x / s; s // x; x // s; s ** x; x ** s; x < s; s < x; s == x; x == s
k + i; i + k; i & k; k & i; i << k; x * k; k * x; x + np.bool_(True); np.float32(2.5) * x
x + stranger; x == stranger; x != stranger; x < stranger; stranger + x
b ** True; b ** False; x ** 0; x ** False; x.__rsub__(2); x.__rpow__(2); x.__radd__('a')
r + 1; 1 + r; r - x; 1 - r; x - r; r * 2; r / 2; 2 / r; x / r; r // 2; 2 // r; r % 2; r % x; 2 % r; r ** 2
2 ** r; x ** r; r ** x; -r; +r; abs(r); r == 1; r < x; ~r; r @ x
z + x; z + i; i + z; z * i; i * zd; x * zd; x + x[:2]; x * x[:2]; x == x[:2]
"""


class Stranger:
    """An operand that knows what to do with anything."""

    __hash__ = None

    def __radd__(self, other):
        return "added"

    def __eq__(self, other):
        return "compared"


def outcome(library, expression):
    """What the expression gives: the value in plain types, or the type of the error and its first line."""
    x = library.tensor([1.0, 2.0, 3.0])
    names = {
        "x": x,
        "r": x.clone().requires_grad_(),
        "i": library.tensor([1, 2, 3]),
        "b": library.tensor([True, False, True]),
        "u": library.tensor([1, 200, 3], dtype=library.uint8),
        "z": library.tensor(2.0),
        "zd": library.tensor(2.0, dtype=library.float64),
        "n": np.array([1.0, 2.5, 4.0]),
        "s": np.float64(2.5),
        "k": np.int64(3),
        "np": np,
        "stranger": Stranger(),
    }
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy tells PyTorch that __array_wrap__ should take more arguments
        try:
            result = eval(expression, names)
        except Exception as error:  # noqa: BLE001 - whatever is raised is compared
            return type(error).__name__, str(error).split("\n")[0].split(". ")[0]
    if is_tensor(result):
        node = result.grad_fn.name().rsplit(":", 1)[-1] if result.grad_fn is not None else None
        return "Tensor", str(result.dtype), array_of(result).tolist(), node
    return type(result).__name__, repr(result)


@pytest.mark.parametrize("line", EXPRESSIONS.strip().split("\n"))
def test_operators_give_what_pytorch_gives(line):
    wrong = []
    for expression in line.split("; "):
        theirs, ours = outcome(torch, expression), outcome(rushlight, expression)
        same = len(ours) == len(theirs) and ours[0] == theirs[0]
        if same and ours[0] == "Tensor":
            same = ours[1::2] == theirs[1::2] and np.allclose(ours[2], theirs[2], rtol=1e-6, equal_nan=True)
        elif same:
            same = ours[1].startswith(theirs[1])
        if not same:
            wrong.append(f"{expression}: {ours} != {theirs}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>"])
@pytest.mark.parametrize("operand", ["2", "2.5", "True", "t[[2, 1, 0]]", "'a'", "t.double()"])
@pytest.mark.parametrize("kind", ["float32", "int64", "uint8", "bool"])
def test_augmented_assignment_changes_the_tensor_itself(kind, operator, operand):
    found = []
    for library in (torch, rushlight):
        t = library.tensor([1, 2, 3]).to(getattr(library, kind))
        same = t
        try:
            exec(f"t {operator}= {operand}", {"t": t})
        except Exception as error:  # noqa: BLE001 - whatever is raised is compared
            found.append((type(error), t.tolist()))
            continue
        found.append((same is t, t.tolist(), t._version))
    assert found[0][0] == found[1][0] or issubclass(found[1][0], found[0][0])
    assert found[0][1:] == found[1][1:]
