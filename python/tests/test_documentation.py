"""The examples in the documentation run."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rust_tango
from conftest import LONG

CLASSES = [getattr(rust_tango, name) for name in rust_tango.__all__]
DOCS = Path(__file__).parents[2] / "docs" / "python.md"


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(rust_tango, module=False)
    return [pytest.param(test, id=test.name) for test in found if test.examples]


@pytest.mark.parametrize("test", examples())
def test_docstrings(test):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(test).failed == 0


def test_everything_public_has_a_docstring():
    missing = [
        f"{each.__name__}.{name}"
        for each in CLASSES
        for name, value in vars(each).items()
        if not name.startswith("_") and each.__module__ == "rust_tango" and not value.__doc__
    ]
    assert missing == []


def snippets():
    found = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    return [pytest.param(program, id=str(at)) for at, program in enumerate(found)]


@pytest.mark.parametrize("program", snippets())
def test_programs_of_the_guide(program, tmp_path):
    file = tmp_path / "program.py"
    file.write_text(program)
    done = subprocess.run([sys.executable, file], timeout=LONG, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
