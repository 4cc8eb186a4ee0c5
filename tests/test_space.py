"""Search spaces: what they mean, and everything that can be wrong in one."""

import dataclasses
from pathlib import Path

import optuna
import pytest

from sprite_search.errors import InputError
from sprite_search.space import Space, load_space, problems
from sprite_search.space.dimension import switch
from trainers.settings import catalogue, resolve

SHIPPED = Path(__file__).parents[1] / "search_spaces"
SPACES = sorted([*SHIPPED.glob("*.yaml"), *SHIPPED.glob("paper/*.yaml")])

CONDITIONAL = """
    study: conditional
    trial: {dataset.name: multi_dsprites, model.kind: multilayer}
    search:
      decision.kind: [linear, weight_prediction, min_loss]
      decision.activation: [softmax, gumbel_softmax]
      decision.passes: {int: [1, 3]}
      transformations.strategy: [all, one-by-one]
      transformations.first: {uniform: [0.1, 0.3]}
      regularisers.frequency.weight: {log: [1.0e-4, 1.0e-1], or: 0}
      regularisers.frequency.threshold: [0.2, 0.5]
      optimizer.learning_rate: {log: [1.0e-4, 1.0e-2]}
"""


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_every_shipped_space_is_right_with_and_without_its_profiles(path):
    assert problems(path) == []
    space = load_space(path)
    for seed in range(10):
        assert resolve(space.sample(seed))


def test_a_sampled_configuration_has_only_what_applies_and_every_branch_is_reached(write):
    space = load_space(write(CONDITIONAL))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: dict[str, set] = {}
    for _ in range(200):
        trial = study.ask()
        config = space.suggest(trial)
        assert config == {n: v for n, v in resolve(config).items() if n != "seed"}
        asked = {n.removesuffix("|on") for n in trial.params}
        assert asked == {n for n in space.search if n in config}
        for name in asked:
            seen.setdefault(name, set()).add(config[name])
    assert set(seen) == set(space.search)
    assert seen["decision.kind"] == {"linear", "weight_prediction", "min_loss"}
    assert 0 in seen["regularisers.frequency.weight"] and len(seen["regularisers.frequency.weight"]) > 10


def test_settings_follow_from_choices_two_levels_deep(write):
    space = load_space(write(CONDITIONAL))
    configs = [space.sample(seed) for seed in range(200)]
    for config in configs:
        soft = config["decision.kind"] != "min_loss"
        assert ("decision.activation" in config) == soft
        assert ("decision.passes" in config) != soft
        weighed = soft and config["regularisers.frequency.weight"] > 0
        assert ("regularisers.frequency.threshold" in config) == weighed


def test_values_stay_in_their_ranges(write):
    space = load_space(write(CONDITIONAL))
    for seed in range(100):
        config = space.sample(seed)
        assert 1e-4 <= config["optimizer.learning_rate"] <= 1e-2
        for name, dimension in space.search.items():
            if name in config:
                assert dimension.contains(config[name])


def test_a_space_survives_json(write):
    space = load_space(write(CONDITIONAL))
    assert Space.from_dict(space.to_dict()) == space
    assert Space.from_dict(space.to_dict()).hash == space.hash


def test_the_hash_changes_with_the_meaning_and_with_nothing_else(write):
    space = load_space(write(CONDITIONAL))
    longer = dataclasses.replace(space, budget=dataclasses.replace(space.budget, trials=99), about="other words")
    assert longer.hash == space.hash and space.diff(longer) == []
    other = load_space(write(CONDITIONAL.replace("1.0e-2]", "2.0e-2]")))
    assert other.hash != space.hash
    assert space.diff(other) == ["optimizer.learning_rate: search 0.0001 to 0.01 (log) -> search 0.0001 to 0.02 (log)"]


def test_points_become_the_parameters_that_give_them(write):
    space = load_space(
        write(CONDITIONAL + "    start_from: [{decision.kind: linear, regularisers.frequency.weight: 0.0}]\n")
    )
    [(_, point)] = space.start_from
    params = space.point_params(point)
    assert params == {"decision.kind": "linear", switch("regularisers.frequency.weight"): False}
    study = optuna.create_study()
    study.enqueue_trial(params)
    config = space.suggest(study.ask())
    assert config["decision.kind"] == "linear" and config["regularisers.frequency.weight"] == 0


