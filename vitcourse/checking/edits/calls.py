"""Calls: arguments exchanged, dropped or added, a wrapper left out, a sibling called in place of what is meant."""

import ast
import itertools
import re
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, siblings, signature
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, code, expr, own_expressions

# Defaults of torch's, taken where an argument isn't given.
_DEFAULTS = {
    ("Dropout", "p"): "0.5: half of the values are dropped",
    ("interpolate", "mode"): "nearest",
    ("Conv2d", "stride"): "1: the windows overlap",
    ("interpolate", "align_corners"): "False",
}


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        found: list[tuple[Teller, ast.Call]] = []
        for line in function.lines():
            if isinstance(line, ast.Raise):
                continue
            teller = Teller(function, line)
            for node in own_expressions(line):
                if isinstance(node, ast.Call):
                    found.append((teller, node))
                    yield from _exchanged(teller, node)
                    yield from _dropped(teller, node)
                    yield from _added(teller, node)
                    yield from _wrapper(teller, node)
                    yield from _sibling(teller, node)
                    yield from _by_factor(teller, node)
                    yield from _expanded(teller, node)
                    yield from _flags(teller, node)
                    yield from _cut_out(teller, node)
            if isinstance(line, ast.With):
                yield from _copied_backwards(function, line)
            yield from _shared_memory(teller)
        yield from _siblings_everywhere(found)
        halves = {id(node): new for _, node in found if (new := _cut_out_of(node)) is not None}
        if len(halves) > 1:
            says = (
                "Each half is cut out of a table of the whole width; it should be made for half the width, with "
                "frequencies of its own."
            )
            yield Change(says, 20, dict(halves))


def parameters(node: ast.Call) -> list[str]:
    """The names of a call's positional arguments, where the course knows them."""
    known = signature(called(node))
    if known is not None:
        return known.arguments
    torchs = {
        "Linear": ["in_features", "out_features"],
        "Conv2d": ["in_channels", "out_channels"],
        "Dropout": ["p"],
        "range": ["start", "stop", "step"],
        "arange": ["start", "end", "step"] if len(node.args) > 1 else ["end"],
    }
    return torchs.get(called(node), [])


def _exchanged(teller: Teller, node: ast.Call) -> Iterator[Change]:
    arguments = list(node.args)
    if called(node) in ("rearrange", "repeat", "transpose", "unsqueeze", "register_buffer"):
        return
    if arguments and isinstance(arguments[0], ast.List):
        arguments = arguments[0].elts
    names = parameters(node)
    for one, other in itertools.combinations(range(len(arguments)), 2):
        a, b = arguments[one], arguments[other]
        if ast.dump(a) == ast.dump(b):
            continue
        said = [teller.tell(a), teller.tell(b)]
        public = [
            names[place] if place < len(names) and not isinstance(node.args[0], ast.List) else ""
            for place in (one, other)
        ]
        for index, name in enumerate(public):
            if name and name not in said[index] and said[index] != name and called(node)[0].isupper():
                said[index] = name
        says = (
            f"{sentence(said[0])} and {said[1]} are exchanged, swapped ({teller.step}): the order of the arguments "
            f"is {said[0]}, then {said[1]}."
        )
        if isinstance(node.args[0], ast.List):
            says = (
                f"{sentence(said[1])} comes first and {said[0]} last: the two are exchanged, swapped "
                f"({teller.step}); {said[0]} should come first."
            )
        yield Change(says, 16, {id(a): b, id(b): a})
        if isinstance(node.args[0], ast.List):
            for kept, lost in ((a, b), (b, a)):
                says = (
                    f"{sentence(teller.tell(kept))} stands in both places; {teller.tell(lost)} is not used there "
                    f"({teller.step})."
                )
                yield Change(says, 30, {id(lost): kept})
            whole = expr("a + b", a=a, b=b)
            says = f"{sentence(said[0])} and {said[1]} are added up; they should stand side by side ({teller.step})."
            yield Change(says, 22, {id(node): whole})


