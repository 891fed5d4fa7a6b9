"""The document of the format: its tables have every field, its example prints what it says."""

import re
import textwrap
from pathlib import Path

import pytest

from lavadl_lite import exchange

PAGE = (Path(__file__).parents[2] / "docs" / "exchange.rst").read_text(encoding="utf-8")


def documented(kind):
    """The fields that the section of a type has lines for, and the sections whose fields it shares."""
    parts = re.split(r"^(.+)\n(?:~{4,}|-{4,})$", PAGE, flags=re.MULTILINE)
    (section,) = (text for title, text in zip(parts[1::2], parts[2::2], strict=True) if f"``{kind}``" in title)
    shared = re.findall(r"(?<=fields of )``(\w+)``", section)
    return set(re.findall(r"^   :(\w+): ", section, flags=re.MULTILINE)).union(*map(documented, shared))


@pytest.mark.parametrize("kind", [*exchange.LAYERS, *exchange.NEURONS])
def test_every_field_is_documented(kind):
    row = exchange.LAYERS[kind] if kind in exchange.LAYERS else exchange.NEURONS[kind]
    assert documented(kind) - {"beside"} == {field.name for field in row.fields if field.kept}


def block(text, language):
    """The first block of code."""
    found = re.search(rf"^\.\. code-block:: {language}\n\n((?: .*\n|\n)+)", text, flags=re.MULTILINE)
    return textwrap.dedent(found[1]).strip()


def test_the_example_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = PAGE[PAGE.index("An example\n---") :]
    code, listing = (block(example, language) for language in ("python", "text"))
    exec(compile(code, "exchange.rst", "exec"), {})
    assert capsys.readouterr().out.strip() == listing
