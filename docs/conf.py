"""The documentation site, made by `make docs`: offline, warnings are errors."""

import os
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import sdelens

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# for the kernels of the notebooks: the embedded model is all that they need
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"  # bars of other libraries are no part of a page
os.environ["SDELENS_CACHE"] = str(HERE / "_build" / "cache")

project = "sdelens"
author = "the authors of sdelens"
html_show_copyright = False
version = release = sdelens.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "catalogue", "formulas", "offline"]
exclude_patterns = ["_build"]
default_role = "py:obj"

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_kernel_rgx_aliases = {".*": "python3"}

autodoc_preserve_defaults = False  # signatures of `fit` are composed from `FitOptions`
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "sdelens"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
pygments_dark_style = "github-dark"


def setup(app: Sphinx) -> None:
    """Show defaults that a dataclass makes anew as an ellipsis, so that signatures parse."""

    def shown(*given: Any) -> tuple[str, str] | None:
        signature, returned = given[-2:]
        return (signature.replace("<factory>", "..."), returned) if signature else None

    app.connect("autodoc-process-signature", shown)
