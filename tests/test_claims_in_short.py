"""The number of claims that hold, which the overview of the results repeats from the page of the claims."""

import re

from launching import ROOT


def test_the_overview_counts_the_claims_as_their_page_does():
    page, overview = ((ROOT / "docs" / name).read_text() for name in ("reproduction.md", "results/index.md"))
    counts = re.findall(r"different rules: (\d+) held, (\d+) not held", page)
    lab, smollm = (f"{held} of {int(held) + int(missed)}" for held, missed in counts)
    assert f"{lab} on the lab and {smollm} on SmolLM2" in overview
