"""What a space may say beside its settings: ranges that follow others, aims, bounds, samplers that go with them."""

import pytest

from sprite_search.space import Constraint, Objective, Space, load_space, problems

DEPENDENT = """
    study: s
    search:
      sprites.count: {int: [4, 12]}
      sprites.hidden: {int: [8 * sprites.count, 256], step: 8}
      optimizer.learning_rate: {log: [1.0e-4, 1.0e-2]}
      optimizer.weight_decay: {log: [0.001 * optimizer.learning_rate, optimizer.learning_rate], or: 0}
"""


class Told:
    """Answers like an Optuna trial with the parameters it was given."""

    def __init__(self, params):
        self.params = params

    def suggest_float(self, name, *args, **more):
        return self.params[name]

    suggest_int = suggest_categorical = suggest_float


def test_a_range_follows_another_setting_and_its_values_have_parameters(write):
    space = load_space(write(DEPENDENT))
    seen = set()
    for seed in range(200):
        config = space.sample(seed)
        count, rate, decay = (config[n] for n in ("sprites.count", "optimizer.learning_rate", "optimizer.weight_decay"))
        assert 8 * count <= config["sprites.hidden"] <= 256 and config["sprites.hidden"] % 8 == 0
        assert decay == 0 or 0.001 * rate * (1 - 1e-9) <= decay <= rate
        seen.add(config["sprites.hidden"] - 8 * count)
        params = space.point_params({n: config[n] for n in space.search})
        again = space.suggest(Told(params))
        assert again["optimizer.weight_decay"] == pytest.approx(decay)
        assert {n: v for n, v in again.items() if n != "optimizer.weight_decay"} == {
            n: v for n, v in config.items() if n != "optimizer.weight_decay"
        }
    assert 0 in seen and len(seen) > 15
    assert Space.from_dict(space.to_dict()) == space
    assert space.search["sprites.hidden"].describe() == "8 * sprites.count to 256 by 8"
    assert not space.search["sprites.hidden"].contains(40, {"sprites.count": 6})


def test_a_range_may_follow_a_fixed_setting_or_a_default(write):
    searched = "search: {sprites.hidden: {int: [8, 8 * sprites.count], step: 8}}"
    space = load_space(write(f"study: s\ntrial: {{sprites.count: 7}}\n{searched}\n"))
    assert {space.sample(seed)["sprites.hidden"] for seed in range(60)} == set(range(8, 57, 8))
    space = load_space(write("study: s\nsearch: {optimizer.weight_decay: {uniform: [0, optimizer.learning_rate]}}\n"))
    assert all(0 <= c["optimizer.weight_decay"] <= c["optimizer.learning_rate"] for c in map(space.sample, range(9)))


def test_several_objectives_and_constraints_are_read_and_said(write):
    space = load_space(
        write(
            """
            study: s
            search: {regularisers.empty_sprite.weight: {log: [1.0e-4, 1.0e-1]}}
            trial: {model.kind: multilayer, model.empty_sprite: true, dataset.name: multi_dsprites}
            objective: [{minimize: val/hard_reconstruction}, {minimize: val/empty_share}]
            constraints: {val/mask_area: {min: 0.1, max: 0.9}, val/empty_share: {max: 0.5}}
            sampler: {name: nsga2, population: 8}
            """
        )
    )
    assert space.objectives == (Objective("val/hard_reconstruction"), Objective("val/empty_share"))
    assert space.constraints == (Constraint("val/mask_area", 0.1, 0.9), Constraint("val/empty_share", max=0.5))
    assert Space.from_dict(space.to_dict()) == space
    assert space.aim == (
        "minimize val/hard_reconstruction and minimize val/empty_share, with 0.1 ≤ val/mask_area ≤ 0.9,"
        " with val/empty_share ≤ 0.5"
    )
    one = load_space(write("study: s\nobjective: {minimize: val/hard_reconstruction}\n"))
    changes = "\n".join(one.diff(space))
    assert "objective: minimize val/hard_reconstruction -> minimize val/hard_reconstruction and minimize" in changes
    assert "constraints: none -> 0.1 ≤ val/mask_area ≤ 0.9, val/empty_share ≤ 0.5" in changes


SEQUENTIAL = """
study: s
search:
  regularisers.frequency.weight: [0, 0.01]
  regularisers.binary.weight: [0, 0.001]
objective: {maximize: labels/accuracy, oracle: true}
"""


def test_the_order_of_the_protocol_is_that_of_the_file_unless_given(write):
    frequency, binary = "regularisers.frequency.weight", "regularisers.binary.weight"
    space = load_space(write(SEQUENTIAL + "sampler: sequential_grid\n"))
    assert space.sampler["order"] == [frequency, binary] and space.oracle
    space = load_space(write(SEQUENTIAL + f"sampler: {{name: sequential_grid, order: [{binary}]}}\n"))
    assert space.sampler["order"] == [binary, frequency]


#: Two objectives, and an objective of the paper's protocol.
TWO = "objective: [{minimize: val/reconstruction}, {minimize: val/empty_share}]\n"
LABELS = "search: {sprites.count: [4, 8]}\nobjective: {maximize: labels/nmi, oracle: true}\n"

