"""The languages there are, and the file each gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from overworld.commands.codegen.csharp import csharp
from overworld.commands.codegen.definitions import Definitions, definitions_of
from overworld.commands.codegen.names import Scope, pascal
from overworld.commands.codegen.python import RESERVED, python
from overworld.commands.codegen.typescript import typescript
from overworld.errors import SettingsError
from overworld.game import Title, contract_of

LANGUAGES: dict[str, Callable[[Definitions], str]] = {"typescript": typescript, "python": python, "csharp": csharp}


def code_of(title: Title, language: str) -> tuple[str, str]:
    """File name and text for a title. Raises TitleError for one that cannot be used."""
    definitions = definitions_of(contract_of(title, "main"))
    name = Scope(RESERVED).name(definitions.title)
    file = {"typescript": f"{name}.ts", "python": f"{name}.py", "csharp": f"{pascal(name)}.cs"}[language]
    return file, LANGUAGES[language](definitions)


def write_code(title: Title, language: str, folder: Path) -> Path:
    """Write a title's file into a folder, made where it is not there. Raises SettingsError where it cannot be."""
    file, text = code_of(title, language)
    target = folder / file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror}") from error
    return target
