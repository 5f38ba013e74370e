"""Static checks of a module, which run neither its code nor TensorFlow."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from slipway import module_api
from slipway.errors import ConfigError, ModuleError, SlipwayError
from slipway.evaluation.config import OF_MODULE, parse_evaluation_config
from slipway.module_api import ModuleConfig
from slipway.module_kit.config import read_config
from slipway.module_kit.requirements import LOCK, check_lock, missing
from slipway.stores.module_store import NAME, Files, read_files
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
    if config is not None:
        if config.data is None and "sample.py" not in files:
            problems.append(f"{folder}/module.yaml: no `data:` and no sample.py, so no data to train on; add one")
        if config.tuning and not config.search_space and b"search_space" not in files.get("model.py", b""):
            problems.append(
                f"{folder}/module.yaml: `tuning` has nothing to search: add search_space, or search_space(trial) in "
                "model.py"
            )
        try:  # what evaluate_model would refuse only after the training
            parse_evaluation_config(config.model_dump(include=OF_MODULE))
        except ConfigError as error:
            problems.append(f"{folder}/{error}")
        problems += _check_features(folder, config)
    problems += _check_schema(folder, files, config)
    unlocked = check_lock(folder, config.requirements, files) if config else []
    problems += unlocked
    # Which packages the module brings can be told only where they are installed.
    complete = not unlocked and not missing(files.get(LOCK, b""))
    code = _check_code(files, config.metrics if config else (), complete=complete)
    problems += [f"{folder}/{problem}" for problem in code]
    if problems or config is None:
        raise ModuleError("\n".join(problems))
    return config


def check_data(config: ModuleConfig, data_uri: str, snapshots_uri: str) -> None:
    """Compares the columns that module.yaml names with those of the data, of which only headers are read.

    Data that cannot be read is not judged: the steps of a run say what is wrong with it, and record it.

    Raises:
        ModuleError: everything that does not fit, one problem a line.
    """
    from slipway.data.examples.columns import check_columns
    from slipway.data.examples.read import read_names
    from slipway.data.snapshots.resolve import look

    try:
        source = look(data_uri, config.ingestion.window, snapshots_uri)
        names = read_names(source, config.ingestion) if source else []
    except (SlipwayError, OSError, ValueError):  # Arrow's errors are ValueErrors
        return
    if names and (problems := check_columns(config, names, data_uri)):
        raise ModuleError("\n".join(problems))


def _check_features(folder: Path, config: ModuleConfig) -> list[str]:
    """Problems of the shared features that module.yaml names; of their SELECT a run tells."""
    from slipway.data.examples.joins import joins_of

    try:
        joins_of(config, folder.resolve().parent.parent)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _check_schema(folder: Path, files: Files, config: ModuleConfig | None) -> list[str]:
    """Problems of a schema that infer_schema would refuse; the label is checked if there is a configuration."""
    if "schema.pbtxt" not in files:
        return []
    from slipway.data.schema import read_curated_schema

    try:
        label, group = (config.label, config.group) if config else (None, "")
        read_curated_schema(files["schema.pbtxt"].decode(), label, group)
    except ConfigError as error:
        return [f"{folder}/{line}" for line in str(error).splitlines()]
    except UnicodeDecodeError as error:
        return [f"{folder}/schema.pbtxt is not UTF-8: {error}"]
    return []


def _check_code(files: Files, metrics: Iterable[str], *, complete: bool) -> Iterator[str]:
    """Problems of the Python files, each with its file and line; `complete` if all that is locked is installed."""
    trees: dict[str, ast.Module] = {}
    for path, source in files.items():
        if path.endswith(".py"):
            try:
                trees[path] = ast.parse(source)
            except SyntaxError as error:
                yield f"{path}:{error.lineno}: syntax error: {error.msg}"
            except ValueError as error:
                yield f"{path}: not Python source: {error}"
    own = [("metrics.py", (name, ["labels", "predictions", "weights"])) for name in metrics]
    for path, (function, parameters) in [*REQUIRED.items(), *OPTIONAL.items(), *own]:
        wanted = f"{function}({', '.join(parameters)})"
        if path in trees:
            yield from _check_function(path, trees[path], function, parameters, wanted)
        elif path not in OPTIONAL and path not in files:
            yield f"{path} is missing; it must define {wanted}"
    if "model.py" in trees and "search_space" in _bound_names(trees["model.py"]):
        yield from _check_function("model.py", trees["model.py"], "search_space", ["trial"], "search_space(trial)")
    for path, tree in trees.items():
        for node in _imports(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                found = _check_relative(path, node, files, trees)
            else:
                found = _check_absolute(node, files, complete=complete)
            yield from (f"{path}:{node.lineno}: {text}" for text in found)
            if own and path != "metrics.py" and isinstance(node, ast.ImportFrom) and _imports_metrics(path, node):
                yield f"{path}:{node.lineno}: metrics.py is not there before a model is judged; move what both need"


def _check_function(path: str, tree: ast.Module, function: str, parameters: list[str], wanted: str) -> Iterator[str]:
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    definition = next((node for node in functions if node.name == function), None)
    if definition is None:
        names = _bound_names(tree)
        if not names & {function, "*"}:
            yield f"{path} does not define {wanted}{_similar(function, names)}"
        return
    arguments = definition.args
    positional = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    required = len(positional) - len(arguments.defaults)
    fits = positional[: len(parameters)] == parameters and required <= len(parameters)
    keywords_required = any(default is None for default in arguments.kw_defaults)
    if isinstance(definition, ast.AsyncFunctionDef) or not fits or keywords_required:
        yield f"{path}:{definition.lineno}: expected {wanted}, found {function}({ast.unparse(arguments)})"


def _check_absolute(node: ast.Import | ast.ImportFrom, files: Files, *, complete: bool) -> Iterator[str]:
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    for module in modules:
        package = module.split(".")[0]
        is_installed = package in sys.modules or package in sys.stdlib_module_names or importlib.util.find_spec(package)
        if f"{package}.py" in files and not is_installed:
            yield f"`import {module}` misses the module's own file; write `from .{package} import …`"
        elif package == "modules":
            yield f"`{module}` is not there when a run loads a module by digest; import from `.`"
        elif not is_installed and complete:
            yield (
                f"no package {package!r} is installed; check its spelling, or add what holds it to requirements in "
                "module.yaml and run `slipway module lock MODULE`"
            )
    if isinstance(node, ast.ImportFrom) and node.module == module_api.__name__:
        known = [name for name in vars(module_api) if not name.startswith("_")]
        for alias in node.names:
            if alias.name not in (*known, "*"):
                yield f"{node.module} has no {alias.name!r}{nearest(alias.name, known)}"


def _check_relative(path: str, node: ast.ImportFrom, files: Files, trees: dict[str, ast.Module]) -> Iterator[str]:
    parents = path.split("/")[:-1]
    if node.level - 1 > len(parents):
        yield f"`{ast.unparse(node)}` leaves the module's folder; a module imports its own files only"
        return
    target = "/".join(parents[: len(parents) - node.level + 1] + (node.module.split(".") if node.module else []))
    is_package = not target or any(file.startswith(f"{target}/") for file in files)
    source = f"{target}.py" if f"{target}.py" in files else f"{target}/__init__.py".lstrip("/")
    if source not in files and not is_package:
        yield f"`{ast.unparse(node)}`: there is no {target}.py in the module"
    elif source in trees or source not in files:
        names = _bound_names(trees[source]) if source in trees else set()
        for alias in node.names:
            child = f"{target}/{alias.name}".lstrip("/")
            is_file = f"{child}.py" in files or any(file.startswith(f"{child}/") for file in files)
            if not is_file and alias.name != "*" and not names & {alias.name, "*"}:
                yield f"{source} does not define {alias.name!r}{_similar(alias.name, names)}"


def _imports_metrics(path: str, node: ast.ImportFrom) -> bool:
    names = [node.module] if node.module else [alias.name for alias in node.names]
    return node.level == path.count("/") + 1 and "metrics" in names


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
