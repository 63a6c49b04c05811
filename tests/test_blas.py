"""The threads of NumPy's matrix products."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from rushlight import blas
from rushlight.cli import main


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[[], int], Callable[[int], None]]:
    """The functions that tell and set the number of threads, and an environment that says nothing of it."""
    found = blas._switch()
    if found is None:
        pytest.skip("NumPy did not bring its BLAS along")
    for name in blas.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return found


def test_products_have_one_thread_in_the_block_and_as_many_as_before_after_it(
    switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the environment says otherwise; also after an error."""
    count, change = switch
    before = count()
    try:
        change(2)
        many = count()
        with pytest.raises(KeyError), blas.one_thread():
            assert count() == 1
            raise KeyError
        assert count() == many
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
        with blas.one_thread():
            assert count() == many
    finally:
        change(before)


def test_commands_use_it_and_scripts_decide_for_themselves(
    switch, monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rushlight run` leaves NumPy as it is."""
    seen: list[int] = []
    monkeypatch.setattr("rushlight.cli.images.train", lambda options: seen.append(switch[0]()) or 0)
    assert main(["train", "mnist"]) == 0
    assert seen == [1]
    before = switch[0]()
    script = tmp_path / "script.py"
    script.write_text("from rushlight import blas\nprint('threads', blas._switch()[0]())\n")
    monkeypatch.setattr("sys.argv", ["script.py"])
    monkeypatch.setattr("sys.path", ["", *sys.path])
    monkeypatch.setattr("rushlight.alias.install", lambda: None)
    assert main(["run", str(script)]) == 0
    assert capsys.readouterr().out == f"threads {before}\n"
