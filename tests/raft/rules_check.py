"""Does every test that rules.md names exist, and is every known bug named there and in a test?"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
BUGS = 42


def main():
    code = "".join(path.read_text() for path in sorted(HERE.glob("*_test.cc")))
    tests = {f"{suite}.{name}"
             for suite, name in re.findall(r"\bTEST(?:_F|_P)?\((\w+),\s*(\w+)\)", code)}
    text = (HERE / "rules.md").read_text()
    named = set(re.findall(r"`(\w+\.\w+)`", text)) - {"simulation.h", "rules_check.py"}
    problems = [f"rules.md names {name}, which does not exist" for name in sorted(named - tests)]
    for number in range(1, BUGS + 1):
        row = re.search(rf"^\| R{number} .*$", text, re.M)
        if row is None or "`" not in row.group(0):
            problems.append(f"rules.md has no test for R{number}")
        if not re.search(rf"\bR{number}\b", code):
            problems.append(f"no test cites R{number}")
    print("\n".join(problems) or f"{len(named)} of {len(tests)} tests are named by a rule")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
