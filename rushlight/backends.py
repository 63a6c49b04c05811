"""The switches of PyTorch's backends that scripts set or read at their start, for a library that has none.

A switch keeps what it is set to, as in a CPU build of PyTorch, and only those of attention change anything:
results here are the same from run to run without ``cudnn.deterministic``. Setting a name that is no switch
raises AttributeError.
"""

from __future__ import annotations


class _Matmul:
    __slots__ = ("allow_tf32",)

    def __init__(self) -> None:
        self.allow_tf32 = False


# The ways of attention, in PyTorch's order, by the names of their switches.
WAYS_OF_ATTENTION = ("cudnn", "flash", "mem_efficient", "math", "overrideable")


class _Cuda:
    """Switches of CUDA; those of attention are here, too, and count on a CPU (see `nn.attention`)."""

    __slots__ = ("attention", "matmul")

    def __init__(self) -> None:
        self.matmul = _Matmul()
        self.attention = set(WAYS_OF_ATTENTION)

    def is_built(self) -> bool:
        """False: CUDA is no part of Rushlight."""
        return False

    def flash_sdp_enabled(self) -> bool:
        """Whether attention may be computed in PyTorch's usual way, whose derivative has none."""
        return "flash" in self.attention

    def enable_flash_sdp(self, enabled: bool) -> None:
        """Say whether it may."""
        self._switch("flash", enabled)

    def math_sdp_enabled(self) -> bool:
        """Whether attention may be computed by its formula."""
        return "math" in self.attention

    def enable_math_sdp(self, enabled: bool) -> None:
        """Say whether it may."""
        self._switch("math", enabled)

    def mem_efficient_sdp_enabled(self) -> bool:
        """Whether attention may be computed in a way that only CUDA has."""
        return "mem_efficient" in self.attention

    def enable_mem_efficient_sdp(self, enabled: bool) -> None:
        """Say whether it may."""
        self._switch("mem_efficient", enabled)

    def cudnn_sdp_enabled(self) -> bool:
        """Whether cuDNN may compute attention, where there is one."""
        return "cudnn" in self.attention

    def enable_cudnn_sdp(self, enabled: bool) -> None:
        """Say whether it may."""
        self._switch("cudnn", enabled)

    def _switch(self, way: str, enabled: bool) -> None:
        if enabled:
            self.attention.add(way)
        else:
            self.attention.discard(way)


class _Cudnn:
    __slots__ = ("allow_tf32", "benchmark", "deterministic", "enabled")

    def __init__(self) -> None:
        self.enabled = True
        self.deterministic = False
        self.benchmark = False
        self.allow_tf32 = True

    def is_available(self) -> bool:
        """False: there is no cuDNN."""
        return False

    def version(self) -> None:
        """The version of cuDNN: None, for there is none."""
        return None


class _Mha:
    """Whether a `nn.TransformerEncoder` may leave padding out in evaluation."""

    __slots__ = ("_enabled",)

    def __init__(self) -> None:
        self._enabled = True

    def get_fastpath_enabled(self) -> bool:
        """Whether it may."""
        return self._enabled

    def set_fastpath_enabled(self, value: bool) -> None:
        """Say whether it may."""
        self._enabled = value


class _Mps:
    __slots__ = ()

    def is_available(self) -> bool:
        """False: Apple's graphics processors are not used."""
        return False

    def is_built(self) -> bool:
        """False: they are no part of Rushlight."""
        return False


cuda = _Cuda()
cudnn = _Cudnn()
mha = _Mha()
mps = _Mps()
