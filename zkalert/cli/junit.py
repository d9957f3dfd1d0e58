"""Results of tests as JUnit XML, in the form that CI systems agree on.

A suite for each file, a case for each test; a file that cannot be used is a case with an error. Times are seconds.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from zkalert.cli.findings import one_line
from zkalert.cli.test import File, Report, Timed

# What XML 1.0 has no place for, not even as a character reference.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_xml(report: Report) -> bytes:
    """A report as one XML document in UTF-8."""
    top = ET.Element("testsuites", _counts(report.files, report.seconds) | {"name": "zkalert test"})
    for file in report.files:
        _add_suite(top, file)
    ET.indent(top)
    document: bytes = ET.tostring(top, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _counts(files: tuple[File, ...], seconds: float) -> dict[str, str]:
    bad = sum(bool(file.findings) for file in files)
    failed = sum(bool(timed.result.failures) for file in files for timed in file.tests)
    return {
        "tests": str(sum(len(file.tests) for file in files) + bad),
        "failures": str(failed),
        "errors": str(bad),
        "time": f"{seconds:.6f}",
    }


def _add_suite(top: ET.Element, file: File) -> None:
    seconds = sum(timed.seconds for timed in file.tests)
    suite = ET.SubElement(top, "testsuite", {"name": _legal(file.name), "skipped": "0"} | _counts((file,), seconds))
    for timed in file.tests:
        _add_case(suite, file.name, timed)
    if file.findings:
        case = ET.SubElement(suite, "testcase", {"name": "file", "classname": _legal(file.name), "time": "0"})
        lines = [one_line(finding) for finding in file.findings]
        error = ET.SubElement(case, "error", {"message": _legal(lines[0]), "type": file.findings[0].code})
        error.text = _legal("\n".join(lines))


def _add_case(suite: ET.Element, file: str, timed: Timed) -> None:
    one, failures = timed.result.test, timed.result.failures
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "name": _legal(one.name),
            "classname": _legal(file),
            "file": _legal(file),
            "line": str(one.line),
            "time": f"{timed.seconds:.6f}",
        },
    )
    if not failures:
        return
    # One for the whole test: some readers know of no second one.
    lines = [line for failure in failures for line in (one_line(failure.finding), *failure.details, "")]
    attributes = {"message": _legal(failures[0].finding.message), "type": failures[0].finding.code}
    ET.SubElement(case, "failure", attributes).text = _legal("\n".join(lines).rstrip())


def _legal(text: str) -> str:
    return _ILLEGAL.sub("?", text)
