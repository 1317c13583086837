"""Turn the document of ``tidegate run --json`` into the markdown of a job's summary.

It runs with whatever Python the job has, also where setup failed: nothing but the standard
library, and a document that is missing or cut short is said, not raised.
"""

import json
import sys
from pathlib import Path
from typing import Any

MARKS = {"passed": "✅", "failed": "❌"}


def summary(document: Path) -> str:
    """Return the verdict, the reasons and the gate's own report.

    Parameters
    ----------
    document : Path
        What ``tidegate run --json`` printed.
    """
    try:
        found = json.loads(document.read_text(encoding="utf-8"))
        verdict = found["verdict"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        return (
            "## ❌ No verdict\n\n"
            f"`tidegate run` left no readable document: {type(err).__name__}. "
            "The log of the step before says why.\n"
        )
    heading = f"## {MARKS.get(verdict, '⚠️')} The sample's model: {verdict}\n"
    return "\n".join([heading, *_reasons(found), *_gate(found)])


def _reasons(found: dict[str, Any]) -> list[str]:
    lines = []
    for reason in found.get("reasons", []):
        first, *rest = str(reason).splitlines() or [""]
        lines += [f"- {first}", *(f"  {line.strip()}" for line in rest)]
    return [*lines, ""] if lines else []


def _gate(found: dict[str, Any]) -> list[str]:
    path = found.get("reports", {}).get("gate_markdown")
    if path is None:
        return ["The run ended before the gate, so there is no report of it.\n"]
    try:
        return [Path(path).read_text(encoding="utf-8")]
    except OSError as err:
        return [f"The gate's report cannot be read: {err.strerror}.\n"]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    print(summary(Path(sys.argv[1])))
