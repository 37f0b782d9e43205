from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode
from ..models.needed import Needed
from ..models.on_drift import OnDrift
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.agent import Agent
    from ..models.content_text import ContentText
    from ..models.content_upload import ContentUpload
    from ..models.enqueue_step_artifacts_item_type_1 import (
        EnqueueStepArtifactsItemType1,
    )
    from ..models.enqueue_step_command_item_type_1 import EnqueueStepCommandItemType1
    from ..models.env import Env
    from ..models.files import Files
    from ..models.labels import Labels


T = TypeVar("T", bound="EnqueueStep")


@_attrs_define
class EnqueueStep:
    """A step of a new run.

    Attributes:
        id (str): The id of a step, unique in its run.
        mode (Mode): How a step is executed. `full_jit` (a CLI agent with just-in-time credentials) is not accepted yet.

            - `bare`: 0: a plain process of the worker. Never sees a secret.

            - `sandboxed`: 1: a sandbox. Never sees a secret.

            - `identity`: 2: a sandbox that the profile's secrets are injected into.

            - `full`: 3: such a sandbox, with a CLI agent in it.
        pool (str): The name of a pool, which is a queue of a project.
        agent (Agent | None | Unset): The CLI agent that a step of mode `full` runs, in place of a command.
        approval (Needed | None | Unset): Whether somebody else has to approve it before it is queued. It may wait for
            that as long as for a claim.
        artifacts (list[EnqueueStepArtifactsItemType1 | str] | Unset): Files and directories of its workspace that it is
            to leave behind. A directory is taken whole.
        command (list[EnqueueStepCommandItemType1 | str] | Unset): The program and its arguments; an argument `{"file":
            PATH}` is what that file of `files` holds. Left out for an agent.
        env (Env | Unset): Plain environment variables.
        files (Files | Unset): Files by their path below the workspace, with `/` between names.
        max_attempts (int | Unset): How often it is tried when its worker is lost: 3 times if absent. Default: 3.
        model (None | str | Unset): The model that its worker must reach.
        needs (list[str] | Unset): Steps that must succeed first.
        on_drift (OnDrift | Unset): How a step starts when its identity has changed since it was enqueued.

            - `proceed`: It starts with the current identity, and the difference is on record.

            - `refuse`: It fails.
        requires (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that
            start with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells
            of itself.
        stdin (ContentText | ContentUpload | None | Unset): Its standard input; empty if absent. Never put a secret
            here.
        takes (list[str] | Unset): Those of them whose results and artifacts it finds below `.sealfleet/needs` in its
            workspace.
        timeout_seconds (int | Unset): Seconds that it may run: 600 if absent. Default: 600.
        tool (None | str | Unset): The tool that its command runs. Access lists of profiles name tools. An agent is the
            tool of its CLI's name if absent.
        ttl_seconds (int | Unset): Seconds that it may wait for a claim: a day if absent. Default: 86400.
        tty (bool | Unset): Whether its command has a terminal as its standard input, output and error. Its output is
            one stream, `stdout`, and its input is empty. Not for mode `bare`, and not for an agent.
    """

    id: str
    mode: Mode
    pool: str
    agent: Agent | None | Unset = UNSET
    approval: Needed | None | Unset = UNSET
    artifacts: list[EnqueueStepArtifactsItemType1 | str] | Unset = UNSET
    command: list[EnqueueStepCommandItemType1 | str] | Unset = UNSET
    env: Env | Unset = UNSET
    files: Files | Unset = UNSET
    max_attempts: int | Unset = 3
    model: None | str | Unset = UNSET
    needs: list[str] | Unset = UNSET
    on_drift: OnDrift | Unset = UNSET
    requires: Labels | Unset = UNSET
    stdin: ContentText | ContentUpload | None | Unset = UNSET
    takes: list[str] | Unset = UNSET
    timeout_seconds: int | Unset = 600
    tool: None | str | Unset = UNSET
    ttl_seconds: int | Unset = 86400
    tty: bool | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.agent import Agent
        from ..models.content_text import ContentText
        from ..models.content_upload import ContentUpload
        from ..models.enqueue_step_artifacts_item_type_1 import (
            EnqueueStepArtifactsItemType1,
        )
        from ..models.enqueue_step_command_item_type_1 import (
            EnqueueStepCommandItemType1,
        )

        id = self.id

        mode = self.mode.value

        pool = self.pool

        agent: dict[str, Any] | None | Unset
        if isinstance(self.agent, Unset):
            agent = UNSET
        elif isinstance(self.agent, Agent):
            agent = self.agent.to_dict()
        else:
            agent = self.agent

        approval: None | str | Unset
        if isinstance(self.approval, Unset):
            approval = UNSET
        elif isinstance(self.approval, Needed):
            approval = self.approval.value
        else:
            approval = self.approval

        artifacts: list[dict[str, Any] | str] | Unset = UNSET
        if not isinstance(self.artifacts, Unset):
            artifacts = []
            for artifacts_item_data in self.artifacts:
                artifacts_item: dict[str, Any] | str
                if isinstance(artifacts_item_data, EnqueueStepArtifactsItemType1):
                    artifacts_item = artifacts_item_data.to_dict()
                else:
                    artifacts_item = artifacts_item_data
                artifacts.append(artifacts_item)

        command: list[dict[str, Any] | str] | Unset = UNSET
        if not isinstance(self.command, Unset):
            command = []
            for command_item_data in self.command:
                command_item: dict[str, Any] | str
                if isinstance(command_item_data, EnqueueStepCommandItemType1):
                    command_item = command_item_data.to_dict()
                else:
                    command_item = command_item_data
                command.append(command_item)

        env: dict[str, Any] | Unset = UNSET
        if not isinstance(self.env, Unset):
            env = self.env.to_dict()

        files: dict[str, Any] | Unset = UNSET
        if not isinstance(self.files, Unset):
            files = self.files.to_dict()

        max_attempts = self.max_attempts

        model: None | str | Unset
        if isinstance(self.model, Unset):
            model = UNSET
        else:
            model = self.model

        needs: list[str] | Unset = UNSET
        if not isinstance(self.needs, Unset):
            needs = self.needs

        on_drift: str | Unset = UNSET
        if not isinstance(self.on_drift, Unset):
            on_drift = self.on_drift.value

        requires: dict[str, Any] | Unset = UNSET
        if not isinstance(self.requires, Unset):
            requires = self.requires.to_dict()

        stdin: dict[str, Any] | None | Unset
        if isinstance(self.stdin, Unset):
            stdin = UNSET
        elif isinstance(self.stdin, ContentText) or isinstance(
            self.stdin, ContentUpload
        ):
            stdin = self.stdin.to_dict()
        else:
            stdin = self.stdin

        takes: list[str] | Unset = UNSET
        if not isinstance(self.takes, Unset):
            takes = self.takes

        timeout_seconds = self.timeout_seconds

        tool: None | str | Unset
        if isinstance(self.tool, Unset):
            tool = UNSET
        else:
            tool = self.tool

        ttl_seconds = self.ttl_seconds

        tty = self.tty

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "mode": mode,
                "pool": pool,
            }
        )
        if agent is not UNSET:
            field_dict["agent"] = agent
        if approval is not UNSET:
            field_dict["approval"] = approval
        if artifacts is not UNSET:
            field_dict["artifacts"] = artifacts
        if command is not UNSET:
            field_dict["command"] = command
        if env is not UNSET:
            field_dict["env"] = env
        if files is not UNSET:
            field_dict["files"] = files
        if max_attempts is not UNSET:
            field_dict["max_attempts"] = max_attempts
        if model is not UNSET:
            field_dict["model"] = model
        if needs is not UNSET:
            field_dict["needs"] = needs
        if on_drift is not UNSET:
            field_dict["on_drift"] = on_drift
        if requires is not UNSET:
            field_dict["requires"] = requires
        if stdin is not UNSET:
            field_dict["stdin"] = stdin
        if takes is not UNSET:
            field_dict["takes"] = takes
        if timeout_seconds is not UNSET:
            field_dict["timeout_seconds"] = timeout_seconds
        if tool is not UNSET:
            field_dict["tool"] = tool
        if ttl_seconds is not UNSET:
            field_dict["ttl_seconds"] = ttl_seconds
        if tty is not UNSET:
            field_dict["tty"] = tty

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.agent import Agent
        from ..models.content_text import ContentText
        from ..models.content_upload import ContentUpload
        from ..models.enqueue_step_artifacts_item_type_1 import (
            EnqueueStepArtifactsItemType1,
        )
        from ..models.enqueue_step_command_item_type_1 import (
            EnqueueStepCommandItemType1,
        )
        from ..models.env import Env
        from ..models.files import Files
        from ..models.labels import Labels

        d = dict(src_dict)
        id = d.pop("id")

        mode = Mode(d.pop("mode"))

        pool = d.pop("pool")

        def _parse_agent(data: object) -> Agent | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                agent_type_0 = Agent.from_dict(data)

                return agent_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Agent | None | Unset, data)

        agent = _parse_agent(d.pop("agent", UNSET))

        def _parse_approval(data: object) -> Needed | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                approval_type_0 = Needed(data)

                return approval_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Needed | None | Unset, data)

        approval = _parse_approval(d.pop("approval", UNSET))

        _artifacts = d.pop("artifacts", UNSET)
        artifacts: list[EnqueueStepArtifactsItemType1 | str] | Unset = UNSET
        if _artifacts is not UNSET:
            artifacts = []
            for artifacts_item_data in _artifacts:

                def _parse_artifacts_item(
                    data: object,
                ) -> EnqueueStepArtifactsItemType1 | str:
                    try:
                        if not isinstance(data, dict):
                            raise TypeError()
                        artifacts_item_type_1 = EnqueueStepArtifactsItemType1.from_dict(
                            data
                        )

                        return artifacts_item_type_1
                    except (TypeError, ValueError, AttributeError, KeyError):
                        pass
                    return cast(EnqueueStepArtifactsItemType1 | str, data)

                artifacts_item = _parse_artifacts_item(artifacts_item_data)

                artifacts.append(artifacts_item)

        _command = d.pop("command", UNSET)
        command: list[EnqueueStepCommandItemType1 | str] | Unset = UNSET
        if _command is not UNSET:
            command = []
            for command_item_data in _command:

                def _parse_command_item(
                    data: object,
                ) -> EnqueueStepCommandItemType1 | str:
                    try:
                        if not isinstance(data, dict):
                            raise TypeError()
                        command_item_type_1 = EnqueueStepCommandItemType1.from_dict(
                            data
                        )

                        return command_item_type_1
                    except (TypeError, ValueError, AttributeError, KeyError):
                        pass
                    return cast(EnqueueStepCommandItemType1 | str, data)

                command_item = _parse_command_item(command_item_data)

                command.append(command_item)

        _env = d.pop("env", UNSET)
        env: Env | Unset
        if isinstance(_env, Unset):
            env = UNSET
        else:
            env = Env.from_dict(_env)

        _files = d.pop("files", UNSET)
        files: Files | Unset
        if isinstance(_files, Unset):
            files = UNSET
        else:
            files = Files.from_dict(_files)

        max_attempts = d.pop("max_attempts", UNSET)

        def _parse_model(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        model = _parse_model(d.pop("model", UNSET))

        needs = cast(list[str], d.pop("needs", UNSET))

        _on_drift = d.pop("on_drift", UNSET)
        on_drift: OnDrift | Unset
        if isinstance(_on_drift, Unset):
            on_drift = UNSET
        else:
            on_drift = OnDrift(_on_drift)

        _requires = d.pop("requires", UNSET)
        requires: Labels | Unset
        if isinstance(_requires, Unset):
            requires = UNSET
        else:
            requires = Labels.from_dict(_requires)

        def _parse_stdin(data: object) -> ContentText | ContentUpload | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_content_type_0 = ContentText.from_dict(data)

                return componentsschemas_content_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_content_type_1 = ContentUpload.from_dict(data)

                return componentsschemas_content_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ContentText | ContentUpload | None | Unset, data)

        stdin = _parse_stdin(d.pop("stdin", UNSET))

        takes = cast(list[str], d.pop("takes", UNSET))

        timeout_seconds = d.pop("timeout_seconds", UNSET)

        def _parse_tool(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        tool = _parse_tool(d.pop("tool", UNSET))

        ttl_seconds = d.pop("ttl_seconds", UNSET)

        tty = d.pop("tty", UNSET)

        enqueue_step = cls(
            id=id,
            mode=mode,
            pool=pool,
            agent=agent,
            approval=approval,
            artifacts=artifacts,
            command=command,
            env=env,
            files=files,
            max_attempts=max_attempts,
            model=model,
            needs=needs,
            on_drift=on_drift,
            requires=requires,
            stdin=stdin,
            takes=takes,
            timeout_seconds=timeout_seconds,
            tool=tool,
            ttl_seconds=ttl_seconds,
            tty=tty,
        )

        return enqueue_step
