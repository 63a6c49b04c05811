"""Functions that C code of programs needs and math.h lacks.

Invariant: each does what the eager op does, but for rounding, and never stops the process: whole numbers
divided by 0 give 0.
"""

from __future__ import annotations

from rushlight.compile.expr import is_float

TYPES = {
    "b1": "bool",
    "u1": "uint8_t",
    "i1": "int8_t",
    "i2": "int16_t",
    "i4": "int32_t",
    "i8": "int64_t",
    "f4": "float",
    "f8": "double",
}

# TYPE is the type of numbers, KIND its short name, and @ what math.h adds to names for it.
HELPERS = {
    "within": """
/* A row number for sure: numbers outside of 0 .. bound - 1 count as 0. */
static int64_t within(int64_t number, int64_t bound) { return number >= 0 && number < bound ? number : 0; }
""",
    "maximum": """
/* The greater; NaN if either is. */
static TYPE maximum_KIND(TYPE a, TYPE b) { return a != a || a > b ? a : b; }
""",
    "minimum": """
/* The lesser; NaN if either is. */
static TYPE minimum_KIND(TYPE a, TYPE b) { return a != a || a < b ? a : b; }
""",
    "fmax": """
/* The greater; where one is NaN the other. */
static TYPE fmax_KIND(TYPE a, TYPE b) { return b != b || a > b ? a : b; }
""",
    "fmin": """
/* The lesser; where one is NaN the other. */
static TYPE fmin_KIND(TYPE a, TYPE b) { return b != b || a < b ? a : b; }
""",
    "sign": """
static TYPE sign_KIND(TYPE x) { return (TYPE)((x > 0) - (x < 0)); }
""",
    "abs": """
static TYPE abs_KIND(TYPE x) { return (TYPE)(x < 0 ? -x : x); }
""",
    "sigmoid": """
static TYPE sigmoid_KIND(TYPE x) { return 1 / (1 + exp@(-x)); }
""",
    "logaddexp": """
/* log(exp(a) + exp(b)) */
static TYPE logaddexp_KIND(TYPE a, TYPE b)
{
    return (a > b ? a : b) + log1p@(exp@(a == b ? 0 : -fabs@(a - b)));
}
""",
    "logaddexp2": """
/* log2(2**a + 2**b) */
static TYPE logaddexp2_KIND(TYPE a, TYPE b)
{
    return (a > b ? a : b) + log1p@(exp2@(a == b ? 0 : -fabs@(a - b))) * (TYPE)1.4426950408889634;
}
""",
    "fmod": """
/* The remainder of division rounded towards zero; 0 for division by 0. */
static TYPE fmod_KIND(TYPE a, TYPE b) { return b == 0 || b == -1 ? 0 : a % b; }
""",
    "trunc_divide": """
/* The quotient rounded towards zero; 0 for division by 0. */
static TYPE trunc_divide_KIND(TYPE a, TYPE b) { return b == 0 ? 0 : b == -1 ? (TYPE)-a : a / b; }
""",
    "remainder": """
/* The remainder with the sign of b; 0 for division by 0. */
static TYPE remainder_KIND(TYPE a, TYPE b)
{
    TYPE rest = b == 0 || b == -1 ? 0 : a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
""",
    "floor_divide": """
/* The quotient rounded down; 0 for division by 0. */
static TYPE floor_divide_KIND(TYPE a, TYPE b)
{
    if (b == 0 || b == -1)
        return (TYPE)(a * b);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
""",
    "trunc_divide of floats": """
/* The quotient rounded towards zero. */
static TYPE trunc_divide_KIND(TYPE a, TYPE b) { return trunc@(a / b); }
""",
    "remainder of floats": """
/* The remainder with the sign of b. */
static TYPE remainder_KIND(TYPE a, TYPE b)
{
    TYPE rest = fmod@(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
""",
    "floor_divide of floats": """
/* The quotient rounded down, from the exact remainder. */
static TYPE floor_divide_KIND(TYPE a, TYPE b)
{
    TYPE rest = fmod@(a, b);
    if (b == 0)
        return a / b;
    TYPE quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0))
        quotient -= 1;
    if (quotient == 0)
        return copysign@(0, a / b);
    TYPE below = floor@(quotient);
    return quotient - below > (TYPE)0.5 ? below + 1 : below;
}
""",
    "power": """
static TYPE power_KIND(TYPE base, TYPE exponent)
{
    TYPE result = 1;
    for (; exponent > 0; exponent >>= 1, base = (TYPE)(base * base))
        if (exponent & 1)
            result = (TYPE)(result * base);
    return result;
}
""",
    "random_bits": """
/* 32 random bits of the Mersenne Twister: 624 words, and then how many of them are used up. */
static uint32_t random_bits(uint32_t *state)
{
    if (state[624] >= 624) {
        for (int i = 0; i < 624; i++) {
            uint32_t joined = (state[i] & 0x80000000u) | (state[(i + 1) % 624] & 0x7fffffffu);
            state[i] = state[(i + 397) % 624] ^ (joined >> 1) ^ (joined & 1 ? 0x9908b0dfu : 0);
        }
        state[624] = 0;
    }
    uint32_t word = state[state[624]++];
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680u;
    word ^= (word << 15) & 0xefc60000u;
    return word ^ (word >> 18);
}
""",
    "random_f32": """
/* A random number in [0, 1). */
static float random_f32(void *state) { return (random_bits(state) & 0xffffff) * 0x1p-24f; }
""",
    "random_f64": """
/* A random number in [0, 1). */
static double random_f64(void *state)
{
    uint64_t high = random_bits(state);
    uint64_t word = (high << 32) | random_bits(state);
    return (double)(word & 0x1fffffffffffff) * 0x1p-53;
}
""",
}


class Helpers:
    """The functions that a text needs besides math.h, each once."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def need(self, name: str, kind: str = "") -> str:
        """The C name of a helper for a kind of numbers."""
        short = short_name(kind)
        c_name = f"{name}_{short}" if kind else name
        if c_name not in self.texts:
            of_floats = f"{name} of floats"
            text = HELPERS[of_floats if kind and is_float(kind) and of_floats in HELPERS else name]
            if kind:
                text = text.replace("TYPE", TYPES[kind]).replace("KIND", short)
                text = text.replace("@", suffix(kind))
            self.texts[c_name] = text
        return c_name


def suffix(kind: str) -> str:
    """What math.h and numbers add for a kind."""
    return "f" if kind == "f4" else ""


def short_name(kind: str) -> str:
    """The name of a kind by its bits: "f4" is f32."""
    return "bool" if kind == "b1" else f"{kind[:1]}{8 * int(kind[1:] or 0)}"
