"""The house rules that a machine can check: light imports, short files, a clean wheel, documents that agree.

Files are listed by git, tracked or about to be, so that what .gitignore names does not count.
"""

import ast
import functools
import gzip
import hashlib
import importlib.util
import re
import struct
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import rushlight

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 500
HEAVY = ("torch", "matplotlib", "rich", "safetensors", "PIL", "pandas", "polars", "llvmlite", "IPython")


def tracked(pattern: str) -> list[Path]:
    """Return the existing files git tracks, or would add, that match a git path pattern."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", pattern]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [ROOT / name for name in output.split("\0") if name]
    return sorted({path for path in paths if path.exists()})


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text("utf-8"))


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def shell_lines(markdown: Path) -> list[str]:
    """Return the command lines of a Markdown file's fenced shell blocks, in order."""
    if not markdown.exists():
        pytest.skip(f"{markdown.name} is not written")
    blocks = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", markdown.read_text("utf-8"), re.M | re.S)
    return [
        line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines() if line.strip()
    ]


def test_import_brings_in_nothing_but_numpy():
    code = f"import sys, rushlight; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_only_the_declared_dependencies_are_imported():
    standard = sys.stdlib_module_names
    allowed = {
        "rushlight",
        "numpy",
        "safetensors",
        "rich",
        "IPython",
        "tensorboardX",
        "matplotlib",
        "PIL",
        "pandas",
        "polars",
        "llvmlite",
    }
    strangers = {}
    for path in tracked("rushlight/*.py"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            else:
                continue
            for top in {name.split(".")[0] for name in names} - allowed - standard:
                strangers[f"{path.relative_to(ROOT)}:{node.lineno}"] = top
    assert strangers == {}


@pytest.mark.parametrize("folder", ["rushlight", "tests", "benchmarks"])
def test_no_file_is_too_long(folder):
    lengths = {
        str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in tracked(f"{folder}/*.py")
    }
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_every_module_opens_with_a_docstring():
    modules = tracked("rushlight/*.py")
    assert modules
    silent = [p for p in modules if not (ast.get_docstring(parsed(p)) or "").strip()]
    assert [str(path.relative_to(ROOT)) for path in silent] == []


def test_nothing_is_left_for_later():
    marker = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = []
    for path in tracked("rushlight/*.py"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if marker.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_version_is_the_same_everywhere():
    assert rushlight.__version__ == project()["version"]


def test_changelog_knows_the_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] == "Unreleased" or headings[0] == project()["version"]
    assert len(headings) == len(set(headings))


def test_readme_and_check_script_run_the_same_test_command():
    commands = [part for line in shell_lines(ROOT / "README.md") for part in line.split(" && ")]
    test_commands = [
        part for part in commands if re.search(r"\bpytest\b", part) and "pip install" not in part
    ]
    script = [line.strip() for line in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()]
    assert test_commands, "the README tells no test command"
    assert test_commands[0] in script


def test_readme_begins_with_training_on_digits():
    commands = shell_lines(ROOT / "README.md")
    train = [line for line in commands if "pip install" in line or line.startswith("rushlight")]
    assert train[0] == "python -m pip install . && rushlight train mnist"


def test_extras_named_in_the_documents_exist():
    extras = set(project()["optional-dependencies"])
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run"]:
        text = path.read_text("utf-8") if path.exists() else ""
        for group in re.findall(r"\.\[([\w,-]+)\]", text):
            assert set(group.split(",")) <= extras, path.name


def test_links_between_documents_lead_somewhere():
    broken = []
    for path in tracked("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_wheel_holds_the_package_and_nothing_else(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs hatchling, from the test extra")
    if not (ROOT / "README.md").exists():
        pytest.skip("README.md is not written")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    metadata = f"rushlight-{rushlight.__version__}.dist-info/"
    assert "rushlight/__init__.py" in names
    assert [name for name in names if not name.startswith(("rushlight/", metadata))] == []
    code = [name for name in names if not name.startswith(metadata)]
    assert [name for name in code if not name.endswith(".py")] == []
    assert wheel.stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("train-images-idx3-ubyte.gz", (60000, 28, 28)),
        ("train-labels-idx1-ubyte.gz", (60000,)),
        ("t10k-images-idx3-ubyte.gz", (10000, 28, 28)),
        ("t10k-labels-idx1-ubyte.gz", (10000,)),
    ],
)
def test_shipped_digits_are_the_files_their_readme_describes(name, shape):
    folder = ROOT / "data" / "mnist"
    document = (folder / "README.md").read_text("utf-8")
    content = (folder / name).read_bytes()
    assert f"{hashlib.md5(content).hexdigest()}  {name}" in document
    assert f"{hashlib.sha256(content).hexdigest()}  {name}" in document
    assert f"`{name}` | {' x '.join(map(str, shape))} | {len(content)} |" in document
    values = gzip.decompress(content)
    header = struct.unpack(f">BBBB{len(shape)}I", values[: 4 + 4 * len(shape)])
    assert header == (0, 0, 8, len(shape), *shape)
