"""The switches of PyTorch's backends that scripts set or read at their start, for a library that has none.

A switch keeps what it is set to, as in a CPU build of PyTorch, and only ``mha`` changes anything: results
here are the same from run to run without ``cudnn.deterministic``. Setting a name that is no switch raises
AttributeError.
"""

from __future__ import annotations


class _Matmul:
    __slots__ = ("allow_tf32",)

    def __init__(self) -> None:
        self.allow_tf32 = False


class _Cuda:
    __slots__ = ("matmul",)

    def __init__(self) -> None:
        self.matmul = _Matmul()

    def is_built(self) -> bool:
        """False: CUDA is no part of Rushlight."""
        return False


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
