"""How edits speak of a reference's expressions: in symbols, public names and the outline's words."""

import ast
import re
from collections.abc import Iterator
from functools import cache

from vitcourse.checking.edits.reference import Axes, Function, called, phrases, public_names, target, words
from vitcourse.checking.edits.trees import Change, Replace, expr, own_expressions

_SAID = {
    "sin": "the sine of {}",
    "cos": "the cosine of {}",
    "sqrt": "√({})",
    "erf": "erf({})",
    "softmax": "the softmax of {}",
    "logsumexp": "the log-sum-exp of {}",
    "mean": "the mean of {}",
    "sum": "the sum of {}",
    "len": "the number of {}",
    "argmax": "the class of the largest of {}",
}


class Teller:
    """Words for what stands at one statement of a function."""

    def __init__(self, function: Function, line: ast.stmt) -> None:
        self.function = function
        self.line = line
        self.axes = function.axes[id(line)]

    @property
    def step(self) -> str:
        """What the statement does."""
        return self.function.step(self.line)

    def says(self, words: str, **parts: ast.expr | str) -> str:
        """The words as a sentence: {…} is the step, a part, or an expression made of parts; {x@1} an axis of x.

        Words without a full stop end in the step.
        """
        words = words if words.endswith(".") else f"{words} ({{step}})."
        trees = {name: part for name, part in parts.items() if isinstance(part, ast.expr)}

        def told(found: re.Match[str]) -> str:
            if isinstance(text := {"step": self.step, **parts}.get(found[1]), str):
                return text
            node = expr(found[1], **trees)
            return self.along(node, int(found[2])) if found[2] else self.tell(node)

        return sentence(re.sub(r"\{([^{}@]+)(?:@(-?\d))?\}", told, words))

    def change(self, phrase: str, replace: Replace, rank: int = 0, **parts: ast.expr | str) -> Change:
        """A change in the words of phrases.toml, with these parts told; rank where it is not the phrase's own."""
        usual, text = phrases()[phrase]
        return Change(self.says(text, **parts), replace, rank or usual)

    def shape(self, node: ast.expr) -> Axes | None:
        """The axes of an expression, as far as they are known: those of a name, and of its power."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            return self.shape(node.left)
        return self.axes.get(node.id) if isinstance(node, ast.Name) else None

    def along(self, node: ast.expr, place: int) -> str:
        """What lies along an axis of an expression: "the tokens", or "axis 1" where that is not known."""
        axes, symbol = self.shape(node) or ("",), self.symbol(node, place)
        if axes[0] == "…" and symbol == "?" and place in (-2, 1):
            return "the tokens"  # whatever comes before, it is mostly a batch of these
        ordinary = {-1: "the last axis", -2: "the last axis but one", 0: "the first axis"}.get(place, f"axis {place}")
        return str(words()["axes"].get(symbol, ordinary))

    def symbol(self, node: ast.expr, place: int) -> str:
        """The symbol of an axis, "?" where it is not known."""
        axes = self.shape(node)
        if axes is None or ("…" in axes and place >= 0) or not -len(axes) <= place < len(axes) or axes[place] == "…":
            return "?"
        return axes[place]

    def tell(self, node: ast.expr) -> str:
        """An expression as one says it: words for its parts, with the operators and brackets that Python has."""
        return ast.unparse(self._worded(node)).replace(" * ", " · ").replace(" @ ", " · ")

    def _worded(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Pow):
            return ast.BinOp(self._worded(node.left), node.op, self._worded(node.right))
        if isinstance(node, ast.Compare):
            return ast.Compare(self._worded(node.left), node.ops, list(map(self._worded, node.comparators)))
        if isinstance(node, ast.Tuple):
            return ast.Tuple(list(map(self._worded, node.elts)))
        return ast.Name(self._words(node))

    def _words(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            return "½" if node.value == 0.5 else str(node.value)
        if isinstance(node, ast.Name):
            return self.name(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.UnaryOp):
            sign = {ast.USub: "minus ", ast.Not: "not "}.get(type(node.op), "")
            return sign + self.tell(node.operand)
        if isinstance(node, ast.BinOp):
            return self._power(self.tell(node.left), node.right)
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        return self._call(node) if isinstance(node, ast.Call) else "this"

    def name(self, name: str) -> str:
        """A name as one says it."""
        return str(self.function.names.get(name) or words()["symbols"].get(name) or name)

    def _attribute(self, node: ast.Attribute) -> str:
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return str(words()["symbols"].get(node.attr, node.attr))
        if node.attr == "T":
            text = self.tell(node.value)
            return f"({text})ᵀ" if isinstance(node.value, ast.BinOp) else f"{text} transposed"
        known = ast.unparse(node).startswith(("torch.", "math."))
        return node.attr if known else f"{self.tell(node.value)}'s {node.attr}"

    def _power(self, base: str, exponent: ast.expr) -> str:
        named = {"0.5": f"√{base}", "2": f"the square of {base}"}
        return named.get(ast.unparse(exponent)) or f"{base}^({self.tell(exponent)})"

    def _subscript(self, node: ast.Subscript) -> str:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape" and isinstance(node.slice, ast.expr):
            try:
                place = int(ast.literal_eval(node.slice))
            except (ValueError, TypeError):
                return "a size"
            symbol = self.symbol(node.value.value, place)
            return f"axis {place} of {self.tell(node.value.value)}" if symbol == "?" else symbol
        return f"a part of {self.tell(node.value)}"

    def _call(self, node: ast.Call) -> str:
        function = called(node)
        subject = self.tell(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if subject in ("torch", "math", "F", "nn", "self") or not subject:
            subject = self.tell(node.args[0]) if node.args else "it"
        if function in ("randn", "rand", "zeros", "ones", "arange"):
            return {"randn": "the noise", "rand": "the noise", "arange": "the numbers"}.get(function, f"the {function}")
        if function in _SAID:
            return _SAID[function].format(subject)
        return f"the result of {function}" if isinstance(node.func, ast.Name) else subject


def expressions(function: Function) -> Iterator[tuple[Teller, ast.expr]]:
    """Each expression that a function works with, beside what tells of its statement: none of an error's message."""
    for line in function.lines():
        if not isinstance(line, ast.Raise):
            teller = Teller(function, line)
            for node in own_expressions(line):
                yield teller, node


