"""What to keep of a task's work directory, found from its output expressions before the command runs.

The outputs are evaluated as far as the inputs go. Where a value is not known before the run, what matters is which
strings it can hold: ``if`` on something unknown holds those of both branches, ``glob(...)[0]`` only files that the
glob already keeps, an output that refers to another one what that one holds. A value that comes out of a file's
contents can hold anything, and where such a value names a file, everything is kept.

The request may be larger than what the outputs need, never smaller.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import WDL

from ..task import OutputRequest
from .failures import foreign
from .localization import TaskLocations, leaves_work
from .stdlib import OutputLibrary

_READS = ("read_", "size")
_PASS_ON = (
    frozenset(("_at", "select_first", "select_all", "chunk"))
    | frozenset(("flatten", "zip", "cross", "unzip", "transpose"))
    | frozenset(("as_map", "as_pairs", "collect_by_key", "keys", "values"))
)
"""Functions whose result holds only strings that their arguments hold."""


@dataclass(frozen=True)
class _Reach:
    """The strings that a value unknown before the run can hold: ``texts``, or with ``anything`` any other too.

    Paths of a glob's matches are not listed: the glob keeps them.
    """

    texts: frozenset[str] = frozenset()
    anything: bool = False


_ANYTHING = _Reach(anything=True)


def output_request(
    outputs: Iterable[WDL.Tree.Decl],
    env: WDL.Env.Bindings[WDL.Value.Base],
    library: OutputLibrary,
    locations: TaskLocations,
) -> OutputRequest:
    """What the outputs can need of the work directory.

    :param outputs: the output declarations, each after those that it refers to.
    :param env: the values of inputs and private declarations.
    :param library: an output library that reads inputs alone, and has no globs.
    """
    analysis = _Analysis(env, library, locations)
    for decl in outputs:
        analysis.declare(decl)
    return OutputRequest(paths=tuple(analysis.paths), globs=tuple(analysis.globs), everything=analysis.everything)


class _Analysis:
    def __init__(self, env: WDL.Env.Bindings[WDL.Value.Base], library: OutputLibrary, locations: TaskLocations) -> None:
        self.env = env
        self.library = library
        self.locations = locations
        self.unknown: dict[str, _Reach] = {}
        self.paths: dict[str, None] = {}
        self.globs: dict[str, None] = {}
        self.everything = False

    def declare(self, decl: WDL.Tree.Decl) -> None:
        """Add what an output declaration needs, and remember its value for those that refer to it."""
        assert decl.expr is not None
        self._needs(decl.expr)
        value = self._known(decl.expr, decl.type)
        if value is None:
            reach = self._reach(decl.expr)
            self.unknown[decl.name] = reach
            if _holds(decl.type, (WDL.Type.File, WDL.Type.Directory)):
                self._keep(reach)
        else:
            self.env = self.env.bind(decl.name, value)
            for path in _leaves(value, (WDL.Value.File, WDL.Value.Directory)):
                self._keep_path(path)

    def _known(self, expr: WDL.Expr.Base, wdl_type: WDL.Type.Base | None = None) -> WDL.Value.Base | None:
        try:
            value = self.library.evaluate(expr, self.env)
            return value.coerce(wdl_type) if wdl_type is not None else value
        except Exception as error:
            # Not known yet, or wrong: which one it is shows when the outputs are evaluated.
            passing = foreign(error)
            if passing is not None:
                raise passing from None
            if isinstance(error.__cause__, TimeoutError) or isinstance(error.__context__, TimeoutError):
                raise  # each of many that take too long would be waited for, more than once
            return None

    def _needs(self, expr: WDL.Expr.Base) -> None:
        """Add the files that evaluating an expression reads, measures or globs."""
        if isinstance(expr, WDL.Expr.IfThenElse):
            condition = self._known(expr.condition)
            if condition is not None:
                self._needs(expr.condition)
                self._needs(expr.consequent if condition.value else expr.alternative)
                return
        if isinstance(expr, WDL.Expr.Apply) and expr.arguments:
            if expr.function_name == "glob":
                self._keep_glob(expr.arguments[0])
            elif expr.function_name.startswith(_READS):
                self._keep(self._reach(expr.arguments[0]))
        for child in _children(expr):
            self._needs(child)

    def _reach(self, expr: WDL.Expr.Base) -> _Reach:
        """The strings that the expression's value can hold."""
        value = self._known(expr)
        if value is not None:
            return _Reach(frozenset(_leaves(value, (WDL.Value.String,))))
        if not _holds(expr.type, (WDL.Type.String, WDL.Type.File, WDL.Type.Directory, WDL.Type.Any)):
            return _Reach()
        if isinstance(expr, WDL.Expr.Ident):
            return self.unknown.get(expr.name, _ANYTHING)
        if isinstance(expr, WDL.Expr.IfThenElse):
            return self._union((expr.consequent, expr.alternative))
        if isinstance(expr, WDL.Expr.Apply) and expr.function_name == "glob":
            return _Reach()
        composed = (WDL.Expr.Get, WDL.Expr.Array, WDL.Expr.Pair, WDL.Expr.Map, WDL.Expr.Struct)
        passing_on = isinstance(expr, WDL.Expr.Apply) and expr.function_name in _PASS_ON
        return self._union(_children(expr)) if passing_on or isinstance(expr, composed) else _ANYTHING

    def _union(self, exprs: Iterable[WDL.Expr.Base]) -> _Reach:
        reaches = [self._reach(expr) for expr in exprs]
        return _Reach(frozenset().union(*(reach.texts for reach in reaches)), any(reach.anything for reach in reaches))

    def _keep(self, reach: _Reach) -> None:
        self.everything = self.everything or reach.anything
        for text in sorted(reach.texts):
            self._keep_path(text)

    def _keep_path(self, path: str) -> None:
        relative = self.locations.in_work(path) if path else None
        if relative == ".":
            self.everything = True
        elif relative is not None:
            self.paths[relative] = None

    def _keep_glob(self, pattern: WDL.Expr.Base) -> None:
        value = self._known(pattern, WDL.Type.String())
        if value is None:
            self.everything = True
        elif not leaves_work(value.value):
            self.globs[value.value] = None


def _children(expr: WDL.Expr.Base) -> list[WDL.Expr.Base]:
    return [child for child in expr.children if isinstance(child, WDL.Expr.Base)]


def _holds(wdl_type: WDL.Type.Base, kinds: tuple[type[WDL.Type.Base], ...]) -> bool:
    return isinstance(wdl_type, kinds) or any(_holds(parameter, kinds) for parameter in wdl_type.parameters)


def _leaves(value: WDL.Value.Base, kinds: tuple[type[WDL.Value.Base], ...]) -> Iterable[str]:
    if isinstance(value, kinds):
        yield value.value
    for child in value.children:
        yield from _leaves(child, kinds)
