"""
Datasets of a recipe. Names load on first use.

- `arguments.py`: `DataArguments`, the keys of a recipe. A new key is a field there.
- `tasks.py`: the rewards of a recipe, and the datasets with the columns that they read.
- `prompts.py`: the datasets that a recipe names, as a trainer takes them.
- `evaluation.py`: the evaluation data of a recipe.
- `bars.py`: progress bars, which a file does not get.
- `reading.py`: rows of a local file or a Hub dataset. A new file format goes there.
- `exact_json.py`: columns of a JSON file, with every value as the file has it.
- `rows.py`: chosen rows and their columns, nested ones too, and the refusal that names a row.
- `row_filter.py`: rows whose numbers are within bounds.
- `prompt_template.py`: prompts from a template with the columns of a row.
- `prompt_column.py`: prompts, text or chats.
- `answer_column.py`: answers as text.
"""

from ..common.lazy import lazy


_LOADS = ("load_named", "load_problems", "load_rows", "open_rows", "problems_of", "prompts_of")
_MODULES = {"DataArguments": "arguments", **dict.fromkeys(_LOADS, "prompts")}
__all__ = list(_MODULES)

__getattr__, __dir__ = lazy(__name__, _MODULES)
