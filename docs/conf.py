"""Sphinx's configuration of the documentation: `make docs` builds it, and every warning is an error."""

import sys
from pathlib import Path


HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import es_trl  # noqa: E402


project = "es_trl"
author = "the es_trl authors"
version = release = es_trl.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "public_names",
    "recipe_keys",
    "history_fields",
    "command_output",
    "mathml",
]
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = "es_trl"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}

# every cross reference must resolve, without a look at other sites
nitpicky = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_typehints = "none"
# of the bases only those that the page does not document
autodoc_default_options = {
    "members": True,
    "inherited-members": "GRPOConfig, GRPOTrainer, TrainerCallback, RolloutCallback, Controller, Actuator",
}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
copybutton_prompt_text = "$ "