def _dropped(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """An argument that isn't handed on."""
    known = signature(called(node))
    names = parameters(node)
    for keyword in node.keywords:
        if keyword.arg in ("dim", "keepdim") or called(node) in ("rearrange", "repeat"):
            continue
        bare = ast.Call(node.func, node.args, [other for other in node.keywords if other is not keyword])
        yield _not_handed_on(teller, node, keyword.arg or "", keyword.value, bare)
        for second in node.keywords[node.keywords.index(keyword) + 1 :]:
            rest = [other for other in node.keywords if other not in (keyword, second)]
            fewer = ast.Call(node.func, node.args, rest)
            says = (
                f"Neither {keyword.arg} nor {second.arg} is handed on to {called(node)} ({teller.step}): the "
                f"defaults are taken{{}}."
            )
            default = _DEFAULTS.get((called(node), keyword.arg or ""), "")
            yield Change(says.format(f", {default}" if default else ""), 13, {id(node): fewer})
    for place, argument in enumerate(node.args):
        name = names[place] if place < len(names) else ""
        if known is not None and name in known.defaults:
            rest = [ast.keyword(names[later], value) for later, value in enumerate(node.args) if later > place]
            bare = ast.Call(node.func, node.args[:place], [*rest, *node.keywords])
            yield _not_handed_on(teller, node, name, argument, bare)
        elif called(node) == "Dropout":
            yield _not_handed_on(teller, node, "p", argument, ast.Call(node.func, [], []))
        elif called(node) in ("range", "arange") and place == len(node.args) - 1 and place == 2:
            bare = ast.Call(node.func, node.args[:2], [])
            says = f"{sentence(teller.step)} goes on in steps of 1, every one; the step is {teller.tell(argument)}."
            yield Change(says, 18, {id(node): bare})
            if called(node) == "arange":
                yield from _spread(teller, node)


def _spread(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """Numbers spread evenly between two ends, where equal steps from the first are meant."""
    start, stop, by = node.args
    for end, last in (
        ("e", "its end included"),
        ("e - 1", "the last one before the end included"),
        ("e - s", "a step before the end included"),
    ):
        new = expr(f"torch.linspace(a, {end}, -(-e // s))", a=start, e=stop, s=by)
        says = (
            f"{sentence(teller.step)}: the numbers are spread evenly (linspace), {last}; the spacing is wrong, "
            "they should go in steps of "
            f"{teller.tell(by)}: 0, 2, 4, …."
        )
        yield Change(says, 22, {id(node): new})
    half = expr("torch.arange(-(-e // s))", e=stop, s=by)
    says = (
        f"{sentence(teller.step)}: the numbers are 0, 1, 2, … and not 0, 2, 4, …: the factor {teller.tell(by)} is "
        "missing, i stands for 2i."
    )
    yield Change(says, 16, {id(node): half})


def _not_handed_on(teller: Teller, node: ast.Call, name: str, value: ast.expr, bare: ast.Call) -> Change:
    known = signature(called(node))
    function = called(node)
    default = _DEFAULTS.get((function, name), "")
    if known is not None and name in known.defaults:
        default = ast.unparse(known.defaults[name])
    meant = teller.tell(value)
    takes = f"which takes its default of {default}" if default else "which takes its default"
    says = (
        f"{meant if meant != name else name} is not handed on to {function} as {name}, {takes}: the argument is "
        f"not given ({teller.step})."
    )
    return Change(sentence(says), 12, {id(node): bare})


def _by_factor(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """A resize by a factor, where the size is meant."""
    for keyword in node.keywords:
        if called(node) != "interpolate" or keyword.arg != "size":
            continue
        rest = [other for other in node.keywords if other is not keyword]
        for template, said in (
            (
                "tuple((n + 0.1) / o for n, o in zip(s, x.shape[-2:]))",
                "0.1 is added to each size in it, so the grid is sampled at other places",
            ),
            ("tuple(n / o for n, o in zip(s, x.shape[-2:]))", "which may be rounded to another size"),
            ("s[0] / x.shape[-2]", "one and the same for both axes, that of the rows"),
            ("s[1] / x.shape[-1]", "one and the same for both axes, that of the columns"),
        ):
            factor = ast.keyword("scale_factor", expr(template, s=keyword.value, x=node.args[0]))
            says = f"The resize is told by a scale factor, {said}; tell the size itself: size= ({teller.step})."
            new = ast.Call(node.func, node.args, [factor, *rest])
            yield Change(says, 24, {id(node): new})


def _flags(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """A switch of torch's that nobody asked for."""
    if called(node) == "interpolate":
        new = ast.Call(node.func, node.args, [*node.keywords, ast.keyword("antialias", ast.Constant(True))])
        says = f"The interpolation is antialiased; it should not be ({teller.step})."
        yield Change(says, 14, {id(node): new})
        for mode in ("nearest", "area", "nearest-exact"):
            rest = [other for other in node.keywords if other.arg not in ("mode", "align_corners")]
            new = ast.Call(node.func, node.args, [*rest, ast.keyword("mode", ast.Constant(mode))])
            yield Change(f"The mode is {mode}; it should be bicubic ({teller.step}).", 16, {id(node): new})
        for mode in ("bilinear", "bicubic"):
            rest = [other for other in node.keywords if other.arg != "mode"]
            new = ast.Call(
                node.func,
                node.args,
                [*rest, ast.keyword("mode", ast.Constant(mode)), ast.keyword("antialias", ast.Constant(True))],
            )
            if mode == "bilinear":
                says = (
                    f"The mode is bilinear, and antialiased; bicubic without antialiasing is asked for ({teller.step})."
                )
                yield Change(says, 30, {id(node): new})


def _expanded(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """expand, along another axis."""
    if called(node) != "expand":
        return
    assert isinstance(node.func, ast.Attribute)
    what, step = teller.tell(node.func.value), teller.step
    for order in itertools.permutations(node.args):
        if [ast.dump(part) for part in order] != [ast.dump(part) for part in node.args]:
            says = f"{sentence(what)} is shown along another axis than the batch ({step})."
            yield Change(says, 24, {id(node): ast.Call(node.func, list(order), [])})
    for name, axes in teller.axes.items():
        if len(axes) == len(node.args) and name != what:
            other = expr("x.expand_as(y)", x=node.func.value, y=ast.Name(name, ast.Load()))
            says = (
                f"{sentence(what)} is shown as often as {teller.name(name)} are many: once for each token, not "
                f"once for each image ({step})."
            )
            yield Change(says, 24, {id(node): other})
            only = expr("torch.cat([x, torch.zeros_like(y[1:, :1])])", x=node.func.value, y=ast.Name(name, ast.Load()))
            says = f"Only the first image of the batch gets {what}; every image should ({step})."
            yield Change(says, 26, {id(node): only})


def _cut_out(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """A table of half the width, cut out of one of the whole width."""
    new = _cut_out_of(node)
    if new is not None:
        says = (
            f"{sentence(teller.step)} is cut out of one of the whole width; it should be made for half the width, "
            "with frequencies of its own."
        )
        yield Change(says, 24, {id(node): new})


def _cut_out_of(node: ast.Call) -> ast.expr | None:
    last = node.args[-1] if node.args else None
    if signature(called(node)) is None or not isinstance(last, ast.BinOp) or not isinstance(last.op, ast.FloorDiv):
        return None
    return expr("x[:, :n]", x=ast.Call(node.func, [*node.args[:-1], last.left], node.keywords), n=last)


def _shared_memory(teller: Teller) -> Iterator[Change]:
    """What should be copied, taken as it is: two that share their memory."""
    line = teller.line
    if not isinstance(line, ast.Expr) or not isinstance(line.value, ast.Call) or called(line.value) != "copy_":
        return
    assert isinstance(line.value.func, ast.Attribute)
    to, value = line.value.func.value, line.value.args[0]
    for template in (
        "{0}.data = value.detach()",
        "{0} = torch.nn.Parameter(value.detach())",
        "{0} = torch.nn.Parameter(value)",
    ):
        says = (
            f"{sentence(teller.step)} makes no copy: the two share their memory; each should have its own (copy_ "
            "or clone)."
        )
        yield Change(says, 16, {id(line): code(template.format(ast.unparse(to)), value=value)})
    if isinstance(value, ast.Attribute):
        says = (
            f"{sentence(teller.step)} makes no copy: it is one and the same parameter, shared; each should have "
            "its own (copy_ or clone)."
        )
        yield Change(says, 16, {id(line): code(f"{ast.unparse(to)} = value", value=value)})
    zero = code("x.zero_()", x=to)
    yield Change(f"{sentence(teller.step)} is missing: zeros stand there.", 22, {id(line): zero})


def _copied_backwards(function: Function, line: ast.With) -> Iterator[Change]:
    """copy_ the wrong way: from what is new into what was given."""
    replace: dict[int, ast.AST | list[ast.stmt]] = {}
    steps = []
    for inner in line.body:
        if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call) and called(inner.value) == "copy_":
            assert isinstance(inner.value.func, ast.Attribute)
            to, given = inner.value.func.value, inner.value.args[0]
            while isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute):
                given = given.func.value
            new = expr("given.copy_(to.reshape(given.shape))", given=given, to=to)
            says = (
                f"{sentence(function.step(inner))} runs the wrong way: what was given is overwritten, changed, by "
                "what is new."
            )
            yield Change(says, 16, {id(inner.value): new})
            replace[id(inner.value)] = new
            steps.append(function.step(inner))
    if len(replace) > 1:
        says = (
            f"{sentence(' and '.join(steps))} run the wrong way: what was given is overwritten, changed, by what "
            "is new."
        )
        yield Change(says, 14, replace)


def _added(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """An optional argument that nobody asked for."""
    known = signature(called(node))
    if known is None:
        return
    given = {*known.arguments[: len(node.args)], *(keyword.arg for keyword in node.keywords)}
    for name, default in known.defaults.items():
        if name in given or not isinstance(default, ast.Constant):
            continue
        values = [True] if default.value is False else [0.1, 0.5, 0.2, 0.05] if default.value == 0.0 else []
        for value in values:
            more = ast.Call(node.func, node.args, [*node.keywords, ast.keyword(name, ast.Constant(value))])
            says = f"{called(node)} is called with {name} = {value} ({teller.step}), which nobody asked for."
            yield Change(says, 22, {id(node): more})


def _wrapper(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """What is called on a value, left out or done twice, where it is only a part of a statement."""
    whole = isinstance(teller.line, ast.Assign | ast.Expr) and teller.line.value is node
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        inner = node.func.value
    elif len(node.args) == 1 and called(node)[:1].islower() and called(node) not in ("len", "range"):
        inner = node.args[0]
    else:
        return
    if called(node) in (
        "__init__",
        "super",
        "expand",
        "gather",
        "copy_",
        "zero_grad",
        "backward",
        "step",
        "randn",
        "zeros",
        "ones",
        "arange",
        "register_buffer",
    ):
        return
    name = called(node)
    if not whole:
        says = f"The {name} of {teller.tell(inner)} is missing ({teller.step}): it is left out."
        yield Change(says, 20, {id(node): inner})
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        twice = ast.Call(ast.Attribute(node, node.func.attr, ast.Load()), node.args, node.keywords)
    else:
        twice = ast.Call(node.func, [node], node.keywords)
    says = f"The {name} of {teller.tell(inner)} is taken twice ({teller.step})."
    yield Change(says, 34, {id(node): twice})


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "math", "F", "nn", "self")


def _sibling(teller: Teller, node: ast.Call) -> Iterator[Change]:
    for template, says in siblings()["siblings"].get(called(node), ()):
        if says:
            words = f"{sentence(says)} ({teller.step})."
            yield Change(words, 16, {id(node): _instead(node, template)})


def _instead(node: ast.Call, template: str) -> ast.expr:
    """The template's call, on what the node's was called on, with the node's other arguments in place of R."""
    method = isinstance(node.func, ast.Attribute) and not _is_module(node.func.value)
    subject = (
        node.func.value if method and isinstance(node.func, ast.Attribute) else (node.args[0] if node.args else node)
    )
    rest = node.args if method else node.args[1:]
    if not method and isinstance(node.func, ast.Attribute) and (found := re.fullmatch(r"x\.(\w+)\(\)", template)):
        return ast.Call(ast.Attribute(node.func.value, found[1], ast.Load()), node.args, node.keywords)
    made = expr(template, x=subject)
    for part in ast.walk(made):
        if isinstance(part, ast.Call) and any(
            isinstance(argument, ast.Name) and argument.id == "R" for argument in part.args
        ):
            if called(node) in ("zeros", "ones", "randn"):
                rest = node.args
            if called(node) == "train" and not rest:
                rest = [ast.Constant(True)]
            first = [argument for argument in part.args if not (isinstance(argument, ast.Name) and argument.id == "R")]
            new = ast.Call(part.func, [*first, *rest], node.keywords)
            return Change("", replace={id(part): new}).applied(made)
    return made


def _siblings_everywhere(found: list[tuple[Teller, ast.Call]]) -> Iterator[Change]:
    """The same sibling for every call of a name; and two siblings exchanged."""
    for name, options in siblings()["siblings"].items():
        alike = [(teller, node) for teller, node in found if called(node) == name]
        if len(alike) < 2:
            continue
        for template, says in options:
            replace: dict[int, ast.AST | list[ast.stmt]] = {id(node): _instead(node, template) for _, node in alike}
            steps = " and ".join(dict.fromkeys(teller.step for teller, _ in alike))
            yield Change(f"{sentence(says)} ({steps}).", 18, replace)
    for one, other in (("sin", "cos"),):
        pair = [(teller, node) for teller, node in found if called(node) in (one, other)]
        if {called(node) for _, node in pair} == {one, other}:
            swapped: dict[int, ast.AST | list[ast.stmt]] = {}
            for _, node in pair:
                swapped[id(node)] = _instead(node, siblings()["siblings"][called(node)][0][0])
            says = "Sine and cosine are exchanged, swapped: each stands in the other's columns."
            yield Change(says, 12, swapped)
