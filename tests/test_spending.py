"""What a space says a study may spend and keeps, and what can be wrong in that."""

import pytest

from sprite_search.errors import InputError
from sprite_search.space import Space, load_space, problems
from sprite_search.space.model import Confirm, Keep

GIVEN = """
    study: s
    search: {optimizer.learning_rate: {log: [1.0e-4, 1.0e-2]}}
    confirm: {top: 3}
    budget: {trials: 30, gpu_hours: 12.5, plateau: 10}
    keep: {best: 2}
    profiles:
      quick: {confirm: null, keep: {likely: 3}}
"""


def test_what_is_given_is_read_and_the_rest_has_defaults(write):
    space = load_space(write(GIVEN))
    assert (space.confirm, space.keep) == (Confirm(top=3, seeds=3), Keep(best=2, likely=20))
    assert (space.budget.gpu_hours, space.budget.plateau, space.budget.hours) == (12.5, 10, None)
    assert Space.from_dict(space.to_dict()) == space
    plain = load_space(write("study: s\n"))
    assert plain.confirm is None and plain.hash == Space.from_dict(plain.to_dict()).hash


def test_a_study_begun_before_there_were_these_parts_can_be_read(write):
    old = load_space(write("study: s\n")).to_dict()
    del old["confirm"], old["keep"], old["budget"]["gpu_hours"], old["budget"]["plateau"]
    assert Space.from_dict(old) == load_space(write("study: s\n"))


def test_none_of_it_is_part_of_what_is_searched(write):
    space = load_space(write(GIVEN))
    other = load_space(write("\n".join(GIVEN.splitlines()[:4])))
    assert other.hash == space.hash and space.diff(other) == []


def test_a_profile_and_the_command_line_change_it(write):
    path = write(GIVEN)
    quick = load_space(path, profile="quick")
    assert (quick.confirm, quick.keep) == (None, Keep(best=2, likely=3))
    given = {"confirm.seeds": "5", "keep.best": "0", "budget.plateau": "4"}
    space = load_space(path, overrides=given)
    assert (space.confirm, space.keep.best, space.budget.plateau) == (Confirm(3, 5), 0, 4)
    with pytest.raises(InputError, match="did you mean seeds"):
        load_space(path, overrides={"confirm.seedz": "5"})


BAD = {
    "a second stage of nothing": ("confirm: {top: 0}", "confirm.top: is 0; nothing would be trained again"),
    "a second stage on no seeds": ("confirm: {seeds: 0}", "confirm.seeds: is 0"),
    "a second stage misspelt": ("confirm: {topp: 3}", "confirm.topp: is unknown; did you mean top"),
    "a second stage as a word": ("confirm: best", "confirm: must be a mapping with some of top, seeds"),
    "half a configuration": ("confirm: {top: 1.5}", "confirm.top: is 1.5; give a whole number"),
    "the part misspelt": ("confirn: {top: 3}", "confirn: is no part of a search space; did you mean confirm"),
    "no GPU-hours": ("budget: {gpu_hours: 0}", "budget.gpu_hours: is 0"),
    "a plateau of nothing": ("budget: {plateau: 0}", "budget.plateau: is 0"),
    "GPU-hours misspelt": ("budget: {gpu_hour: 3}", "did you mean gpu_hours"),
    "the chosen trial dropped": ("keep: {likely: 0}", "keep.likely: is 0; the trial that `select` chooses"),
    "keep misspelt": ("keep: {bets: 3}", "keep.bets: is unknown; did you mean best"),
    "fewer than nothing kept": ("keep: {best: -1}", "keep.best: is -1; give a whole number of 0 or more"),
    "more seeds than there are": ("replicates: 1001", "replicates: is 1001; give a number between 1 and 1000"),
    "a budget as a number": ("budget: 20", "budget: must be a mapping with some of trials, hours"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_its_line_and_what_to_do(write, case):
    text, said = BAD[case]
    path = write(f"study: s\n{text}\n")
    (found,) = problems(path)
    assert found.startswith(f"{path}:2: ") and said in found
