from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="ClaimAgent")


@_attrs_define
class ClaimAgent:
    """The CLI agent to run, in place of a command.

    Attributes:
        cli (str):
        args (list[str] | Unset):
        budget_usd (float | Unset):
        max_turns (int | Unset):
        model (str | Unset):
        prompt (str | Unset):
        prompt_file (str | Unset):
    """

    cli: str
    args: list[str] | Unset = UNSET
    budget_usd: float | Unset = UNSET
    max_turns: int | Unset = UNSET
    model: str | Unset = UNSET
    prompt: str | Unset = UNSET
    prompt_file: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        cli = self.cli

        args: list[str] | Unset = UNSET
        if not isinstance(self.args, Unset):
            args = self.args

        budget_usd = self.budget_usd

        max_turns = self.max_turns

        model = self.model

        prompt = self.prompt

        prompt_file = self.prompt_file

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "cli": cli,
            }
        )
        if args is not UNSET:
            field_dict["args"] = args
        if budget_usd is not UNSET:
            field_dict["budget_usd"] = budget_usd
        if max_turns is not UNSET:
            field_dict["max_turns"] = max_turns
        if model is not UNSET:
            field_dict["model"] = model
        if prompt is not UNSET:
            field_dict["prompt"] = prompt
        if prompt_file is not UNSET:
            field_dict["prompt_file"] = prompt_file

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        cli = d.pop("cli")

        args = cast(list[str], d.pop("args", UNSET))

        budget_usd = d.pop("budget_usd", UNSET)

        max_turns = d.pop("max_turns", UNSET)

        model = d.pop("model", UNSET)

        prompt = d.pop("prompt", UNSET)

        prompt_file = d.pop("prompt_file", UNSET)

        claim_agent = cls(
            cli=cli,
            args=args,
            budget_usd=budget_usd,
            max_turns=max_turns,
            model=model,
            prompt=prompt,
            prompt_file=prompt_file,
        )

        claim_agent.additional_properties = d
        return claim_agent

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
