from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="EventIdentityTokenIssued")


@_attrs_define
class EventIdentityTokenIssued:
    """A step got a token that names it to others.

    Attributes:
        audience (str): Who an identity token is for: the `aud` of a JWT.
        expires_at (datetime.datetime): A date and time of RFC 3339.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        step_id (str): The id of a step, unique in its run.
        token_id (str): An identity token's id: its `jti`.
        type_ (Literal['identity.token_issued']):
    """

    audience: str
    expires_at: datetime.datetime
    fence: int
    step_id: str
    token_id: str
    type_: Literal["identity.token_issued"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        audience = self.audience

        expires_at = self.expires_at.isoformat()

        fence = self.fence

        step_id = self.step_id

        token_id = self.token_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "audience": audience,
                "expires_at": expires_at,
                "fence": fence,
                "step_id": step_id,
                "token_id": token_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        audience = d.pop("audience")

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        fence = d.pop("fence")

        step_id = d.pop("step_id")

        token_id = d.pop("token_id")

        type_ = cast(Literal["identity.token_issued"], d.pop("type"))
        if type_ != "identity.token_issued":
            raise ValueError(
                f"type must match const 'identity.token_issued', got '{type_}'"
            )

        event_identity_token_issued = cls(
            audience=audience,
            expires_at=expires_at,
            fence=fence,
            step_id=step_id,
            token_id=token_id,
            type_=type_,
        )

        event_identity_token_issued.additional_properties = d
        return event_identity_token_issued

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
