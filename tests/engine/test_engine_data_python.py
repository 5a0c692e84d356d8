"""Data that a function of the user's gives: in a worker, with its code in the key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_workspace import Fake

MANIFEST = """
version: 1
project: {name: fake}
models:
  a:
    source: {format: keras, path: models/a.keras}
    data:
      calibration: {python: made.py:calibration, args: {count: 3}}
      test: {python: lib.made:test, samples: 4, labels: word}
    optimizations: {float32: {}, int8: {quantize: int8}}
"""
MADE = """
import numpy as np
import lib.helper

def calibration(count):
    for index in range(count):
        yield lib.helper.scaled(np.array([index, 1], np.float32))
"""
LIB_MADE = """
import numpy as np

def test():
    index = 0
    while True:
        yield {"x": np.float32([index, 2]), "word": np.int64(index % 3)}
        index += 1
"""
HELPER = "def scaled(array):\n    return array * 2\n"


@pytest.fixture
def made(empty: Fake) -> Fake:
    empty.write(
        MANIFEST,
        {"made.py": MADE, "lib/__init__.py": "", "lib/made.py": LIB_MADE, "lib/helper.py": HELPER,
         "lib/other.py": "x = 1\n"},
    )  # fmt: skip
    empty.model("a", 1)
    return empty


def arrays(fake: Fake) -> list[Any]:
    """Every array in the store."""
    found = []
    for path in sorted((fake.root / ".tflbuild/store").rglob("*")):
        if path.is_file() and path.read_bytes()[:6] == b"\x93NUMPY":
            found.append(np.load(path).tolist())
    return sorted(found, key=str)


def test_samples_of_a_generator(made: Fake) -> None:
    result = made.build()
    assert result.ok, [task.reason for task in result.tasks]
    assert arrays(made) == [
        [0, 1, 2, 0],  # labels
        [[0, 2], [1, 2], [2, 2], [3, 2]],
        [[0, 2], [2, 2], [4, 2]],
    ]
    assert made.build().done.reached_graph == 0


def test_several_labels(made: Fake) -> None:
    code = """
import numpy as np

def test():
    for index in range(4):
        yield {"x": np.float32([index, 2]), "word": f"w{index}", "box": np.float32([index, 1])}
