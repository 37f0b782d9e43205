from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.usage import Usage


T = TypeVar("T", bound="ModelAnswers")


@_attrs_define
class ModelAnswers:
    """Answers of one model.

    Attributes:
        answers (int): How many answers.
        cache_write_tokens (int): Of the sent tokens, those that the provider put into its cache.
        model (str): As the API names it.
        provider (str): `anthropic`, `openai`, or the host that answered.
        usage (Usage): Tokens that a model was sent and has written.
    """

    answers: int
    cache_write_tokens: int
    model: str
    provider: str
    usage: Usage
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        answers = self.answers

        cache_write_tokens = self.cache_write_tokens

        model = self.model

        provider = self.provider

        usage = self.usage.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "answers": answers,
                "cache_write_tokens": cache_write_tokens,
                "model": model,
                "provider": provider,
                "usage": usage,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.usage import Usage

        d = dict(src_dict)
        answers = d.pop("answers")

        cache_write_tokens = d.pop("cache_write_tokens")

        model = d.pop("model")

        provider = d.pop("provider")

        usage = Usage.from_dict(d.pop("usage"))

        model_answers = cls(
            answers=answers,
            cache_write_tokens=cache_write_tokens,
            model=model,
            provider=provider,
            usage=usage,
        )

        model_answers.additional_properties = d
        return model_answers

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
