"""``python -m sprite_search``."""

from .cli import main

main(prog_name="sprite-search")
