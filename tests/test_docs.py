"""docs/search_spaces.md is true: its examples are right, and it leaves nothing out."""

import re
from pathlib import Path

import pytest

from sprite_search.space import load_space, names, problems

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "search_spaces.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda t: t.split()[1])
def test_every_example_is_right_and_can_be_sampled(text, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    assert problems(path) == []
    space = load_space(path, cluster=True)
    assert all(space.sample(seed) for seed in range(20))


def test_every_way_to_search_and_every_sampler_is_described():
    assert len(EXAMPLES) > 5
    for name in (*names.SAMPLERS, *names.DIMENSION_KEYS, *names.SAMPLER_KEYS):
        assert re.search(rf"`[^`]*\b{name}\b[^`]*`", PAGE), name
    for name in set(names.TOP_KEYS) - {"pruner", "replicates", "confirm", "keep"}:
        assert re.search(rf"\b{name}\b", PAGE), name
    assert "studies.md" in PAGE and (ROOT / "docs" / "studies.md").exists(), "the others are described there"


def test_what_the_table_says_of_samplers_is_so():
    rows = {m[1]: m[0] for m in re.finditer(r"^\| `(\w+)`.*$", PAGE, re.MULTILINE)}
    for name, row in rows.items():
        if name in names.SAMPLERS:
            assert (" one " in row.split("|")[3]) == (name in names.SINGLE), name
            assert ("refused" in row) == (name in names.HEEDLESS), name
