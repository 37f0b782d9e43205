from __future__ import annotations

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

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.acl import Acl
    from ..models.deliveries import Deliveries
    from ..models.egress_policy_allow import EgressPolicyAllow
    from ..models.env import Env
    from ..models.labels import Labels
    from ..models.secret_references import SecretReferences
    from ..models.workload_identity import WorkloadIdentity


T = TypeVar("T", bound="CreateProfile")


@_attrs_define
class CreateProfile:
    """A profile to create: names and references, never values. An operator's token creates it in the system scope.

    Attributes:
        name (str): The name of a Sealed Identity profile.
        allowed_workflows (list[str] | Unset): The workflows that may use it. Empty: all.
        delivery (Deliveries | Unset): How secrets are delivered, by environment variable.
        egress (EgressPolicyAllow | Literal['none'] | Literal['open'] | None | Unset): Which hosts a step may reach.
            Levels narrow each other: it reaches what all of them allow. Absent: this profile leaves it to the others.
        env (Env | Unset): Plain environment variables.
        identity (None | Unset | WorkloadIdentity): Who a step may prove itself to, by tokens of the control plane.
            Levels narrow each other. Absent: this profile leaves it to the others, and if none says, a step gets no token.
        registered_only (bool | Unset): Whether only runs of registered workflows may use it. Then `allowed_workflows`
            names those.
        remove (list[str] | Unset): Tombstones: keys of lower levels that this profile removes.
        secrets (SecretReferences | Unset): Secret references by environment variable.
        tags (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        tools (Acl | None | Unset): The secrets that each tool sees. Absent: every tool sees all of them.
    """

    name: str
    allowed_workflows: list[str] | Unset = UNSET
    delivery: Deliveries | Unset = UNSET
    egress: Literal["none", "open"] | EgressPolicyAllow | None | Unset = UNSET
    env: Env | Unset = UNSET
    identity: None | Unset | WorkloadIdentity = UNSET
    registered_only: bool | Unset = UNSET
    remove: list[str] | Unset = UNSET
    secrets: SecretReferences | Unset = UNSET
    tags: Labels | Unset = UNSET
    tools: Acl | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.acl import Acl
        from ..models.egress_policy_allow import EgressPolicyAllow
        from ..models.workload_identity import WorkloadIdentity

        name = self.name

        allowed_workflows: list[str] | Unset = UNSET
        if not isinstance(self.allowed_workflows, Unset):
            allowed_workflows = self.allowed_workflows

        delivery: dict[str, Any] | Unset = UNSET
        if not isinstance(self.delivery, Unset):
            delivery = self.delivery.to_dict()

        egress: Literal["none", "open"] | dict[str, Any] | None | Unset
        if isinstance(self.egress, Unset):
            egress = UNSET
        elif isinstance(self.egress, EgressPolicyAllow):
            egress = self.egress.to_dict()
        else:
            egress = self.egress

        env: dict[str, Any] | Unset = UNSET
        if not isinstance(self.env, Unset):
            env = self.env.to_dict()

        identity: dict[str, Any] | None | Unset
        if isinstance(self.identity, Unset):
            identity = UNSET
        elif isinstance(self.identity, WorkloadIdentity):
            identity = self.identity.to_dict()
        else:
            identity = self.identity

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

        tools: dict[str, Any] | None | Unset
        if isinstance(self.tools, Unset):
            tools = UNSET
        elif isinstance(self.tools, Acl):
            tools = self.tools.to_dict()
        else:
            tools = self.tools

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "name": name,
            }
        )
        if allowed_workflows is not UNSET:
            field_dict["allowed_workflows"] = allowed_workflows
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
        name = d.pop("name")

        allowed_workflows = cast(list[str], d.pop("allowed_workflows", UNSET))

        _delivery = d.pop("delivery", UNSET)
        delivery: Deliveries | Unset
        if isinstance(_delivery, Unset):
            delivery = UNSET
        else:
            delivery = Deliveries.from_dict(_delivery)

        def _parse_egress(
            data: object,
        ) -> Literal["none", "open"] | EgressPolicyAllow | None | Unset:
            if data is None:
                return data
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
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_egress_policy_type_2 = EgressPolicyAllow.from_dict(
                    data
                )

                return componentsschemas_egress_policy_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(
                Literal["none", "open"] | EgressPolicyAllow | None | Unset, data
            )

        egress = _parse_egress(d.pop("egress", UNSET))

        _env = d.pop("env", UNSET)
        env: Env | Unset
        if isinstance(_env, Unset):
            env = UNSET
        else:
            env = Env.from_dict(_env)

        def _parse_identity(data: object) -> None | Unset | WorkloadIdentity:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                identity_type_0 = WorkloadIdentity.from_dict(data)

                return identity_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Unset | WorkloadIdentity, data)

        identity = _parse_identity(d.pop("identity", UNSET))

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

        def _parse_tools(data: object) -> Acl | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                tools_type_0 = Acl.from_dict(data)

                return tools_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Acl | None | Unset, data)

        tools = _parse_tools(d.pop("tools", UNSET))

        create_profile = cls(
            name=name,
            allowed_workflows=allowed_workflows,
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

        return create_profile
