"""A recipe with its command line: what overrides what, and what is refused."""

import pytest
from launching import ROOT

from es_trl.recipe import RecipeParser


def parsed(options):
    return RecipeParser().parse(["--config", str(ROOT / "recipes" / "countdown_es.yaml"), *options])


def test_options_override_the_yaml():
    recipe = parsed(["--max_steps", "16", "--learning_rate=1e-3"])
    assert (recipe.training.max_steps, recipe.training.learning_rate) == (16, 1e-3)
    assert recipe.training.output_dir == "runs/countdown_es"


def test_a_command_line_takes_blocks_away():
    argv = ["--entropy_schedule", "none", "--entropy_controller", "none", "--entropy_actuator", "null"]
    assert parsed(argv).training.build_parts() is None
    assert parsed(["--eval_pass_at_k", "none"]).training.eval_pass_at_k is None


def test_any_field_of_a_block_can_be_overridden():
    argv = ["--entropy_schedule.end", "0.1", "--entropy_schedule.ratio=0.5", "--entropy-actuator.high", "0.6"]
    training = parsed(argv).training
    schedule, _, (actuator,) = training.build_parts()
    assert (schedule.end, schedule.ratio, actuator.high) == (0.1, 0.5, 0.6)
    for block in ('{"kind": "constant", "target": 0.25}', "{kind: constant, target: 0.25}"):
        argv = ["--entropy_schedule", block, "--entropy_schedule.relative", "true"]
        schedule = parsed(argv).training.build_parts()[0]
        assert (schedule.target, schedule.relative) == (0.25, True)


@pytest.mark.parametrize(
    ("text", "argv", "message"),
    [
        ("learning_rat: 1.0e-6", [], "unknown key 'learning_rat', did you mean 'learning_rate'"),
        ("entropy_scedule: {kind: constant}", [], "unknown key 'entropy_scedule', did you mean 'entropy_schedule'"),
        ("seed: 1", ["--max_step", "5"], "unknown option --max_step, did you mean 'max_steps'"),
        ("seed: 1", ["--entropy_schedule.end"], "option --entropy_schedule.end has no value"),
        ("seed: 1", ["--entropy_schedule", "{kind: "], "the value of --entropy_schedule is not valid YAML"),
        (
            "use_cpu: true",
            ["--entropy_schedule", "constant"],
            "`entropy_schedule` of kind constant needs `target`: set it",
        ),
        ("seed: 1\nseed: 2", [], "is not valid YAML .the key 'seed' stands there a second time in line 2.: correct it"),
        ("entropy_schedule: {kind: constant, target: 1, target: 2}", [], "the key 'target' stands there a second time"),
        ("seed: 1", ["--reward", "a.py:f", "--reward=b.py:f"], "the option --reward is given twice: write it once"),
        ("seed: 1", ["--num_processes", "2"], "--num_processes is an option of `accelerate launch`: write it before"),
        ("output_dir: ''", [], "`output_dir` must be the name of a folder, got ''"),
        ("env: {'A=B': 1}", [], "`env` must be a mapping of variables to values"),
        ("env: {A: null}", [], "`env` must be a mapping of variables to values"),
        ("seed: many", [], "`seed` must be a whole number, got 'many': set one"),
        ("seed: 1", ["--max_steps", "few"], "`max_steps` must be a whole number, got 'few': set one"),
        ("seed: 1", ["--config"], "the option --config must have one value, got 0: write a YAML file after it"),
        ("max_steps: [1]", [], "`max_steps` must be a whole number, got .1.: set one"),
        ("num_generations: null", [], "`num_generations` must be a whole number >= 1, got None"),
        ("seed: null", [], "`seed` must be a whole number, got None: set one"),
        ("max_steps: .inf", [], "`max_steps` must be a whole number, got inf: set one"),
        ("output_dir: {a: 1}", [], "`output_dir` must be text, got .*: put it in quotes"),
        ("entropy_schedule: {}\nuse_cpu: true", [], "`entropy_schedule` must be a mapping with a `kind`, got"),
        (
            "seed: 1",
            ["--entropy_schedule", "none", "--entropy_schedule.target", "1"],
            "must be a mapping for --entropy_schedule.target, got 'none'",
        ),
        (
            "entropy_schedule: [1]",
            ["--entropy_schedule.target", "1"],
            "`entropy_schedule` must be a mapping, got .1.: set one",
        ),
        (
            "use_cpu: true",
            ["--entropy_schedule.target", "2024-01-01"],
            "`entropy_schedule` must be a mapping with a `kind`",
        ),
        ("- seed", [], "must be a mapping of keys to values: write one `key: value` per line"),
        ("seed: [1", [], "is not valid YAML"),
        ("num_generations: 3\nuse_cpu: true\nbf16: false", [], "so that 3 divides their product"),
    ],
)
def test_bad_recipes_are_refused(text, argv, message, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        RecipeParser().parse(["--config", str(path), *argv])


def test_missing_recipe_is_refused():
    with pytest.raises(ValueError, match=r"cannot be read \(No such file or directory\): name a YAML file"):
        RecipeParser().parse(["--config", "no/such.yaml"])


@pytest.mark.parametrize("words", [["1.0", "0.5"], ["[1.0, 0.5]"], ["[1, 0.5]"]])
def test_lists_are_words_or_yaml(words, tmp_path):
    (tmp_path / "recipe.yaml").write_text("use_cpu: true\nbf16: false\n")
    options = ["--reward_weights", *words, "--reward", "[math, a.py:f]"]
    recipe = RecipeParser().parse(["--config", str(tmp_path / "recipe.yaml"), *options])
    assert recipe.training.reward_weights == [1.0, 0.5] and recipe.reward.names == ["math", "a.py:f"]