"""
    manifest = MANIFEST.replace("labels: word", "labels: {boxes: box, words: word}")
    made.write(manifest, {"lib/made.py": code})
    result = made.build()
    assert result.ok, [task.reason for task in result.tasks]
    found = arrays(made)
    assert [[0, 1], [1, 1], [2, 1], [3, 1]] in found
    assert [b"w0", b"w1", b"w2", b"w3"] in found
    made.write(files={"lib/made.py": code.replace('"box":', '"bax":')})
    (failed,) = (task for task in made.build(keep_going=True).tasks if task.outcome == "failed")
    assert "sample 0 has no 'box'; it has ['bax', 'word', 'x']" in failed.reason


def test_the_key_is_the_code_that_it_imports(made: Fake) -> None:
    assert made.build().ok
    made.write(files={"lib/other.py": "x = 2\n"})
    assert made.build().ran() == []
    made.write(files={"lib/helper.py": HELPER + "# a comment\n"})
    assert made.build().ran() == ["data:a:calibration"]  # the same samples
    made.write(files={"lib/helper.py": HELPER.replace("* 2", "* 3")})
    assert made.build().ran() == ["convert:a:int8", "data:a:calibration"]
    made.write(MANIFEST.replace("count: 3", "count: 4"))
    assert made.build().ran() == ["convert:a:int8", "data:a:calibration"]


def test_files_that_nothing_declares(made: Fake) -> None:
    code = LIB_MADE.replace("    index = 0\n", "    index = int(open(HERE + '/../n.txt').read())\n")
    code = "import os\nHERE = os.path.dirname(__file__)\n" + code
    made.write(files={"lib/made.py": code, "n.txt": "5"})
    (failed,) = (task for task in made.build(keep_going=True).tasks if task.outcome == "failed")
    assert failed.task == "data:a:test"
    assert "reads n.txt, which nothing declares" in failed.reason
    assert "depends: [n.txt]" in failed.reason
    made.write(MANIFEST + "    depends: [n.txt]\n")
    assert made.build().ok
    made.write(files={"n.txt": "6"})
    ran = made.build().ran()
    assert "data:a:test" in ran
    assert "reference:a" in ran


WRONG = [
    ("raise ValueError('no')", "lib/made.py:2: ValueError: no"),
    ("return 7", "the function gives a int, expected an iterable of samples"),
    ("return {'x': [1]}", "the function gives a dict, expected an iterable"),
    ("yield {'x': [1.0], 'word': 1}; yield {'x': [1.0, 2.0], 'word': 1}",
     "sample 1: input 'x' is float64 of shape [2], in the samples before it float64 of shape [1]"),
    ("yield {'x': [1.0], 'word': 1}; yield {'y': [1.0], 'word': 1}",
     "sample 1 has inputs ['y'], those before it ['x']"),
    ("yield {'x': [1.0]}", "sample 0 has no 'word'; it has ['x']"),
    ("yield {'x': [[1.0], [1.0, 2.0]], 'word': 1}", "sample 0: input 'x' is no array"),
    ("yield {'x': object(), 'word': 1}", "sample 0: input 'x' is a object, no array of numbers"),
    ("yield {1: [1.0], 'word': 1}", "sample 0 names an input 1; names are text"),
    ("yield {'x': [1.0], 'word': 1j}", "sample 0: the label must be numbers or text, not complex"),
    ("yield {'x': [1.0], 'word': [[1], [1, 2]]}", "sample 0: the label is no array"),
    ("yield {'x': [1.0], 'word': 1}; yield {'x': [1.0], 'word': [1, 2]}",
     "sample 1: the label is int64 of shape [2], in the samples before it int64 of shape []"),
    ("yield ({'x': [1.0]}, 1)", "sample 0 is a pair (inputs, label): write labels: pair"),
    ("yield {'word': 1}", "sample 0 is empty"),
    ("yield {'x': [1.0], 'word': 1}; 1 / 0", "lib/made.py:2: ZeroDivisionError: division by zero"),
    ("import sys; sys.exit(3)", "ended the process"),
    ("yield from ()", "the data holds no sample"),
    ("yield {'x': [1.0], 'word': 1}", "the data holds 1 samples, fewer than samples: 4"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "says"), WRONG, ids=[w[1][:30] for w in WRONG])
def test_wrong_functions(made: Fake, body: str, says: str) -> None:
    made.write(files={"lib/made.py": f"def test():\n    {body}\n"})
    result = made.build("data:a:test")
    (failed,) = (task for task in result.tasks if task.outcome == "failed")
    assert says in failed.reason
    assert "\n" not in failed.reason


FORMS = {
    "one array": ("yield np.float32([1, 2])", "", [[1, 2]]),
    "as the converter takes it": ("yield [np.float32([[1, 2]])]", "", [[[1, 2]]]),
    "a pair": ("yield np.float32([1, 2]), 3", ", labels: pair", [[1, 2]]),
    "a pair whose label is left out": ("yield {'x': np.float32([1, 2])}, 3", "", [[1, 2]]),
    "a list of samples": ("return [np.float32([1, 2])] * 2", "", [[1, 2]] * 2),
    "text": ("yield {'x': ['a', 'bcd']}; yield {'x': ['', 'ä']}", "",
             [[b"a", b"bcd"], [b"", "ä".encode()]]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_samples(made: Fake, form: str) -> None:
    body, labels, expected = FORMS[form]
    made.write(
        MANIFEST.replace(", samples: 4, labels: word", labels),
        {"lib/made.py": f"import numpy as np\ndef test():\n    {body}\n"},
    )
    result = made.build("data:a:test")
    assert result.ok, [task.reason for task in result.tasks]
    assert expected in arrays(made)
    assert ([3] in arrays(made)) == bool(labels)


def test_an_endless_generator_needs_samples(made: Fake) -> None:
    made.write(
        MANIFEST.replace("samples: 4, ", ""),
        {"lib/made.py": "import numpy as np\nbig = np.zeros(1 << 28, np.uint8)\n"
                        "def test():\n    while True: yield {'x': big[:0], 'word': 1}\n"},
    )  # fmt: skip
    result = made.build("data:a:test")
    (failed,) = (task for task in result.tasks if task.outcome == "failed")
    assert "gave 1000000 samples, 0 bytes; say how many to take by samples:" in failed.reason
    assert failed.reason.startswith("tflbuild.yaml:9:14: ")


def test_random_numbers_are_the_same_in_each_run(made: Fake) -> None:
    made.write(
        MANIFEST.replace(", labels: word", ""),
        {"lib/made.py": "import random\nimport numpy as np\ndef test():\n    for _ in range(9):\n"
                        "        yield np.float32([random.random(), np.random.rand()])\n"},
    )  # fmt: skip
    assert made.build("data:a:test").ok
    before = arrays(made)
    assert made.build("data:a:test", force=True).ran() == ["data:a:test"]
    assert arrays(made) == before


def test_variables_of_the_environment(made: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "4")
    made.write(
        MANIFEST + "    env: [WORD]\n",
        {
            "lib/made.py": LIB_MADE.replace(
                "index = 0", "import os; index = int(os.environ['WORD'])"
            )
        },
    )
    assert made.build().ok
    assert [[4, 2], [5, 2], [6, 2], [7, 2]] in arrays(made)
    assert made.build().ran() == []
    monkeypatch.setenv("WORD", "8")
    assert "data:a:test" in made.build().ran()


def test_calibration_by_the_function_of_the_test_data_needs_no_label(made: Fake) -> None:
    both = MANIFEST.replace(
        "calibration: {python: made.py:calibration, args: {count: 3}}",
        "calibration: {python: lib.made:test, samples: 3}",
    )
    made.write(both)
    result = made.build()
    assert result.ok, [task.reason for task in result.tasks]
    assert arrays(made) == [
        [0, 1, 2, 0],  # labels, of the test data alone
        [[0, 2], [1, 2], [2, 2], [3, 2]],
        [[0, 2], [1, 2], [2, 2]],
    ]
