"""A file of the tree as the rules see it: its text, and its code with comments and literals
blanked."""

import re

# Raw strings, strings, characters (not the ' between digits), comments. Order matters.
_TOKEN = re.compile(
    r'R"(?P<mark>[^()\s\\"]{0,16})\((?s:.*?)\)(?P=mark)"'
    r'|"(?:[^"\\\n]|\\(?s:.))*"'
    r"|(?<![0-9A-Fa-f])'(?:[^'\\\n]|\\.[^'\n]{0,8})'"
    r"|//[^\n]*"
    r"|/\*(?s:.*?)\*/"
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)


def _blank(match):
    """Keeps the lines, so that numbers stay right."""
    text = match.group(0)
    if text.startswith("//") or text.startswith("/*"):
        return re.sub(r"[^\n]", " ", text)
    return '"' + re.sub(r"[^\n]", " ", text[1:-1]) + '"'


class Source:
    """path: from the root of the tree, with '/'. text: the whole content."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.split("\n")
        if self.lines and self.lines[-1] == "":
            self.lines.pop()
        self.is_cpp = path.endswith((".h", ".cc", ".inc"))
        # Comments and literals of C++ blanked; other files stay as they are.
        self.code = _TOKEN.sub(_blank, text) if self.is_cpp else text

    @property
    def folder(self):
        return self.path.rpartition("/")[0]

    def includes(self):
        """(line number, '<' or '"', target) of every include."""
        for match in _INCLUDE.finditer(self.text):
            yield self.line_of(match.start()), match.group(1), match.group(2)

    def line_of(self, position):
        return self.text.count("\n", 0, position) + 1


def inside(path, places):
    """True when path is one of places, or lies in one that ends with '/'; a '*' at the end of a
    place stands for the rest of a file name."""
    for place in places:
        if place.endswith("/") or place.endswith("*"):
            if path.startswith(place.rstrip("*")):
                return True
        elif path == place:
            return True
    return False
