"""Settings of the documentation site: `make docs` builds it with Sphinx, and a warning is an error."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

from entroshape import __version__
from entroshape.engines.trl import ShapedGRPOConfig

project = "entroshape"
author = "The entroshape authors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # as on GitHub, so that a link to a heading works in both places
suppress_warnings = ["config.cache"]

nitpicky = True  # a reference to nothing is a warning; other packages' names cannot be looked up without a network
nitpick_ignore_regex = [("py:.*", r"(?!entroshape\b).*")]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries = False

html_theme = "furo"
html_title = f"entroshape {__version__}"
html_math_renderer = "mathml"  # browsers draw it themselves: no script, no fonts, nothing from a network
html_copy_source = False
html_show_copyright = False
html_last_updated_fmt = None


def setup(app):
    """Draws equations as MathML, and lets autodoc read options that are documented for a command line."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("autodoc-process-docstring", _options)
    app.connect("autodoc-process-docstring", _attributes, priority=400)  # before napoleon's
    app.connect("missing-reference", _where_it_is_imported_from)


def _inline(translator, node):
    translator.body.append(convert(node.astext()))
    raise SkipNode


def _display(translator, node):
    style = "margin: 1em 0; padding: 0.4em 0; overflow: auto hidden"
    translator.body.append(f'<div style="{style}">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def _options(app, what, name, obj, options, lines):
    owner, _, option = name.rpartition(".")
    if owner == "entroshape.training.config.TrainConfig":
        lines[:] = [line.replace("**", r"\*\*") for line in lines]  # plain text there, not the start of bold
    if owner == "entroshape.engines.trl.ShapedGRPOConfig" and option in ShapedGRPOConfig.__dataclass_fields__:
        lines[:] = [ShapedGRPOConfig.__dataclass_fields__[option].metadata["help"].replace("None:", "``None``:"), ""]


def _attributes(app, what, name, obj, options, lines):
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment: napoleon would take what stands before a first colon for a type


def _where_it_is_imported_from(app, env, node, content):
    """Docstrings name the module that defines a thing; the pages show the package that it is imported from."""
    name, python = node.get("reftarget", ""), env.domains.python_domain
    last = name.rpartition(".")[2]
    found = [shown for shown in python.objects if shown.rpartition(".")[2] == last]
    if node.get("refdomain") != "py" or not name.startswith("entroshape") or len(found) != 1:
        return None
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], found[0], node, content)
