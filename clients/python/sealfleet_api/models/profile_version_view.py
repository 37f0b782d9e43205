from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.acl import Acl
    from ..models.deliveries import Deliveries
    from ..models.egress_policy_allow import EgressPolicyAllow
    from ..models.env import Env
    from ..models.labels import Labels
    from ..models.secret_references import SecretReferences
    from ..models.workload_identity import WorkloadIdentity


T = TypeVar("T", bound="ProfileVersionView")


@_attrs_define
class ProfileVersionView:
    """A version of a profile in its history.

    Attributes:
        by (str): The actor who wrote it, as `kind:id`.
        created_at (datetime.datetime): A date and time of RFC 3339.
        name (str): The name of a Sealed Identity profile.
        updated_at (datetime.datetime): A date and time of RFC 3339.
        version (int): Number of this version. Starts at 1 and grows with each change.
        allowed_workflows (list[str] | Unset): The workflows that may use it. Empty: all.
        deleted (bool | Unset): True if this version deleted the profile.
        delivery (Deliveries | Unset): How secrets are delivered, by environment variable.
        egress (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
        env (Env | Unset): Plain environment variables.
        identity (WorkloadIdentity | Unset): What a profile says of the tokens that steps may ask for.
        registered_only (bool | Unset): Whether only runs of registered workflows may use it. Then `allowed_workflows`
            names those.
        remove (list[str] | Unset): Tombstones: keys of lower levels that this profile removes.
        secrets (SecretReferences | Unset): Secret references by environment variable.
        tags (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        tools (Acl | Unset): The secrets that each tool sees, by environment variable. `*` stands for all of them.
    """

    by: str
    created_at: datetime.datetime
    name: str
    updated_at: datetime.datetime
    version: int
    allowed_workflows: list[str] | Unset = UNSET
    deleted: bool | Unset = UNSET
    delivery: Deliveries | Unset = UNSET
    egress: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    env: Env | Unset = UNSET
    identity: WorkloadIdentity | Unset = UNSET
    registered_only: bool | Unset = UNSET
    remove: list[str] | Unset = UNSET
    secrets: SecretReferences | Unset = UNSET
    tags: Labels | Unset = UNSET
    tools: Acl | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.egress_policy_allow import EgressPolicyAllow

        by = self.by

        created_at = self.created_at.isoformat()

        name = self.name

        updated_at = self.updated_at.isoformat()

        version = self.version

        allowed_workflows: list[str] | Unset = UNSET
        if not isinstance(self.allowed_workflows, Unset):
            allowed_workflows = self.allowed_workflows

        deleted = self.deleted

        delivery: dict[str, Any] | Unset = UNSET
        if not isinstance(self.delivery, Unset):
            delivery = self.delivery.to_dict()

        egress: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.egress, Unset):
            egress = UNSET
        elif isinstance(self.egress, EgressPolicyAllow):
            egress = self.egress.to_dict()
        else:
            egress = self.egress

        env: dict[str, Any] | Unset = UNSET
        if not isinstance(self.env, Unset):
            env = self.env.to_dict()

        identity: dict[str, Any] | Unset = UNSET
        if not isinstance(self.identity, Unset):
            identity = self.identity.to_dict()

        registered_only = self.registered_only

        remove: list[str] | Unset = UNSET
        if not isinstance(self.remove, Unset):
            remove = self.remove

        secrets: dict[str, Any] | Unset = UNSET
        if not isinstance(self.secrets, Unset):
            secrets = self.secrets.to_dict()

        tags: dict[str, Any] | Unset = UNSET
        if not isinstance(self.tags, Unset):
            tags = self.tags.to_dict()

        tools: dict[str, Any] | Unset = UNSET
        if not isinstance(self.tools, Unset):
            tools = self.tools.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "by": by,
                "created_at": created_at,
                "name": name,
                "updated_at": updated_at,
                "version": version,
            }
        )
        if allowed_workflows is not UNSET:
            field_dict["allowed_workflows"] = allowed_workflows
        if deleted is not UNSET:
            field_dict["deleted"] = deleted
        if delivery is not UNSET:
            field_dict["delivery"] = delivery
        if egress is not UNSET:
            field_dict["egress"] = egress
        if env is not UNSET:
            field_dict["env"] = env
        if identity is not UNSET:
            field_dict["identity"] = identity
        if registered_only is not UNSET:
            field_dict["registered_only"] = registered_only
        if remove is not UNSET:
            field_dict["remove"] = remove
        if secrets is not UNSET:
            field_dict["secrets"] = secrets
        if tags is not UNSET:
            field_dict["tags"] = tags
        if tools is not UNSET:
            field_dict["tools"] = tools

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.acl import Acl
        from ..models.deliveries import Deliveries
        from ..models.egress_policy_allow import EgressPolicyAllow
        from ..models.env import Env
        from ..models.labels import Labels
        from ..models.secret_references import SecretReferences
        from ..models.workload_identity import WorkloadIdentity

        d = dict(src_dict)
        by = d.pop("by")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        name = d.pop("name")

        updated_at = datetime.datetime.fromisoformat(d.pop("updated_at"))

        version = d.pop("version")

        allowed_workflows = cast(list[str], d.pop("allowed_workflows", UNSET))

        deleted = d.pop("deleted", UNSET)

        _delivery = d.pop("delivery", UNSET)
        delivery: Deliveries | Unset
        if isinstance(_delivery, Unset):
            delivery = UNSET
        else:
            delivery = Deliveries.from_dict(_delivery)

        def _parse_egress(
            data: object,
        ) -> Literal["none", "open"] | EgressPolicyAllow | Unset:
            if isinstance(data, Unset):
                return data
            componentsschemas_egress_policy_type_0 = cast(Literal["none"], data)
            if componentsschemas_egress_policy_type_0 != "none":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_0 must match const 'none', got '{componentsschemas_egress_policy_type_0}'"
                )
            return componentsschemas_egress_policy_type_0
            componentsschemas_egress_policy_type_1 = cast(Literal["open"], data)
            if componentsschemas_egress_policy_type_1 != "open":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_1 must match const 'open', got '{componentsschemas_egress_policy_type_1}'"
                )
            return componentsschemas_egress_policy_type_1
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_egress_policy_type_2 = EgressPolicyAllow.from_dict(data)

            return componentsschemas_egress_policy_type_2

        egress = _parse_egress(d.pop("egress", UNSET))

        _env = d.pop("env", UNSET)
        env: Env | Unset
        if isinstance(_env, Unset):
            env = UNSET
        else:
            env = Env.from_dict(_env)

        _identity = d.pop("identity", UNSET)
        identity: WorkloadIdentity | Unset
        if isinstance(_identity, Unset):
            identity = UNSET
        else:
            identity = WorkloadIdentity.from_dict(_identity)

        registered_only = d.pop("registered_only", UNSET)

        remove = cast(list[str], d.pop("remove", UNSET))

        _secrets = d.pop("secrets", UNSET)
        secrets: SecretReferences | Unset
        if isinstance(_secrets, Unset):
            secrets = UNSET
        else:
            secrets = SecretReferences.from_dict(_secrets)

        _tags = d.pop("tags", UNSET)
        tags: Labels | Unset
        if isinstance(_tags, Unset):
            tags = UNSET
        else:
            tags = Labels.from_dict(_tags)

        _tools = d.pop("tools", UNSET)
        tools: Acl | Unset
        if isinstance(_tools, Unset):
            tools = UNSET
        else:
            tools = Acl.from_dict(_tools)

        profile_version_view = cls(
            by=by,
            created_at=created_at,
            name=name,
            updated_at=updated_at,
            version=version,
            allowed_workflows=allowed_workflows,
            deleted=deleted,
            delivery=delivery,
            egress=egress,
            env=env,
            identity=identity,
            registered_only=registered_only,
            remove=remove,
            secrets=secrets,
            tags=tags,
            tools=tools,
        )

        profile_version_view.additional_properties = d
        return profile_version_view

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
