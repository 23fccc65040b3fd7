"""The rows of a class: what is said of each submission, and the files that hold them."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from vitcourse.checking.judge import Verdict, plain
from vitcourse.classroom.layouts import Submission
from vitcourse.course import exercise

Row = dict[str, Any]


def row(handed: Submission, verdicts: Sequence[Verdict], about: Mapping[str, Any]) -> Row:
    """One submission's row; about holds seed, box, seconds, date, version and commit."""
    judged = [
        {**verdict.as_dict(), "points": points if verdict.status == "passed" else 0.0, "max_points": points}
        for verdict in verdicts
        for points in [exercise(verdict.exercise).points]
    ]
    return {
        "submission": plain(handed.name),
        "student": plain(handed.student),
        "points": sum(entry["points"] for entry in judged),
        "max_points": sum(entry["max_points"] for entry in judged),
        "verdicts": judged,
        "files": {module: plain(handed.shown_as(module)) for module in handed.found},
        "notes": [plain(note) for note in handed.notes],
        "integrity": list(dict.fromkeys(plain(line) for verdict in verdicts for line in verdict.around)),
        "hash": handed.hash,
        **about,
    }


def as_csv(rows: Sequence[Row]) -> str:
    """A line for each row, a column for each exercise: its status, its points, what there is to say."""
    ids = [verdict["exercise"] for verdict in rows[0]["verdicts"]] if rows else []
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    plain_columns = ("submission", "student", "points", "max_points")
    last = ("integrity", "notes", "seconds", "seed", "box", "version", "commit", "hash", "date")
    own = [(id, f"{id} points", f"{id} feedback") for id in ids]
    writer.writerow([*plain_columns, *(name for names in own for name in names), *last])
    for entry in rows:
        cells = [entry[name] for name in plain_columns]
        for verdict in entry["verdicts"]:
            cells += [verdict["status"], verdict["points"], feedback(verdict)]
        cells += ["\n".join(entry[name]) if isinstance(entry[name], list) else entry[name] for name in last]
        writer.writerow([_cell(cell) for cell in cells])
    return "\ufeff" + file.getvalue()  # the mark tells Excel that it is UTF-8


def as_gradescope(entry: Row) -> str:
    """What Gradescope reads as results.json."""
    tests = [
        {
            "name": f"{verdict['exercise']} {exercise(verdict['exercise']).title}",
            "number": verdict["exercise"],
            "score": verdict["points"],
            "max_score": verdict["max_points"],
            "status": "passed" if verdict["status"] == "passed" else "failed",
            "output": f"{verdict['status']}: {feedback(verdict)}" if verdict["status"] != "passed" else "passed",
            "visibility": "visible",
        }
        for verdict in entry["verdicts"]
    ]
    return json.dumps(
        {
            "score": entry["points"],
            "execution_time": round(entry["seconds"]),
            "output": "\n".join([f"vitcourse {entry['version']}, seed {entry['seed']}", *entry["notes"]]),
            "stdout_visibility": "hidden",
            "extra_data": {"hash": entry["hash"], "box": entry["box"], "integrity": entry["integrity"]},
            "tests": tests,
        },
        indent=1,
    )


def as_junit(entry: Row) -> str:
    """JUnit XML, the form that graders and CI services read; what isn't started or is blocked counts as skipped."""
    kinds = {"failed": "failure", "blocked": "skipped", "not-started": "skipped", "passed": ""}
    verdicts = [(verdict, kinds.get(verdict["status"], "error")) for verdict in entry["verdicts"]]
    suite = ElementTree.Element("testsuite", name=entry["submission"], tests=str(len(verdicts)))
    for count, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(one == kind for _, one in verdicts)))
    for verdict, kind in verdicts:
        name = f"exercise {verdict['exercise']}"
        case = ElementTree.SubElement(suite, "testcase", classname=verdict["file"], name=name)
        if kind:
            ElementTree.SubElement(case, kind, message=plain(verdict["headline"])).text = plain(verdict["diagnosis"])
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def feedback(verdict: Mapping[str, Any]) -> str:
    """What the student reads."""
    return "" if verdict["status"] == "passed" else f"{verdict['headline']}\n{verdict['diagnosis']}".strip()


def file_names(rows: Sequence[Row]) -> list[str]:
    """A file's name for each row, each its own."""
    names: list[str] = []
    for number, entry in enumerate(rows, start=1):
        name = re.sub(r"[^\w .()-]", "_", entry["submission"]).strip(". ")[:100] or "submission"
        while name in names:
            name += f"-{number}"
        names.append(name)
    return names


def _cell(value: Any) -> Any:
    """What a spreadsheet would take for a formula is text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
