"""scikit-learn: searches for hyper-parameters, cross-validation and forests."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import KFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from farmhand import call, grid
from programs import Program

DIGITS = load_digits(return_X_y=True)


def accuracy(C: float, gamma: float) -> float:
    """The task of examples/hyperparameters.py."""
    images, digits = DIGITS
    return float(cross_val_score(SVC(C=C, gamma=gamma), images / 16, digits, cv=5).mean())


def finer_grid() -> Iterable[Any]:
    return grid(C=np.logspace(-1, 3, 11).tolist(), gamma=np.logspace(-3, 1, 11).tolist())


KINDS = {
    "logistic": lambda rng: LogisticRegression(C=10 ** rng.uniform(-3, 2), max_iter=300),
    "neighbours": lambda rng: KNeighborsClassifier(int(rng.integers(1, 30))),
    "vectors": lambda rng: SVC(C=10 ** rng.uniform(-1, 3), gamma=10 ** rng.uniform(-4, -1)),
    "forest": lambda rng: RandomForestClassifier(int(rng.integers(10, 200)), random_state=0),
    "network": lambda rng: MLPClassifier((int(rng.integers(8, 64)),), max_iter=60, random_state=0),
}


def random_choice(kind: str, rng: np.random.Generator) -> float:
    """A classifier of some kind, with parameters drawn at random."""
    images, digits = DIGITS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged: part of such a search
        return float(cross_val_score(KINDS[kind](rng), images / 16, digits, cv=3).mean())


def kinds() -> Iterable[Any]:
    return [str(kind) for kind in np.random.default_rng(2).choice(list(KINDS), 150)]


def forest(trees: int, kind: type) -> float:
    """How well a forest does with so many trees."""
    images, digits = DIGITS
    return float(cross_val_score(kind(trees, random_state=0), images, digits, cv=3).mean())


def forests() -> Iterable[Any]:
    return [call(trees=n, kind=RandomForestClassifier) for n in range(2, 202, 2)]


def boosted(depth: int, rounds: int, features: int) -> float:
    """Trees that correct each other, by depth and number."""
    rng = np.random.default_rng(1)
    x = rng.random((600, features))
    y = np.sin(6 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * rng.standard_normal(600)
    model = GradientBoostingRegressor(max_depth=depth, n_estimators=rounds, random_state=0)
    return float(model.fit(x[:400], y[:400]).score(x[400:], y[400:]))


def boosting() -> Iterable[Any]:
    return grid(depth=[1, 2, 3, 4, 5, 6], rounds=[25, 50, 100, 200, 400], features=[4, 8, 16, 32])


MODELS = [
    GaussianNB(),
    LinearSVC(max_iter=2000),
    DecisionTreeClassifier(),
    KNeighborsClassifier(5),
    RidgeClassifier(),
    LogisticRegression(max_iter=200),
    SVC(C=10, gamma=0.02),
    ExtraTreesClassifier(150),
    MLPClassifier((30,), max_iter=40),
    LogisticRegression(C=100, max_iter=1000),
]


def fold(model: int, number: int) -> float:
    """One of the ten folds of one of the models."""
    images, digits = make_classification(3000, 40, n_informative=15, n_classes=5, random_state=1)
    images = StandardScaler().fit_transform(images)
    train, test = list(KFold(10).split(images))[number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(MODELS[model].fit(images[train], digits[train]).score(images[test], digits[test]))


def folds() -> Iterable[Any]:
    return [(model, number) for model in range(len(MODELS)) for number in range(10)]


PROGRAMS = [
    Program(
        "sklearn-grid",
        "scikit-learn",
        "tune",
        "A grid search of 11 x 11 values of C and gamma for support vectors on digits, five folds each, "
        "as in "
        "examples/hyperparameters.py: slow ones come back with each row.",
        accuracy,
        finer_grid,
    ),
    Program(
        "sklearn-search",
        "scikit-learn",
        "tune",
        "A random search over 150 classifiers of five kinds and their parameters on digits: kinds in "
        "any order.",
        random_choice,
        kinds,
    ),
    Program(
        "forests",
        "forests",
        "report",
        "Random forests of 2 to 200 trees, in order, three folds each on digits: a trend.",
        forest,
        forests,
    ),
    Program(
        "boosting",
        "forests",
        "report",
        "Gradient boosting by depth (1 to 6), rounds (25 to 400) and features (4 to 32), in the order of the "
        "grid: the longest come last.",
        boosted,
        boosting,
    ),
    Program(
        "sklearn-folds",
        "scikit-learn",
        "report",
        "Ten folds of each of ten models, one model after the other: kinds in blocks.",
        fold,
        folds,
    ),
]
