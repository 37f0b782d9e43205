from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.cli import Cli
from ..types import UNSET, Unset

T = TypeVar("T", bound="Agent")


@_attrs_define
class Agent:
    """An agent to run.

    Attributes:
        cli (Cli): A CLI that Sealfleet can call.

            - `custom`: A program that reads the prompt from its standard input; `args` names it.
        args (list[str] | Unset): Further arguments of the CLI; for `custom`, the program and its arguments.
        budget_usd (float | None | Unset): The most US dollars. An agent that spends more is stopped, and its step
            fails. Needs a `model` whose prices are known.
        max_turns (int | None | Unset): The most answers of the model. An agent that needs more is stopped, and its step
            fails.
        model (None | str | Unset): The model that it is to use, as the CLI names it: the CLI's own choice if absent.
        prompt (None | str | Unset): What it is to do. Either this or `prompt_file`.
        prompt_file (None | str | Unset): The file that says what it is to do: a path below `/workspace`.
    """

    cli: Cli
    args: list[str] | Unset = UNSET
    budget_usd: float | None | Unset = UNSET
    max_turns: int | None | Unset = UNSET
    model: None | str | Unset = UNSET
    prompt: None | str | Unset = UNSET
    prompt_file: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        cli = self.cli.value

        args: list[str] | Unset = UNSET
        if not isinstance(self.args, Unset):
            args = self.args

        budget_usd: float | None | Unset
        if isinstance(self.budget_usd, Unset):
            budget_usd = UNSET
        else:
            budget_usd = self.budget_usd

        max_turns: int | None | Unset
        if isinstance(self.max_turns, Unset):
            max_turns = UNSET
        else:
            max_turns = self.max_turns

        model: None | str | Unset
        if isinstance(self.model, Unset):
            model = UNSET
        else:
            model = self.model

        prompt: None | str | Unset
        if isinstance(self.prompt, Unset):
            prompt = UNSET
        else:
            prompt = self.prompt

        prompt_file: None | str | Unset
        if isinstance(self.prompt_file, Unset):
            prompt_file = UNSET
        else:
            prompt_file = self.prompt_file

        field_dict: dict[str, Any] = {}

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
        cli = Cli(d.pop("cli"))

        args = cast(list[str], d.pop("args", UNSET))

        def _parse_budget_usd(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        budget_usd = _parse_budget_usd(d.pop("budget_usd", UNSET))

        def _parse_max_turns(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_turns = _parse_max_turns(d.pop("max_turns", UNSET))

        def _parse_model(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        model = _parse_model(d.pop("model", UNSET))

        def _parse_prompt(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        prompt = _parse_prompt(d.pop("prompt", UNSET))

        def _parse_prompt_file(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        prompt_file = _parse_prompt_file(d.pop("prompt_file", UNSET))

        agent = cls(
            cli=cli,
            args=args,
            budget_usd=budget_usd,
            max_turns=max_turns,
            model=model,
            prompt=prompt,
            prompt_file=prompt_file,
        )

        return agent
