"""Names a search space may use besides settings and metrics: samplers, pruners, keys."""

from __future__ import annotations

#: Samplers by name, with the package each needs beyond the required ones.
SAMPLERS: dict[str, str | None] = {
    "tpe": None,
    "random": None,
    "qmc": "scipy",
    "gp": "torch",
    "cmaes": "cmaes",
    "nsga2": None,
    "grid": None,
    "sequential_grid": None,
}
#: Samplers that learn from trials of another study, that can be told of bounds, and that take one objective only.
LEARNING = ("tpe", "gp")
HEEDLESS = ("cmaes",)
SINGLE = ("cmaes", "sequential_grid")
#: Samplers that model what all trials have in common; the rest they draw at random.
COMMON = ("gp", "cmaes", "nsga2")

#: Keys a sampler's or pruner's mapping may have.
SAMPLER_KEYS = {"name": str, "seed": int, "startup": int, "population": int, "order": list}
#: Keys that one sampler has alone.
SAMPLER_OWN = {"population": "nsga2", "order": "sequential_grid"}
SEED_PRUNERS = ("wilcoxon", "interval")  #: those that compare configurations seed by seed
PRUNERS = ("none", "median", "hyperband", "asha", *SEED_PRUNERS)
PRUNER_KEYS = {"name": str, "startup": int, "reduction": int, "rungs": int, "p": float}

BUDGET_KEYS = {"trials": int, "hours": float, "gpu_hours": float, "max_failed": int, "plateau": int}
CONFIRM_KEYS = {"top": int, "seeds": int}
KEEP_KEYS = {"best": int, "likely": int}
RESOURCE_KEYS = {
    "cpu": float,
    "gpu": float,
    "gpu_memory": float,
    "accelerator": str,
    "labels": dict,
    "at_once": int,
    "patience": float,
}
#: GiB of the GPUs that Ray knows by these names; others are looked at when a trial starts on one.
GPU_MEMORY = {
    "T4": 15, "L4": 22, "A10G": 22, "V100": 32, "A100-40G": 40, "A100-80G": 80, "L40S": 45, "H100": 80, "H200": 141,
}  # fmt: skip

TOP_KEYS = (
    "study",
    "about",
    "trial",
    "search",
    "start_from",
    "transfer_from",
    "objective",
    "constraints",
    "sampler",
    "pruner",
    "replicates",
    "random_arm",
    "confirm",
    "budget",
    "resources",
    "keep",
    "profiles",
)
PROFILE_KEYS = tuple(k for k in TOP_KEYS if k not in ("study", "about", "profiles"))
DIMENSION_KEYS = ("choices", "uniform", "log", "int", "step", "or")
