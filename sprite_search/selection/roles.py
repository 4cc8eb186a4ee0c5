"""What each criterion is there for: some may steer a search, some only audit it, nearly all others choose.

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

#: What came after the combination of all others was judged and became the default (26 November 2026): ways to choose,
#: but no voices in it, as that would be another combination than the one that docs/selection.md judges.
LATER = ("ace", "aggregate_agreement", "instance_disagreement")


def electorate(*, scenes: bool) -> tuple[str, ...]:
    """Every criterion of the catalogue but those that steer or audit a search of this kind of images, or came later."""
    others = (*OBJECTIVES, *(AUDIT_SCENES if scenes else AUDIT), *LATER)
    return tuple(name for name in CRITERIA if name not in others)
