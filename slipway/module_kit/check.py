"""Static checks of a module: what can be known without running its code, or TensorFlow."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from slipway import module_api
from slipway.errors import ConfigError, ModuleError
from slipway.evaluation.config import parse_evaluation_config
from slipway.module_api import ModuleConfig
from slipway.module_kit.config import read_config
from slipway.stores.module_store import NAME, read_files
from slipway.strict_yaml import nearest

REQUIRED = {
    "preprocessing.py": ("preprocessing_fn", ["inputs"]),
    "model.py": ("build_model", ["features", "hyperparameters"]),
}
OPTIONAL = {"sample.py": ("write_sample", ["path", "rows", "seed"])}


def check_module(folder: str | Path) -> ModuleConfig:
    """Checks a module against the contract of `slipway.module_api`; takes milliseconds.

    Returns:
        The module's configuration.

    Raises:
        ModuleError: everything that is wrong, one problem a line, each with its file and line.
    """
    folder = Path(folder)
    files = read_files(folder)
    problems: list[str] = []
    config = None
    if not NAME.fullmatch(folder.resolve().name):
        problems.append(f"{folder}: a module's name is lower-case letters, digits and _")
    try:
        config = read_config(folder)
    except (ConfigError, ModuleError) as error:
        problems += str(error).splitlines()
    if config is not None and config.data is None and "sample.py" not in files:
        problems.append(f"{folder}/module.yaml: no `data:` and no sample.py, so no data to train on; add one")
    if config is not None:
        problems += _check_thresholds(folder, config)
    problems += _check_schema(folder, files, config)
    problems += _Code(folder, files).problems()
    if problems or config is None:
        raise ModuleError("\n".join(problems))
    return config


def _check_thresholds(folder: Path, config: ModuleConfig) -> list[str]:
    """What evaluate_model would refuse only after the training."""
    try:
        parse_evaluation_config(config.model_dump(include={"task", "label", "classes", "slices", "thresholds"}))
    except ConfigError as error:
        return [f"{folder}/{error}"]
    return []


def _check_schema(folder: Path, files: dict[str, bytes], config: ModuleConfig | None) -> list[str]:
    """What infer_schema would refuse; without a configuration the label is not looked for."""
    if "schema.pbtxt" not in files:
        return []
    from slipway.data.schema.curate import read_curated_schema

    try:
        read_curated_schema(files["schema.pbtxt"].decode(), config.label if config else None)
    except ConfigError as error:
        return [f"{folder}/{line}" for line in str(error).splitlines()]
    except UnicodeDecodeError as error:
        return [f"{folder}/schema.pbtxt is not UTF-8: {error}"]
    return []


class _Code:
    """The Python files of one module, parsed."""

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self._folder = folder
        self._trees: dict[str, ast.Module] = {}
        self._broken: list[str] = []
        for path, source in files.items():
            if not path.endswith(".py"):
                continue
            try:
                self._trees[path] = ast.parse(source)
            except SyntaxError as error:
                self._broken.append(f"{folder}/{path}:{error.lineno}: syntax error: {error.msg}")
            except ValueError as error:
                self._broken.append(f"{folder}/{path}: not Python source: {error}")
        self._files = files

    def problems(self) -> list[str]:
        found = list(self._broken)
        for path, (function, parameters) in (REQUIRED | OPTIONAL).items():
            if path in self._trees:
                found += self._check_function(path, function, parameters)
            elif path in REQUIRED and path not in self._files:
                found.append(f"{self._folder}/{path} is missing; it must define {function}({', '.join(parameters)})")
        for path, tree in self._trees.items():
            for node in _imports(tree):
                found += [f"{self._folder}/{path}:{node.lineno}: {text}" for text in self._check_import(path, node)]
        return found

    def _check_function(self, path: str, function: str, parameters: list[str]) -> list[str]:
        tree = self._trees[path]
        wanted = f"{function}({', '.join(parameters)})"
        definition = next(
            (
                node
                for node in tree.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
            ),
            None,
        )
        if definition is None:
            names = _bound_names(tree)
            if function in names or "*" in names:
                return []
            return [f"{self._folder}/{path} does not define {wanted}{_similar(function, names)}"]
        arguments = definition.args
        positional = [argument.arg for argument in arguments.posonlyargs + arguments.args]
        required = positional[: len(positional) - len(arguments.defaults)]
        keywords_required = any(default is None for default in arguments.kw_defaults)
        fits = positional[: len(parameters)] == parameters and len(required) <= len(parameters)
        if isinstance(definition, ast.AsyncFunctionDef) or not fits or keywords_required:
            found = f"{function}({ast.unparse(arguments)})"
            return [f"{self._folder}/{path}:{definition.lineno}: expected {wanted}, found {found}"]
        return []

    def _check_import(self, path: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from self._check_relative(path, node)
            return
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        for module in modules:
            package = module.split(".")[0]
            if f"{package}.py" in self._files and not _is_installed(package):
                yield f"`import {module}` misses the module's own file; write `from .{package} import …`"
            elif package == "modules":
                yield f"`{module}` is not there when a run loads a module by digest; import from `.`"
            elif not _is_installed(package):
                yield f"no package {package!r} is installed; check its spelling, or add it to the project"
        if isinstance(node, ast.ImportFrom) and node.module == module_api.__name__:
            known = [name for name in vars(module_api) if not name.startswith("_")]
            for alias in node.names:
                if alias.name != "*" and alias.name not in known:
                    yield f"{node.module} has no {alias.name!r}{nearest(alias.name, known)}"

    def _check_relative(self, path: str, node: ast.ImportFrom) -> Iterator[str]:
        parents = path.split("/")[:-1]
        if node.level - 1 > len(parents):
            yield f"`{ast.unparse(node)}` leaves the module's folder; a module imports its own files only"
            return
        base = parents[: len(parents) - node.level + 1] + (node.module.split(".") if node.module else [])
        target = "/".join(base)
        is_package = not target or any(file.startswith(f"{target}/") for file in self._files)
        source = f"{target}.py" if f"{target}.py" in self._files else f"{target}/__init__.py".lstrip("/")
        if source not in self._files and not is_package:
            yield f"`{ast.unparse(node)}`: there is no {target}.py in {self._folder}"
            return
        if source in self._files and source not in self._trees:
            return
        names = _bound_names(self._trees[source]) if source in self._trees else set()
        for alias in node.names:
            child = f"{target}/{alias.name}".lstrip("/")
            is_file = f"{child}.py" in self._files or any(file.startswith(f"{child}/") for file in self._files)
            if not is_file and alias.name not in names and "*" not in names and alias.name != "*":
                yield f"{source} does not define {alias.name!r}{_similar(alias.name, names)}"


def _imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that must succeed: not those in a `try` that handles failure, or for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (
            (isinstance(child, ast.Try) and child.handlers)
            or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
        ):
            yield from _imports(child)


def _bound_names(tree: ast.AST) -> set[str]:
    """Names that a file defines at its top level; `*` if a star import may define more."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda):
            names |= _bound_names(node)
    return names


def _similar(name: str, names: set[str]) -> str:
    return nearest(name, sorted(names)) if names else "; it defines nothing"


def _is_installed(package: str) -> bool:
    if package in sys.modules or package in sys.stdlib_module_names:
        return True
    return importlib.util.find_spec(package) is not None
