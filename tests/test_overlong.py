import pytest
from trl.rewards import get_soft_overlong_punishment

from es_trl.trainer.overlong import NAME, add_punishment


def own(completions):
    return [0.0] * len(completions)


def test_punishment_is_trls_and_equation_13_of_dapo(lab_args):
    functions, args, classes = add_punishment(own, lab_args(), None, 10, [4])
    assert functions[0] is own and args.reward_weights is None and classes is None
    # longest 10, cache 4: nothing up to 6, then a quarter per token
    lengths = [[0] * n for n in (1, 6, 7, 8, 9, 10)]
    assert functions[1](completion_ids=lengths) == [0.0, 0.0, -0.25, -0.5, -0.75, -1.0]


def test_it_begins_with_the_first_stage(lab_args):
    functions, _, _ = add_punishment(own, lab_args(), None, 10, [0, 4])
    assert functions[1](completion_ids=[[0] * 10]) == [0.0]


def test_without_a_cache_nothing_is_added(lab_args):
    args = lab_args()
    assert add_punishment(own, args, None, 10, [0, 0]) == (own, args, None)


def test_weights_and_classes_get_one_more(lab_args):
    args = lab_args(reward_weights=[2.0])
    _, changed, classes = add_punishment([own], args, [None], 10, [4])
    assert changed.reward_weights == [2.0, 1.0] and classes == [None, None]
    assert args.reward_weights == [2.0]


def test_a_weight_for_it_is_taken(lab_args):
    _, args, _ = add_punishment([own], lab_args(reward_weights=[2.0, 0.5]), None, 10, [4])
    assert args.reward_weights == [2.0, 0.5]


def test_two_punishments_are_refused(lab_args):
    theirs = get_soft_overlong_punishment(10, 4)
    assert theirs.__name__ == NAME
    with pytest.raises(ValueError, match="`overlong_cache` must be 0 when the reward functions"):
        add_punishment([own, theirs], lab_args(), None, 10, [4])
