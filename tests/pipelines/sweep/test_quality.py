"""pipelines.sweep.search: how much it takes to find a good model, by recorded learning curves.

No clock and no fitting: an executor answers from networks that were trained to their end
before (``tests/bench/record_curves.py``), and the time is counted in epochs. A proposal that
was not recorded is answered by one that was, its neighbour in a tree of an extremely
randomized forest [1]_ over the networks of the same solver; the seed of the job chooses the
tree. So every curve is a real one, noise and all, what was recorded is answered exactly, and
chance finds good scores as often as it really does. The mean over a forest would be smoother
than any network is, and its best would be worse than the best of the recorded.

References
----------
.. [1] P. Geurts, D. Ernst and L. Wehenkel, "Extremely randomized trees", 2006,
   https://doi.org/10.1007/s10994-006-6226-1
.. [2] N. Hansen et al., "COCO: Performance Assessment", 2016, https://arxiv.org/abs/1605.03560
"""

import heapq
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import geometric_mean
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from pipelines.models.mlp import MLP
from pipelines.models.space import Value
from pipelines.sweep import proposals
from pipelines.sweep.journal import Journal
from pipelines.sweep.search import Search
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Job, Outcome, Point
from pipelines.sweep.workers import Lost

pytestmark = pytest.mark.sweep

CURVES = Path(__file__).parent / "curves"
SEEDS = range(20)
TABLES = ("digits", "flights", "synthetic")
EPOCHS = 30
SPACE: dict[str, dict[str, Any]] = {
    "layers": {"int": [1, 6]},
    "width": {"choice": [16, 32, 64, 128]},
    "solver": {"choice": ["adam", "sgd"]},
    "learning_rate_init": {"log": [1e-4, 5e-2]},
    "momentum": {"uniform": [0.1, 0.95], "when": {"solver": "sgd"}},
    "alpha": {"log": [1e-6, 1e-1]},
    "batch_size": {"choice": [64, 128, 256]},
}
"""The space that was recorded."""


class Recorded:
    """The networks that were trained on one table."""

    def __init__(self, name: str) -> None:
        with np.load(CURVES / f"{name}.npz") as read:
            table = dict(read)
        self.rows, self.columns, self.classes = (int(x) for x in table["rows"])
        self._table = table
        self._scores = table["right"] / table["validation_rows"]
        self._loss = table["loss"]
        random = self._scores[table["kind"] == "random"].clip(0.0)
        self.target = float(np.percentile(random[:, -1], 95))
        """What one random network in twenty ends at."""
        self.usual, self.rare = np.percentile(random.max(axis=1), (50, 99))
        """What one random network in two, and one in a hundred, has been at."""
        self._trees = {}
        for solver in ("adam", "sgd"):
            (places,) = np.nonzero(table["solver"] == solver)
            told = [self.params(n) for n in places]
            forest = ExtraTreesRegressor(50, max_features=None, random_state=0)
            # By ranks, or the networks that learned nothing would be all that a tree tells apart.
            ranks = np.argsort(np.argsort(self._scores[places][:, (0, 2, 9, 29)], axis=0), axis=0)
            forest.fit(_asked(told), ranks)
            self._trees[solver] = [
                (tree.tree_, dict(zip(tree.apply(_asked(told)), places, strict=True)))
                for tree in forest.estimators_
            ]

    @property
    def count(self) -> int:
        """How many networks there are."""
        return len(self._scores)

    def params(self, place: int) -> dict[str, Value]:
        """Return the parameters of a network, as a job has them."""
        numbers = {k: float(self._table[k][place]) for k in SPACE if k != "solver"}
        there = {k: x for k, x in numbers.items() if not np.isnan(x)}
        return {**there, "solver": str(self._table["solver"][place])}

    def scores(self, place: int) -> list[float]:
        """Return the scores of a network, epoch by epoch, before it diverged."""
        return [float(x) for x in self._scores[place] if x >= 0]

    def curve(self, params: Mapping[str, Value], seed: int) -> list[Point]:
        """Return the points of a network, epoch by epoch; fewer than all of one that diverged."""
        trees = self._trees[params["solver"]]
        tree, places = trees[seed % len(trees)]
        place = places[int(tree.apply(_asked([params]))[0])]
        return [
            Point(epoch, float(loss), float(score))
            for epoch, (score, loss) in enumerate(
                zip(self._scores[place], self._loss[place], strict=True), start=1
            )
            if score >= 0
        ]


