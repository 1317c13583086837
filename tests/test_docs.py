"""What the documentation says is so: commands, settings, checks and links."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from flows.cli import cli
from flows.project import schema

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "infra" / "README.md", *(ROOT / "docs").glob("*.md")])

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="the documentation is not part of the wheel"
)


def settings() -> Iterator[str]:
    """Give a row of the settings' table for each key of the project file."""
    found = schema()

    def rows(prefix: str, part: dict[str, Any]) -> Iterator[str]:
        for key, described in part["properties"].items():
            reference = described.get("$ref")
            if reference:
                yield from rows(f"{prefix}{key}.", found["$defs"][reference.rpartition("/")[2]])
                continue
            default = json.dumps(described["default"]) if "default" in described else "–"
            text = described["description"].replace("|", "\\|")
            yield f"| `{prefix}{key}` | `{default}` | {text} |"

    for name, section in found["properties"].items():
        yield from rows(f"{name}.", section)


def test_every_setting_is_documented() -> None:
    """docs/project.md has a row for each setting, with its default and its description."""
    page = (ROOT / "docs" / "project.md").read_text()
    missing = [row for row in settings() if row not in page]
    assert not missing, "\n".join(missing)


def test_no_setting_is_documented_that_is_gone() -> None:
    """Each row of the settings' table is a setting."""
    page = (ROOT / "docs" / "project.md").read_text()
    section = page[page.index("## Every setting") :]
    assert set(re.findall(r"^\| `.*\|$", section, re.MULTILINE)) == set(settings())


def commands(page: Path) -> Iterator[list[str]]:
    """Give each tidegate command of a page's console blocks."""
    for block in re.findall(r"^```(?:console|sh)\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "tidegate":
                yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_parses(page: Path) -> None:
    """Each tidegate command in the documentation is one that the command line knows."""
    for words in commands(page):
        verb = cli.commands[words[0]]
        verb.make_context(words[0], [w for w in words[1:] if w not in (">", "verdict.json")])


def test_every_verb_is_shown() -> None:
    """Each verb and each of its options stands in the documentation."""
    text = "\n".join(page.read_text() for page in PAGES)
    for name, verb in cli.commands.items():
        assert f"tidegate {name}" in text, name
        for option in verb.params:
            if isinstance(option, click.Option):
                assert any(form in text for form in option.opts), f"{name} {option.opts}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of the project, pictures too, leads to one."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_readme_quotes_what_was_measured() -> None:
    """The gate's figures in the README are those that the bench wrote."""
    readme = (ROOT / "README.md").read_text()
    page = (ROOT / "docs" / "gate-characteristics.md").read_text()
    equal = [
        float(rate) for rate in re.findall(r"^\| (?:balanced_)?accuracy \|.* (\S+) \|$", page, re.M)
    ]
    assert len(equal) == 18
    assert f"worst of {len(equal)} settings | {max(equal):.1%} |" in readme
    better = re.search(r"^\| 10,000 \| [\d.]+ \| ([\d.]+) ", page, re.M)
    assert better is not None
    assert f"with 10,000 sealed rows | {float(better[1]):.0%} |" in readme
    intervals = page[page.index("## Intervals") : page.index("## Searches")]
    held = [float(rate) for rate in re.findall(r"\| (0\.\d+) \|$", intervals, re.M)]
    usual = [rate for rate in held if 0.935 <= rate <= 0.965]
    assert f"{len(usual)} of {len(held)} kinds | 94 to 96% |" in readme
    cost = (ROOT / "docs" / "gate-speed.md").read_text()
    totals = re.search(
        r"total without the libraries\*\* \|.*? \| (\S+) \|.*? \| (\S+) \|$", cost, re.M
    )
    assert totals is not None
    low, high = sorted(float(used) for used in totals.groups())
    assert f"libraries loaded | {low:.0f} to {high:.0f} CPU seconds |" in readme


def test_the_readme_quotes_the_race() -> None:
    """The sweep's figures in the README are those that its bench wrote, losses too."""
    readme = (ROOT / "README.md").read_text()
    page = (ROOT / "docs" / "sweep-speed.md").read_text()
    warm = page[page.index("## Warm") : page.index("## Cold")]
    rows = re.findall(
        r"^\| ([^|]+?) \|.*\| ((?:over )?[\d.]+) \| ([\d.]+ to [\d.]+) \| [\d.]+ \| ", warm, re.M
    )
    assert len(rows) == 5
    for name, times, interval in rows:
        assert f"| {name} | {times} | {interval} |" in readme
    plain = re.search(r"plain partial_fit \|.*\| ([\d.]+) \| [\d.]+ to [\d.]+ \|", warm)
    assert plain is not None
    assert f"takes {plain[1]} times as long" in " ".join(readme.split())
