"""Searches of a toy study without Ray: the ledger and its driver in this process, on made-up numbers."""

import dataclasses
import math

from sprite_search.space import Budget, Dimension, Space
from sprite_search.study.driver import Driver
from sprite_search.study.ledger import Ledger

EPOCHS = 10
RATE = "optimizer.learning_rate"
PRUNING = {"name": "median", "startup": 2, "rungs": 2}


def space(**given):
    base = Space(
        name="toy",
        fixed={
            "dataset.name": "digits",
            "training.epochs": EPOCHS,
            "transformations.sprite": "identity_affine",
            "transformations.strategy": "one-by-one",
            "transformations.first": 0.2,
            "transformations.last": 0.2,
        },
        search={
            "decision.kind": Dimension("categorical", ("linear", "weight_prediction", "min_loss")),
            "decision.activation": Dimension("categorical", ("softmax", "gumbel_softmax")),
            "sprites.count": Dimension("int", low=2, high=12),
            "regularisers.frequency.weight": Dimension("float", low=1e-3, high=1.0, log=True, otherwise=0.0),
            RATE: Dimension("float", low=1e-4, high=1e-2, log=True),
        },
        sampler={"name": "tpe", "seed": 0, "startup": 4},
        budget=Budget(trials=12),
    )
    return dataclasses.replace(base, **given)


class Books:
    """A tracker that only remembers what it was told."""

    def __init__(self):
        self.ends = []

    def begin(self, record, seeds): ...

    def log(self, record, history): ...

    def end(self, record, history):
        self.ends.append((record.number, record.state))


def error(config, seed, epoch):
    """A made-up reconstruction error: best at learning rate 1e-3, falling with the epochs."""
    distance = abs(math.log10(config[RATE]) + 3) if RATE in config else 1 / config["sprites.count"]
    return 0.1 + distance + 0.01 * (config["decision.kind"] == "linear") + 0.001 * seed + 0.05 / epoch


trained = {}  #: home and number of a trial -> the epoch it has a checkpoint of


class Killed(BaseException):
    """The driver's process is gone."""


class Runner:
    """Stands in for Ray: `width` trials side by side, a report of each in turn; checkpoints are only counted."""

    def __init__(self, home, space, *, width=1, metrics=None, kill_after=None, reports=EPOCHS, clock=None):
        self.home, self.space, self.width, self.reports = home, space, width, reports
        self.metrics = metrics or (lambda config, seed, epoch: {"val/reconstruction": error(config, seed, epoch)})
        self.left = kill_after
        self.ledger = Ledger.create(home, space)
        self.books = Books()
        more = {"clock": clock} if clock else {}
        self.driver = Driver(self.ledger, space, home, self.books, **more)
        self.running = {}
        self.names = 0

    def key(self, job):
        return str(self.home.root), job["number"]

    def tick(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def fill(self):
        while len(self.running) < self.width:
            self.tick()
            self.names += 1
            job = self.driver.next(str(self.names))
            if job is None:
                return
            self.running[str(self.names)] = (job, trained.get(self.key(job), 0) if job["attempt"] > 1 else 0)

    def run(self):
        self.fill()
        while self.running:
            for name in list(self.running):
                self.tick()
                self.step(name)
            self.fill()
        assert self.driver.finished()
        return self

    def step(self, name):
        job, last = self.running[name]
        epoch = min(EPOCHS, last + EPOCHS // self.reports)
        trained[self.key(job)] = epoch
        metrics = [self.metrics(job["config"], seed, epoch) for seed in job["seeds"]]
        result = {"epoch": epoch, "epochs": EPOCHS, "time": 1000 + epoch, "metrics": metrics}
        if self.driver.reported(name, result):
            self.running[name] = (job, epoch)
        else:
            del self.running[name]

    @property
    def records(self):
        return self.ledger.records()

    @property
    def study(self):
        return self.ledger.study

    def params(self):
        return [dict(r.params) for r in self.records]


def staged(values):
    """Metrics by order of asking: trial n has the constant error values[n]."""
    numbers = {}

    def metrics(config, seed, epoch):
        key = (config[RATE], config["sprites.count"])
        return {"val/reconstruction": values[numbers.setdefault(key, len(numbers))]}

    return metrics
