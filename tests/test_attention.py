"""Attention and transformers by what must hold for them, and in compiled steps: equal and all native."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from rushlight import Tensor, nn, optim
from rushlight.nn import functional as F

# -- what must hold ------------------------------------------------------------------------------------------


def test_heads_attend_by_themselves() -> None:
    """Two heads are two attentions of half the width each."""
    rl.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, bias=False)
    x = rl.randn(5, 3, 8)
    found, weights = layer(x, x, x, average_attn_weights=False)
    q, k, v = (x @ layer.in_proj_weight.T).transpose(0, 1).chunk(3, -1)
    heads = []
    for part, told in zip((slice(0, 4), slice(4, 8)), weights.unbind(1), strict=True):
        own = F.softmax(q[..., part] @ k[..., part].mT / math.sqrt(4), -1)
        assert rl.allclose(own, told, atol=1e-6)
        heads.append(own @ v[..., part])
    assert rl.allclose(layer.out_proj(rl.cat(heads, -1)).transpose(0, 1), found, atol=1e-6)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_causal_mask_hides_what_comes_later(norm_first: bool) -> None:
    rl.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=norm_first)
    net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    x = rl.randn(2, 6, 8)
    other = rl.cat([x[:, :4], rl.randn(2, 2, 8)], 1)
    for way in ({"mask": mask}, {"mask": mask, "is_causal": True}, {"mask": mask == -math.inf}):
        one, two = net(x, **way), net(other, **way)
        assert rl.allclose(one[:, :4], two[:, :4], atol=1e-6)
        assert not rl.allclose(one[:, 4:], two[:, 4:], atol=1e-2)


def test_padding_is_not_attended_to() -> None:
    rl.manual_seed(0)
    net = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
    source, target = rl.randn(2, 5, 8), rl.randn(2, 4, 8)
    hidden = rl.tensor([[False, False, False, True, True], [False] * 5])
    other = source.clone()
    other[0, 3:] = 7.0
    masks = {"src_key_padding_mask": hidden, "memory_key_padding_mask": hidden}
    assert rl.allclose(net(source, target, **masks), net(other, target, **masks), atol=1e-6)
    assert not rl.allclose(net(source, target), net(other, target), atol=1e-3)


def test_one_sequence_is_a_batch_of_one() -> None:
    rl.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True)
    x = rl.randn(5, 8)
    alone, batch = layer(x, x, x), layer(x[None], x[None], x[None])
    assert rl.allclose(alone[0], batch[0][0], atol=1e-6)
    assert rl.allclose(alone[1], batch[1][0], atol=1e-6)


def test_an_attention_that_fails_says_where() -> None:
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    with pytest.raises(RuntimeError, match=r"(?s)The shape of the 2D attn_mask.*net\.layers\.0\.self_attn"):
        net(rl.zeros(1, 3, 8), rl.zeros(2, 2))


# -- in compiled steps ---------------------------------------------------------------------------------------


class Gpt(nn.Module):
    """A small GPT as it is mostly written: a triangle as a buffer, places as an embedding."""

    class Block(nn.Module):
        def __init__(self, wide: int, heads: int, context: int) -> None:
            super().__init__()
            self.heads = heads
            self.before, self.between = nn.LayerNorm(wide), nn.LayerNorm(wide)
            self.all, self.last = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)
            self.drop = nn.Dropout(0.1)
            self.network = nn.Sequential(nn.Linear(wide, 4 * wide), nn.GELU(), nn.Linear(4 * wide, wide))
            self.register_buffer("seen", rl.tril(rl.ones(context, context)).view(1, 1, context, context))

        def forward(self, x: Tensor) -> Tensor:
            size, length, wide = x.shape
            parts = self.all(self.before(x)).split(wide, 2)
            q, k, v = (each.view(size, length, self.heads, -1).transpose(1, 2) for each in parts)
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            scores = scores.masked_fill(self.seen[:, :, :length, :length] == 0, float("-inf"))
            found = self.drop(F.softmax(scores, dim=-1)) @ v
            x = x + self.last(found.transpose(1, 2).contiguous().view(size, length, wide))
            return x + self.network(self.between(x))

    def __init__(self, letters: int = 11, wide: int = 16, heads: int = 4, context: int = 8) -> None:
        super().__init__()
        self.letter, self.place = nn.Embedding(letters, wide), nn.Embedding(context, wide)
        self.blocks = nn.Sequential(*[self.Block(wide, heads, context) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(wide), nn.Linear(wide, letters, bias=False)

    def forward(self, letters: Tensor) -> Tensor:
        x = self.letter(letters) + self.place(rl.arange(letters.shape[1]))
        return self.head(self.norm(self.blocks(x)))


class Translator(nn.Module):
    """`nn.Transformer` between embeddings, with masks that are made in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.letter = nn.Embedding(11, 16)
        self.transformer = nn.Transformer(16, 2, 1, 1, 24, batch_first=True)
        self.head = nn.Linear(16, 11)

    def forward(self, letters: Tensor) -> Tensor:
        x = self.letter(letters)
        hidden = rl.arange(letters.shape[1]) >= letters[:, :1] + 1
        mask = nn.Transformer.generate_square_subsequent_mask(letters.shape[1])
        seen = self.transformer(
            x, x, tgt_mask=mask, src_key_padding_mask=hidden, memory_key_padding_mask=hidden
        )
        return self.head(seen)


