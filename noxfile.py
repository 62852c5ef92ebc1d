import os
import re
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "brian", "lint", "types", "build"]
nox.options.default_venv_backend = "virtualenv"  # comes with nox
nox.options.reuse_existing_virtualenvs = True  # our own packages are reinstalled all the same
nox.options.error_on_missing_interpreters = False  # `-P 3.14` is skipped where there is no 3.14

PROJECT = nox.project.load_toml("pyproject.toml")
PACKAGES = sorted(
    (path.parent.name for path in Path("packages").glob("*/pyproject.toml")),
    key=lambda name: (name != "core", name),
)
METADATA = {name: nox.project.load_toml(f"packages/{name}/pyproject.toml")["project"] for name in PACKAGES}
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
SIDE_BY_SIDE = ["-n", str(min(CPUS + 1, 16)), "--dist", "worksteal", "--timeout", "300"]
LET_IT_STOP = {"interrupt_timeout": 20, "terminate_timeout": 20}  # Ctrl-C: a farm stores what it has


def install(session: nox.Session, *packages: str, group: str) -> None:
    """Install a dependency group and our own packages as a user would, in the versions of constraints.txt."""
    session.env["PIP_BUILD_CONSTRAINT"] = "constraints.txt"
    session.install("-c", "constraints.txt", *nox.project.dependency_groups(PROJECT, group), *packages)


def with_needs(package: str) -> list[str]:
    """A package with those of ours that it needs, core first."""
    needs = {re.split("[^a-z-]", need)[0] for need in METADATA[package]["dependencies"]}
    return [name for name in PACKAGES if name in ("core", package) or METADATA[name]["name"] in needs]


def paths(*packages: str) -> list[str]:
    """Where our own packages are, as pip wants it said."""
    return [f"./packages/{package}" for package in packages]


@nox.session
def demo(session: nox.Session) -> None:
    """The firing-rate curve of a spiking neuron, simulated on all CPUs; run it again and it resumes."""
    install(session, *paths("core", "store-sqlite", "gui-tk", "tui-rich", "cluster-dask"), group="demo")
    session.run("python", "examples/demo.py", *session.posargs, stderr=None, **LET_IT_STOP)


