"""Compiling: a whole training step as one program.

`record` notes one real run, `program` is what was noted, `replay` runs it call by call, and `compiled` is
the function users call.
"""

from rushlight.compile.compiled import CompiledFunction as CompiledFunction
from rushlight.compile.compiled import compile as compile
from rushlight.compile.record import RecordingError as RecordingError
