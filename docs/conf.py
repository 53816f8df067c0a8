"""Sphinx: the site of the documentation, built with warnings as errors (``nox -s docs``)."""

from __future__ import annotations

import os
import sys
from importlib.metadata import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

_package = metadata("cellprism")
project = _package["Name"]
author = "The cellprism developers"
copyright = f"2026, {author}"
release = version = _package["Version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "reference",  # pages made from the code: extensions/reference.py
]
source_suffix = {".md": "myst-nb"}
suppress_warnings = [
    "ref.python",  # a name in the text of an attribute that several classes have
    "toc.not_included",  # a page may be found by links and the search alone
]
exclude_patterns = ["_build", "extensions", "**/.ipynb_checkpoints"]
templates_path: list[str] = []

# Markdown and notebooks
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_url_schemes = ("http", "https", "mailto")
nb_execution_mode = os.environ.get("CELLPRISM_DOCS_EXECUTION", "force")
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_output_stderr = "remove"

# The API
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 100
if os.environ.get("READTHEDOCS"):  # elsewhere a build asks no network
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "python": ("https://docs.python.org/3", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }

# The site
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["cellprism.css"]
html_theme_options = {
    "path_to_docs": "docs/",
    "navigation_with_keys": False,
    "show_navbar_depth": 1,
    "navbar_persistent": [],  # the sidebar has the search
    "home_page_in_toc": True,
}