def _asked(told: list[Any]) -> np.ndarray:
    """Return what a tree of the forest is asked with."""
    return np.array([_numbers(params) for params in told], np.float32)


def _numbers(params: Mapping[str, Any]) -> list[float]:
    return [
        params["layers"],
        np.log(params["width"]),
        np.log(params["learning_rate_init"]),
        params.get("momentum", 0.0),
        np.log(params["alpha"]),
        np.log(params["batch_size"]),
    ]


class Standing(NamedTuple):
    """The checkpoint of a simulated trial."""

    units: int
    top: Point | None


class Simulator:
    """An executor of so many workers, whose clock is the epochs that one of them has had time for.

    Parameters
    ----------
    recorded : Recorded
    count : int
    """

    def __init__(self, recorded: Recorded, count: int = 2) -> None:
        self.count = count
        self.clock = 0.0
        self._recorded = recorded
        self._busy: list[tuple[float, int, Outcome]] = []

    @property
    def idle(self) -> int:
        """How many more jobs can be submitted now."""
        return self.count - len(self._busy)

    def share(self, folder: Path) -> None:
        """Take no rows."""

    def submit(self, job: Job) -> None:
        """Answer a job, and keep the answer until its time has come."""
        outcome = self.answer(job)
        ends = self.clock + self.took(job, len(outcome.points))
        heapq.heappush(self._busy, (ends, job.number, outcome))

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Let the time pass until the next job has ended."""
        self.clock, _, outcome = heapq.heappop(self._busy)
        return [outcome]

    def stop(self) -> None:
        """Forget every job."""
        self._busy.clear()

    def took(self, job: Job, epochs: int) -> float:
        """Return how long a job of so many epochs keeps its worker."""
        return float(epochs)

    def answer(self, job: Job) -> Outcome:
        """Return what a worker would have, of `pipelines.sweep.trial.run`."""
        units, top = pickle.loads(job.checkpoint) if job.checkpoint else Standing(0, None)
        points: list[Point] = []
        ended = job.final
        curve = self._recorded.curve(job.params, job.seed)
        for point in curve[units : job.units]:
            points.append(point)
            if top is None or point.rank > top.rank:
                top = point
                if job.target is not None and point.score >= job.target:
                    ended = True
                    break
            elif point.epoch - top.epoch >= job.patience:
                ended = True
                break
        if not points or (not ended and len(curve) < job.units):
            return Outcome(job.number, job.rung, "FAILED", tuple(points), error="diverged")
        state = "FINISHED" if ended else "PAUSED"
        standing = pickle.dumps(Standing(points[-1].epoch, top))
        return Outcome(job.number, job.rung, state, tuple(points), checkpoint=standing)


class Memory(Journal):
    """A journal that is not written: it is other tests that go on with a sweep."""

    def __init__(self, folder: Path, terms: Mapping[str, Any]) -> None:
        super().__init__(folder, terms)
        self._kept: dict[tuple[int, int], bytes] = {}

    def write(self, outcome: Outcome) -> None:
        """Keep where the trial stands."""
        if outcome.checkpoint is not None:
            self._kept[outcome.number, outcome.rung] = outcome.checkpoint

    def checkpoint(self, number: int, rung: int) -> bytes:
        """Return where a trial stood at a rung."""
        return self._kept[number, rung]

    def forget(self, number: int, rung: int) -> None:
        """Remove a checkpoint."""
        self._kept.pop((number, rung), None)


class Found(NamedTuple):
    """What came of a search: epochs that its workers had time for, and the best score."""

    epochs: float
    score: float
    reached: bool


def search(recorded: Recorded, *, seed: int, **settings: Any) -> Found:
    """Search until the target is reached or the budget is spent."""
    executor = Simulator(recorded)
    terms = TrainSettings(
        **{
            "families": ("mlp",),
            "max_epochs": EPOCHS,
            "space": {"mlp": SPACE},
            "seed": seed,
            "trials": 100,
            **settings,
        }
    )
    with TemporaryDirectory() as folder, Memory(Path(folder), {}) as journal:
        made = Search(
            terms,
            {"mlp": MLP()},
            rows=recorded.rows,
            columns=recorded.columns,
            classes=recorded.classes,
            executor=executor,
            journal=journal,
            on_trial=lambda trial, best: None,
            on_progress=lambda progress: None,
        )
        made.run()
    score = made.best().trial().score or 0.0
    return Found(executor.clock * executor.count, score, made.stopped == "target score")


def epochs_to_target(name: str, **settings: Any) -> float:
    """Return the expected running time [2]_: the epochs of every search, by those that hit."""
    recorded = table(name)
    found = [search(recorded, seed=n, target_score=recorded.target, **settings) for n in SEEDS]
    return sum(each.epochs for each in found) / max(0.5, sum(each.reached for each in found))


table = cache(Recorded)


@contextmanager
def without(*what: str) -> Iterator[None]:
    """Search without the family's starting points, or without learning from what is known."""
    with pytest.MonkeyPatch.context() as patch:
        if "starts" in what:
            patch.setattr(MLP, "starts", lambda self: ())
        if "learning" in what:
            patch.setattr(proposals, "RANDOM_EVERY", 1)
        yield


