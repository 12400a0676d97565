"""Columns of a JSON or JSON Lines file with the exact values of the file: no type is inferred."""

import json
from pathlib import Path
from typing import Any


class ExactFloat(float):
    """A decimal number whose text has the digits of the file, for example `0.10`."""

    def __new__(cls, text: str) -> "ExactFloat":
        number = super().__new__(cls, text)
        number._text = text
        return number

    def __repr__(self) -> str:
        return self._text


_DECODER = json.JSONDecoder(parse_float=ExactFloat)


def read_json(path: Path) -> dict[str, list[Any]]:
    """
    Return the columns of a list of records, or of one record per line; a value is `None` where a record lacks the key.

    Integers are exact, decimal numbers are [`ExactFloat`], dates stay text. Blank lines are skipped.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")  # with a byte order mark or without
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = f"0x{error.object[error.start]:02X} in line {line}"
        raise ValueError(f"the dataset {path} must be UTF-8 text, got the byte {byte}: save it as UTF-8") from None
    if text.lstrip()[:1] == "[":
        records = _parse(text, path, 1)
    else:
        records = [_parse(line, path, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            must = f"must be a record of columns and their values, got {type(record).__name__}"
            raise ValueError(f'row {row} of {path} {must}: write it as {{"prompt": "...", "solution": "..."}}')
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _parse(text: str, path: Path, line: int) -> Any:
    """Return the value of a text that begins in this line of the file."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        fault = f"line {line + error.lineno - 1} of {path} is not valid JSON ({error.msg} at character {error.colno})"
        raise ValueError(f"{fault}: write one record per line, or one list of records") from None
    except RecursionError:
        fault = "is nested too deeply in line {} or later: flatten it"
    except ValueError:  # Python reads integers of up to 4300 digits
        fault = "has an integer of too many digits in line {} or later: write it as text"
    raise ValueError(f"the dataset {path} {fault.format(line)}")