class Heads(nn.Module):
    """Attention with weights, with one more key, and of tensors that are not laid out in order."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.letter = nn.Embedding(11, 16)
        self.attention = nn.MultiheadAttention(16, 4, dropout=0.2, batch_first=True, **options)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(16, 11)

    def forward(self, letters: Tensor) -> Tensor:
        x = self.letter(letters)
        mask = rl.ones(x.shape[1], x.shape[1], dtype=rl.bool).triu(1)
        found, weights = self.attention(x, x, x, attn_mask=mask)
        return self.head(self.drop(found)) + weights.mean()


NETS: dict[str, Callable[[], nn.Module]] = {
    "gpt": Gpt,
    "translator": Translator,
    "heads": Heads,
    "more keys": lambda: Heads(add_bias_kv=True, add_zero_attn=True),
}


@pytest.mark.parametrize("name", NETS)
def test_training_in_a_compiled_step(name: str) -> None:
    """Losses, weights and dropout are those of the plain step, and nothing is left to NumPy."""

    def train(compiled: bool) -> tuple[list[float], list[Tensor], str]:
        rl.manual_seed(1)
        net = NETS[name]()
        # biases of keys change nothing: without eps their steps would be those of rounding errors
        optimizer = optim.AdamW(net.parameters(), lr=1e-2, eps=1e-3)

        def step(given: Tensor, wanted: Tensor) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(given).flatten(0, 1), wanted.flatten())
            loss.backward()
            optimizer.step()
            return loss

        run = rl.compile(step) if compiled else step
        losses = []
        for _ in range(4):
            letters = rl.randint(0, 11, (3, 9))
            losses.append(run(letters[:, :-1], letters[:, 1:]).item())
        return losses, list(net.parameters()), str(run.explain()) if compiled else ""

    (plain, weights, _), (fast, same, told) = train(False), train(True)
    assert fast == pytest.approx(plain, abs=1e-5)
    for one, two in zip(weights, same, strict=True):
        assert rl.allclose(one, two, atol=1e-4)
    assert told.count("recorded because") == 1
    assert "by NumPy:" not in told


def test_evaluation_in_a_compiled_function() -> None:
    """Whether padding is at the end is a matter of values: one program does for both."""
    rl.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    net = nn.TransformerEncoder(layer, 2).eval()

    def evaluate(x: Tensor, hidden: Tensor) -> Tensor:
        with rl.no_grad():
            return net(x, src_key_padding_mask=hidden)

    fast = rl.compile(evaluate)
    hidden = rl.tensor([[False, False, True, True], [False] * 4])
    for mask, zeros in ((hidden, 16), (hidden.flip(1), 0), (hidden, 16)):
        x = rl.randn(2, 4, 8)
        assert rl.allclose(fast(x, mask), evaluate(x, mask), atol=1e-6)
        assert int((fast(x, mask) == 0).sum()) == zeros
    assert str(fast.explain()).count("recorded because") == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: rl.arange(7),
        lambda: rl.arange(2.5, 9),
        lambda: rl.arange(0, 1, 0.1),
        lambda: rl.arange(10, -5, -3, dtype=rl.int32),
        lambda: rl.arange(0, 5, dtype=rl.float64),
        lambda: rl.arange(200, 260, dtype=rl.uint8),
        lambda: rl.arange(3).float() + rl.arange(0.0, 0.9, 0.3),
    ],
)
def test_ranges_in_native_code(call: Callable[[], Tensor]) -> None:
    fast = rl.compile(call)
    assert rl.equal(fast(), call())
    assert rl.equal(fast(), call())
    assert fast().dtype is call().dtype
    assert "by NumPy:" not in str(fast.explain())