@cache
def cost(name: str, sort: str) -> float:
    """Return the expected epochs to the target of one way to search."""
    if sort == "ours":
        return epochs_to_target(name)
    if sort == "without starts":
        with without("starts"):
            return epochs_to_target(name)
    with without("starts", "learning"):
        if sort == "chance, promoted":
            return epochs_to_target(name)
        assert sort == "chance, to the end"
        return epochs_to_target(name, prune=False, patience=EPOCHS)


def ratio(sort: str, to: str) -> float:
    """Return the geometric mean over the tables of one way's epochs by another's."""
    return geometric_mean([cost(name, sort) / cost(name, to) for name in TABLES])


def test_a_recorded_network_is_answered_by_itself() -> None:
    """What was recorded comes back exactly, whatever the seed of the job."""
    for name in TABLES:
        recorded = table(name)
        for place in range(0, recorded.count, 7):
            points = recorded.curve(recorded.params(place), seed=place)
            assert [point.score for point in points] == recorded.scores(place)


@pytest.mark.parametrize("name", TABLES)
def test_chance_is_as_lucky_as_it_was(name: str) -> None:
    """Of networks drawn at random about one in twenty ends at the target, as of the recorded."""
    recorded = table(name)
    terms = TrainSettings(families=("mlp",), space={"mlp": SPACE})
    with without("starts", "learning"):
        proposer = proposals.Proposer(terms, {"mlp": MLP()}, {"mlp": 1})
        drawn = [proposer.ask()[1] for _ in range(300)]
    curves = [recorded.curve(params, seed=n) for n, params in enumerate(drawn)]
    ends = [curve[-1].score if len(curve) == EPOCHS else 0.0 for curve in curves]
    assert 0.02 <= np.mean(np.array(ends) >= recorded.target) <= 0.09


@pytest.mark.parametrize("name", TABLES)
def test_fewer_epochs_than_full_training(name: str) -> None:
    """The target takes less than half of the epochs of random networks fitted to the end."""
    assert cost(name, "ours") <= 0.5 * cost(name, "chance, to the end")


def test_promotion_pays() -> None:
    """Promotion alone, of random networks, saves a third of the epochs and more."""
    assert ratio("chance, promoted", to="chance, to the end") <= 0.67


def test_learning_pays() -> None:
    """Of the epochs of promoted random networks, those of learned proposals are fewer."""
    assert ratio("without starts", to="chance, promoted") <= 0.96


def test_starting_points_pay() -> None:
    """With the family's starting points the target takes less than two thirds of the epochs."""
    assert ratio("ours", to="without starts") <= 0.67


@pytest.mark.parametrize("name", TABLES)
def test_regret(name: str) -> None:
    """The default budget closes most of the gap between a usual network and one in a hundred."""
    recorded = table(name)
    score = np.mean([search(recorded, seed=n, trials=40).score for n in SEEDS])
    assert recorded.rare - score <= 0.25 * (recorded.rare - recorded.usual)