PROFILED = """
    study: s
    search: {optimizer.learning_rate: {log: [1.0e-4, 1.0e-2]}, decision.kind: [linear, min_loss]}
    budget: {trials: 50, hours: 3}
    profiles:
      laptop: {trial: {training: {epochs: 2}}, search: {decision.kind: null}, budget: {trials: 3}}
      big: {replicates: 5}
"""


def test_a_profile_changes_what_it_names_and_says_why_it_was_taken(write):
    space = load_space(write(PROFILED), profile="laptop")
    assert space.fixed["training.epochs"] == 2
    assert set(space.search) == {"optimizer.learning_rate"}
    assert (space.budget.trials, space.budget.hours) == (3, 3)
    assert space.profile_reason == "asked for with --profile"


def test_without_a_gpu_the_laptop_profile_is_taken(write, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    space = load_space(write(PROFILED))
    assert space.profile == "laptop" and "no GPU" in space.profile_reason
    assert load_space(write(PROFILED), cluster=True).profile is None, "its machines have GPUs, or say that they do not"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert load_space(write(PROFILED)).profile is None


def test_the_command_line_overrides_the_file(write):
    path = write(PROFILED)
    given = {"optimizer.learning_rate": "1e-3", "budget.trials": "7", "resources.cpu": "0.5", "replicates": "2"}
    space = load_space(path, profile="big", overrides=given, study="other", hours=1.5)
    assert space.name == "other"
    assert space.fixed["optimizer.learning_rate"] == 1e-3 and "optimizer.learning_rate" not in space.search
    assert (space.budget.trials, space.budget.hours, space.resources.cpu, space.replicates) == (7, 1.5, 0.5, 2)


def test_paths_count_from_where_the_command_is_given(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write("""
        study: mine
        trial: {dataset: {name: folder, path: photos}}
        search: {sprites.count: [3, 4]}
    """)
    assert load_space(path).fixed["dataset.path"] == str(tmp_path / "photos")
    assert load_space(path, overrides={"dataset.path": "/x"}).fixed["dataset.path"] == "/x"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("optimizer.learning_rat", "1", "did you mean optimizer.learning_rate"),
        ("training.epochs", "many", "whole number"),
        ("training.epochs", "[1, 2]", "one value"),
        ("optimizer.learning_rate", "-1", "above 0"),
        ("budget.trails", "3", "did you mean trials"),
        ("study", "x", "is not a setting"),
    ],
)
def test_a_wrong_override_is_named(write, name, value, words):
    with pytest.raises(InputError, match=words):
        load_space(write(PROFILED), overrides={name: value})


def test_an_unknown_profile_is_refused_with_those_there_are(write):
    with pytest.raises(InputError, match="did you mean laptop"):
        load_space(write(PROFILED), profile="labtop")


def test_all_problems_are_told_at_once_in_file_order_and_nothing_is_run(write):
    path = write(
        """\
        study: s
        trial:
          optimizer.learning_rate: 1e-4
          decision.temprature: 1.0
        search:
          training.epochs: {int: [9, 3]}
        sampler: bohb
        """
    )
    lines = [int(p.split(":")[1]) for p in problems(path)]
    assert lines == [3, 4, 6, 7]
    with pytest.raises(InputError, match=r"4 problems in .*; nothing was run"):
        load_space(path)


