"""Verdicts as JUnit XML, the form that graders and CI services read."""

from collections.abc import Sequence
from xml.etree import ElementTree

from vitcourse.checking.grading import FAILURES
from vitcourse.checking.judge import Verdict, plain


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
        outcome = ElementTree.SubElement(case, kind, message=plain(verdict.headline))
        outcome.text = plain(verdict.diagnosis)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
