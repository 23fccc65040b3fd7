"""The book's own directives: `exercise`, `solution`, `predict`, `quiz`.

What they show comes from where it is kept anyway: titles and hints from course.toml, code from the stubs and the
solutions. The pages are whole without scripts: what is folded is a <details>.
"""

from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html import HTMLTranslator
from sphinx.writers.html5 import HTML5Translator

from vitcourse.book import quiz
from vitcourse.codesets import load_code
from vitcourse.course import Exercise, exercise
from vitcourse.definitions import definition
from vitcourse.errors import RequestError
from vitcourse.stubs import pristine


class html_element(nodes.General, nodes.Element):
    """An element of a page that docutils has no node for: `tag`, its `attributes`, and what is in it."""


class html_line(nodes.General, nodes.TextElement):
    """The same for an element with a line of text in it."""


def element(tag: str, *children: nodes.Node, line: bool = False, **attributes: str) -> nodes.Element:
    """A node for <tag>; `class_` and `for_` stand for the words that Python keeps to itself."""
    kind = html_line if line else html_element
    node: nodes.Element = kind()
    node["tag"] = tag
    node["attributes"] = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    node += list(children)
    return node


def visit(translator: HTMLTranslator, node: nodes.Element) -> None:
    attributes = dict(node["attributes"])
    if node["ids"]:
        attributes["id"] = node["ids"][0]
    pairs = "".join(f' {name}="{translator.attval(value)}"' for name, value in attributes.items())
    translator.body.append(f"<{node['tag']}{pairs}>")


def depart(translator: HTMLTranslator, node: nodes.Element) -> None:
    """Close it. An <input> has nothing in it, and no end."""
    if node["tag"] != "input":
        translator.body.append(f"</{node['tag']}>\n")


def visit_citation(translator: HTMLTranslator, node: nodes.Element) -> None:
    """An entry of the bibliography as an item of its list: docutils' own role for it is one that ARIA has given up."""
    HTML5Translator.visit_citation(translator, node)
    translator.body[-1] = translator.body[-1].replace('role="doc-biblioentry"', 'role="listitem"')


class _Directive(SphinxDirective):
    """What they have in common."""

    def inline(self, text: str) -> list[nodes.Node]:
        """The nodes of a line of MyST."""
        found, messages = self.parse_inline(text)
        return [*found, *messages]

    def line(self, text: str) -> nodes.paragraph:
        """Such a line as a paragraph."""
        return nodes.paragraph("", "", *self.inline(text))

    def place(self, node: nodes.Element, name: str, title: str) -> None:
        """Make the node a target of references: {ref}`… <name>`."""
        domain = self.env.get_domain("std")
        assert isinstance(domain, StandardDomain)
        if name in domain.labels:
            docname = domain.labels[name][0]
            raise self.error(f"{name.replace('-', ' ')} stands already on the page {docname}; it may stand only once")
        node["ids"].append(name)
        domain.note_hyperlink_target(name, self.env.docname, name, title)


