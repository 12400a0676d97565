"""
Pages about runs: one HTML file each, which needs no network.

- `write.py`: `write_report` for one run, and `write_comparison` for several.
- `run.py`: what the folder of a run holds. A new source is a field of `Run`.
- `evaluations.py`: pass@k of a run, from its evaluations and from its training.
- `words.py`: the run in two sentences, and its outcome in numbers.
- `drawing.py`: parts of charts: lines, marks of events, the value under the pointer.
- `panels.py`: the charts of one run, one function each.
- `control_panels.py`: the charts of its control, one per actuator.
- `overlays.py`: the charts of several runs.
- `html.py`: text, tables and lists as HTML.
- `samples.py`: the table of sample completions.
- `page.py`: the parts of a page in one file, with `page.css`, `page.js` and Vega.
"""
