"""What nobody asked for: a function put round a value, gradients cut off or clipped, a value read, another dtype."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.order import after, target
from vitcourse.checking.edits.reference import Function, called
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, code, expr, own_expressions
from vitcourse.checking.edits.values import is_number

# Put round a tensor. {} is the value's words; the last number says how likely it is.
_ROUND = (
    ("x.relu()", "A ReLU stands on {}, an activation that nobody asked for: what is negative is lost", 24),
    ("torch.nn.functional.gelu(x)", "A GELU stands on {}, an activation that nobody asked for", 24),
    ("x.sigmoid()", "A sigmoid stands on {}, an activation that nobody asked for", 28),
    ("x.tanh()", "A tanh stands on {}, an activation that nobody asked for", 28),
    ("x.softmax(-1)", "A softmax is applied to {}, which makes probabilities that sum to 1; nobody asked for it", 20),
    ("x.log_softmax(-1)", "A log-softmax is applied to {}, which nobody asked for", 28),
    ("x.softmax(0)", "A softmax over the first axis is applied to {}, which nobody asked for", 40),
    ("x.softmax(1)", "A softmax over axis 1 is applied to {}, which nobody asked for", 40),
    ("x.exp()", "exp is taken of {}, which nobody asked for", 34),
    ("x.log()", "The logarithm is taken of {}, which nobody asked for", 34),
    ("x.abs()", "The absolute value is taken of {}, which loses the sign", 32),
    ("x ** 2", "{} is squared, which nobody asked for", 32),
    ("x ** 0.5", "The root is taken of {}, which nobody asked for", 32),
    ("-x", "The sign of {} is wrong: it is negated", 22),
    ("1 - x", "1 minus {} stands where {} is meant", 34),
    ("1 / x", "{} is upside down: its inverse, 1 over it, stands there", 34),
    ("1 + x", "1 is added to {}", 34),
    ("x - 1", "1 is subtracted from {}", 36),
    ("2 * x", "{} is doubled: a factor of 2 too many, twice as large", 24),
    ("x / 2", "{} is halved: a factor ½ too many, divided by 2", 24),
    ("10 * x", "{} is multiplied by 10", 40),
    ("0.1 * x", "{} is divided by 10, scaled by 0.1", 40),
    ("100 * x", "{} is multiplied by 100, in percent", 26),
    ("x / len(x)", "{} is divided by the number of images, or rows, once more", 36),
    ("x * len(x)", "{} is multiplied by the number of rows: a sum, not a mean", 36),
    ("torch.deg2rad(x)", "{} is taken as degrees and converted to radians; it is in radians already", 34),
    ("torch.rad2deg(x)", "{} is converted from radians to degrees; it should stay in radians", 36),
    ("2 * torch.pi * x", "{} is multiplied by 2π, a full turn; there is no 2π in the formula", 34),
    ("torch.pi * x", "{} is multiplied by π; there is no π there", 34),
    ("x.double()", "{} is made float64 (double); the input's dtype is meant", 34),
    ("x.float()", "{} is made float32, whatever the input's dtype is", 30),
    ("x.half()", "{} is made float16", 46),
    ("x.bfloat16()", "{} is made bfloat16", 46),
    ("x.round()", "{} is rounded to whole numbers", 40),
    ("x.floor()", "{} is rounded down to whole numbers: the fraction is lost", 36),
    ("x.long()", "{} is cut to whole numbers (int)", 40),
    ("x / x.shape[-1] ** 0.5", "{} is divided by √{} here: a scale that is there already, so it is scaled twice, once more than asked", 26),
    ("x * x.shape[-1] ** 0.5", "{} is multiplied by √{}, a scale that nobody asked for", 30),
    ("x / x.shape[-1] ** 0.25", "{} is divided by the fourth root of {}: scaled, where a scale is there already, so scaled twice", 40),
    ("x / x.shape[-1]", "{} is divided by {}, a scale that nobody asked for", 36),
    ("torch.nn.functional.normalize(x, dim=-1)", "{} is normalised to length 1 (cosine similarity), which nobody asked for", 34),
    ("(x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()", "{} is normalised (a layer norm) where nobody asked for it", 34),
    ("(x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()", "{} is normalised (a layer norm) where nobody asked for it", 34),
    ("x - x.mean(-1, keepdim=True)", "The mean is subtracted from {}, which nobody asked for", 38),
    ("x / x.sum(-1, keepdim=True)", "{} is divided by its sum, which nobody asked for", 38),
    ("x.transpose(-2, -1)", "The last two axes of {} are exchanged: it is transposed, and should not be", 26),
    ("x.transpose(0, 1)", "The first two axes of {} are exchanged: it is transposed, and should not be", 32),
    ("x.transpose(1, 2)", "Axes 1 and 2 of {} are exchanged: it is transposed, and should not be", 34),
    ("x.flip(-1)", "{} is turned round along its last axis, backwards", 44),
    ("x.flip(0)", "{} is turned round along its first axis, backwards", 46),
    ("x.flip(1)", "{} is turned round along axis 1, backwards", 46),
    ("x.squeeze()", "All axes of size 1 are removed from {} (squeeze)", 40),
    ("x.unsqueeze(0)", "{} gets one more axis in front, of size 1", 40),
    ("x.unsqueeze(-1)", "{} gets one more axis at the end, of size 1", 42),
    ("x[0]", "Only the first of {} is kept", 34),
    ("x[:1]", "Only the first of {} is kept", 40),
    ("x[1:]", "The first of {} is left out", 44),
    ("x[:-1]", "The last of {} is left out", 44),
    ("x[:, 1:]", "The first of {} along axis 1 is left out", 36),
    ("x[:, :-1]", "The last of {} along axis 1 is left out", 40),
    ("x.roll(1, 0)", "{} is shifted by one row, rolled: off by one", 44),
    ("x.roll(1, 1)", "{} is shifted by one along axis 1, rolled: off by one", 42),
    ("x.roll(-1, 1)", "{} is shifted by one along axis 1, rolled: off by one", 42),
    ("torch.cat([x[:, :1], x], dim=1)", "The first of {} is put in front once more: it stands there twice, one token too many", 30),
    ("torch.cat([x, x[:, :1]], dim=1)", "The first of {} is put at the end once more: it stands there twice, one token too many", 40),
    ("x.mean()", "{} is replaced by one mean over everything: one number", 30),
    ("x.sum()", "{} is summed up to one number", 30),
    ("x.mean(-1)", "The mean is taken of {} over the last axis, which nobody asked for", 34),
    ("x.sum(-1)", "{} is summed over the last axis, which nobody asked for", 36),
    ("x.mean(0)", "The mean is taken of {} over the first axis, which nobody asked for", 34),
    ("x.mean(1)", "{} is averaged over axis 1, which nobody asked for", 30),
    ("x.mean(-1, keepdim=True).expand_as(x)", "{} is replaced by its own mean", 44),
    ("0 * x", "{} is replaced by zeros: it plays no part", 40),
    ("x.tolist()", "{} is made a list; a tensor is asked for", 44),
    ("x.numpy()", "{} is made a numpy array; a tensor is asked for", 46),
    ("x.item()", "{} is read as a Python number (item), which waits for the GPU; a tensor is asked for", 36),
    ("torch.nn.functional.dropout(x, 0.1)", "A dropout of 0.1 stands on {}, which nobody asked for, and which stays on in evaluation mode", 40),
    ("torch.nn.functional.dropout(x, 0.5)", "A dropout of 0.5 stands on {}, which nobody asked for, and which stays on in evaluation mode", 40),
    *(
        (f"x.clamp(-{limit}, {limit})", f"{{}} is clamped, clipped to ±{limit}, which changes what is larger", 32)
        for limit in (1, 10, 20, 30, 50, 80, 88, 100, 1000)
    ),
    ("x.clamp(min=0)", "{} is clamped to at least 0", 46),
    ("x.clamp(min=1e-6)", "{} is clamped from below, to at least a small constant", 40),
    ("x.clamp(0, 1)", "{} is clamped to between 0 and 1", 40),
    ("x + 1e-5", "A small constant, 1e-5, is added to {}, once more", 44),
    ("x + 1e-6", "A small constant, 1e-6, is added to {}, once more", 44),
    ("x + 1e-8", "A small constant is added to {}, once more", 46),
)  # fmt: skip

# Put round a Python number.
_ROUND_NUMBER = (
    ("torch.tensor(x)", "{} is a 0-d tensor; a Python float is asked for", 20),
    ("torch.tensor(float(x))", "{} is a 0-d tensor; a Python float is asked for", 26),
    ("int(x)", "{} is cut to a whole number (int)", 30),
    ("round(x)", "{} is rounded to a whole number", 34),
    ("round(x, 2)", "{} is rounded to two digits", 34),
    ("round(x, 4)", "{} is rounded to four digits", 36),
    ("str(x)", "{} is made a text", 50),
    ("-x", "The sign of {} is wrong: it is negated", 28),
    ("1 - x", "1 minus {} stands where {} is meant: it runs the other way", 26),
    ("2 * x", "{} is doubled, twice as large", 28),
    ("x / 2", "{} is halved, divided by 2", 28),
    ("100 * x", "{} is multiplied by 100, in percent", 26),
    ("x ** 2", "{} is squared", 34),
    ("x ** 0.5", "The root is taken of {}", 34),
    ("x + 1", "1 is added to {}: off by one", 28),
    ("x - 1", "1 is subtracted from {}: off by one", 30),
    *(
        (f"max({floor}, x)", f"{{}} never falls below {floor}: a lower limit, a floor, where it should come down to 0", 30)
        for floor in (0.01, 0.1, 0.001, 0.05, 0.02, 0.2, 1e-4, 1e-5, 1e-6)
    ),
    *(
        (f"{floor} + (1 - {floor}) * x", f"{{}} ends at {floor}, a lower limit; it should come down to 0", 36)
        for floor in (0.01, 0.1, 0.001, 0.05)
    ),
    ("min(1.0, x)", "{} is cut off at 1", 44),
)  # fmt: skip

# A softmax or its logarithm in other forms; x is what it is taken of, R the arguments.
_SOFTMAX = (
    ("x.exp() / x.exp().sum(-1, keepdim=True)", "exp is taken of the scores as they are, which overflows when they are large: softmax subtracts each row's maximum first", 14),
    ("(x - x.max()).exp() / (x - x.max()).exp().sum(-1, keepdim=True)", "The maximum of everything is subtracted, not each row's own", 24),
    ("x / x.sum(-1, keepdim=True)", "There is no exp: each number is divided by the sum of its row", 22),
    ("x.abs() / x.abs().sum(-1, keepdim=True)", "There is no exp: each number is divided by the sum of its row", 40),
    ("x.relu() / x.relu().sum(-1, keepdim=True)", "There is no exp, but a ReLU, before the division by the sum", 40),
    ("x.sigmoid()", "A sigmoid stands where the softmax is meant: the rows don't sum to 1", 16),
    ("x.exp()", "The exponentials are never divided by their sum: the rows don't sum to 1", 18),
    ("x.log_softmax(-1)", "The logarithm of the softmax (log_softmax) stands where the softmax is meant", 18),
    ("torch.nn.functional.one_hot(x.argmax(-1), x.shape[-1]).to(x.dtype)", "Only the largest counts, with weight 1 (argmax): a hard choice where the softmax is meant", 30),
    ("x.softmax(-1).softmax(-1)", "The softmax is applied twice", 24),
    ("(x - x.exp().sum(-1, keepdim=True).log()).exp()", "exp is taken of the scores as they are, which overflows when they are large", 30),
    ("(0 * x).softmax(-1)", "All weights are alike, uniform: the scores don't reach the softmax", 24),
)  # fmt: skip
_LOG_SOFTMAX = (
    ("x.softmax(-1).log()", "The softmax of far logits is rounded to 0 (it underflows), and the log of 0 is -inf: take the log-sum-exp", 12),
    ("x - x.exp().sum(-1, keepdim=True).log()", "exp of large logits overflows; logsumexp subtracts the maximum first", 12),
    ("x - (x.max() + (x - x.max()).exp().sum(-1, keepdim=True).log())", "The largest logit of the whole batch is subtracted; each row needs its own, or rows far below it underflow", 18),
    *(
        (f"(x.softmax(-1) + {small}).log()", f"A constant, {small}, is added inside the log, which caps the loss: it can't be larger than -log({small}); take the log-sum-exp", 20)
        for small in ("1e-9", "1e-8", "1e-12", "1e-10", "1e-7", "1e-6", "1e-5", "1e-15", "1e-20", "1e-30")
    ),
    *(
        (f"x.softmax(-1).clamp(min={small}).log()", f"The softmax is clamped, clipped to at least {small} before the log, which caps the loss: it can't be larger than -log({small}); take the log-sum-exp", 24)
        for small in ("1e-9", "1e-8", "1e-12", "1e-10", "1e-7", "1e-6", "1e-5")
    ),
    ("x.softmax(-1)", "There is no logarithm: p itself stands where log p is meant", 16),
    ("x.sigmoid().log()", "The log of a sigmoid stands where the log of the softmax is meant", 26),
    ("x - x.max(-1, keepdim=True).values", "The maximum is subtracted where the log-sum-exp is meant", 22),
    ("x.softmax(-1) - x.softmax(-1).logsumexp(-1, keepdim=True)", "A softmax is applied in front of the log-sum-exp, which is a softmax already", 18),
    ("x.softmax(-1).log2()", "The logarithm is that to the base 2; the natural one is meant", 30),
    ("x.softmax(-1).log10()", "The logarithm is that to the base 10; the natural one is meant", 34),
    ("x.log_softmax(0)", "The softmax runs over the batch; it should run over the classes", 24),
)  # fmt: skip


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        if not function.name.endswith("__init__"):
            yield from _round_results(function)
            yield from _round_arguments(function)
            yield from _cut_off(function)
            yield from _residuals(function)
            yield from _read(function)
        for line in function.lines():
            if isinstance(line, ast.Raise):
                continue
            teller = Teller(function, line)
            for node in own_expressions(line):
                yield from _forms(teller, node)
                yield from _round_number(teller, node)
                if isinstance(node, ast.Call) and called(node) == "backward":
                    yield from _backward(teller, node)
            if isinstance(line, ast.Expr) and called(line.value) == "step":
                yield from _gradients(function, line)


def _round(teller: Teller, node: ast.expr, name: str, step: str) -> Iterator[tuple[ast.expr, str, int]]:
    """Each thing that may be put round a tensor, with its words."""
    axes = teller.shape(node) or ()
    last = axes[-1] if axes and axes[-1] != "…" else "the size of the last axis"
    for template, says, rank in _ROUND:
        if "transpose(1, 2)" in template and len(axes) not in (3, 4) or "clamp(-" in template and len(axes) != 2:
            continue
        words = (
            says.format(name, last)
            if "√{}" in says or "of {}:" in says or "by {}," in says
            else says.replace("{}", name)
        )
        yield expr(template, x=node), f"{sentence(words)} ({step}).", rank


def _round_results(function: Function) -> Iterator[Change]:
    """Something put round what a statement gives."""
    lines = function.lines()
    for line in lines:
        if isinstance(line, ast.Assign) and target(line) and target(line) in after(function, line):
            following = lines[lines.index(line) + 1]
            teller = Teller(function, following)
            name = teller.name(target(line))
            for new, says, rank in _round(
                teller, ast.Name(target(line), ast.Load()), name, f"after {function.step(line)}"
            ):
                changed = Change("", "", replace={}).applied(new)
                yield Change(
                    f"{function.step(line)}: {ast.unparse(new)}",
                    says,
                    rank,
                    after={id(line): [ast.Assign([ast.Name(target(line), ast.Store())], changed)]},
                )
        if isinstance(line, ast.Return) and line.value is not None:
            yield from _round_returned(function, line, line.value)


def _round_returned(function: Function, line: ast.Return, value: ast.expr) -> Iterator[Change]:
    teller = Teller(function, line)
    inside = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    parts = [part for whole in inside for part in (whole.elts if isinstance(whole, ast.Tuple) else [whole])]
    if isinstance(value, ast.Name | ast.Constant) or teller.function.node.returns is not None:
        return
    for part in parts:
        plain = isinstance(part, ast.Name)
        if plain and len(parts) == 1:
            continue
        if is_number(teller, part) or called(part) == "float":
            continue
        name = teller.tell(part) if plain else "what is returned"
        for new, says, rank in _round(teller, part, name, function.step(line)):
            yield Change(f"{function.step(line)}: {name}", says, rank + 4, {id(part): new})


def _round_arguments(function: Function) -> Iterator[Change]:
    """Something done to an argument before all else."""
    first = function.node.body[0]
    teller = Teller(function, first)
    for argument in function.arguments:
        if argument in teller.axes and teller.axes[argument] not in ((), ("B",), ("n",)):
            name = teller.name(argument)
            for new, says, rank in _round(teller, ast.Name(argument, ast.Load()), name, "at the start"):
                start = [ast.Assign([ast.Name(argument, ast.Store())], new)]
                yield Change(f"{argument}: {ast.unparse(new)}", says, rank + 4, before={id(first): start})


def _cut_off(function: Function) -> Iterator[Change]:
    """A value through which no gradient flows."""
    results = [
        line for line in function.lines() if isinstance(line, ast.Assign) and target(line) in after(function, line)
    ]

    def detached(line: ast.Assign) -> list[ast.stmt]:
        return code(f"{target(line)} = {target(line)}.detach()")

    for line in results:
        says = f"No gradient flows back through {function.step(line)}: its result is detached from the graph, or computed under no_grad."
        yield Change(f"{function.step(line)}: detached", says, 18, after={id(line): detached(line)})
    for one, other in itertools.combinations(results, 2):
        says = f"No gradient flows through {function.step(one)}, and none through {function.step(other)}: both are detached from the graph, or computed under no_grad."
        both = {id(one): detached(one), id(other): detached(other)}
        yield Change(f"{function.step(one)} and {function.step(other)}: detached", says, 22, after=both)
    for line in function.lines():
        teller = Teller(function, line)
        if isinstance(line, ast.For | ast.If | ast.With):
            continue
        for node in own_expressions(line):
            tensor = isinstance(node, ast.Name) and node.id in teller.axes and isinstance(node.ctx, ast.Load)
            parameter = (
                isinstance(node, ast.Attribute)
                and node.attr in function.attributes
                and function.attributes[node.attr].kind == "parameter"
            )
            inner = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and teller.shape(node.func.value)
                and not (isinstance(line, ast.Assign) and line.value is node)
            )
            if tensor or parameter or inner:
                says = f"{sentence(teller.tell(node))} is detached (or under no_grad) in {teller.step}: no gradient flows through it there, it is cut off from the graph."
                if inner:
                    says = f"No gradient flows through {teller.tell(node)} in {teller.step}: it is detached from the graph, or computed under no_grad."
                yield Change(f"{teller.step}: detached", says, 22, {id(node): expr("x.detach()", x=node)})


def _residuals(function: Function) -> Iterator[Change]:
    """The input added where nobody asked for it."""
    first = function.node.body[0]
    given = function.axes[id(first)]
    for argument in function.arguments:
        if argument not in given:
            continue
        keep = code("kept = value", value=ast.Name(argument, ast.Load()))
        for line in function.lines():
            if (
                isinstance(line, ast.Return)
                and line.value is not None
                and not isinstance(line.value, ast.IfExp | ast.Tuple)
            ):
                says = "The input is added to the result, a residual (skip connection) that doesn't belong here: the block adds it, in 4.4."
                new = expr("kept + x", x=line.value)
                yield Change("a residual", says, 22, {id(line.value): new}, before={id(first): keep})
            elif target(line) and after(function, line).get(target(line)) == given[argument]:
                says = (
                    f"The input is added after {function.step(line)}, a residual (skip connection) that doesn't belong there: "
                    "the block adds its input, in 4.4, and nothing else does."
                )
                add = code(f"{target(line)} = {target(line)} + kept")
                yield Change(
                    f"{function.step(line)}: a residual", says, 22, before={id(first): keep}, after={id(line): add}
                )
    for line in function.lines():
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.BinOp) and isinstance(line.value.op, ast.Add):
            continue
        name = target(line)
        if (
            name
            and after(function, line).get(name) == function.axes[id(line)].get(name)
            and isinstance(line, ast.Assign)
        ):
            own = expr("x + f", x=ast.Name(name, ast.Load()), f=line.value)
            says = f"What goes into {function.step(line)} is added to what comes out: a residual that nobody asked for there."
            yield Change(f"{function.step(line)}: a residual", says, 26, {id(line.value): own})


def _read(function: Function) -> Iterator[Change]:
    """A value on the device, read by Python: where the function trains, that is waiting."""
    if not any(called(node) == "backward" for node in ast.walk(function.node)):
        return
    for line in function.lines():
        name = target(line)
        if not name or name not in after(function, line):
            continue
        for template, how in (
            ("repr({})", "printed, or made a text (print, __repr__, an f-string)"),
            ("f'{{{}}}'", "printed, or made a text (print, __format__, an f-string)"),
            ("{}.sum().item()", "read with item()"),
            ("bool({}.isnan().any())", "asked for in an if or assert (isnan, say)"),
            ("{}.cpu()", "moved to the CPU"),
        ):
            says = f"{sentence(Teller(function, line).name(name))} is {how} after {function.step(line)}: reading a value waits for the device, a synchronisation."
            yield Change(f"{name} read: {how}", says, 28, after={id(line): code(template.format(name))})


def _forms(teller: Teller, node: ast.expr) -> Iterator[Change]:
    """Other ways to write a softmax, or its logarithm, that are none."""
    if called(node) == "softmax" and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        for template, says, rank in _SOFTMAX:
            yield Change(
                f"{teller.step}: {template}",
                f"{sentence(says)} ({teller.step}).",
                rank,
                {id(node): expr(template, x=node.func.value)},
            )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and called(node.right) == "logsumexp":
        for template, says, rank in _LOG_SOFTMAX:
            yield Change(
                f"{teller.step}: {template}",
                f"{sentence(says)} ({teller.step}).",
                rank,
                {id(node): expr(template, x=node.left)},
            )
    if called(node) == "gather" and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        table = node.func.value
        options = (
            (
                "(x.exp() * x).sum(-1, keepdim=True)",
                "This is the entropy of the prediction itself: the labels are not used, they are ignored",
            ),
            (
                "x.max(-1, keepdim=True).values",
                "The largest is taken where the label's own is meant: the labels are not used",
            ),
            (
                "x.sum(-1, keepdim=True)",
                "All classes are summed where the label's own is meant: the labels are not used",
            ),
            ("x[:, :1]", "The first class is taken, whatever the label is: the labels are not used"),
        )
        ignored = [code(f"{name} = {ast.unparse(default)}") for name, default in teller.function.defaults.items()]
        for template, says in options:
            words = f"{sentence(says)} ({teller.step})."
            replace: dict[int, ast.AST | list[ast.stmt]] = {id(node): expr(template, x=table)}
            yield Change(f"{teller.step}: {template}", words, 18, replace)
            if ignored:
                start = {id(teller.function.node.body[0]): [line for lines in ignored for line in lines]}
                yield Change(f"{teller.step}: {template}", words, 22, replace, before=start)
        labels = node.args[-1]
        for by, said in (("+ 1", "the class after"), ("- 1", "the class before")):
            says = f"{sentence(teller.step)} takes {said} the label's: off by one."
            yield Change(
                f"{teller.step}: {said}", says, 34, {id(labels): expr(f"(n {by}) % x.shape[1]", n=labels, x=table)}
            )


def _round_number(teller: Teller, node: ast.expr) -> Iterator[Change]:
    """Something put round a Python number that is computed."""
    line = teller.line
    whole = isinstance(line, ast.Return | ast.Assign) and line.value is node
    if not whole or isinstance(node, ast.Name | ast.Constant | ast.Tuple) or teller.function.name.endswith("__init__"):
        return
    if isinstance(line, ast.Assign) and (not target(line) or target(line) in after(teller.function, line)):
        return
    if isinstance(line, ast.Return) and not (is_number(teller, node) or called(node) == "float"):
        return
    name = teller.name(target(line)) if target(line) else "what is returned"
    for template, says, rank in _ROUND_NUMBER:
        yield Change(
            f"{teller.step}: {template}",
            f"{sentence(says.replace('{}', name))} ({teller.step}).",
            rank,
            {id(node): expr(template, x=node)},
        )


def _backward(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """Something done to the loss for the backward pass alone."""
    assert isinstance(node.func, ast.Attribute)
    loss = node.func.value
    for template, says in (
        (
            "x / 2",
            "halved: a factor of ½ (0.5), so every gradient and the update are half as large, smaller by one factor",
        ),
        ("2 * x", "doubled: a factor of 2, so every gradient and the update are twice as large, by one factor"),
        ("x / 10", "divided by 10, scaled down, so the update is smaller by one factor"),
        ("10 * x", "multiplied by 10, scaled up, so the update is larger by one factor"),
        ("x / 4", "divided by 4, scaled down, so the update is smaller by one factor"),
        ("-x", "negated: the sign is wrong, so the update climbs, away from the minimum"),
        ("x ** 2", "squared, so its gradient is scaled by twice the loss"),
        ("x.sqrt()", "put under a root, which scales its gradient"),
        ("x.exp()", "put through exp, which scales its gradient"),
        ("x.log()", "put through a logarithm, which scales its gradient"),
    ):
        words = f"The loss is {says} ({teller.step})."
        yield Change(f"{teller.step}: {template}", words, 18, {id(loss): expr(template, x=loss)})
    first = next((name for name, axes in teller.axes.items() if axes == ("B",)), "")
    if first:
        for template, said in (("x * len(n)", "multiplied by"), ("x / len(n)", "divided by")):
            says = f"The loss is {said} the number of images before the backward pass, so the update is scaled by one factor: too {'large' if '*' in template else 'small'}."
            yield Change(
                f"{teller.step}: {said} B", says, 20, {id(loss): expr(template, x=loss, n=ast.Name(first, ast.Load()))}
            )


def _gradients(function: Function, line: ast.Expr) -> Iterator[Change]:
    """Something done to the gradients before the optimizer uses them."""
    assert isinstance(line.value, ast.Call)
    assert isinstance(line.value.func, ast.Attribute)
    optimizer = line.value.func.value
    groups = expr("[p for g in o.param_groups for p in g['params']]", o=optimizer)
    options = [
        (f"torch.nn.utils.clip_grad_norm_(ps, {limit})", f"The gradients are clipped to a norm of {limit}, which nobody asked for: they are scaled, so the step is smaller than lr·gradient")
        for limit in (1.0, 0.5, 5.0, 0.1, 2.0, 10.0, 0.01)
    ] + [
        (f"torch.nn.utils.clip_grad_value_(ps, {limit})", f"Each gradient is clipped to ±{limit}, which nobody asked for, so the step is smaller than lr·gradient")
        for limit in (1.0, 0.5, 0.1, 0.01)
    ] + [
        ("[p.grad.mul_(0.5) for p in ps if p.grad is not None]", "The gradients are halved before the step: scaled by one factor"),
        ("[p.grad.neg_() for p in ps if p.grad is not None]", "The gradients are negated before the step: the update climbs"),
        ("[p.grad.sign_() for p in ps if p.grad is not None]", "Only the gradients' signs are used"),
        ("[p.grad.add_(p, alpha=0.01) for p in ps if p.grad is not None]", "Weight decay is added by hand, which nobody asked for"),
    ]  # fmt: skip
    for template, says in options:
        yield Change(says, f"{says}.", 20, before={id(line): code(template, ps=groups)})


__all__ = ["Function", "changes"]