BAD = {
    "an upside-down range that follows": (
        "search: {sprites.count: {int: [2, 40]}, sprites.hidden: {int: [8 * sprites.count, 256]}}",
        2,
        "may be 320 to 256",
    ),
    "a range that follows nothing": (
        "search: {sprites.hidden: {int: [8, sprites.cuont]}}",
        2,
        "did you mean sprites.count",
    ),
    "a range that follows a word": (
        "search: {sprites.hidden: {int: [8, decision.kind]}}",
        2,
        "follow a number",
    ),
    "a range that follows itself": (
        "search: {sprites.hidden: {int: [8, sprites.hidden]}}",
        2,
        "follows itself",
    ),
    "ranges in a circle": (
        "search:\n"
        "  optimizer.weight_decay: {uniform: [0, optimizer.learning_rate]}\n"
        "  optimizer.learning_rate: {uniform: [0.5 * optimizer.weight_decay, 1]}",
        3,
        "follows itself: ",
    ),
    "a range that is a formula": (
        "search: {sprites.hidden: {int: [8, sprites.count + 1]}}",
        2,
        "NUMBER * SETTING",
    ),
    "a range that follows what may not apply": (
        "search:\n  decision.kind: [linear, min_loss]\n  optimizer.weight_decay: {uniform: [0, decision.temperature]}",
        4,
        "always applies here",
    ),
    "a log range that follows zero": (
        "search: {optimizer.weight_decay: {uniform: [0, 0.1]}"
        ", optimizer.learning_rate: {log: [optimizer.weight_decay, 0.2]}}",
        2,
        "log scale from 0",
    ),
    "no objective at all": (
        "objective: []",
        2,
        "is an empty list",
    ),
    "an objective twice": (
        "objective: [{minimize: val/reconstruction}, {maximize: val/reconstruction}]",
        2,
        "twice",
    ),
    "one of several objectives misspelt": (
        "objective: [{minimize: val/reconstruction}, {minimize: val/emty_share}]",
        2,
        "did you mean val/empty_share",
    ),
    "one of several objectives by labels": (
        "objective: [{minimize: val/reconstruction}, {maximize: labels/nmi}]",
        2,
        "oracle: true",
    ),
    "one of several objectives that is scaled": (
        "search: {regularisers.frequency.weight: [0.1, 0.2]}\n"
        "objective: [{minimize: train/loss}, {minimize: val/empty_share}]",
        3,
        "is scaled by",
    ),
    "an oracle that is a word": (
        "objective: {minimize: val/reconstruction, oracle: maybe}",
        2,
        "true or false",
    ),
    "a pruner of several objectives": (
        TWO + "pruner: median",
        3,
        "compares one objective",
    ),
    "a sampler of one objective": (
        TWO + "sampler: cmaes",
        3,
        "takes one objective",
    ),
    "constraints that are a list": (
        "constraints: [val/empty_share]",
        2,
        "must be a mapping",
    ),
    "a constraint on a misspelt metric": (
        "constraints: {val/emty_share: {max: 0.5}}",
        2,
        "did you mean val/empty_share",
    ),
    "a constraint on labels": (
        "constraints: {labels/accuracy: {min: 0.5}}",
        2,
        "which no constraint reads",
    ),
    "a constraint without bounds": (
        "constraints: {val/empty_share: 0.5}",
        2,
        "needs bounds",
    ),
    "a constraint with another bound": (
        "constraints: {val/empty_share: {maxi: 0.5}}",
        2,
        "did you mean max",
    ),
    "a constraint that is text": (
        "constraints: {val/empty_share: {max: much}}",
        2,
        "give a number",
    ),
    "a constraint upside down": (
        "constraints: {val/empty_share: {min: 0.5, max: 0.1}}",
        2,
        "upside down",
    ),
    "constraints nobody heeds": (
        "constraints: {val/empty_share: {max: 0.5}}\nsampler: cmaes",
        2,
        "not heeded by sampler cmaes",
    ),
    "the protocol without labels": (
        "search: {sprites.count: [4, 8]}\nsampler: sequential_grid",
        3,
        "chooses by labels",
    ),
    "the protocol without a list": (
        "search: {optimizer.learning_rate: {log: [0.1, 0.2]}}\n"
        "objective: {maximize: labels/nmi, oracle: true}\n"
        "sampler: sequential_grid",
        2,
        "no list of values",
    ),
    "the protocol with chance": (
        LABELS + "sampler: sequential_grid\nrandom_arm: 0.5",
        5,
        "has no place",
    ),
    "the protocol with points": (
        LABELS + "sampler: sequential_grid\nstart_from: [ours_c]",
        5,
        "order those",
    ),
    "the protocol in an order of nothing": (
        LABELS + "sampler: {name: sequential_grid, order: [sprites.cuont]}",
        4,
        "did you mean sprites.count",
    ),
    "an order of names that is none": (
        LABELS + "sampler: {name: sequential_grid, order: 3}",
        4,
        "must be a list of names",
    ),
    "an order of another sampler": (
        "search: {sprites.count: [4, 8]}\nsampler: {name: grid, order: [sprites.count]}",
        3,
        "of sampler sequential_grid alone",
    ),
    "a population of one": (
        "sampler: {name: nsga2, population: 1}",
        2,
        "too small",
    ),
    "a misspelt sampler": (
        "sampler: nsgaii",
        2,
        "nsga2",
    ),
    "a transfer from itself": (
        "transfer_from: [s]",
        2,
        "names this study",
    ),
    "a transfer that is no list": (
        "transfer_from: other",
        2,
        "must be a list of names",
    ),
    "a transfer to what does not learn": (
        "transfer_from: [other]\nsampler: random",
        2,
        "learns from no other trials",
    ),
    "a grid over a range that follows": (
        "search: {sprites.count: [4, 8], sprites.hidden: {int: [8 * sprites.count, 256], step: 8}}\nsampler: grid",
        2,
        "no list of values",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_its_line_and_what_to_do(write, case):
    text, line, words = BAD[case]
    found = problems(write(f"study: s\n{text}\n"))
    assert any(f"space.yaml:{line}: " in p and words in p for p in found), found
    assert len(found) == 1, "one mistake is one problem"