def reads(function: Function, argument: str) -> list[ast.expr]:
    """Where an argument is read, as long as its name has no other value."""
    lines = function.lines()
    last = next((number for number, line in enumerate(lines) if target(line) == argument), len(lines))
    names = [(teller.line, node) for teller, node in expressions(function) if isinstance(node, ast.Name)]
    own = [(line, node) for line, node in names if node.id == argument and isinstance(node.ctx, ast.Load)]
    return [node for line, node in own if lines.index(line) <= last]


def sentence(text: str) -> str:
    """The text with a capital at its start, unless a public name or a symbol stands there."""
    first = text.split(" ")[0]
    plain = first.isalpha() and first.islower() and len(first) > 1 and first not in public_names()
    return text[:1].upper() + text[1:] if plain else text


def shortened(says: str) -> str:
    """A name for what is said: its first clause."""
    first = re.split(r"[:;,.]( |$)", re.sub(r" \([^()]*\)", "", agreed(says)))[0]
    return first[:1].lower() + first[1:] if first[1:2].islower() or first[:2] == "A " else first


_VERBS = {
    "is": "are",
    "stands": "stand",
    "was": "were",
    "has": "have",
    "gets": "get",
    "comes": "come",
    "doesn't": "don't",
}


def agreed(text: str) -> str:
    """The text with its verbs in the plural after what is plural, and nothing said twice in one breath."""
    text = re.sub(r"([Tt]he (\w+)) \(the \2\)", r"\1", text)
    return _plural().sub(lambda found: f"{found[1]}{found[2]} {_VERBS[found[3]]}", text)


@cache
def _plural() -> re.Pattern[str]:
    names = {name for function in words()["function"].values() for name in function.get("names", {}).values()}
    heads = {name: name.partition(" of ")[0] for name in names if name.startswith("the ")}  # the rows of the patches
    many = sorted((name for name, head in heads.items() if head.endswith("s")), key=len, reverse=True)
    many = [
        name
        for name in many
        if not heads[name].endswith(("ss", "bias", "axis")) and not name.startswith(("the number", "the count"))
    ]
    alternatives = "|".join(re.escape(name[4:]) for name in many)
    return re.compile(rf"(^|[.:;,] |that |where )((?:[Tt]he )(?:{alternatives})) ({'|'.join(_VERBS)})\b")
