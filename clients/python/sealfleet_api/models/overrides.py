from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.env import Env


T = TypeVar("T", bound="Overrides")


@_attrs_define
class Overrides:
    """What a run changes for itself alone, above all profiles. It cannot name secrets: a reference outside of a profile
    would escape the rules of profiles.

        Attributes:
            env (Env | Unset): Plain environment variables.
            remove (list[str] | Unset): Tombstones: keys of profiles that the run removes.
    """

    env: Env | Unset = UNSET
    remove: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        env: dict[str, Any] | Unset = UNSET
        if not isinstance(self.env, Unset):
            env = self.env.to_dict()

        remove: list[str] | Unset = UNSET
        if not isinstance(self.remove, Unset):
            remove = self.remove

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if env is not UNSET:
            field_dict["env"] = env
        if remove is not UNSET:
            field_dict["remove"] = remove

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.env import Env

        d = dict(src_dict)
        _env = d.pop("env", UNSET)
        env: Env | Unset
        if isinstance(_env, Unset):
            env = UNSET
        else:
            env = Env.from_dict(_env)

        remove = cast(list[str], d.pop("remove", UNSET))

        overrides = cls(
            env=env,
            remove=remove,
        )

        return overrides
