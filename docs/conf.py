"""Sphinx: the pages of this repository and the reference of the installed package, as HTML.

The sources are the repository's root and not this folder, so that a relative link leads from page
to page here as it does where the files are read as they are. CONTRIBUTING.md has the command.
"""

from typing import Any

from fastkm import __version__

project = "fastkm"
author = "The fastkm developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "fastkm/kernels/README.md",
    "licenses/README.md",
]
exclude_patterns = [".venv*", "build", "dist"]  # folders that need not even be walked

# numpydoc: one tick marks a parameter or an object, and becomes a link where it can.
default_role = "py:obj"
numpydoc_show_class_members = False  # autodoc lists them
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3  # as links to headings in these files suppose

html_theme = "furo"
html_title = f"fastkm {release}"
html_show_sourcelink = False
html_extra_path = ["site"]  # index.html, which leads to docs/index.html
html_static_path = ["static"]
html_css_files = ["tables.css"]


def _is_field(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out a named tuple's fields, which the docstring of its class describes."""
    return True if type(member).__name__ == "_tuplegetter" else None


def setup(app: Any) -> None:
    """Connect what changes the pages."""
    app.connect("autodoc-skip-member", _is_field)
