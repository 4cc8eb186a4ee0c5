"""Settings follow from the types: what exists, when it applies, and what is refused."""

from dataclasses import dataclass

import pytest

from trainers.families import Family
from trainers.settings import POSITIVE, Setting, SettingError, TrialConfig, catalogue, resolve, setting

LINEAR_SCENES = {"model.kind": "multilayer", "decision.kind": "linear"}


@pytest.mark.parametrize("name", catalogue())
def test_every_setting_has_help_and_defaults_it_accepts_itself(name):
    entry = catalogue()[name]
    assert entry.help
    for default in entry.defaults.values():
        assert entry.check(default) == default


@pytest.mark.parametrize("name", catalogue())
def test_conditions_name_settings_that_come_before(name):
    names = list(catalogue())
    for needed in catalogue()[name].conditions:
        assert names.index(needed) < names.index(name)


@pytest.mark.parametrize("name", [n for n, s in catalogue().items() if s.conditions])
def test_a_conditional_setting_can_apply_and_can_be_absent(name):
    entry = catalogue()[name]
    assert not entry.applies({})
    met = {n: 1.0 if allowed == POSITIVE else allowed[0] for n, allowed in entry.conditions.items()}
    assert entry.applies(met)


def test_defaults_are_a_valid_trial_and_survive_a_round_trip():
    config = TrialConfig.from_flat({})
    again = TrialConfig.from_flat(config.flat())
    assert again == config
    assert again.digest() == config.digest()


def test_only_settings_that_apply_are_in_a_resolved_trial():
    soft = resolve(LINEAR_SCENES)
    hard = resolve({**LINEAR_SCENES, "decision.kind": "min_loss"})
    assert "decision.activation" in soft and "decision.passes" not in soft
    assert "decision.passes" in hard and "decision.activation" not in hard
    assert "regularisers.frequency.weight" in soft and "regularisers.frequency.weight" not in hard


def test_conditions_chain_two_levels_deep():
    off = resolve(LINEAR_SCENES)
    on = resolve({**LINEAR_SCENES, "regularisers.frequency.weight": 0.1})
    assert "regularisers.frequency.threshold" not in off
    assert "regularisers.frequency.threshold" in on


def test_the_digest_ignores_the_seed_and_nothing_else():
    base = TrialConfig.from_flat({})
    assert TrialConfig.from_flat({"seed": 7}).digest() == base.digest()
    assert TrialConfig.from_flat({"optimizer.learning_rate": 0.002}).digest() != base.digest()


@pytest.mark.parametrize(
    ("given", "name", "advice"),
    [
        ({"decision.temprature": 1.0}, "decision.temprature", "did you mean decision.temperature?"),
        ({"decision.kind": "linaer"}, "decision.kind", "did you mean linear?"),
        ({"optimizer.learning_rate": "1e-4"}, "optimizer.learning_rate", "must be a number"),
        ({"optimizer.learning_rate": 0}, "optimizer.learning_rate", "must be above 0"),
        ({"optimizer.learning_rate": float("nan")}, "optimizer.learning_rate", "finite"),
        ({"training.epochs": 2.5}, "training.epochs", "whole number"),
        ({"training.epochs": True}, "training.epochs", "whole number"),
        ({"seed": -1}, "seed", "at least 0"),
        ({"model.kind": "clustering", "model.layers": 3}, "model.layers", "applies only when model.kind is multilayer"),
        ({"transformations.shared": "yes"}, "transformations.shared", "true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_do(given, name, advice):
    with pytest.raises(SettingError) as caught:
        TrialConfig.from_flat(given)
    assert caught.value.name == name
    assert advice in str(caught.value)


def test_whole_numbers_are_taken_for_either_type_of_number():
    assert resolve({"optimizer.learning_rate": 1})["optimizer.learning_rate"] == 1.0
    assert resolve({"training.epochs": 3.0})["training.epochs"] == 3


def test_a_family_refuses_a_second_member_of_one_name_and_suggests_for_an_unknown_one():
    family = Family("thing")
    family.add("first")(int)
    with pytest.raises(ValueError, match="defined twice"):
        family.add("first")(str)
    with pytest.raises(ValueError, match="did you mean first"):
        family["frist"]


def test_an_undeclared_range_means_any_finite_number():
    free = Setting("x", float, "help", "", {"": 0.0})
    assert free.check(-1e9) == -1e9


def test_setting_declares_a_dataclass_field():
    @dataclass(frozen=True)
    class Config:
        size: int = setting(3, "how big", low=1)

    assert Config().size == 3
    with pytest.raises(SettingError):
        Setting("size", int, "how big", "", {"": 3}, low=1).check(0)
