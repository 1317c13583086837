"""pipelines.sweep.settings: the [train] section."""

import tomllib

import pytest
from pydantic import ValidationError

from pipelines.models.families import FAMILIES
from pipelines.sweep.settings import TrainSettings


def settings(toml: str) -> TrainSettings:
    """Read the section as the project file gives it."""
    return TrainSettings.model_validate(tomllib.loads(toml))


def test_a_declared_space() -> None:
    """Every sort of dimension can be declared in TOML, and stands in the space searched."""
    found = settings(
        """
        [space.mlp]
        alpha = {log = [1e-6, 1e-2]}
        layers = {int = [1, 3]}
        batch_size = {choice = [64, 128]}
        momentum = {uniform = [0.2, 0.4], when = {solver = "sgd"}}
        [space.linear]
        class_weight = {choice = ["balanced"]}
        """
    )
    space = found.space_of(FAMILIES["mlp"])
    assert space["alpha"].log == (1e-6, 1e-2)
    assert space["layers"].integer == (1, 3)
    assert space["batch_size"].choice == (64, 128)
    assert space["momentum"].uniform == (0.2, 0.4)
    assert space["momentum"].when == {"solver": "sgd"}
    assert "learning_rate_init" in space
    assert set(found.space_of(FAMILIES["linear"])) == {"C", "class_weight"}


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("trials = 0", "greater than or equal to 1"),
        ("trials = -3", "greater than or equal to 1"),
        ('trials = "many"', "valid integer"),
        ("tirals = 3", "Extra inputs"),
        ("families = []", "at least 1 item"),
        ('families = ["mlp", "mlp"]', "named twice"),
        ('families = ["linaer"]', "did you mean linear"),
        ('scoring = "acuracy"', "did you mean accuracy"),
        ("no_improvement = 0", "greater than or equal to 1"),
        ("target_score = inf", "finite number"),
        ("target_score = nan", "finite number"),
        ("lookahead = 0", "greater than or equal to 1"),
        ("trial_seconds = 0", "greater than 0"),
        ("trial_memory_mb = 0", "greater than or equal to 1"),
        ('class_weight = "balance"', "'none' or 'balanced'"),
        ("folds = 1", "no rows to learn from"),
        ("folds = 3\nensemble = 3", "leave out folds"),
        ("timeout_seconds = 0", "greater than 0"),
        ("timeout_seconds = inf", "finite number"),
        ("space.mpl.alpha = {log = [1, 2]}", "did you mean mlp"),
        ("space.mlp.alhpa = {log = [1, 2]}", "did you mean alpha"),
        ("space.mlp.alpha = {log = [-1, 2]}", "bounds above 0"),
        ("space.mlp.layers = {uniform = [1, 3]}", "mlp.layers takes whole numbers"),
        ('space.mlp.alpha = {choice = ["small"]}', "mlp.alpha takes .*numbers"),
        ("space.mlp.solver = {int = [1, 3]}", "mlp.solver takes text"),
        ("space.mlp.alpha = {log = [1, 2], when = {depth = 1}}", "mlp: alpha depends on depth"),
    ],
)
def test_bad_settings(toml: str, said: str) -> None:
    """A setting that breaks its rule is refused with the rule and the nearest known name."""
    with pytest.raises(ValidationError, match=said):
        settings(toml)


def test_whole_numbers_will_do() -> None:
    """A parameter that takes numbers takes whole ones too."""
    assert settings("space.mlp.alpha = {choice = [1]}").space_of(FAMILIES["mlp"])[
        "alpha"
    ].choice == (1,)


def test_terms() -> None:
    """The terms of a sweep are all that its trials hang on: not who works, nor for how long."""
    base = settings("").terms
    for same in (
        "workers = 3",
        "timeout_seconds = 9",
        "max_failures = 2",
        'dask = "tcp://127.0.0.1:8786"',
        'threshold = {objective = "f_beta", beta = 2}',
    ):
        assert settings(same).terms == base
    for other in (
        "seed = 1",
        "trials = 41",
        "lookahead = 9",
        "no_improvement = 9",
        "target_score = 0.9",
        "trial_seconds = 9",
        "space.linear.C = {choice = [1.0]}",
        "prune = false",
    ):
        assert settings(other).terms != base


def test_processes() -> None:
    """There are never more workers than trials, and at least one."""
    assert settings("trials = 2\nworkers = 8").processes == 2
    assert settings("trials = 8\nworkers = 3").processes == 3
    assert settings("trials = 8").processes >= 1


def test_every_setting_is_described() -> None:
    """The schema says of every setting what it does."""
    schema = TrainSettings.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    assert all("description" in field for t in tables for field in t["properties"].values())
    assert set(schema["$defs"]["Dimension"]["properties"]) == {
        "uniform",
        "log",
        "int",
        "choice",
        "when",
    }