@nox.session
def examples(session: nox.Session) -> None:
    """The other programs in examples/, or those named after `--`, in a folder for what they write."""
    install(session, *paths("core", "store-sqlite"), group="examples")
    programs = [Path("examples", name) for name in session.posargs] or sorted(Path("examples").glob("*.py"))
    with session.chdir(session.create_tmp()):
        for program in programs:
            if program.name not in ("demo.py", "brian1_rates.py"):  # these need Brian 2
                session.run("python", Path(__file__).with_name("examples") / program.name, **LET_IT_STOP)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but those of `brian`, with every package, a third-party plugin and what examples need.

    They run side by side, one more than there are CPUs, since many wait for a disk or for processes; each may
    take longer then. What follows `--` goes to pytest, which runs them one after the other, to be debugged.
    """
    install(session, *paths(*PACKAGES), "./tests/plugin", group="everything")
    session.run("pytest", *(session.posargs or ["-m", "not brian", *SIDE_BY_SIDE]))


@nox.session(reuse_venv=False)
@nox.parametrize("package", PACKAGES)
def alone(session: nox.Session, package: str) -> None:
    """Each package passes its own tests with only core beside it, and what it cannot do without."""
    install(session, *paths(*with_needs(package)), group="test")
    session.run("pytest", f"tests/{package}", *session.posargs)


@nox.session
def brian(session: nox.Session) -> None:
    """The tests for which Brian 2 compiles simulations, as Cython modules or as programs."""
    install(session, *paths("core", "store-shelve", "store-sqlite", "compat-brian"), group="brian")
    session.run("pytest", *(session.posargs or ["-m", "brian", "tests/compat-brian", *SIDE_BY_SIDE]))


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff's rules and its layout; `nox -s lint -- --fix` repairs what can be repaired."""
    install(session, group="lint")
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]))
    session.run("ruff", "check", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, over every package."""
    install(session, group="types")
    session.run("mypy", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Each wheel and sdist into dist/; core alone, then core and each plugin, in new environments."""
    install(session, group="build")
    plugins = [METADATA[name]["name"] for name in PACKAGES if name != "core"]
    if METADATA["core"]["optional-dependencies"]["all"] != plugins:
        session.error("farmhand[all], in packages/core/pyproject.toml, is not every plugin in packages/")
    shutil.rmtree("dist", ignore_errors=True)
    for package in PACKAGES:
        session.run("python", "-m", "build", "-n", "-o", f"dist/{package}", f"packages/{package}")
    for package in PACKAGES:
        env = Path(session.create_tmp(), package)
        session.run("virtualenv", "--quiet", "--clear", env)
        wheels = {wheel for folder in with_needs(package) for wheel in Path("dist", folder).glob("*.whl")}
        pip = ("pip", "--python", env, "install", "--quiet", "-c", "constraints.txt")
        session.run(*pip, *sorted(wheels))
        python = env.resolve() / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        smoke = Path("tests/smoke", f"{package}.py").resolve()
        with session.chdir(env):
            session.run(python, smoke, external=True)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """The farm and its peers on the same work, side by side; `-- --full` takes longer, and more peers."""
    group = "bench-full" if "--full" in session.posargs else "bench"
    install(session, *paths("core", "store-sqlite", "gui-tk", "tui-rich"), group=group)
    session.run("python", "benchmarks/run.py", *session.posargs, stderr=None, **LET_IT_STOP)


@nox.session(name="cluster-benchmarks")
def cluster_benchmarks(session: nox.Session) -> None:
    """The farm on a Dask cluster of this computer, beside client.map, joblib and dask.bag on the same one."""
    install(session, *paths("core", "store-sqlite", "cluster-dask"), group="bench")
    session.run("python", "benchmarks/cluster.py", *session.posargs, stderr=None, **LET_IT_STOP)


@nox.session(name="brian-sweep")
def brian_sweep(session: nox.Session) -> None:
    """A sweep of Brian 2 through farmhand, Pool and joblib: how long, and what is lost if it is killed."""
    install(session, *paths("core", "store-shelve", "store-sqlite", "compat-brian"), group="brian")
    session.run("python", "benchmarks/brian_sweep.py", *session.posargs, stderr=None, **LET_IT_STOP)


@nox.session
def traces(session: nox.Session) -> None:
    """Record again how long the items of real programs take, or of those named after `--`."""
    install(session, *paths("core", "store-sqlite"), group="traces")
    session.run("python", "benchmarks/record.py", *session.posargs, **LET_IT_STOP)


@nox.session
def simulate(session: nox.Session) -> None:
    """The scheduler with thousands of processes and millions of items, in virtual time."""
    session.env["PIP_BUILD_CONSTRAINT"] = "constraints.txt"
    session.install("-c", "constraints.txt", *paths("core"))
    session.run("python", "benchmarks/simulate.py", *session.posargs)


@nox.session
def eta(session: nox.Session) -> None:
    """How good the time remaining is, beside what others show, on runs that are replayed in virtual time."""
    session.env["PIP_BUILD_CONSTRAINT"] = "constraints.txt"
    session.install("-c", "constraints.txt", *paths("core"))
    session.run("python", "benchmarks/eta.py", *session.posargs)


@nox.session
def torture(session: nox.Session) -> None:
    """Farms and their processes, killed hundreds of times: nothing may be lost, doubled or left alive."""
    install(session, *paths("core", "store-sqlite"), group="test")
    session.run("python", "tests/torture/torture.py", *session.posargs, stderr=None, **LET_IT_STOP)


@nox.session
def screenshots(session: nox.Session) -> None:
    """The pictures in docs/pictures, or those named after `--`: runs in a window and a terminal, plots."""
    install(session, *paths(*PACKAGES), group="brian")
    session.run("python", "docs/screenshots.py", *session.posargs)
