"""The number of claims that hold, which README and the overview of the results repeat from the page of the claims."""

import re

from launching import ROOT


def test_readme_and_overview_count_the_claims_as_their_page_does():
    names = ("docs/reproduction.md", "docs/results/index.md", "README.md")
    page, *short = ((ROOT / name).read_text() for name in names)
    counts = re.findall(r"different rules: (\d+) held, (\d+) not held", page)
    lab, smollm = (f"{held} of {int(held) + int(missed)}" for held, missed in counts)
    assert all(f"{lab} on the lab and {smollm} on SmolLM2" in text for text in short)
