"""A report's faces: markdown for a pull request, JUnit XML for a build, a page for people.

Pure: strings in, strings out. Whatever stands in a report (a class name, a column, a value of
the user's data) is escaped for where it goes, and every face but JUnit is bounded in size.
"""

from checks.render.html import to_html
from checks.render.junit import to_junit
from checks.render.markdown import to_markdown

__all__ = ["to_html", "to_junit", "to_markdown"]
