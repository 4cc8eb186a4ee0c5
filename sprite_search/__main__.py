"""``python -m sprite_search``."""

import sys
from pathlib import Path

# Python puts the current folder first, where someone else's `trainers/` would be taken for ours.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sprite_search.cli import main

main(prog_name="sprite-search")
