from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Place")


@_attrs_define
class Place:
    """Where a parameter goes in a step: one of `file`, `env` and `stdin`. A text goes there as it is, all else as JSON.

    Attributes:
        step (str): The id of a step, unique in its run.
        env (None | str | Unset): An environment variable of the step. Its name begins with `PARAM_`.
        file (None | str | Unset): A file of the step's workspace, which the step's `files` do not name.
        stdin (bool | Unset): Whether it is the step's standard input.
    """

    step: str
    env: None | str | Unset = UNSET
    file: None | str | Unset = UNSET
    stdin: bool | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        step = self.step

        env: None | str | Unset
        if isinstance(self.env, Unset):
            env = UNSET
        else:
            env = self.env

        file: None | str | Unset
        if isinstance(self.file, Unset):
            file = UNSET
        else:
            file = self.file

        stdin = self.stdin

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "step": step,
            }
        )
        if env is not UNSET:
            field_dict["env"] = env
        if file is not UNSET:
            field_dict["file"] = file
        if stdin is not UNSET:
            field_dict["stdin"] = stdin

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        step = d.pop("step")

        def _parse_env(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        env = _parse_env(d.pop("env", UNSET))

        def _parse_file(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        file = _parse_file(d.pop("file", UNSET))

        stdin = d.pop("stdin", UNSET)

        place = cls(
            step=step,
            env=env,
            file=file,
            stdin=stdin,
        )

        return place
