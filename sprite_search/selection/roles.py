"""What each criterion is there for: some may steer a search, some only audit it, all others choose.

What is sought is found, so the three are kept apart: a criterion that was improved, or that says afterwards whether the
improvement was real, has no voice in the choice.
"""

from __future__ import annotations

from .criteria import CRITERIA

#: What a search may improve, by itself or with others.
OBJECTIVES = ("description_length", "free_energy")

#: What audits images of one sprite: geometry in a referee's space, need of each sprite, sprites of other seeds.
AUDIT = ("referee_purity", "necessity", "sprite_agreement")

#: What audits scenes.
AUDIT_SCENES = ("necessity", "fragments", "co_occurrence")


def electorate(*, scenes: bool) -> tuple[str, ...]:
    """Every criterion of the catalogue that neither steers nor audits a search of this kind of images."""
    others = (*OBJECTIVES, *(AUDIT_SCENES if scenes else AUDIT))
    return tuple(name for name in CRITERIA if name not in others)
