"""Tables of the exchange format, made from its schema: the page adds what a field means and what lava-dl does with it.

The directive ``fields`` has a line for each field of a layer or neuron type, ``:name: unit | lava-dl | meaning``, and
``additions`` one for each field that lava-dl does not know, ``:name: what its reader does``.  A field without a line is
an error, and so is a line without a field.
"""

import re
from typing import ClassVar

from sphinx.errors import SphinxError
from sphinx.util.docutils import SphinxDirective

from lavadl_lite.exchange import LAYERS, NEURONS
from lavadl_lite.exchange.fields import ANY

ADDITION = "addition"  # in the place of what lava-dl does with a field
LINE = re.compile(r"^:([\w/]+):\s+(.*)$")


def rows(kind):
    """The fields of a type that a network in memory has, by name."""
    table = LAYERS if kind in LAYERS else NEURONS
    return {field.name: field for field in table[kind].fields if field.kept}


def shape(axes):
    """A shape as Python writes it, with names for the axes that have no number."""
    names = ["any number" if axis == ANY else str(getattr(axis, "name", axis)) for axis in axes]
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})" if names else "scalar"


def stored(fields):
    """How a field of one type or more is written, and in which old shapes it is read; ``fields`` by type."""
    field, *_ = fields.values()
    if field.dtype is str:
        text = "string"
    else:
        shapes = {kind: " or ".join(shape(axes) for axes in each.shapes) for kind, each in fields.items()}
        if len(set(shapes.values())) == 1:
            shapes = {"": shapes.popitem()[1]}
        text = f"{field.dtype.__name__}, " + "; ".join(f"{kind} {each}".strip() for kind, each in shapes.items())
    if field.complex:
        text += ", or two parts"
    if field.default is not None:
        text += f"; {str(field.default).lower()} where missing"
    elif not field.required:
        text += "; optional"
    scalar = any(is_one(axes) for axes in field.shapes)
    old = [axes for axes in field.old if not (scalar and is_one(axes))]
    names = ["an axis of 1 more" if axes[:-1] in field.shapes else shape(axes) for axes in old]
    return f"{text}. Old files: {' or '.join(names)}" if old else text


def is_one(axes):
    """Whether a shape is that of one number, in an array or not."""
    return set(axes) <= {1}


def number(value):
    """An integer, as a power of two where it is a large one or one less."""
    for exponent in range(14, 32):
        for less in (0, 1):
            if abs(value) == (1 << exponent) - less:
                return f"{'-' if value < 0 else ''}2\\ :sup:`{exponent}`" + (" - 1" if less else "")
    return str(value)


def span(field, unit):
    """What values a field has."""
    if field.choices:
        return " ".join(f"``{choice}``" for choice in field.choices)
    if field.dtype is bool:
        return "false, true"
    text = number(field.low) if field.low == field.high else f"{number(field.low)} ... {number(field.high)}"
    return f"{text}, in {unit}" if unit else text


class Table(SphinxDirective):
    """What both directives share: their lines, and a table as reStructuredText."""

    has_content = True
    optional_arguments = 8

    def lines(self, parts):
        """Name and the parts of each line; a line that begins with blanks goes on with the one before."""
        joined = re.sub(r"\n[ \t]+", " ", "\n".join(self.content)).splitlines()
        for line in filter(None, joined):
            found = LINE.match(line)
            texts = [] if found is None else [text.strip() for text in found[2].split("|", parts - 1)]
            if len(texts) != parts:
                raise self.fault(f"expected ':name: {' | '.join(['...'] * parts)}', got {line!r}")
            yield found[1], texts

    def fault(self, message):
        return SphinxError(f"{self.env.docname}, line {self.lineno}: {message}")

    def same(self, found, expected):
        if list(found) != list(expected):
            raise self.fault(f"expected lines for {', '.join(expected)}, got {', '.join(found)}")

    def table(self, header, widths, body):
        text = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
        for cells in (header, *body):
            text += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(cells)]
        return self.parse_text_to_nodes("\n".join(text))


class Fields(Table):
    """The fields of one type, or of several that have the same; without those that they have in common with others."""

    option_spec: ClassVar = {"beside": str.split}

    def run(self):
        kinds = self.arguments
        common = {id(field) for other in self.options.get("beside", ()) for field in rows(other).values()}
        own = {name: field for name, field in rows(kinds[0]).items() if id(field) not in common}
        texts = dict(self.lines(3))
        self.same(texts, own)
        additions = self.env.temp_data.setdefault("additions", [])
        body = []
        for name, (unit, known, meaning) in texts.items():
            fields = {f"``{kind}``": rows(kind)[name] for kind in kinds}
            if known == ADDITION:
                additions += [name] if name not in additions else []
            body.append((f"``{name}``", stored(fields), span(own[name], unit), known, meaning))
        return self.table(("Field", "Stored as", "Range", "lava-dl", "Meaning"), "14 24 16 12 34", body)


class Additions(Table):
    """Every field that the tables before call an addition."""

    def run(self):
        texts = dict(self.lines(1))
        self.same(sorted(texts), sorted(self.env.temp_data.get("additions", ())))
        return self.table(
            ("Field", "lava-dl's reader"), "20 80", [(f"``{name}``", *text) for name, text in texts.items()]
        )


def setup(app):
    """What Sphinx calls."""
    app.add_directive("fields", Fields)
    app.add_directive("additions", Additions)
    return {"parallel_read_safe": True}
