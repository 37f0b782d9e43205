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

from ..models.unexplained import Unexplained
from ..types import UNSET, Unset

T = TypeVar("T", bound="EventSecretReadUnexplained")


@_attrs_define
class EventSecretReadUnexplained:
    """A secret was read, and no release explains the read.

    Attributes:
        by (str):
        cloudtrail_event_id (str):
        read_at (datetime.datetime): A date and time of RFC 3339.
        secret (str):
        type_ (Literal['secret.read_unexplained']):
        why (Unexplained): Why no release explains a read.

            - `not_an_execution_role`: A person, a service or another role read it, neither an execution role nor a reader
            role of
            a project.

            - `other_project`: The role of another project read it.

            - `in_a_batch`: It was read in a batch request. No part of Sealfleet sends one.

            - `version_not_pinned`: The request named no version. Every sandbox requests the version that was released.

            - `unknown_task`: The host does not know a sandbox with the role session's name, and nothing was released
            around that time.

            - `foreign_task`: Sealfleet did not start the sandbox, or started it for another project.

            - `other_task`: Another sandbox runs the claim that this sandbox names.

            - `not_released`: The sandbox's claim was not released this secret in this version.

            - `before_release`: It was read before it was released.

            - `long_after_release`: It was read long after its release, after the sandbox's command had started, or after
            its
            claim was over.

            - `unknown_token`: A reader role read it in a session whose source identity is no token that the control plane
            issued for reads of that project's secrets.
        version (str | Unset):
    """

    by: str
    cloudtrail_event_id: str
    read_at: datetime.datetime
    secret: str
    type_: Literal["secret.read_unexplained"]
    why: Unexplained
    version: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        by = self.by

        cloudtrail_event_id = self.cloudtrail_event_id

        read_at = self.read_at.isoformat()

        secret = self.secret

        type_ = self.type_

        why = self.why.value

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "by": by,
                "cloudtrail_event_id": cloudtrail_event_id,
                "read_at": read_at,
                "secret": secret,
                "type": type_,
                "why": why,
            }
        )
        if version is not UNSET:
            field_dict["version"] = version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        by = d.pop("by")

        cloudtrail_event_id = d.pop("cloudtrail_event_id")

        read_at = datetime.datetime.fromisoformat(d.pop("read_at"))

        secret = d.pop("secret")

        type_ = cast(Literal["secret.read_unexplained"], d.pop("type"))
        if type_ != "secret.read_unexplained":
            raise ValueError(
                f"type must match const 'secret.read_unexplained', got '{type_}'"
            )

        why = Unexplained(d.pop("why"))

        version = d.pop("version", UNSET)

        event_secret_read_unexplained = cls(
            by=by,
            cloudtrail_event_id=cloudtrail_event_id,
            read_at=read_at,
            secret=secret,
            type_=type_,
            why=why,
            version=version,
        )

        event_secret_read_unexplained.additional_properties = d
        return event_secret_read_unexplained

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
