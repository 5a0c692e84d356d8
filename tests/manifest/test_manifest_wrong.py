"""Wrong manifests: each gives one line with the place, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifest_fixtures import Load, Write

from tflbuild.errors import EXIT_USAGE, ManifestErrors
from tflbuild.manifest.load import load_workspace

HEAD = "version: 1\nmodels:\n"
MODEL = "source: {format: saved_model, path: models/kws}"
PLAIN = f"  m:\n    {MODEL}\n    optimizations: {{a: {{}}}}\n"
KERAS = "  m:\n    source: {format: keras, path: models/digits.keras}\n"


def model(*lines: str) -> str:
    """A manifest of one model: its source on line 4, further keys from line 5 on."""
    return HEAD + "  m:\n" + "".join(f"    {line}\n" for line in (MODEL, *lines))


def optimized(*lines: str) -> str:
    return model("optimizations: {a: {}}", *lines)


BOMB = "version: 1\na0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(20)
)

WRONG: dict[str, tuple[str | bytes, str, str]] = {
    # not a tree at all
    "empty": ("", "1:1", "empty; begin it with `version: 1`"),
    "comments only": ("# nothing\n", "1:1", "empty"),
    "not YAML": ("version: 1\nmodels: {a: [}\n", "2:14", "not YAML"),
    "tab": ("version: 1\nmodels:\n\tm: {}\n", "3:1", "not with a tab"),
    "open quote": ("version: '1\n", "2:1", "not YAML"),
    "two documents": ("version: 1\n---\nversion: 1\n", "2:1", "second YAML document"),
    "a list": ("- version: 1\n", "1:1", "expected a mapping"),
    "a word": ("hello\n", "1:1", "expected a mapping"),
    "bad UTF-8": (b"version: 1\nmodels: {\xe9: {}}\n", "2:10", "byte 0xe9 is not UTF-8"),
    "UTF-16": ("version: 1".encode("utf-16"), "1:1", "UTF-16"),
    "NUL": ("version: 1\nx: \0\n", "2:4", "U+0000"),
    "escaped NUL": ('version: 1\nx: "a\\0"\n', "2:4", "U+0000"),
    "tag": ("version: !!python/object/apply:os.system [ls]\n", "1:10", "tag"),
    "harmless tag": ("version: !!int 1\n", "1:10", "tag"),
    "merge key": (HEAD + "  a: &a {}\n  b:\n    <<: *a\n", "5:5", "merge key"),
    "alias bomb": (BOMB, "7:10", "aliases stand for more than 100000 values"),
    "alias to itself": ("version: 1\nx: &x [*x]\n", "2:8", "refers to itself"),
    "unknown alias": ("version: *v\n", "1:10", "has no anchor above it"),
    "alias as key": ("a: &a b\n*a : 1\n", "2:1", "expected a name as key, got an alias"),
    "deep": ("version: " + "[" * 100_000, "1:73", "nested above 64 levels"),
    "huge": (b"#" * (32 * 1024 * 1024 + 1), "1:1", "above 32 MiB"),
    "many digits": ("version: " + "1" * 5000, "1:10", "at most 100"),
    "number as key": ("version: 1\n7: x\n", "2:1", "the number 7; put it in quotes"),
    "duplicate key": ("version: 1\nmodels: {}\nversion: 1\n", "3:1", "first at tflbuild.yaml:1:1"),
    # the schema
    "no version": ("models: {}\n", "1:1", "begin with `version: 1`"),
    "later version": ("version: 2\nmodels: {}\n", "1:10", "expected 1; got the number 2"),
    "boolean version": ("version: true\nmodels: {}\n", "1:10", "got true"),
    "no models": ("version: 1\n", "1:1", "write `models:`"),
    "unknown key": (HEAD + PLAIN + "modles: {}\n", "6:1", "'modles'; did you mean 'models'?"),
    "unknown model key": (optimized("sorce: {}"), "6:5", "did you mean 'source'?"),
    "key of nothing known": (optimized("zzz: 1"), "6:5", "expected one of source, inputs"),
    "list wanted": (optimized("targets: litert"), "6:14", "a list of names, got 'litert'; write ["),
    "text wanted": (optimized("outputs: [1]"), "6:15", "the number 1; put it in quotes"),
    "number wanted": (
        optimized("validate: {parity: {sqnr: '20'}}"), "6:31", "write it without quotes",
    ),
    "mapping wanted": (HEAD + "  m: 3\n", "3:6", "expected a mapping, got the number 3"),
    "enum": (model("optimizations: {a: {quantize: flot16}}"), "5:35", "mean 'float16'?"),
    "size": (HEAD + PLAIN + "targets: {p: {runtime: litert, max_size: 8 apples}}\n", "6:42", "KiB"),
    "zero size": (HEAD + PLAIN + "targets: {p: {runtime: litert, max_size: 0}}\n", "6:42", "least"),
    "part of a count": (optimized("evaluate: {max_macs: 1.0001K}"), "6:26", "whole number"),
    "timeout": (optimized("timeout: soon"), "6:14", "a duration"),
    "interface change of a word": (
        optimized("allow_interface_change: names"), "6:29",
        "expected true, or a list of kinds of changes, such as [quantization], got 'names'; write"
        " [names]",
    ),
    "interface change of a kind": (
        optimized("allow_interface_change: [quantisation]"), "6:30", "did you mean 'quantization'?",
    ),
    "interface change twice": (
        optimized("allow_interface_change: [names, names]"), "6:37", "is in this list twice",
    ),
    "interface changes of no kind": (
        optimized("allow_interface_change: []"), "6:29", "got an empty list",
    ),
    "no time": (optimized("timeout: 0s"), "6:14", "above zero"),
    "not a number": (optimized("validate: {parity: {sqnr: .nan}}"), "6:31", "expected a number"),
    "above 1": (optimized("validate: {parity: {cosine: 2}}"), "6:33", "at most 1"),
    "samples: 0": (optimized("data: {test: {npz: data/test.npz, samples: 0}}"), "6:48", "least 1"),
    "dimension": (optimized("inputs: {x: {shape: [0]}}"), "6:26", "at least 1, got 0"),
    "empty input name": (optimized("inputs: {'': {shape: [1]}}"), "6:14", "not empty"),
    "twice in a list": (optimized("targets: [litert, litert]"), "6:23", "twice"),
    "model name": (HEAD + "  'a b': {}\n", "3:3", "expected a name of letters"),
    "newline in a name": (HEAD + '  "m\\n": {}\n', "3:3", "expected a name of letters"),
    "optimization name": (model("optimizations: {a-b: {}}"), "5:21", "letters, digits and '_'"),
    # planned, refused by name
    "two sources": (
        HEAD + "  m: {source: {format: pytorch, path: x, python: a:b}, optimizations: {a: {}}}\n",
        "3:42", "a pytorch source is one of `path` and `python`; remove one",
    ),
    "quantized file": (
        HEAD + "  m:\n    source: {format: tflite, path: models/m.tflite}\n"
        "    optimizations: {a: {quantize: qat}}\n",
        "5:35", "`quantizer: ai-edge` cannot work with quantize: qat; write quantize: ",
    ),
    "converter of a file": (
        HEAD + "  m:\n    source: {format: tflite, path: models/m.tflite}\n"
        "    optimizations: {a: {quantize: dynamic_range, quantizer: tensorflow}}\n",
        "5:61", "takes no file, which a tflite source is; write quantizer: ai-edge",
    ),
    "settings of a file": (
        HEAD + "  m:\n    source: {format: tflite, path: models/m.tflite}\n"
        "    optimizations: {a: {sparsity: true}}\n",
        "5:25", "'sparsity' has no effect: a tflite source with quantize: none is released as it",
    ),
    "weights for a program": (
        HEAD + "  m: {source: {format: pytorch, path: models/m.pth}, optimizations: {a: {}}}\n",
        "3:39", "expected a .pt2 file, got 'models/m.pth'; weights or a pickled module hold no",
    ),
    "part of a folder": (
        HEAD + "  m: {source: {format: frozen_graph, path: models/kws/saved_model.pb},"
        " optimizations: {a: {}}}\n",
        "3:44", "is part of a SavedModel; it needs `format: saved_model` and the folder",
    ),
    "unknown runtime": (
        HEAD + PLAIN + "targets: {s: {runtime: mirco}}\n", "6:24", "did you mean 'micro'?",
    ),
    "custom ops without any": (
        HEAD + PLAIN + "targets: {s: {runtime: custom-ops}}\n", "6:11", "needs `ops`",
    ),
    "custom ops by the runtime's name": (
        optimized("targets: [custom-ops]"), "6:15", "declare a target of runtime custom-ops",
    ),
    "accelerator on micro": (
        HEAD + PLAIN + "targets: {s: {runtime: micro, accelerator: {gpu: {}}}}\n", "6:31",
        "`accelerator` has no effect with runtime micro",
    ),
    "version on micro": (
        HEAD + PLAIN + 'targets: {s: {runtime: micro, min_runtime: {litert: "1.0"}}}\n', "6:31",
        "`min_runtime` has no effect with runtime micro",
    ),
    "a bare version": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, min_runtime: '2.14'}}\n", "6:45",
        "expected a mapping with the numbering, such as",
    ),
    "two numberings": (
        HEAD + PLAIN + 'targets: {s: {runtime: litert, min_runtime: {litert: "1.0",'
        ' tensorflow: "2.3"}}}\n', "6:45", "takes one numbering",
    ),
    "a version without a dot": (
        HEAD + PLAIN + 'targets: {s: {runtime: litert, min_runtime: {litert: "1"}}}\n', "6:54",
        "expected a version in quotes",
    ),
    "ops without kernels of one's own": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, ops: {X: {}}}}\n", "6:32",
        "`ops` has no effect with runtime litert: only the runtime custom-ops",
    ),
    "flex without select ops": (
        HEAD + PLAIN + "targets: {s: {runtime: custom-ops, ops: {X: {}}, validator: /bin/sh}}\n",
        "6:50", "without `select_ops: true`",
    ),
    "two ways to validate": (
        HEAD + PLAIN + "targets: {s: {runtime: select-tf-ops, validator: /bin/sh,"
        " flex_library: data/x.npy}}\n", "6:39", "`validator` has no effect beside",
    ),
    "no validator": (
        HEAD + PLAIN + "targets: {s: {runtime: select-tf-ops, validator: /nowhere/python}}\n",
        "6:50", "no such file: '/nowhere/python'",
    ),
    "no flex library": (
        HEAD + PLAIN + "targets: {s: {runtime: select-tf-ops, flex_library: /nowhere/f.so}}\n",
        "6:53", "no such file: '/nowhere/f.so'",
    ),
    "a flex library beyond the workspace": (
        HEAD + PLAIN + "targets: {s: {runtime: select-tf-ops, flex_library: ../f.so}}\n",
        "6:53", "leaves the workspace",
    ),
    "a register without a library": (
        HEAD + PLAIN + "targets: {s: {runtime: custom-ops, ops: {X: {register: F}}}}\n", "6:46",
        "has no effect without `library`",
    ),
    "a library without a register": (
        HEAD + PLAIN + "targets: {s: {runtime: custom-ops, ops: {X: {}}, library: data/x.npy}}\n",
        "6:45", "has no `register`",
    ),
    "an op allowed and denied": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, allow_ops: [ADD], deny_ops: [ADD]}}\n",
        "6:60", "ADD is in `allow_ops` too",
    ),
    "an operator that nobody knows": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, deny_ops: [ADD, conv_2d]}}\n", "6:48",
        "unknown operator 'conv_2d'; did you mean 'CONV_2D'?",
    ),
    "a select operator that nobody knows": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, deny_ops: [FlexFoo]}}\n", "6:43",
        "unknown operator 'FlexFoo'",
    ),
    "a kernel for a builtin": (
        HEAD + PLAIN + "targets: {s: {runtime: custom-ops, ops: {CONV_2D: {}}}}\n", "6:42",
        "CONV_2D is a builtin operator",
    ),
    "a kernel that the Flex delegate hides": (
        HEAD + PLAIN
        + "targets: {s: {runtime: custom-ops, select_ops: true, ops: {Cholesky: {}}}}\n",
        "6:60", "the Flex delegate runs it, and your kernel has no effect",
    ),
    "a kernel by a select op's name": (
        HEAD + PLAIN + "targets: {s: {runtime: custom-ops, ops: {FlexCholesky: {}}}}\n", "6:42",
        "write `select_ops: true` for the Flex delegate, or Cholesky for a kernel",
    ),
    "denied beside allowed": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, allow_ops: [ADD], deny_ops: [MUL]}}\n",
        "6:50", "`deny_ops` has no effect beside `allow_ops`",
    ),
    "c_array elsewhere": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, emit: [c_array]}}\n", "6:32",
        "`emit` has no effect with runtime litert",
    ),
    "an unknown type": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, dtypes: [int88]}}\n", "6:41",
        "did you mean 'int8'?",
    ),
    "a share beyond one": (
        HEAD + PLAIN + "targets: {s: {runtime: litert, accelerator: {gpu: {min_macs: 90}}}}\n",
        "6:62", "expected at most 1",
    ),
    "size before conversion": (
        optimized("evaluate: {max_size: 1MB}"), "6:16", "unknown key 'max_size'",
    ),
    "dynamic range on micro": (
        HEAD + "  m:\n    source: {format: keras, path: models/digits.keras}\n"
        "    optimizations: {a: {quantize: dynamic_range, targets: [litert, micro]}}\n",
        "5:35", "its kernels take no int8 weights beside float activations; quantize to int8, or"
        " write `targets: [litert]`",
    ),
    "float16 on a named micro target": (
        HEAD + "  m:\n    source: {format: keras, path: models/digits.keras}\n"
        "    optimizations: {a: {quantize: float16}}\n    targets: [s]\n"
        "targets: {s: {runtime: micro}}\n",
        "5:35", "quantize: float16 cannot run on target s",
    ),
    "key to come": (optimized("") + "cache: {}\n", "7:1", "'cache' is not supported"),
    "metric that nobody knows": (
        optimized("validate: {metrics: {recal: {min: 1}}}"), "6:26", "did you mean 'recall'",
    ),
    # what must be there
    "no source": (HEAD + "  m: {optimizations: {a: {}}}\n", "3:3", "has no `source`"),
    "no format": (
        HEAD + "  m: {source: {path: models/kws}, optimizations: {a: {}}}\n",
        "3:7", "source.format",
    ),
    "no optimizations": (model(), "3:3", "optimizations: {float32: {}}"),
    "empty optimizations": (model("optimizations: {}"), "5:20", "no optimizations"),
    "null": (model("optimizations: {float32: }"), "5:21", "write {} for an empty one"),
    "null model": (HEAD + "  m:\n", "3:3", "is nothing (null)"),
    "no runtime": (HEAD + PLAIN + "targets: {p: {max_size: 8MB}}\n", "6:11", "has no `runtime`"),
    "null defaults": (HEAD + PLAIN + "defaults:\n", "6:10", "write {} for an empty one"),
    # paths
    "missing folder": (
        HEAD + "  m: {source: {format: saved_model, path: models/kvs}, optimizations: {a: {}}}\n",
        "3:43", "no such folder: 'models/kvs'; did you mean 'models/kws'?",
    ),
    "missing file": (
        optimized("data: {test: {npz: data/tset.npz}}"), "6:24", "mean 'data/test.npz'?",
    ),
    "missing parent": (optimized("data: {test: {npz: no/x.npz}}"), "6:24", "folder 'no' does not"),
    "leaves the workspace": (optimized("data: {test: {npz: ../x.npz}}"), "6:24", "leaves the"),
    "absolute": (optimized("data: {test: {npz: /etc/passwd.npz}}"), "6:24", "leaves the works"),
    "npy as npz": (optimized("data: {test: {npz: data/x.npy}}"), "6:24", "write it as `npy:`"),
    "file as saved_model": (
        HEAD + "  m: {source: {format: saved_model, path: models/old.h5}, "
        "optimizations: {a: {}}}\n",
        "3:43", "needs `format: keras`",
    ),
    "folder as keras": (
        HEAD + "  m: {source: {format: keras, path: models/kws}, optimizations: {a: {}}}\n",
        "3:37", "needs `format: saved_model`",
    ),
    "no saved_model.pb": (
        HEAD + "  m: {source: {format: saved_model, path: models/empty}, optimizations: {a: {}}}\n",
        "3:43", "no saved_model.pb",
    ),
    "another file as keras": (
        HEAD + "  m: {source: {format: keras, path: data/x.npy}, optimizations: {a: {}}}\n",
        "3:37", "expected a .keras or .h5 file",
    ),
    "build_dir outside": ("version: 1\nmodels: {}\nproject: {build_dir: ../b}\n", "3:22", "leaves"),
    "build_dir is the root": ("version: 1\nmodels: {}\nproject: {build_dir: .}\n", "3:22", "own"),
    "dist in build": (
        "version: 1\nmodels: {}\nproject: {dist_dir: build/d}\n", "3:21", "cannot hold one another",
    ),
    # names
    "unknown target": (
        HEAD + PLAIN + "    targets: [fone]\ntargets: {phone: {runtime: litert}}\n",
        "6:15", "unknown target 'fone'; did you mean 'phone'?",
    ),
    "built-in redefined": (
        HEAD + PLAIN + "targets: {litert: {runtime: litert}}\n", "6:11", "a built-in runtime",
    ),
    "case alone": (
        HEAD + PLAIN + f"  M:\n    {MODEL}\n    optimizations: {{a: {{}}}}\n", "6:3", "case alone",
    ),
    "optimizations in case alone": (model("optimizations: {a: {}, A: {}}"), "5:28", "case alone"),
    "targets in case alone": (
        HEAD + PLAIN + "targets: {p: {runtime: litert}, P: {runtime: litert}}\n", "6:33", "case",
    ),
    # combinations
    "io with float16": (
        model("optimizations: {a: {quantize: float16, io: int8}}"), "5:48", "needs int8 or qat",
    ),
    "io alone": (model("optimizations: {a: {io: uint8}}"), "5:29", "quantize: none"),
    "no calibration": (
        model("optimizations: {a: {quantize: int8}}"), "5:35", "needs `data.calibration`",
    ),
    "calibration of nothing": (
        optimized("data: {calibration: {npz: data/cal.npz}, test: {npz: data/cal.npz}}"),
        "6:12", "has no effect",
    ),
    "tags of keras": (
        HEAD + "  m: {source: {format: keras, path: models/old.h5, tags: [serve]}, "
        "optimizations: {a: {}}}\n", "3:52", "no effect with format keras",
    ),
    "two kinds of data": (
        optimized("data: {test: {npz: data/test.npz, random: {}}}"), "6:18", "one of npz, npy",
    ),
    "no kind of data": (optimized("data: {test: {samples: 3}}"), "6:18", "got none"),
    "low above high": (
        optimized("data: {test: {random: {low: 2, high: 1}}}"), "6:42", "below high (1)",
    ),
    "samples beside random": (
        optimized("data: {test: {random: {}, samples: 3}}"), "6:40", "random: {samples",
    ),
    "labels of calibration": (
        optimized("data: {calibration: {npz: data/cal.npz, labels: y}}"), "6:45", "'labels'",
    ),
    "labels of random": (optimized("data: {test: {random: {}, labels: y}}"), "6:39", "no labels"),
    "accuracy without data": (
        optimized("validate: {metrics: {accuracy: {min: 0.9}}}"), "6:26", "data.test is missing",
    ),
    "accuracy without labels": (
        optimized(
            "data: {test: {npz: data/test.npz}}", "validate: {metrics: {accuracy: {min: 0.9}}}"
        ), "7:26", "data.test has no labels",
    ),
    "accuracy of random": (
        optimized("data: {test: {random: {}}}", "validate: {metrics: {accuracy: {min: 0.9}}}"),
        "7:26", "data.test is random",
    ),
    "pin of nothing": (optimized("inputs: {x: {}}"), "6:14", "pinned to nothing"),
    # includes
    "include of nothing": ("version: 1\ninclude: [a.yaml]\n", "2:11", "no such manifest: 'a.yaml'"),
    "glob of nothing": ("version: 1\nmodels: {}\ninclude: ['x/*.yaml']\n", "3:11", "matches no"),
    "include of a folder": ("version: 1\ninclude: [models]\n", "2:11", "models/tflbuild.yaml"),
    "include outside": ("version: 1\ninclude: [../../x.yaml]\n", "2:11", "leaves the workspace"),
    "glob outside": ("version: 1\ninclude: ['../*']\n", "2:11", "leaves the workspace"),
    "include of itself": (
        "version: 1\nmodels: {}\ninclude: [tflbuild.yaml]\n", "3:11",
        "tflbuild.yaml → tflbuild.yaml",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "says"), WRONG.values(), ids=WRONG.keys())
def test_one_line_with_place_and_remedy(
    load: Load, text: str | bytes, place: str, says: str
) -> None:
    with pytest.raises(ManifestErrors) as caught:
        load(text)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"tflbuild.yaml:{place}: ")
    assert says in lines[0]
    assert len(lines[0]) < 300
    assert caught.value.exit_code == EXIT_USAGE


def errors_of(load: Load, root: str, **others: str) -> list[str]:
    with pytest.raises(ManifestErrors) as caught:
        load(root, **others)
    return str(caught.value).splitlines()


def test_same_model_in_two_includes_names_both_places(load: Load) -> None:
    inner = HEAD + PLAIN.replace("models/kws", "../models/kws")
    lines = errors_of(
        load, "version: 1\ninclude: ['*/tflbuild.yaml']\n",
        **{"a/tflbuild.yaml": inner, "b/tflbuild.yaml": inner},
    )  # fmt: skip
    assert lines == [
        "b/tflbuild.yaml:3:3: model 'm' is declared twice, first at a/tflbuild.yaml:3:3; rename one"
    ]


def test_cyclic_include_names_the_chain(load: Load) -> None:
    lines = errors_of(
        load,
        "version: 1\nmodels: {}\ninclude: [a.yaml]\n",
        **{"a.yaml": "include: [b.yaml]", "b.yaml": "version: 1\ninclude: [a.yaml]"},
    )
    assert len(lines) == 1
    assert lines[0].startswith("b.yaml:2:11: ")
    assert "a.yaml → b.yaml → a.yaml" in lines[0]


def test_a_long_chain_of_includes_ends(load: Load) -> None:
    chain = {f"m{n}.yaml": f"include: [m{n + 1}.yaml]" for n in range(100)}
    lines = errors_of(load, "version: 1\nmodels: {}\ninclude: [m0.yaml]\n", **chain)
    assert len(lines) == 1
    assert "more than 64 manifests" in lines[0]


def test_project_belongs_to_the_root(load: Load) -> None:
    lines = errors_of(
        load,
        "version: 1\nmodels: {}\ninclude: [a.yaml]\n",
        **{"a.yaml": "version: 1\nproject: {}\n"},
    )
    assert lines[0].startswith("a.yaml:2:1: `project` belongs to the root manifest")


@pytest.mark.parametrize("text", ["a\\nb", "a\\nb.npz", "x" * 5000, "x" * 5000 + ".npz", "~", "//"])
@pytest.mark.parametrize(
    "line",
    [
        "source: {{format: keras, path: {0}}}",
        "source: {{format: saved_model, path: {0}}}",
        "source: {{format: {0}, path: {0}}}",
        "data: {{test: {{npz: {0}}}}}",
        "data: {{test: {{npy: {{{0}: {0}}}}}}}",
        "targets: {0}",
        "targets: [{0}]",
        "timeout: {0}",
        "inputs: {{{0}: {{}}}}",
        "outputs: {{{0}: }}",
        "{0}: {0}",
    ],
)
def test_hostile_text_stays_on_a_short_line(load: Load, line: str, text: str) -> None:
    for said in errors_of(load, HEAD + "  m:\n    " + line.format(f'"{text}"') + "\n"):
        assert said.startswith("tflbuild.yaml:")
        assert len(said) < 400


def test_a_default_shared_by_many_models_is_reported_once(load: Load) -> None:
    models = "".join(f"  m{n}: {{optimizations: {{a: {{}}}}}}\n" for n in range(50))
    defaults = "defaults: {source: {format: keras, path: gone.keras}}\n"
    lines = errors_of(load, HEAD + models + defaults)
    assert len(lines) == 1
    assert lines[0].startswith("tflbuild.yaml:53:42: no such file")


def test_errors_of_many_kinds_come_together_and_sorted(load: Load) -> None:
    lines = errors_of(
        load,
        HEAD + "  a: {source: {format: onyx}}\n  b: {}\n  c: {sorce: 1}\nfoo: 1\n",
    )
    assert [line.split(":")[1] for line in lines] == ["3", "4", "4", "5", "6"]


def test_many_errors_are_cut_short(load: Load) -> None:
    lines = errors_of(load, HEAD + "".join(f"  m{n}: {{x: 1}}\n" for n in range(50)))
    assert len(lines) == 21
    assert lines[-1] == "… and 30 more"


def test_hundred_thousand_errors_end_soon(load: Load) -> None:
    lines = errors_of(load, HEAD + "".join(f"  m{n}: {{x: 1}}\n" for n in range(100_000)))
    assert len(lines) == 21


def test_symlink_out_of_the_workspace(write: Write, tmp_path: Path) -> None:
    path = write(optimized("data: {test: {npz: data/link.npz}}"))
    (tmp_path / "data" / "link.npz").symlink_to("/etc/hostname")
    with pytest.raises(ManifestErrors, match=r"yaml:6:24: .*through a symlink"):
        load_workspace(path)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None])
def test_manifest_that_cannot_be_read(tmp_path: Path, make: object) -> None:
    path = tmp_path / "tflbuild.yaml"
    assert callable(make)
    make(path)
    with pytest.raises(ManifestErrors, match=r"^tflbuild.yaml:1:1: cannot read the manifest"):
        load_workspace(path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("models/digit.keras", "'models/digit.keras'; did you mean 'models/digits.keras'?"),
        ("./models/Digit.keras", "'./models/Digit.keras'; did you mean './models/digits.keras'?"),
        ("models/cls.keras", "'models/cls.keras'"),  # like another in its suffix alone
        ("models/none.pb", "'models/none.pb'"),
    ],
)
def test_missing_file(load: Load, path: str, said: str) -> None:
    source = f"source: {{format: keras, path: {path}}}"
    with pytest.raises(ManifestErrors) as caught:
        load(f"version: 1\nmodels: {{m: {{{source}, optimizations: {{f: {{}}}}}}}}\n")
    assert str(caught.value).endswith(f"no such file: {said}")


def test_missing_file_below_another_manifest(load: Load) -> None:
    """Where it was looked for is said only when that is not what is written."""
    text = "models: {m: {source: {format: keras, path: zz.keras}, optimizations: {f: {}}}}\n"
    with pytest.raises(ManifestErrors, match=r"\(looked for 'models/zz.keras'\)"):
        load("version: 1\ninclude: [models/t.yaml]\n", **{"models/t.yaml": text})