BAD = {
    "text that looks like a number": (
        "trial:\n  optimizer.learning_rate: 1e-4",
        3,
        "is the text '1e-4' to YAML; write 1.0e-04",
    ),
    "a word that YAML takes for true": (
        "trial:\n  transformations.shared: on",
        3,
        "on is a truth value to YAML",
    ),
    "a key that YAML takes for true": (
        "trial:\n  on: 1",
        3,
        "the key on is a truth value to YAML; quote it: 'on'",
    ),
    "a choice that YAML takes for false": (
        "search:\n  decision.kind: [linear, no]",
        3,
        "no is a truth value to YAML",
    ),
    "an octal number": (
        "trial:\n  training.epochs: 010",
        3,
        "010 is 8 to YAML",
    ),
    "a base-60 number": (
        "trial:\n  training.epochs: 1:30",
        3,
        "1:30 is 90 to YAML",
    ),
    "infinity": (
        "trial:\n  optimizer.learning_rate: .inf",
        3,
        "give a finite number",
    ),
    "not a number": (
        "trial:\n  optimizer.learning_rate: .nan",
        3,
        "give a finite number",
    ),
    "a repeated key": (
        "trial:\n  seed: 1\n  seed: 2",
        4,
        "is already set on line 3; keep one",
    ),
    "a setting nested and dotted": (
        "trial:\n  training: {epochs: 1}\n  training.epochs: 2",
        4,
        "already set on line 3",
    ),
    "an unknown part": (
        "budgt: {trials: 3}",
        2,
        "did you mean budget?",
    ),
    "an unknown setting": (
        "trial:\n  decision.temprature: 1.0",
        3,
        "did you mean decision.temperature?",
    ),
    "an unknown choice": (
        "trial:\n  decision.kind: linaer",
        3,
        "did you mean linear?",
    ),
    "an unknown choice to search": (
        "search:\n  decision.kind: [linear, linaer]",
        3,
        "did you mean linear?",
    ),
    "a fraction for a whole number": (
        "trial:\n  training.epochs: 2.5",
        3,
        "whole number",
    ),
    "text for a number": (
        "trial:\n  training.epochs: many",
        3,
        "whole number",
    ),
    "a value out of bounds": (
        "trial:\n  optimizer.learning_rate: -1.0",
        3,
        "above 0",
    ),
    "a list under trial": (
        "trial:\n  decision.kind: [linear]",
        3,
        "move it to search:",
    ),
    "a setting in both parts": (
        "trial: {seed: 1, training.epochs: 3}\nsearch: {training.epochs: [1, 2]}",
        3,
        "both under trial: and under search:",
    ),
    "the seed searched": (
        "search:\n  seed: [1, 2]",
        3,
        "seeds are replicates",
    ),
    "a range upside down": (
        "search:\n  training.epochs: {int: [9, 3]}",
        3,
        "upside down",
    ),
    "an empty range": (
        "search:\n  training.epochs: {int: [3, 3]}",
        3,
        "upside down or empty",
    ),
    "a log range from zero": (
        "search:\n  regularisers.binary.weight: {log: [0, 1]}",
        3,
        "start above 0 (for none at all add `or: 0`)",
    ),
    "a range of one end": (
        "search:\n  training.epochs: {int: [3]}",
        3,
        "two numbers, [low, high]",
    ),
    "a range of text": (
        "search:\n  decision.kind: {uniform: [0, 1]}",
        3,
        "which has no range",
    ),
    "a whole-number range of a fraction": (
        "search:\n  optimizer.learning_rate: {int: [1, 2]}",
        3,
        "use uniform: or log:",
    ),
    "a range out of bounds": (
        "search:\n  sprites.freeze: {uniform: [0, 2]}",
        3,
        "at most 1",
    ),
    "a wrong step": (
        "search:\n  sprites.freeze: {uniform: [0, 1], step: 2}",
        3,
        "within the range",
    ),
    "a wrong value without": (
        "search:\n  optimizer.learning_rate: {log: [1.0e-3, 1.0e-2], or: 0}",
        3,
        "above 0",
    ),
    "two kinds of range": (
        "search:\n  sprites.freeze: {uniform: [0, 1], log: [0.1, 1]}",
        3,
        "give one of",
    ),
    "an unknown kind of range": (
        "search:\n  sprites.freeze: {uniform: [0, 1], low: 0}",
        3,
        "is no way to search",
    ),
    "no choices": (
        "search:\n  decision.kind: []",
        3,
        "nothing to choose from",
    ),
    "a choice twice": (
        "search:\n  decision.kind: [linear, linear]",
        3,
        "lists linear twice",
    ),
    "a setting that never applies": (
        "trial:\n  model.layers: 3",
        3,
        "can never apply: it needs model.kind is multilayer",
    ),
    "a searched setting that never applies": (
        "trial: {decision.kind: min_loss}\nsearch:\n  decision.activation: [softmax]",
        4,
        "can never apply",
    ),
    "a data set searched": (
        "search:\n  dataset.held_out: [0.1, 0.2]",
        3,
        "do not compare",
    ),
    "labels without oracle": (
        "objective: {maximize: labels/accuracy}",
        2,
        "add `oracle: true`",
    ),
    "an unknown metric": (
        "objective: {minimize: val/reconstrution}",
        2,
        "did you mean val/reconstruction?",
    ),
    "an objective a searched weight scales": (
        "search: {regularisers.binary.weight: [0.0, 0.1]}\nobjective: {minimize: train/loss}",
        3,
        "scaled by regularisers.binary.weight",
    ),
    "no direction": (
        "objective: val/reconstruction",
        2,
        "minimize: METRIC or maximize: METRIC",
    ),
    "an unknown sampler": (
        "sampler: bohb",
        2,
        "is no sampler",
    ),
    "an unknown pruner": (
        "pruner: {name: hyperban}",
        2,
        "did you mean hyperband?",
    ),
    "an unknown key of a sampler": (
        "sampler: {name: tpe, sede: 1}",
        2,
        "did you mean seed?",
    ),
    "no replicates": (
        "replicates: 0",
        2,
        "between 1 and 1000",
    ),
    "a share above one": (
        "random_arm: 1.5",
        2,
        "between 0 and 1",
    ),
    "no trials": (
        "budget: {trials: 0}",
        2,
        "nothing would run",
    ),
    "a negative budget": (
        "budget: {hours: -1}",
        2,
        "0 or more",
    ),
    "no CPU": (
        "resources: {cpu: 0}",
        2,
        "needs a share of a CPU",
    ),
    "one and a half GPUs": (
        "resources: {gpu: 1.5}",
        2,
        "whole GPUs",
    ),
    "memory of a GPU that trials do not take": (
        "resources: {gpu_memory: 8}",
        2,
        "resources.gpu_memory: is 8, but trials take no GPU",
    ),
    "a share of a GPU that is too small": (
        "resources: {gpu: 0.25, accelerator: H100, gpu_memory: 24}",
        2,
        "resources.gpu: 0.25 of the 80 GiB of H100 is 20, but a trial needs 24 (resources.gpu_memory): give it 0.3333",
    ),
    "a GPU that is too small": (
        "resources: {gpu: 1, accelerator: T4, gpu_memory: 24}",
        2,
        "take larger GPUs",
    ),
    "an unknown point": (
        "start_from: [ours_e]",
        2,
        "is no known point",
    ),
    "a point outside the search": (
        "trial: {model.kind: multilayer}\nsearch: {decision.kind: [linear]}\nstart_from: [dti_sprites]",
        4,
        "decision.kind = min_loss",
    ),
    "an unknown part of a profile": (
        "profiles: {laptop: {studdy: x}}",
        2,
        "cannot be changed by a profile",
    ),
    "a mistake inside a profile": (
        "profiles:\n  laptop:\n    trial: {training.epochs: 0}",
        4,
        "at least 1",
    ),
    "a transformation that does not exist": (
        "trial: {transformations.sprite: identity_afine}",
        2,
        "did you mean affine",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_its_line_and_what_to_do(write, case):
    text, line, words = BAD[case]
    found = problems(write(f"study: s\n{text}\n"))
    assert len(found) >= 1, "nothing was found wrong"
    assert any(f"space.yaml:{line}: " in p and words in p for p in found), found


FILES = {
    "missing": (None, "there is no such file"),
    "empty": (b"", "is empty"),
    "binary": (b"\xff\xfe\x00", "not UTF-8"),
    "a list": (b"- 1\n", "must be a mapping"),
    "a tab": (b"study: s\ntrial:\n\tseed: 1\n", "spaces, not tabs"),
    "unclosed": (b"study: [s\n", "mend the YAML"),
    "without a name": (b"trial: {seed: 1}\n", "name the study"),
    "with a bad name": (b"study: a/b\n", "use letters, digits"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_space_is_told_so(tmp_path, case):
    content, words = FILES[case]
    path = tmp_path / "space.yaml"
    if content is not None:
        path.write_bytes(content)
    assert words in " ".join(problems(path))


def test_a_folder_is_told_so(tmp_path):
    assert "is a folder" in problems(tmp_path)[0]


def test_an_oracle_objective_may_use_labels(write):
    space = load_space(write("study: s\nobjective: {maximize: labels/accuracy, oracle: true}\n"))
    assert space.objective.oracle and space.objective.direction == "maximize"


def test_every_default_of_the_catalogue_makes_a_space(write):
    space = load_space(write("study: s\n"))
    assert set(space.sample(0)) == set(resolve({})) - {"seed"}
    assert catalogue()
