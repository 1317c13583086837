"""A report as JUnit XML, which every build server reads."""

from xml.etree import ElementTree

from checks.render.wording import legal, limit, observed, summary
from checks.result import CheckResult, Report, Status

_OUTCOMES = {
    Status.FAILED: "failure",
    Status.ERROR: "error",
    Status.FIRST_MODEL: "skipped",
    Status.NOT_APPLICABLE: "skipped",
}


def to_junit(report: Report) -> str:
    """Return a report as JUnit XML.

    A check that failed is a ``failure``, one that could not be judged an ``error``, one that
    does not apply or meets its first model is ``skipped``. A report in which nothing was
    judged has an error of its own: an empty suite would be green.
    """
    cases = list(report.checks)
    if report.verdict is Status.ERROR and not report.refusals:
        reason = summary(report)
        cases.append(CheckResult("verdict", "Something was judged", Status.ERROR, reason=reason))
    found = [_OUTCOMES.get(case.status) for case in cases]
    counts = {
        "tests": str(len(cases)),
        "failures": str(found.count("failure")),
        "errors": str(found.count("error")),
        "skipped": str(found.count("skipped")),
    }
    name = legal(f"tidegate.{report.name}")
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for case, outcome in zip(cases, found, strict=True):
        attributes = {"classname": name, "name": legal(case.id), "time": "0"}
        node = ElementTree.SubElement(suite, "testcase", attributes)
        if outcome is None:
            continue
        said = ElementTree.SubElement(node, outcome, {"message": legal(case.reason or case.claim)})
        if outcome != "skipped":
            said.set("type", str(case.status))
            said.text = legal(f"{case.claim}\nobserved: {observed(case)}\nlimit: {limit(case)}\n")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
