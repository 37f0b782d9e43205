from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.redaction_encoding import RedactionEncoding
from ..models.redaction_stream import RedactionStream

T = TypeVar("T", bound="Redaction")


@_attrs_define
class Redaction:
    """How often a secret's value was taken out of one stream of a step, in one encoding.

    Attributes:
        count (int): How often, at least 1.
        encoding (RedactionEncoding): How a value was written where it was found.

            - `raw`: As it is.

            - `part`: A part of it: half of a pair, a string inside JSON, a password inside a URL, the body of a
            PEM block.

            - `line`: One of its lines.

            - `newlines`: With other line ends, with escaped ones, or on one line.

            - `json`: As a string of JSON.

            - `literal`: As a string literal of Go, Python or C.

            - `shell`: Quoted for a shell.

            - `xml`: With the entities of XML or HTML.

            - `percent`: Percent-encoded, as in URLs.

            - `hex`: In hexadecimal digits.

            - `base64`: In base64.

            - `base64_wrapped`: In base64 that is broken into lines.

            - `utf16`: In UTF-16LE.
        key (str): The environment variable that holds the secret.
        stream (RedactionStream): Where a value was found.

            - `stdout`: Standard output.

            - `stderr`: Standard error.

            - `result`: The step's result.

            - `artifact`: The name of an artifact.
    """

    count: int
    encoding: RedactionEncoding
    key: str
    stream: RedactionStream

    def to_dict(self) -> dict[str, Any]:
        count = self.count

        encoding = self.encoding.value

        key = self.key

        stream = self.stream.value

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "count": count,
                "encoding": encoding,
                "key": key,
                "stream": stream,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        count = d.pop("count")

        encoding = RedactionEncoding(d.pop("encoding"))

        key = d.pop("key")

        stream = RedactionStream(d.pop("stream"))

        redaction = cls(
            count=count,
            encoding=encoding,
            key=key,
            stream=stream,
        )

        return redaction
