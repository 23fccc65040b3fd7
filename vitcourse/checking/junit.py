"""Verdicts as JUnit XML, the form that graders and CI services read."""

from collections.abc import Sequence
from xml.etree import ElementTree

from vitcourse.checking.grading import FAILURES, Verdict


def junit(name: str, verdicts: Sequence[Verdict]) -> str:
    """One test suite: a test case for each exercise; what isn't started or is blocked counts as skipped."""
    counts = {
        "tests": len(verdicts),
        "failures": sum(verdict.status == "failed" for verdict in verdicts),
        "errors": sum(verdict.status in FAILURES and verdict.status != "failed" for verdict in verdicts),
        "skipped": sum(verdict.status in ("blocked", "not-started") for verdict in verdicts),
    }
    suite = ElementTree.Element("testsuite", {"name": name, **{key: str(count) for key, count in counts.items()}})
    for verdict in verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname=verdict.file, name=f"exercise {verdict.exercise}")
        if verdict.status == "passed":
            continue
        kind = {"failed": "failure", "blocked": "skipped", "not-started": "skipped"}.get(verdict.status, "error")
        outcome = ElementTree.SubElement(case, kind, message=_printable(verdict.headline))
        outcome.text = _printable(verdict.diagnosis)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Without the characters that XML can't hold, which a learner's message may have."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")
