"""Compilers, on sources that are made up."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from programs import Program


def compile_c(functions: int, level: str, seed: int) -> int:
    """The size of what gcc makes of a file with so many functions."""
    rng = random.Random(seed)
    lines = ["#include <stdio.h>", "#include <math.h>", "#include <string.h>"]
    for k in range(functions):
        body = [f"double f{k}(double *a, int n) {{", "  double s = 0;"]
        for _ in range(rng.randint(1, 8)):
            a, b, stride = rng.random(), rng.randint(1, 9), rng.randint(1, 4)
            body.append(
                rng.choice(
                    (
                        f"  for (int i = 0; i < n; i += {stride}) s += {a:.3f} * a[i] * a[(i + {b}) % n];",
                        f"  for (int i = {b}; i < n; i++) a[i] = sqrt(fabs(a[i - {b}])) + {a:.3f};",
                        f"  if (s > {a:.3f}) s = sin(s) * {b}; else s = s / {b} + a[0];",
                        f"  switch (n % 5) {{ case 0: s += 1; break; case 1: s *= {a:.2f}; default: s--; }}",
                    )
                )
            )
        call = f"  if (n > {rng.randint(1, 99)}) s += f{rng.randrange(k)}(a, n - 1);" if k else ""
        lines += [*body, call, "  return s;", "}"]
    return _compile("gcc", "\n".join(lines), ".c", level)


def files() -> Iterable[Any]:
    rng = random.Random(1)
    return [(max(3, round(rng.lognormvariate(3.6, 1.0))), "-O2", seed) for seed in range(120)]


HEADERS = ("cstdio", "vector", "string", "map", "algorithm", "iostream", "functional", "random", "regex")


def compile_cpp(headers: tuple[str, ...], level: str, seed: int) -> int:
    """The size of what g++ makes of a file that includes and uses these headers."""
    rng = random.Random(seed)
    lines = [f"#include <{header}>" for header in headers]
    uses = {
        "vector": "std::vector<{t}> v{k}({n}); for (auto &x : v{k}) x += {n}; s += v{k}.size();",
        "string": 'std::string w{k} = "a" + std::to_string({n}); s += w{k}.find("{n}");',
        "map": "std::map<{t}, int> m{k}; m{k}[{n}] = {n}; s += m{k}.count({n});",
        "algorithm": "{t} b{k}[{n}] = {{}}; std::sort(b{k}, b{k} + {n}); s += b{k}[0];",
        "iostream": "std::cout << s << {n} << std::endl;",
        "functional": "std::function<int({t})> g{k} = [=]({t} x) {{ return int(x) + s; }}; s += g{k}({n});",
        "random": "std::mt19937_64 r{k}({n}); s += std::normal_distribution<double>({n})(r{k});",
        "regex": 's += std::regex_match("a{n}", std::regex("[a-z]+{n}"));',
    }
    for k in range(rng.randint(5, 40)):
        use = uses.get(rng.choice(headers), "s += {n};")
        text = use.format(k=k, n=rng.randint(2, 99), t=rng.choice(("int", "long", "double", "float", "char")))
        lines.append(f"int f{k}(int s) {{ {text} return s; }}")
    return _compile("g++", "\n".join(lines), ".cpp", level)


def project() -> Iterable[Any]:
    rng = random.Random(2)
    return [
        (tuple(rng.sample(HEADERS, rng.randint(1, 4))), rng.choice(("-O0", "-O0", "-O2")), seed)
        for seed in range(72)
    ]


def levels() -> Iterable[Any]:
    return [(functions, level, 1) for functions in range(5, 155, 6) for level in ("-O0", "-O1", "-O2", "-O3")]


def _compile(compiler: str, source: str, ending: str, level: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path, made = Path(folder, f"source{ending}"), Path(folder, "made.o")
        path.write_text(source)
        subprocess.run([compiler, "-w", level, "-c", "-o", made, path], check=True)
        return made.stat().st_size


PROGRAMS = [
    Program(
        "gcc",
        "compile",
        "report",
        "gcc -O2 on 120 C files of 3 to some hundred functions: sizes as in a project, a few much larger.",
        compile_c,
        files,
    ),
    Program(
        "gcc-levels",
        "compile",
        "report",
        "gcc on C files of 5 to 149 functions, in order, each with -O0, -O1, -O2 and -O3: a trend that "
        "differs by kind.",
        compile_c,
        levels,
    ),
    Program(
        "g++",
        "compile",
        "report",
        "g++ on 72 C++ files that use one to four headers of the standard library, -O0 or -O2.",
        compile_cpp,
        project,
    ),
]
