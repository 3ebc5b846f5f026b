"""Many faults of one file in one compilation: each is chosen at run time by ETCDD_MUTANT.

Works for faults that replace whole statements, a condition, or the value of a declaration; that is
most of them. `combine` says for which it could not find a form.
"""

import re

HEADER = """#include <cstdlib>
inline bool EtcddMutant(int number) {
  static const int chosen = [] {
    const char* text = std::getenv("ETCDD_MUTANT");
    return text == nullptr ? 0 : std::atoi(text);
  }();
  return chosen == number;
}
"""

_DECLARATION = re.compile(
    r"(?:const |auto |static |ETCDD_ASSIGN_OR_RETURN)|"
    r"(?:[\w:]+(?:<[^=;()]*>)?[&*]? )+[&*]?\w+(?:;| = |\(|\{)")
_KEYWORD = re.compile(r"(?:return|if|for|while|do|switch|case|default|else|break|continue)\b")


def _span(fault, text):
    """The lines [begin, end) a fault replaces, and what it puts there."""
    old = "".join(line + "\n" for line in fault.old)
    at = re.search("^" + re.escape(old), text, re.M).start()
    begin = text.count("\n", 0, at)
    return begin, begin + len(fault.old), list(fault.new)


def _code(line):
    return re.sub(r"\s*//.*$", "", line).rstrip()


def _starts_statement(lines, number):
    before = number - 1
    while before >= 0 and not _code(lines[before]).strip():
        before -= 1
    return before < 0 or _code(lines[before])[-1] in ";{}:"


def _ends_statement(line):
    return not _code(line).strip() or _code(line)[-1] in ";{}:"


def _groups(spans, lines):
    """Overlapping faults together, each grown to whole statements. Yields (begin, end, {fault: new
    lines})."""
    grown = []
    for fault, (begin, end, new) in spans:
        first, last = begin, end
        while first > 0 and not _starts_statement(lines, first):
            first -= 1
        while last < len(lines) and not _ends_statement(lines[last - 1]):
            last += 1
        grown.append((first, last, fault, lines[first:begin] + new + lines[end:last]))
    grown.sort(key=lambda one: one[:2])
    groups = []
    for first, last, fault, new in grown:
        if groups and first < groups[-1][1]:
            begin, end, members = groups[-1]
            far = max(end, last)
            for other in members:
                members[other] = members[other] + lines[end:far]
            members[fault] = lines[begin:first] + new + lines[last:far]
            groups[-1] = (begin, far, members)
        else:
            groups.append((first, last, {fault: new}))
    return groups


def _balanced(lines):
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', "\n".join(_code(line) for line in lines))
    depth = 0
    for char in text:
        depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(char, 0)
        if depth < 0:
            return False
    return depth == 0


def _is_statements(lines):
    if not _balanced(lines):
        return False
    code = [line for line in lines if _code(line).strip()]
    if not code:
        return True
    indent = min(len(line) - len(line.lstrip()) for line in code)
    starts = [line.strip() for i, line in enumerate(code)
              if len(line) - len(line.lstrip()) == indent]
    if any(re.match(r"(?:case\b|default:|\} else|else\b|void |\w+::\w+::)", one) for one in starts):
        return False
    return not any(_DECLARATION.match(one) and not _KEYWORD.match(one) for one in starts)


def _trim(old, news):
    """Without the lines all versions begin and end with."""
    head = 0
    while all(len(one) > head and one[head] == old[head] for one in [old, *news]
              if len(old) > head) and len(old) > head:
        head += 1
    tail = 0
    shortest = min(len(one) for one in [old, *news])
    while tail < shortest - head and all(one[-1 - tail] == old[-1 - tail] for one in news):
        tail += 1
    cut = [one[head:len(one) - tail] for one in [old, *news]]
    return old[:head], cut[0], cut[1:], old[len(old) - tail:]


def _choice(old, news, numbers, pattern):
    """One text with a value that differs: pattern has the groups before, value, after."""
    parts = [re.fullmatch(pattern, " ".join(_code(line).strip() for line in one))
             for one in [old, *news]]
    if any(part is None for part in parts):
        return None
    if len({(part.group(1), part.group(3)) for part in parts}) != 1:
        return None
    value = "".join(f"EtcddMutant({number}) ? ({part.group(2)}) : "
                    for number, part in zip(numbers, parts[1:]))
    first = parts[0]
    return [f"{first.group(1)}{value}({first.group(2)}){first.group(3)}"]


def _form(old, news, numbers):
    """The lines that choose at run time; None if there is no form for these."""
    if all(_is_statements(one) for one in [old, *news]):
        out = []
        for number, new in zip(numbers, news):
            out += [f"if (EtcddMutant({number})) {{", *new, "} else"]
        return [*out, "{", *old, "}"]
    for pattern in (r"((?:\} else )?(?:if|while) \()([^;]*)(\) \{)",
                    r"((?:[\w:<>*&]+ )+\w+ = )(.*)(;)"):
        form = _choice(old, news, numbers, pattern)
        if form is not None:
            return form
    head, core_old, core_news, tail = _trim(old, news)
    if head or tail:
        if not _starts_whole(core_old, core_news, head):
            return None
        inner = _form(core_old, core_news, numbers)
        return None if inner is None else [*head, *inner, *tail]
    return None


def _starts_whole(old, news, head):
    return (not head or _ends_statement(head[-1])) and all(
        not one or _ends_statement(one[-1]) for one in [old, *news])


def combine(text, numbered):
    """`numbered` is {fault: number}. Returns (text, {number: (first line, last line)}): those it
    could not find a form for are missing from the second."""
    lines = text.splitlines()
    spans = [(fault, _span(fault, text)) for fault in numbered]
    out = []
    places = {}
    at = 0
    for begin, end, members in _groups(spans, lines):
        out += lines[at:begin]
        at = end
        members = dict(members)
        form = _form(lines[begin:end], list(members.values()),
                     [numbered[fault] for fault in members])
        if form is None:
            # One by one: those that have a form by themselves, the first of them.
            for fault, new in members.items():
                form = _form(lines[begin:end], [new], [numbered[fault]])
                if form is not None:
                    members = {fault: new}
                    break
        if form is None:
            out += lines[begin:end]
            continue
        first = len(out) + 1
        out += form
        for fault in members:
            places[numbered[fault]] = (first, len(out))
    out += lines[at:]
    return "\n".join(out) + "\n", places