class _Card(_Directive):
    """A box about one exercise, which references lead to."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    kind: ClassVar[str]

    def run(self) -> list[nodes.Node]:
        try:
            asked = exercise(self.arguments[0].strip())
        except RequestError as error:
            raise self.error(str(error)) from error
        name, said = f"{self.kind}-{asked.id}", f"{self.kind.capitalize()} {asked.id}"
        title = element("p", class_="card-title", id=f"{name}-title", line=True)
        title += [nodes.strong("", said), nodes.Text(f" {asked.title}")]
        wide = "wide full-width" if self.kind == "exercise" else "wide"
        card = element("div", title, class_=f"card {self.kind} {wide}", role="group", aria_labelledby=f"{name}-title")
        self.place(card, name, said)
        card += self.about(asked)
        return [card]

    def about(self, asked: Exercise) -> list[nodes.Node]:
        """What stands in it."""
        raise NotImplementedError


class ExerciseCard(_Card):
    """What an exercise asks for, how to check it, its hints, each folded, and the way to its solution."""

    kind = "exercise"

    def about(self, asked: Exercise) -> list[nodes.Node]:
        hints = enumerate(asked.hints, start=1)
        answer = f"One right answer of many: {{ref}}`the solution to {asked.id} <solution-{asked.id}>`."
        return [
            *self.parse_content_to_nodes(),
            self.line(f"In `chapters/{asked.module}.py`:"),
            code_block(pristine(asked.module), asked),
            self.line(f"Check it: `uv run vitcourse check {asked.id}`"),
            *(folded(f"Hint {n} of {len(asked.hints)}", nodes.paragraph("", hint)) for n, hint in hints),
            folded("I have tried", self.line(answer)),
        ]


class SolutionCard(_Card):
    """The reference's code for an exercise."""

    kind = "solution"

    def about(self, asked: Exercise) -> list[nodes.Node]:
        text = load_code("solutions").text(asked.module)
        back = self.line(f"Back to {{ref}}`exercise {asked.id} <exercise-{asked.id}>`.")
        return [code_block(text, asked), *self.parse_content_to_nodes(), back]


class Predict(_Directive):
    """A question to answer before the next cell's folded output is opened."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        name, word = "Predict, then run", "Answer first. The output below is folded; open it then."
        question = self.inline(" ".join(self.arguments[0].split()))
        parts = [
            element("p", nodes.Text(name), class_="card-title", line=True),
            element("p", *question, class_="predict-question", line=True),
            *self.parse_content_to_nodes(),
            element("p", nodes.Text(word), class_="predict-word", line=True),
        ]
        return [element("div", *parts, class_="card predict", role="group", aria_label=name)]


class Quiz(_Directive):
    """Questions with radio buttons; the explanation of the answer that is chosen is said at once."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        try:
            questions = quiz.parse("\n".join(self.content))
        except quiz.QuizError as error:
            raise self.error(f"quiz: {error}") from error
        return [self.fieldset(question) for question in questions]

    def fieldset(self, question: quiz.Question) -> nodes.Element:
        """One question. Without scripts, and on paper, the explanations stand in a <details> of their own."""
        name = f"quiz-{self.env.new_serialno('quiz') + 1}"
        legend = element("legend", *self.inline(question.text), line=True)
        choices = element("div", class_="quiz-answers")
        reasons = element("ul", class_="quiz-reasons")
        for number, answer in enumerate(question.shuffled, start=1):
            word = "Right" if answer.right else "Not right"
            button = element("input", type="radio", name=name, value=str(number), class_="quiz-button")
            text = element("span", *self.inline(answer.text), line=True)
            choices += element("label", button, text, class_="quiz-answer", line=True)
            reason = element("li", class_=f"quiz-reason {'right' if answer.right else 'wrong'}", line=True)
            reason += [nodes.strong("", f"{word}: "), *self.inline(answer.text), nodes.Text(f"{answer.end} ")]
            reason += element("span", *self.inline(answer.why), class_="quiz-why", line=True)
            reasons += reason
        verdict = element("div", class_="quiz-verdict", role="status", aria_live="polite")
        return element(
            "fieldset", legend, choices, verdict, folded("Every answer explained", reasons), class_="card quiz"
        )


def code_block(text: str, asked: Exercise) -> nodes.Element:
    """An exercise's definitions in a chapter's text, highlighted."""
    own = definition(text, *asked.names)
    block: nodes.Element = nodes.literal_block(own, own)
    block["language"] = "python"
    return block


def folded(summary: str, *children: nodes.Node) -> nodes.Element:
    """What shows when one opens it."""
    return element("details", element("summary", nodes.Text(summary), line=True), *children, class_="fold")


def setup_directives(app: Sphinx) -> None:
    for node in (html_element, html_line):
        app.add_node(node, html=(visit, depart))
    app.add_node(nodes.citation, override=True, html=(visit_citation, None))
    app.add_directive("exercise", ExerciseCard)
    app.add_directive("solution", SolutionCard)
    app.add_directive("predict", Predict)
    app.add_directive("quiz", Quiz)
