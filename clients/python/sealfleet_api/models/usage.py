from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Usage")


@_attrs_define
class Usage:
    """Tokens that a model was sent and has written.

    Attributes:
        cached_input_tokens (int): Those of them that the provider's cache had.
        input_tokens (int): All that were sent, those that the provider's cache had included.
        output_tokens (int): Those that the model wrote, its reasoning included.
    """

    cached_input_tokens: int
    input_tokens: int
    output_tokens: int

    def to_dict(self) -> dict[str, Any]:
        cached_input_tokens = self.cached_input_tokens

        input_tokens = self.input_tokens

        output_tokens = self.output_tokens

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "cached_input_tokens": cached_input_tokens,
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        cached_input_tokens = d.pop("cached_input_tokens")

        input_tokens = d.pop("input_tokens")

        output_tokens = d.pop("output_tokens")

        usage = cls(
            cached_input_tokens=cached_input_tokens,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )

        return usage
