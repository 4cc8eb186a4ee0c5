"""What was fixed before the study of criteria in docs/selection.md was run (23 November 2026).

At most six hypotheses can be tested over eight data sets; all other criteria of the catalogue are exploratory. Nothing
here may be changed after a look at labels: what is learnt from a study goes into a new list with a new date, and
is in-sample for that study.
"""

from __future__ import annotations

#: Criteria whose mean rank within a search is the combination `borda`, for images of one sprite: fit, geometry
#: in a space where moved objects stay near each other, agreement between seeds, trials and views, redundancy.
BORDA = (
    "reconstruction",
    "invariant_silhouette",
    "invariant_purity",
    "seed_agreement",
    "centrality",
    "augmentation_agreement",
    "redundancy",
)

#: The same for scenes, where geometry between whole images says nothing about the objects in them.
BORDA_SCENES = (
    "reconstruction",
    "residual_structure",
    "mask_agreement",
    "seed_agreement",
    "centrality",
    "augmentation_agreement",
    "redundancy",
)

#: The hypotheses: each selects better than a random pick, and better than held-out reconstruction (the first).
PRIMARY = (
    "reconstruction",
    "description_length",
    "invariant_silhouette",
    "centrality",
    "good_fit_centrality",
    "borda",
)

#: The primary endpoint is the normalised regret of configurations, by one-to-one accuracy (images) or mean
#: class accuracy (scenes) on all seeds; the pool is all finished trials of a search drawn at random.
TARGETS = ("labels/accuracy", "labels/mean_accuracy")
