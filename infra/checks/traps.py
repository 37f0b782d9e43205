"""Checks the templates for known traps of SQS and Lambda, DynamoDB, streams, ECS and IAM.

    traps.py TEMPLATE.json PROJECT.json

reads the translated templates (infra/sam/translate.py) and prints each rule that a template breaks. Each rule comes with
changes that break it. First, every change is made to a copy of the templates, and the rule must detect it. A rule that misses
one is reported like a broken template.
"""

import copy
import hashlib
import json
import re
import sys

RULES = []


def rule(*breaks):
    """Registers a rule with the changes that it must detect. The function's name is the rule in words."""

    def register(check):
        RULES.append((check.__name__.replace("_", " "), check, breaks))
        return check

    return register


class Templates:
    """Both templates, with methods to query them."""

    def __init__(self, control, project):
        self.control, self.project = control, project

    def copy(self):
        return Templates(copy.deepcopy(self.control), copy.deepcopy(self.project))

    def of_type(self, *types):
        """(logical id, resource) of both templates."""
        for template in (self.control, self.project):
            for name, resource in template["Resources"].items():
                if resource["Type"] in types:
                    yield name, resource

    def functions(self):
        return self.of_type("AWS::Lambda::Function")

    def mappings(self):
        return self.of_type("AWS::Lambda::EventSourceMapping")

    def queues(self):
        return self.of_type("AWS::SQS::Queue")

    def roles(self):
        return self.of_type("AWS::IAM::Role")

    def function_of_folder(self, folder):
        return next(f for _, f in self.functions() if f["Properties"]["Handler"] == folder)

    def statements(self):
        """(role or managed policy, statement) of every identity policy."""
        for name, role in self.roles():
            for policy in role["Properties"].get("Policies", []):
                policy = policy["Fn::If"][1] if "Fn::If" in policy else policy
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield name, statement
        for name, policy in self.of_type("AWS::IAM::ManagedPolicy"):
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                yield name, statement

    def allows(self):
        return ((name, s) for name, s in self.statements() if s["Effect"] == "Allow")


def listed(value):
    return value if isinstance(value, list) else [value]


def found_below(node, key):
    """Every value of `key` below `node`."""
    if isinstance(node, list):
        for one in node:
            yield from found_below(one, key)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from found_below(value, key)


def props(template, name):
    return template["Resources"][name]["Properties"]


def mentions(node, name):
    """Whether a Ref, GetAtt or Sub below `node` names a resource."""
    text = json.dumps(node)
    return f'"{name}"' in text or "${" + name + "}" in text or "${" + name + "." in text


def is_queue_mapping(mapping):
    return "Queue" in json.dumps(mapping["Properties"]["EventSourceArn"])


# ---------------------------------------------------------------- SQS and Lambda


@rule(lambda t: props(t.project, "FargateQueue").update(VisibilityTimeout=179),
      lambda t: props(t.project, "PullQueue").pop("VisibilityTimeout"),
      lambda t: props(t.control, "ContinueQueue").update(VisibilityTimeout=299),
      lambda t: t.function_of_folder("dispatch")["Properties"].update(Timeout=31))
def a_queue_hides_a_message_six_times_as_long_as_its_function_may_take(t):
    for template, name, folder in (
        (t.project, "PullQueue", "dispatch"), (t.project, "FargateQueue", "dispatch"), (t.control, "ContinueQueue", "sweep"),
    ):
        timeout = t.function_of_folder(folder)["Properties"]["Timeout"]
        if props(template, name).get("VisibilityTimeout", 30) < 6 * timeout:
            yield name


@rule(lambda t: t.function_of_folder("revoke")["Properties"].update(Timeout=30),
      lambda t: t.function_of_folder("enqueue")["Properties"].update(Timeout=12))
def a_function_behind_the_api_ends_after_its_own_calls_and_before_api_gateway_gives_up(t):
    for name in {p["Properties"]["FunctionName"]["Ref"] for _, p in t.of_type("AWS::Lambda::Permission")
                 if p["Properties"]["Principal"] == "apigateway.amazonaws.com"}:
        if not 12 < props(t.control, name)["Timeout"] < 30:
            yield name


@rule(lambda t: props(t.project, "DispatchMapping").pop("FunctionResponseTypes"),
      lambda t: props(t.control, "ExportMapping").update(FunctionResponseTypes=[]))
def every_event_source_reports_which_items_failed(t):
    for name, mapping in t.mappings():
        if mapping["Properties"].get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield name


@rule(lambda t: props(t.project, "PullQueue")["RedrivePolicy"].update(maxReceiveCount=4),
      lambda t: props(t.project, "FargateQueue").pop("RedrivePolicy"))
def a_message_is_given_up_after_five_receives_or_more_and_kept_then(t):
    for name, queue in t.queues():
        if name.endswith("Queue") and queue["Properties"].get("RedrivePolicy", {}).get("maxReceiveCount", 0) < 5:
            yield name


@rule(lambda t: props(t.project, "FargateDeadLetters").update(MessageRetentionPeriod=345600),
      lambda t: props(t.control, "ExportFailures").pop("MessageRetentionPeriod"))
def what_failed_is_kept_for_the_longest_time_there_is(t):
    for name, queue in t.queues():
        if not name.endswith("Queue") and queue["Properties"].get("MessageRetentionPeriod") != 1209600:
            yield name


@rule(lambda t: props(t.project, "DispatchMapping").pop("ScalingConfig"))
def a_queue_cannot_take_every_slot_of_its_function(t):
    for name, mapping in t.mappings():
        if is_queue_mapping(mapping) and not mapping["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency"):
            yield name


@rule(lambda t: props(t.project, "DispatchMapping").update(FilterCriteria={"Filters": [{"Pattern": "{}"}]}),
      lambda t: props(t.control, "ExportMapping").update(FilterCriteria={"Filters": [{"Pattern": "{}"}]}),
      lambda t: props(t.control, "TrailMapping")["FilterCriteria"]["Filters"].pop(),
      lambda t: props(t.control, "TrailMapping")["FilterCriteria"]["Filters"][0].update(Pattern='{"dynamodb":{"Keys":{"pk":{"S":["PRJ#a"]}}}}'),
      lambda t: props(t.control, "NotifyMapping")["FilterCriteria"]["Filters"].pop(),
      lambda t: props(t.control, "NotifyMapping")["FilterCriteria"]["Filters"][0].update(Pattern='{"dynamodb":{"NewImage":{"left":{"N":["1"]}}}}'))
def no_event_source_filters_since_it_would_delete_the_rest_save_for_rows_that_are_no_news(t):
    wanted = {
        # A row that carries entries, or did before the change.
        "TrailMapping": [{image: {"trail": {"S": ["1"]}}} for image in ("NewImage", "OldImage")],
        # A run of which no step is left, and a request for approval.
        "NotifyMapping": [{"NewImage": {"left": {"N": ["0"]}}}, {"NewImage": {"notify": {"S": ["1"]}}}],
    }
    for name, mapping in t.mappings():
        filters = mapping["Properties"].get("FilterCriteria", {}).get("Filters", [])
        if [json.loads(one["Pattern"]) for one in filters] != [{"dynamodb": one} for one in wanted.get(name, [])]:
            yield name


@rule(lambda t: props(t.project, "PullQueue").update(FifoQueue=True),
      lambda t: props(t.project, "PullQueue").update(QueueName="x.fifo"))
def queues_are_standard_queues(t):
    for name, queue in t.queues():
        if queue["Properties"].get("FifoQueue") or ".fifo" in json.dumps(queue["Properties"]["QueueName"]):
            yield name


@rule(lambda t: props(t.project, "DispatchMapping").update(EventSourceArn={"Fn::GetAtt": ["PullQueue", "Arn"]}))
def only_the_queue_of_a_fargate_pool_and_the_one_of_what_is_left_have_a_trigger_since_each_is_polled_while_idle(t):
    polled = [{"Fn::GetAtt": [queue, "Arn"]} for queue in ("FargateQueue", "ContinueQueue")]
    for name, mapping in t.mappings():
        if is_queue_mapping(mapping) and mapping["Properties"]["EventSourceArn"] not in polled:
            yield name


@rule(lambda t: t.control["Resources"].pop("SweepAsynchronous"),
      lambda t: props(t.control, "ObserveAsynchronous").pop("DestinationConfig"),
      lambda t: props(t.control, "ObserveAsynchronous").pop("MaximumRetryAttempts"),
      lambda t: props(t.control, "DigestRule")["Targets"][0].pop("DeadLetterConfig"),
      lambda t: props(t.control, "LakeRule")["Targets"][0].pop("DeadLetterConfig"))
def what_an_event_failed_on_is_kept(t):
    asynchronous = dict(t.of_type("AWS::Lambda::EventInvokeConfig"))
    for name, event_rule in t.of_type("AWS::Events::Rule"):
        for target in event_rule["Properties"]["Targets"]:
            if "DeadLetterConfig" not in target or "RetryPolicy" not in target:
                yield f"{name}: its target has no dead letters"
            if target["Arn"] == {"Ref": "LakeMachine"}:
                # Its executions stay, and an alarm tells of those that failed.
                continue
            function = target["Arn"]["Fn::GetAtt"][0]
            configs = [c["Properties"] for c in asynchronous.values() if c["Properties"]["FunctionName"] == {"Ref": function}]
            if not any("OnFailure" in c.get("DestinationConfig", {}) and "MaximumRetryAttempts" in c for c in configs):
                yield f"{function}: no destination of failures, or unbounded retries"


# ---------------------------------------------------------------- DynamoDB


@rule(lambda t: props(t.control, "LedgerTable").pop("TimeToLiveSpecification"),
      lambda t: props(t.control, "AuditTable").update(TimeToLiveSpecification={"AttributeName": "x", "Enabled": True}))
def tables_forget_what_has_expired(t):
    for name, table in t.of_type("AWS::DynamoDB::Table"):
        if table["Properties"].get("TimeToLiveSpecification") != {"AttributeName": "expires_at", "Enabled": True}:
            yield name


@rule(lambda t: t.control["Parameters"]["TrailRetentionDays"].update(MinValue=14),
      lambda t: t.control["Parameters"]["TrailRetentionDays"].update(Default=1))
def an_entry_stays_in_the_table_for_longer_than_a_failed_export_waits(t):
    days = t.control["Parameters"]["TrailRetentionDays"]
    if 86400 * min(days["MinValue"], days["Default"]) <= props(t.control, "ExportFailures")["MessageRetentionPeriod"]:
        yield "TrailRetentionDays"


@rule(lambda t: props(t.control, "LedgerTable").pop("PointInTimeRecoverySpecification"),
      lambda t: props(t.control, "AuditTable")["SSESpecification"].update(SSEEnabled=False))
def tables_can_be_recovered_and_are_encrypted(t):
    for name, table in t.of_type("AWS::DynamoDB::Table"):
        if not table["Properties"].get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
            yield name
        if not table["Properties"].get("SSESpecification", {}).get("SSEEnabled"):
            yield name


@rule(lambda t: props(t.control, "LedgerTable")["GlobalSecondaryIndexes"][0].update(Projection={"ProjectionType": "ALL"}))
def indexes_hold_keys_only(t):
    for name, table in t.of_type("AWS::DynamoDB::Table"):
        for index in table["Properties"].get("GlobalSecondaryIndexes", []):
            if index["Projection"] != {"ProjectionType": "KEYS_ONLY"}:
                yield f"{name}: {index['IndexName']}"


@rule(lambda t: t.control["Resources"]["LedgerTable"].pop("DeletionPolicy"),
      lambda t: t.control["Resources"]["AuditTable"].update(UpdateReplacePolicy="Delete"),
      lambda t: props(t.control, "AuditTable").update(DeletionProtectionEnabled=False),
      lambda t: t.control["Resources"]["LedgerTable"].update(DeletionPolicy="RetainExceptOnCreate"),
      lambda t: t.control["Resources"]["AuditBucket"].update(DeletionPolicy="Retain"),
      lambda t: t.control["Resources"]["DigestKey"].update(DeletionPolicy="Delete"))
def an_update_a_rollback_and_a_deleted_stack_keep_the_data_and_a_failed_first_deployment_blocks_no_second(t):
    # A table is protected from deletion, so a rollback that tried to delete it would fail itself.
    policies = {"AWS::DynamoDB::Table": "Retain", "AWS::S3::Bucket": "RetainExceptOnCreate", "AWS::S3::BucketPolicy": "RetainExceptOnCreate",
                "AWS::KMS::Key": "RetainExceptOnCreate"}
    for name, resource in t.of_type(*policies):
        if resource.get("DeletionPolicy") != policies[resource["Type"]] or resource.get("UpdateReplacePolicy") != "Retain":
            yield f"{name} is not retained as it must be"
    for name, table in t.of_type("AWS::DynamoDB::Table"):
        if table["Properties"].get("DeletionProtectionEnabled") != {"Fn::If": ["IsLocal", False, True]}:
            yield f"{name} can be deleted by a mistake"


@rule(lambda t: props(t.control, "LedgerTable").pop("TableName"),
      lambda t: props(t.control, "AuditBucket").pop("BucketName"))
def what_holds_data_has_a_name_so_that_no_update_can_quietly_replace_it(t):
    for name, resource in t.of_type("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
        if not {"TableName", "BucketName"} & set(resource["Properties"]):
            yield name


@rule(lambda t: props(t.control, "SweepRole")["Policies"][0]["PolicyDocument"]["Statement"][0].update(Resource={"Fn::GetAtt": ["LedgerTable", "Arn"]}),
      lambda t: props(t.control, "ClaimFunction")["Environment"]["Variables"].update(SEALFLEET_AUDIT_TABLE={"Ref": "AuditTable"}),
      lambda t: props(t.control, "ExportMapping").update(EventSourceArn={"Fn::GetAtt": ["AuditTable", "StreamArn"]}),
      lambda t: t.control["Rules"].pop("RestoredTablesAreWhole"))
def an_installation_can_run_on_restored_tables(t):
    # A restored table has another name than the stack's own, and another stream.
    for name, resource in t.control["Resources"].items():
        text = json.dumps(resource.get("Properties", {}))
        for table in ("Ledger", "Audit"):
            stream = f'{{"Fn::If": ["Names{table}Stream", {{"Ref": "{table}StreamArn"}}, {{"Fn::GetAtt": ["{table}Table", "StreamArn"]}}]}}'
            if f'"{table}Table"' in text.replace(stream, "") or f"${{{table}Table" in text:
                yield f"{name} names {table}Table"
    if "RestoredTablesAreWhole" not in t.control["Rules"]:
        yield "a table without its stream"


@rule(lambda t: props(t.control, "ClosedDenies")["Roles"]["Fn::If"][1].pop(),
      lambda t: props(t.control, "ClosedDenies")["Roles"]["Fn::If"][1].append({"Ref": "ExportRole"}),
      lambda t: props(t.control, "ClosedDenies")["Roles"]["Fn::If"].reverse(),
      lambda t: props(t.control, "ClosedDenies")["PolicyDocument"]["Statement"][0].update(Action=["dynamodb:PutItem"]))
def a_closed_installation_only_passes_on_what_its_streams_bring(t):
    policy = props(t.control, "ClosedDenies")
    condition, closed, opened = policy["Roles"]["Fn::If"]
    # The document of the API is in no table.
    open_ones = {"TrailRole", "ExportRole", "NotifyRole", "OpenapiRole"}
    others = {name.removesuffix("Function") + "Role" for name, _ in t.functions()} - open_ones
    if (condition, opened) != ("IsClosed", {"Ref": "AWS::NoValue"}) or {role["Ref"] for role in closed} != others:
        yield "ClosedDenies"
    if policy["PolicyDocument"]["Statement"] != [{"Sid": "NoTables", "Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}]:
        yield "ClosedDenies: not all of it"


# ---------------------------------------------------------------- stream -> S3


@rule(lambda t: props(t.control, "ExportMapping").update(BisectBatchOnFunctionError=False),
      lambda t: props(t.control, "ExportMapping").pop("MaximumRetryAttempts"),
      lambda t: props(t.control, "ExportMapping").update(MaximumRetryAttempts=-1),
      lambda t: props(t.control, "ExportMapping").update(MaximumRecordAgeInSeconds=86400),
      lambda t: props(t.control, "TrailMapping").pop("MaximumRecordAgeInSeconds"),
      lambda t: props(t.control, "NotifyMapping").pop("MaximumRecordAgeInSeconds"),
      lambda t: props(t.control, "ExportMapping").pop("DestinationConfig"))
def a_bad_record_does_not_hold_up_the_stream_for_ever(t):
    for name, mapping in t.mappings():
        if is_queue_mapping(mapping):
            continue
        found = mapping["Properties"]
        if not found.get("BisectBatchOnFunctionError"):
            yield f"{name}: no bisection"
        # These two are retried until the records are too old: they fail on no record, only when a table or the bus does not answer.
        if name not in ("TrailMapping", "NotifyMapping") and not 0 <= found.get("MaximumRetryAttempts", -1) <= 100:
            yield f"{name}: unbounded retries"
        if not 0 < found.get("MaximumRecordAgeInSeconds", -1) < 86400:
            yield f"{name}: a record may be tried until the stream has dropped it"
        if "OnFailure" not in found.get("DestinationConfig", {}):
            yield f"{name}: no destination of failures"


@rule(lambda t: props(t.control, "ExportAgeAlarm").update(Threshold=7200000),
      lambda t: t.control["Resources"].pop("TrailAgeAlarm"))
def an_alarm_tells_when_a_reader_of_a_stream_is_an_hour_behind(t):
    alarms = [a["Properties"] for _, a in t.of_type("AWS::CloudWatch::Alarm") if a["Properties"].get("MetricName") == "IteratorAge"]
    for name, mapping in t.mappings():
        if is_queue_mapping(mapping):
            continue
        function = mapping["Properties"]["FunctionName"]["Ref"]
        if not any(mentions(alarm["Dimensions"], function) and alarm["Threshold"] <= 3600000 for alarm in alarms):
            yield name


@rule(lambda t: props(t.control, "AuditBucket").pop("ObjectLockConfiguration"),
      lambda t: props(t.control, "AuditBucket").update(VersioningConfiguration={"Status": "Suspended"}),
      lambda t: props(t.control, "AuditBucket")["PublicAccessBlockConfiguration"].update(BlockPublicPolicy=False))
def audit_objects_are_locked_versioned_and_not_public(t):
    bucket = props(t.control, "AuditBucket")
    if "DefaultRetention" not in bucket.get("ObjectLockConfiguration", {}).get("Rule", {}):
        yield "no default retention"
    if bucket["VersioningConfiguration"]["Status"] != "Enabled":
        yield "no versions"
    if set(bucket["PublicAccessBlockConfiguration"].values()) != {True}:
        yield "public access"


@rule(lambda t: props(t.control, "OutputBucket")["PublicAccessBlockConfiguration"].update(BlockPublicAcls=False),
      lambda t: props(t.control, "OutputBucket").pop("LifecycleConfiguration"),
      lambda t: props(t.control, "OutputBucketPolicy")["PolicyDocument"]["Statement"].pop())
def outputs_are_not_public_expire_and_are_written_once(t):
    bucket = props(t.control, "OutputBucket")
    if set(bucket["PublicAccessBlockConfiguration"].values()) != {True}:
        yield "public access"
    if not mentions(bucket.get("LifecycleConfiguration", {}), "OutputRetentionDays"):
        yield "kept for ever"
    if "s3:if-none-match" not in json.dumps(props(t.control, "OutputBucketPolicy")):
        yield "written over"


# ---------------------------------------------------------------- IAM


DENIES = {
    "NeverReadSecretValues": ["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"],
    "NeverRewriteAudit": ["dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"],
    "NeverShortenTheArchive": ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"],
    "NeverScan": ["dynamodb:Scan"],
    "NeverStartAnythingElse": ["athena:StartQueryExecution", "states:StartExecution"],
    "NeverTouchOutputs": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
}


@rule(lambda t: props(t.control, "FleetRole").pop("ManagedPolicyArns"),
      lambda t: props(t.control, "ExportRole").update(ManagedPolicyArns=["arn:aws:iam::aws:policy/ReadOnlyAccess"]),
      lambda t: props(t.control, "FlowRole").pop("ManagedPolicyArns"))
def the_denies_are_on_every_role_of_the_control_plane(t):
    # Those of sandboxes and of workers are not the control plane's.
    for name, resource in t.control["Resources"].items():
        if resource["Type"] == "AWS::IAM::Role" and resource["Properties"]["Path"] == "/sealfleet/control/" and {"Ref": "ControlPlaneDenies"} not in resource["Properties"].get("ManagedPolicyArns", []):
            yield name


@rule(lambda t: props(t.control, "ControlPlaneDenies")["PolicyDocument"]["Statement"].pop(0),
      lambda t: props(t.control, "ControlPlaneDenies")["PolicyDocument"]["Statement"][1].update(Effect="Allow"),
      lambda t: props(t.control, "ControlPlaneDenies")["PolicyDocument"]["Statement"][1]["Action"].remove("dynamodb:DeleteItem"),
      lambda t: props(t.control, "ControlPlaneDenies")["PolicyDocument"]["Statement"][0].update(Condition={"Bool": {}}))
def the_denies_deny_what_they_are_for(t):
    found = {s["Sid"]: s for s in props(t.control, "ControlPlaneDenies")["PolicyDocument"]["Statement"]}
    for sid, actions in DENIES.items():
        statement = found.get(sid, {"Effect": "none", "Action": []})
        if statement["Effect"] != "Deny" or "Condition" in statement or set(actions) - set(listed(statement["Action"])):
            yield sid


@rule(lambda t: t.control["Resources"]["EnqueueFunction"]["Properties"].update(Role={"Fn::GetAtt": ["FleetRole", "Arn"]}),
      lambda t: t.control["Resources"]["EnqueueFunction"]["Properties"].update(Role="arn:aws:iam::1:role/admin"))
def each_function_has_a_role_of_its_own(t):
    for name, function in t.functions():
        if function["Properties"]["Role"] != {"Fn::GetAtt": [name.removesuffix("Function") + "Role", "Arn"]}:
            yield name


@rule(lambda t: next(t.allows())[1].update(Action="dynamodb:Scan"),
      lambda t: next(t.allows())[1].update(Action="dynamodb:*"),
      lambda t: next(t.allows())[1].update(Action=["dynamodb:Get*"]))
def no_policy_allows_a_scan_or_all_of_a_kind_of_action(t):
    for name, statement in t.allows():
        for action in listed(statement["Action"]):
            if action == "dynamodb:Scan" or "*" in action:
                yield f"{name}: {action}"


# AWS has no resource-level permission for these calls. `ListTasks` is bound to the cluster by a condition.
WITHOUT_RESOURCE = {"ecs:DescribeTaskDefinition", "ecs:ListTasks", "dynamodb:ListStreams", "ecr:GetAuthorizationToken", "logs:DescribeLogGroups"}


@rule(lambda t: next(t.allows())[1].update(Resource="*"),
      lambda t: next(t.allows())[1].update(Resource=["arn:aws:dynamodb:*:*:table/*"]),
      lambda t: next(t.allows())[1].pop("Resource"),
      lambda t: next(s for _, s in t.allows() if s["Action"] == "ecs:ListTasks").pop("Condition"))
def nothing_is_allowed_on_every_resource_where_aws_offers_a_narrower_one(t):
    for name, statement in t.allows():
        for resource in listed(statement.get("Resource", "*")):
            text = resource if isinstance(resource, str) else json.dumps(resource)
            if text == "*" or ":*:*:" in text or "NotResource" in statement or "NotAction" in statement:
                if not set(listed(statement["Action"])) <= WITHOUT_RESOURCE:
                    yield f"{name}: {statement['Action']}"
        if statement["Action"] == "ecs:ListTasks" and "ecs:cluster" not in json.dumps(statement.get("Condition", {})):
            yield f"{name}: ListTasks of any cluster"


def pass_role(t):
    return next(s for _, s in t.allows() if "iam:PassRole" in listed(s["Action"]))


@rule(lambda t: pass_role(t).update(Resource={"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*"}),
      lambda t: pass_role(t).pop("Condition"),
      lambda t: pass_role(t).update(Condition={"StringEquals": {"iam:PassedToService": ["ecs-tasks.amazonaws.com", "lambda.amazonaws.com"]}}))
def roles_are_passed_by_path_and_to_ecs_tasks_alone(t):
    for name, statement in t.allows():
        if "iam:PassRole" not in listed(statement["Action"]):
            continue
        paths = [{"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/sealfleet/" + role}
                 for role in ("project/${NamePrefix}-*--execution", "shared/${NamePrefix}-sandboxes")]
        if statement["Resource"] != paths:
            yield f"{name}: other roles"
        if statement.get("Condition") != {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}:
            yield f"{name}: other services"


@rule(lambda t: next(t.allows())[1].update(Action=["iam:CreateRole"]),
      lambda t: next(t.allows())[1].update(Action="lambda:UpdateFunctionCode"))
def no_role_can_change_roles_policies_or_functions(t):
    for name, statement in t.allows():
        for action in listed(statement["Action"]):
            if action.startswith(("iam:", "lambda:", "cloudformation:", "organizations:")) and action != "iam:PassRole":
                yield f"{name}: {action}"


@rule(lambda t: props(t.control, "FleetRole").pop("PermissionsBoundary"),
      lambda t: props(t.project, "ExecutionRole").update(PermissionsBoundary="arn:aws:iam::1:policy/x"),
      lambda t: t.project["Parameters"].pop("PermissionsBoundaryArn"))
def every_role_has_the_permissions_boundary_that_is_asked_for(t):
    for name, role in t.roles():
        if role["Properties"].get("PermissionsBoundary") != {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}:
            yield name
    for template in (t.control, t.project):
        if "PermissionsBoundaryArn" not in template["Parameters"]:
            yield "no parameter"


def secrets_key(t):
    return props(t.project, "SecretsKeyUse")["PolicyDocument"]["Statement"][0]


@rule(lambda t: secrets_key(t)["Condition"].pop("StringLike"),
      lambda t: secrets_key(t)["Condition"].pop("StringEquals"),
      lambda t: secrets_key(t).update(Resource="*"))
def your_own_key_of_secrets_opens_the_projects_secrets_through_secrets_manager_alone(t):
    statement = secrets_key(t)
    conditions = json.dumps(statement.get("Condition", {}))
    if statement["Resource"] != {"Ref": "SecretsKmsKeyArn"} or "kms:ViaService" not in conditions or "kms:EncryptionContext:SecretARN" not in conditions:
        yield "ExecutionRole"


def execution(t):
    return props(t.project, "ExecutionRole")["Policies"][0]["PolicyDocument"]["Statement"]


@rule(lambda t: execution(t)[0].pop("Condition"),
      lambda t: props(t.project, "ReaderRole")["Policies"][0]["PolicyDocument"]["Statement"][1].pop("Condition"),
      lambda t: execution(t)[0].update(Resource={"Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:sealfleet/*"}),
      lambda t: props(t.control, "SandboxTaskRole")["Policies"][0]["PolicyDocument"]["Statement"][0].update(Action="secretsmanager:GetSecretValue"))
def only_the_execution_and_the_reader_role_read_secrets_and_only_tagged_ones_of_their_project(t):
    for name, statement in t.allows():
        if not any(a.startswith("secretsmanager:") and a != "secretsmanager:DescribeSecret" for a in listed(statement["Action"])):
            continue
        resource = json.dumps(statement["Resource"])
        if name not in ("ExecutionRole", "ReaderRole") or not ("${NamePrefix}/${Project}/*" in resource or "${NamePrefix}/system/*" in resource):
            yield f"{name}: {resource}"
        if "aws:ResourceTag/sealfleet:project" not in json.dumps(statement.get("Condition", {})):
            yield f"{name}: without the tag"


# ---------------------------------------------------------------- ECS and Fargate


def exec_deny(t):
    return next(s for _, s in t.statements() if s.get("Sid") == "NeverExecIntoSandboxes")


@rule(lambda t: exec_deny(t).update(Effect="Allow"),
      lambda t: exec_deny(t)["Condition"]["Bool"].update({"ecs:enable-execute-command": "false"}),
      lambda t: next(t.allows())[1].update(Action="ecs:ExecuteCommand"))
def nobody_opens_a_shell_in_a_sandbox(t):
    denied = [s for _, s in t.statements() if s["Effect"] == "Deny" and s.get("Action") == "ecs:RunTask"]
    if {"Bool": {"ecs:enable-execute-command": "true"}} not in [s.get("Condition") for s in denied]:
        yield "RunTask with ECS Exec is not denied"
    for name, statement in t.allows():
        if "ecs:ExecuteCommand" in listed(statement["Action"]):
            yield name


@rule(lambda t: props(t.control, "SandboxTaskRole")["Policies"][0]["PolicyDocument"]["Statement"].append(
          {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "x"}),
      lambda t: props(t.control, "SandboxTaskRole").update(ManagedPolicyArns=["x"]))
def a_sandbox_may_call_its_own_routes_and_nothing_else(t):
    role = props(t.control, "SandboxTaskRole")
    statements = [s for p in role["Policies"] for s in p["PolicyDocument"]["Statement"]]
    if [s["Action"] for s in statements] != ["execute-api:Invoke"] or "ManagedPolicyArns" in role:
        yield "SandboxTaskRole"
    routes = re.findall(r"/POST/v1/sandbox/[a-z*]*", json.dumps(statements[0]["Resource"]))
    if sorted(routes) != sorted(2 * [f"/POST/v1/sandbox/{route}" for route in ("end", "heartbeat", "step", "token")]):
        yield "SandboxTaskRole: another route"


@rule(lambda t: props(t.project, "ExecutionRole").update(AssumeRolePolicyDocument=props(t.control, "WorkerQueueRole")["AssumeRolePolicyDocument"]),
      lambda t: props(t.control, "SandboxTaskRole")["AssumeRolePolicyDocument"]["Statement"][0].pop("Condition"),
      lambda t: queue_trust(t)["Condition"].pop("ArnLike"),
      lambda t: queue_trust(t)["Condition"]["ArnLike"]["aws:PrincipalArn"]["Fn::If"].reverse())
def roles_of_sandboxes_and_workers_are_assumed_by_whom_they_are_for(t):
    for template, name in ((t.project, "ExecutionRole"), (t.control, "SandboxTaskRole")):
        trusts = props(template, name)["AssumeRolePolicyDocument"]["Statement"]
        if [s["Principal"] for s in trusts] != [{"Service": "ecs-tasks.amazonaws.com"}]:
            yield name
        if any("aws:SourceAccount" not in json.dumps(s.get("Condition", {})) for s in trusts):
            yield f"{name}: of any account"
    claim = queue_trust(t)["Condition"].get("ArnLike", {}).get("aws:PrincipalArn", {}).get("Fn::If", [None, None, {}])
    if claim[0] != "IsLocal" or not claim[2].get("Fn::Sub", "").endswith(":role/sealfleet/control/${NamePrefix}-claim"):
        yield "WorkerQueueRole"


def reader_trust(t):
    return props(t.project, "ReaderRole")["AssumeRolePolicyDocument"]["Fn::Sub"]


def change_reader_trust(old, new):
    def change(t):
        trust = reader_trust(t)
        assert old in trust[0]
        trust[0] = trust[0].replace(old, new)
    return change


@rule(change_reader_trust('"StringEquals": { "${Host}:aud": "sealfleet.secrets" }', '"StringEquals": { "${Host}:aud": "sts.amazonaws.com" }'),
      change_reader_trust("project:${Project}:*", "project:${Project}*"),
      change_reader_trust('"Federated"', '"AWS"'),
      lambda t: reader_trust(t)[1].update(Host="accounts.google.com"))
def the_reader_role_is_for_tokens_that_read_secrets_of_its_project(t):
    text, names = reader_trust(t)
    trusts = json.loads(text)["Statement"]
    if names != {"Host": {"Fn::Select": [1, {"Fn::Split": ["://", {"Ref": "Issuer"}]}]}}:
        yield "ReaderRole: another issuer"
    for trust in trusts:
        if list(trust["Principal"]) != ["Federated"] or not trust["Principal"]["Federated"].endswith(":oidc-provider/${Host}"):
            yield "ReaderRole: another principal"
        if trust["Condition"] != {"StringEquals": {"${Host}:aud": "sealfleet.secrets"}, "StringLike": {"${Host}:sub": "project:${Project}:*"}}:
            yield "ReaderRole: other tokens"


def signing(t, key):
    return next(s for s in props(t.control, key)["KeyPolicy"]["Statement"] if "kms:Sign" in listed(s["Action"]))


@rule(lambda t: next(s for _, s in t.allows() if s.get("Sid") == "Logs").update(Action="kms:Sign"),
      lambda t: signing(t, "IdentityKeyB").pop("Condition"),
      lambda t: props(t.control, "IdentityKeyA")["KeyPolicy"]["Statement"][0]["Action"].append("kms:Sign"),
      lambda t: signing(t, "DigestKey")["Condition"]["ArnLike"].update({"aws:PrincipalArn": "*"}))
def each_signing_key_has_one_function_that_signs(t):
    signers = {"DigestKey": "export", "IdentityKeyA": "identity", "IdentityKeyB": "identity"}
    keys = {name for name, _ in t.of_type("AWS::KMS::Key")}
    for name in keys ^ set(signers):
        yield f"{name}: nobody says who signs with it"
    for name, function in signers.items():
        signs = [s for s in props(t.control, name)["KeyPolicy"]["Statement"] if {"kms:Sign", "kms:*"} & set(listed(s["Action"]))]
        by = [s.get("Condition", {}).get("ArnLike", {}).get("aws:PrincipalArn", {}) for s in signs]
        role = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/sealfleet/control/${NamePrefix}-" + function}
        if len(by) != 1 or not isinstance(by[0], dict) or by[0].get("Fn::If", [None, None, None])[::2] != ["IsLocal", role]:
            yield f"{name}: another signer than {function}"
    signing_roles = {name for name, s in t.allows() if "kms:Sign" in listed(s["Action"])}
    if signing_roles != {"ExportRole", "IdentityRole"}:
        yield f"roles that sign: {sorted(signing_roles)}"


@rule(lambda t: queue_trust(t).update(Principal={"AWS": {"Fn::GetAtt": ["ClaimRole", "Arn"]}}),
      lambda t: queue_trust(t).update(Principal={"AWS": "*"}),
      lambda t: props(t.control, "DigestKey")["KeyPolicy"]["Statement"][1].update(Principal={"AWS": {"Fn::GetAtt": ["ExportRole", "Arn"]}}))
def no_policy_names_a_role_as_its_principal_since_a_role_made_anew_is_another(t):
    account = {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    for template in (t.control, t.project):
        for name, resource in template["Resources"].items():
            for principal in found_below(resource, "Principal"):
                by_service = isinstance(principal, str) or set(principal) == {"Service"}
                if not by_service and principal != account:
                    yield name


def queue_trust(t):
    return props(t.control, "WorkerQueueRole")["AssumeRolePolicyDocument"]["Statement"][0]


@rule(lambda t: queue_trust(t)["Condition"]["Null"].pop("aws:RequestTag/project"),
      lambda t: queue_trust(t)["Condition"]["Null"].update({"aws:RequestTag/pool": "true"}),
      lambda t: props(t.control, "WorkerQueueRole")["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"]["Fn::If"].reverse())
def a_workers_session_reaches_the_one_queue_that_its_tags_name(t):
    queue = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${NamePrefix}-${!aws:PrincipalTag/project}--${!aws:PrincipalTag/pool}"
    statement = props(t.control, "WorkerQueueRole")["Policies"][0]["PolicyDocument"]["Statement"][0]
    resource = statement["Resource"].get("Fn::If", [None, None, None])
    if resource[0] != "IsLocal" or resource[2] != {"Fn::Sub": queue}:
        yield "another queue"
    if queue_trust(t)["Condition"].get("Null") != {"aws:RequestTag/project": "false", "aws:RequestTag/pool": "false"}:
        yield "without tags"


@rule(lambda t: t.project["Resources"].update(Another=copy.deepcopy(t.project["Resources"]["ExecutionRole"])))
def a_project_has_one_role_for_each_way_of_reading_its_secrets_at_most(t):
    # An account has 1,000 roles unless AWS raises it.
    roles = {name: resource.get("Condition") for name, resource in t.project["Resources"].items() if resource["Type"] == "AWS::IAM::Role"}
    if roles != {"ExecutionRole": "HasFargatePool", "ReaderRole": "HasReader"}:
        yield ", ".join(roles)


# ---------------------------------------------------------------- projects


@rule(lambda t: props(t.project, "PullQueue").update(QueueName={"Fn::Sub": "${NamePrefix}-${Project}-${PullPool}"}),
      lambda t: props(t.project, "ExecutionRole").update(RoleName="sealfleet-execution"),
      lambda t: props(t.project, "Logs").update(LogGroupName="/sealfleet/all"),
      lambda t: t.project["Parameters"]["Project"].update(AllowedPattern=".*"))
def no_two_projects_can_share_a_name(t):
    # A project's or pool's name cannot contain `--`.
    for parameter in ("Project", "PullPool", "FargatePool"):
        if "(-[a-z0-9]+)*" not in t.project["Parameters"][parameter]["AllowedPattern"]:
            yield f"{parameter} admits `--`"
    for key, types in (("QueueName", ["AWS::SQS::Queue"]), ("RoleName", ["AWS::IAM::Role"])):
        for name, resource in t.project["Resources"].items():
            if resource["Type"] in types and not json.dumps(resource["Properties"][key]).startswith('{"Fn::Sub": "${NamePrefix}-${Project}--'):
                yield name
    if props(t.project, "Logs")["LogGroupName"] != {"Fn::Sub": "/${NamePrefix}/${Project}"}:
        yield "Logs"


# ---------------------------------------------------------------- logs and alarms


@rule(lambda t: props(t.control, "FleetLogs").pop("RetentionInDays"),
      lambda t: t.control["Resources"].pop("FleetLogs"),
      lambda t: props(t.project, "Logs").pop("RetentionInDays"))
def every_function_writes_to_a_log_group_that_forgets(t):
    groups = dict(t.of_type("AWS::Logs::LogGroup"))
    for name, function in t.functions():
        if function["Properties"].get("LoggingConfig", {}).get("LogGroup") != {"Ref": name.removesuffix("Function") + "Logs"}:
            yield f"{name} names no log group of its own"
        if name.removesuffix("Function") + "Logs" not in groups:
            yield f"{name} has no log group"
    for name, group in groups.items():
        if "RetentionInDays" not in group["Properties"]:
            yield name


@rule(lambda t: props(t.control, "ApiServerErrorsAlarm").pop("AlarmActions"),
      lambda t: props(t.project, "PullQueueAgeAlarm").update(AlarmActions=[]),
      lambda t: t.control["Conditions"].update(HasAlarmTopic={"Fn::Equals": [1, 2]}))
def every_alarm_tells_the_topic_where_there_is_one(t):
    action = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in t.of_type("AWS::CloudWatch::Alarm"):
        if alarm["Properties"].get("AlarmActions") != action:
            yield name
    for template in (t.control, t.project):
        if template["Conditions"]["HasAlarmTopic"] != {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]}:
            yield "HasAlarmTopic"


@rule(lambda t: t.control["Resources"].pop("SweepErrorsAlarm"),
      lambda t: props(t.control, "FleetErrorsAlarm").update(Threshold=100))
def every_function_has_an_alarm_for_its_errors(t):
    watched = [
        a["Properties"]["Dimensions"][0]["Value"]
        for _, a in t.of_type("AWS::CloudWatch::Alarm")
        if a["Properties"].get("MetricName") == "Errors" and a["Properties"]["Threshold"] == 1
    ]
    for name, _ in t.functions():
        if {"Ref": name} not in watched:
            yield name


# The namespace of our own metrics, and the value of their dimension `Deployment`.
OURS = {"Ref": "NamePrefix"}

# (namespace, metric, dimension, template). A function's metrics are those that its code writes.
WATCHED = [
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "project"),
    (OURS, "QueuedSeconds", "sweep", "control"),
    (OURS, "DispatchRefusals", OURS, "control"),
    ("AWS/ApiGateway", "5xx", "ApiId", "control"),
    ("AWS/Lambda", "Throttles", None, "control"),
    (OURS, "FanOutsUnfinished", "sweep", "control"),
    (OURS, "OrphanTasks", "sweep", "control"),
    (OURS, "OrphanTasks", "observe", "control"),
    (OURS, "AuditSetAside", "trail", "control"),
    (OURS, "AuditSetAside", "export", "control"),
    (OURS, "ReadsUnexplained", "witness", "control"),
    (OURS, "DigestsWritten", "export", "control"),
    ("AWS/Lambda", "Invocations", {"Ref": "SweepFunction"}, "control"),
    ("AWS/States", "ExecutionsFailed", {"Ref": "LakeMachine"}, "control"),
    ("AWS/States", "ExecutionsSucceeded", {"Ref": "LakeMachine"}, "control"),
]


@rule(lambda t: t.control["Resources"].pop("ObserveOrphanTasksAlarm"),
      lambda t: props(t.control, "FanOutsUnfinishedAlarm")["Dimensions"][0].update(Value="revoke"),
      lambda t: props(t.control, "DispatchRefusalsAlarm").update(MetricName="Refusals"),
      lambda t: props(t.control, "DigestMissingAlarm").update(TreatMissingData="notBreaching"),
      lambda t: props(t.control, "SweepMissingAlarm").update(TreatMissingData="missing"),
      lambda t: props(t.control, "LakeMissingAlarm").update(TreatMissingData="notBreaching"),
      lambda t: t.control["Resources"].pop("LakeFailedAlarm"),
      lambda t: props(t.control, "WitnessSilentAlarm")["Metrics"].pop(),
      lambda t: props(t.control, "WitnessSilentAlarm")["Metrics"][0].update(Expression="released"))
def what_must_not_go_unnoticed_has_an_alarm(t):
    def is_on(alarm, namespace, metric, dimension):
        dimensions = [value for d in alarm.get("Dimensions", []) for value in (d["Name"], d["Value"])]
        same = (alarm.get("Namespace"), alarm.get("MetricName")) == (namespace, metric)
        return same and (dimension in dimensions if dimension else not dimensions)

    for namespace, metric, dimension, place in WATCHED:
        alarms = [r["Properties"] for r in getattr(t, place)["Resources"].values() if r["Type"] == "AWS::CloudWatch::Alarm"]
        if not any(is_on(alarm, namespace, metric, dimension) for alarm in alarms):
            yield f"{metric} of {dimension}"
    for name in ("DigestMissingAlarm", "SweepMissingAlarm", "LakeMissingAlarm"):
        if props(t.control, name)["TreatMissingData"] != "breaching":
            yield f"{name}: what is missing is missing data"
    silent = props(t.control, "WitnessSilentAlarm")
    compared = {m["Id"]: m["MetricStat"]["Metric"]["MetricName"] for m in silent["Metrics"] if "MetricStat" in m}
    if compared != {"released": "SecretsReleased", "told": "Invocations"} or not any(m["ReturnData"] and all(
            name in m["Expression"] for name in compared) for m in silent["Metrics"]):
        yield "WitnessSilentAlarm"


@rule(lambda t: t.project["Parameters"]["QueueAgeSeconds"].update(Default=900),
      lambda t: t.project["Resources"]["PullQueueAgeAlarm"].update(Condition="HasPullPool"),
      lambda t: props(t.control, "StepsWaitingAlarm")["Dimensions"][0].update(Name="Project"))
def a_project_costs_no_alarm_unless_it_asks_for_its_own(t):
    if t.project["Parameters"]["QueueAgeSeconds"]["Default"] != 0:
        yield "QueueAgeSeconds"
    for name, resource in t.project["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm" and not resource.get("Condition", "").endswith("Alarms"):
            yield name
    for name, alarm in t.of_type("AWS::CloudWatch::Alarm"):
        if any(d["Name"] == "Project" for d in alarm["Properties"].get("Dimensions", [])):
            yield f"{name}: a metric that only some projects have"


@rule(lambda t: props(t.control, "TaskStateRule")["EventPattern"]["detail"].pop("lastStatus"),
      lambda t: props(t.control, "TaskStateRule")["EventPattern"]["detail"].update(lastStatus=["STOPPED"]))
def a_task_is_heard_of_when_it_runs_and_when_it_has_ended(t):
    if props(t.control, "TaskStateRule")["EventPattern"]["detail"].get("lastStatus") != ["RUNNING", "STOPPED"]:
        yield "TaskStateRule"


@rule(lambda t: t.project["Resources"].pop("PullDeadLettersAlarm"),
      lambda t: t.control["Resources"].pop("EventFailuresAlarm"))
def every_queue_of_failures_has_an_alarm(t):
    for template in (t.control, t.project):
        alarms = [r for r in template["Resources"].values() if r["Type"] == "AWS::CloudWatch::Alarm"]
        for name, queue in template["Resources"].items():
            if queue["Type"] == "AWS::SQS::Queue" and not name.endswith("Queue"):
                if not any(mentions(alarm["Properties"].get("Dimensions", []), name) for alarm in alarms):
                    yield name


@rule(lambda t: props(t.control, "Dashboard")["DashboardBody"].update({"Fn::Sub": "{"}),
      lambda t: props(t.control, "Dashboard")["DashboardBody"].update({"Fn::Sub": '{"widgets": []}'}))
def the_dashboard_shows_queues_streams_refusals_fan_outs_orphans_and_use(t):
    body = props(t.control, "Dashboard")["DashboardBody"]["Fn::Sub"]
    try:
        metrics = json.dumps([w["properties"]["metrics"] for w in json.loads(body)["widgets"]])
    except ValueError as error:
        yield f"its body is not JSON: {error}"
        return
    for metric in ("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "IteratorAge", "DispatchRefusals",
                   "FanOutsUnfinished", "OrphanTasks", "VcpuSeconds", "GbSeconds", "StepsStarted", "StepsEnded"):
        if metric not in metrics:
            yield metric


# ---------------------------------------------------------------- API


@rule(lambda t: props(t.control, "ApiStage").pop("DefaultRouteSettings"),
      lambda t: props(t.control, "ApiStage")["RouteSettings"].pop("POST /v1/workers/register"),
      lambda t: t.control["Parameters"]["RegisterRateLimit"].update(Default=500))
def the_api_is_throttled_and_registration_harder(t):
    stage = props(t.control, "ApiStage")
    if "ThrottlingRateLimit" not in stage.get("DefaultRouteSettings", {}):
        yield "no throttle"
    if "ThrottlingRateLimit" not in stage.get("RouteSettings", {}).get("POST /v1/workers/register", {}):
        yield "none for the registration of workers"
    if t.control["Parameters"]["RegisterRateLimit"]["Default"] >= t.control["Parameters"]["ApiRateLimit"]["Default"]:
        yield "the registration of workers is not the narrower one"


# Fields that a log line may hold. None is freely chosen by the caller; above all no header, body or query.
LOGGED = {"requestId", "requestTime", "identity.sourceIp", "routeKey", "status", "responseLatency", "responseLength",
          "error.responseType", "integration.status"}


@rule(lambda t: props(t.control, "ApiStage").pop("AccessLogSettings"),
      lambda t: props(t.control, "ApiStage")["AccessLogSettings"].update(Format='{"a":"$context.authorizer.claims"}'),
      lambda t: props(t.control, "ApiStage")["AccessLogSettings"].update(Format="$context.status"))
def the_access_log_is_json_and_holds_no_credential(t):
    settings = props(t.control, "ApiStage").get("AccessLogSettings")
    if not settings:
        yield "no access log"
        return
    try:
        fields = json.loads(settings["Format"]).values()
    except ValueError:
        yield "no JSON"
        return
    for field in fields:
        if field.removeprefix("$context.") not in LOGGED:
            yield field


# ---------------------------------------------------------------- the network of sandboxes


@rule(lambda t: props(t.control, "SandboxSecurityGroup").update(SecurityGroupIngress=[{"CidrIp": "0.0.0.0/0"}]),
      lambda t: props(t.control, "SandboxSecurityGroup").pop("SecurityGroupEgress"),
      lambda t: props(t.control, "SandboxToHttps").update(ToPort=65535),
      lambda t: t.control["Resources"]["SandboxToHttps"].pop("Condition"),
      lambda t: t.control["Resources"]["NatGateway"].update(Condition="MakesVpc"),
      lambda t: t.control["Resources"]["PrivateRoutesDefault"].update(Condition="MakesVpc"),
      lambda t: props(t.control, "PrivateSubnetA").update(MapPublicIpOnLaunch=True),
      lambda t: t.control["Parameters"]["SandboxInternet"].update(Default="true"))
def a_sandbox_takes_no_connection_and_reaches_the_internet_only_if_asked_for(t):
    resources = t.control["Resources"]
    for name, group in t.of_type("AWS::EC2::SecurityGroup"):
        # A group without an egress rule allows all traffic.
        if "SecurityGroupIngress" in group["Properties"] or not group["Properties"].get("SecurityGroupEgress"):
            yield name
    for name, opening in t.of_type("AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress"):
        found = opening["Properties"]
        if (found["FromPort"], found["ToPort"], found["IpProtocol"]) != (443, 443, "tcp"):
            yield f"{name}: more than HTTPS"
        if "CidrIp" in found and (opening["Type"].endswith("Ingress") or opening.get("Condition") != "OpensHttps"):
            yield f"{name}: any address"
    for name, resource in resources.items():
        kind = resource["Type"]
        leads_out = kind in ("AWS::EC2::NatGateway", "AWS::EC2::InternetGateway", "AWS::EC2::VPCGatewayAttachment", "AWS::EC2::Route")
        if leads_out and resource.get("Condition") != "HasSandboxInternet":
            yield f"{name} leads out"
        if kind == "AWS::EC2::Subnet" and resource["Properties"].get("MapPublicIpOnLaunch") is not False:
            yield f"{name} gives public addresses"
    if t.control["Parameters"]["SandboxInternet"]["Default"] != "false":
        yield "SandboxInternet"


@rule(lambda t: props(t.control, "PrivateSubnetA").update(AvailabilityZone={"Fn::Select": [0, {"Fn::GetAZs": ""}]}),
      lambda t: props(t.control, "PrivateSubnetB").update(AvailabilityZone=props(t.control, "PrivateSubnetA")["AvailabilityZone"]),
      lambda t: t.control["Rules"].pop("ZonesAreTwo"))
def the_zones_of_the_created_network_can_be_chosen(t):
    # Fargate is not in every zone of every region.
    for name, subnet in t.of_type("AWS::EC2::Subnet"):
        zone = {"Ref": "ZoneB" if name.endswith("B") else "ZoneA"}
        if subnet["Properties"]["AvailabilityZone"].get("Fn::If", [None, None])[:2] != ["NamesZones", zone]:
            yield name
    if "ZonesAreTwo" not in t.control["Rules"]:
        yield "one zone twice"


@rule(lambda t: props(t.control, "SecretsManagerEndpoint").pop("PolicyDocument"),
      lambda t: props(t.control, "SecretsManagerEndpoint")["PolicyDocument"]["Statement"][0].update(Action="secretsmanager:*"),
      lambda t: props(t.control, "S3Endpoint")["PolicyDocument"]["Statement"][2]["Fn::If"][1].update(Action=["s3:*"]),
      lambda t: props(t.control, "LogsEndpoint")["PolicyDocument"]["Statement"][0].update(Resource="*"),
      lambda t: props(t.control, "S3Endpoint")["PolicyDocument"]["Statement"][0].update(Resource={"Fn::Sub": "arn:${AWS::Partition}:s3:::*"}))
def each_endpoint_of_the_sandboxes_network_has_a_narrow_policy(t):
    for name, endpoint in t.of_type("AWS::EC2::VPCEndpoint"):
        statements = endpoint["Properties"].get("PolicyDocument", {}).get("Statement", [{"Action": "*", "Resource": "*"}])
        for statement in statements:
            if "Fn::If" in statement:
                statement = statement["Fn::If"][1]
            # A parameter is what you name yourself.
            resources = [r if isinstance(r, str) else next(iter(r.values())) for r in listed(statement["Resource"])]
            any_resource = any(resource == "*" or resource.endswith(":::*") for resource in resources)
            if any("*" in a for a in listed(statement["Action"])) or (any_resource and statement["Action"] != "ecr:GetAuthorizationToken"):
                yield f"{name}: {statement['Action']} on {', '.join(resources)}"


@rule(lambda t: props(t.control, "SandboxApiPostStep").update(AuthorizationType="NONE"),
      lambda t: props(t.control, "PostSandboxTokenRoute").pop("AuthorizationType"),
      lambda t: props(t.control, "PostSandboxStepRoute").pop("AuthorizationType"),
      lambda t: props(t.control, "SandboxApi").update(EndpointConfiguration={"Types": ["REGIONAL"]}),
      lambda t: props(t.control, "SandboxApi")["Policy"]["Statement"].pop(0))
def sandboxes_sign_what_they_ask_and_their_api_is_private(t):
    for name in ("SandboxApiPostStep", "SandboxApiPostHeartbeat", "SandboxApiPostEnd", "SandboxApiPostToken",
                 "PostSandboxStepRoute", "PostSandboxHeartbeatRoute", "PostSandboxEndRoute", "PostSandboxTokenRoute"):
        if props(t.control, name).get("AuthorizationType") != "AWS_IAM":
            yield name
    api = props(t.control, "SandboxApi")
    if api["EndpointConfiguration"]["Types"] != ["PRIVATE"]:
        yield "SandboxApi"
    if not any(s["Effect"] == "Deny" and "aws:SourceVpce" in json.dumps(s) for s in api["Policy"]["Statement"]):
        yield "SandboxApi: through any endpoint"


def deployment_of(t):
    """The logical id that a deployment of the sandboxes' API must have: with the hash of all that it deploys."""
    deployed = {name: {"Type": r["Type"], "Properties": r["Properties"]} for name, r in t.control["Resources"].items()
                if r["Type"] in ("AWS::ApiGateway::RestApi", "AWS::ApiGateway::Resource", "AWS::ApiGateway::Method")}
    return "SandboxApiDeployment" + hashlib.sha256(json.dumps(deployed, sort_keys=True).encode()).hexdigest()[:10]


@rule(lambda t: props(t.control, "SandboxApiV1SandboxStep").update(PathPart="steps"),
      lambda t: props(t.control, "SandboxApiPostStep")["Integration"].update(TimeoutInMillis=1000),
      lambda t: props(t.control, "SandboxApi")["Policy"]["Statement"].pop(),
      lambda t: t.control["Resources"].update(Another=copy.deepcopy(t.control["Resources"]["SandboxApiPostStep"])),
      lambda t: props(t.control, "SandboxApiStage").update(DeploymentId={"Ref": "SandboxApi"}))
def a_change_of_the_sandboxes_api_reaches_its_stage_since_the_deployment_has_a_new_id(t):
    # A deployment is a snapshot, and CloudFormation makes another only for another logical id.
    wanted = deployment_of(t)
    deployments = [name for name, r in t.control["Resources"].items() if r["Type"] == "AWS::ApiGateway::Deployment"]
    if deployments != [wanted] or props(t.control, "SandboxApiStage")["DeploymentId"] != {"Ref": wanted}:
        yield f"{', '.join(deployments)} in infra/sam/template.yaml must be named {wanted}"
    methods = [name for name, r in t.control["Resources"].items() if r["Type"] == "AWS::ApiGateway::Method"]
    for name in deployments:
        if sorted(listed(t.control["Resources"][name].get("DependsOn", []))) != sorted(methods):
            yield f"{name} does not wait for every method"


# ---------------------------------------------------------------- keys


@rule(lambda t: props(t.control, "AuditTable")["SSESpecification"].pop("KMSMasterKeyId"),
      lambda t: props(t.control, "EventFailures").pop("KmsMasterKeyId"),
      lambda t: props(t.control, "EventFailures").update(SqsManagedSseEnabled=False),
      lambda t: props(t.project, "Logs").pop("KmsKeyId"),
      lambda t: props(t.control, "AuditBucket").pop("BucketEncryption"),
      lambda t: props(t.control, "OutputBucket").pop("BucketEncryption"))
def your_own_key_encrypts_all_that_holds_data(t):
    key = {"Fn::If": ["HasKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]}
    for name, table in t.of_type("AWS::DynamoDB::Table"):
        if table["Properties"]["SSESpecification"].get("KMSMasterKeyId") != key:
            yield name
    for name, queue in t.queues():
        found = queue["Properties"]
        otherwise = {"Fn::If": ["HasKey", {"Ref": "AWS::NoValue"}, True]}
        if found.get("KmsMasterKeyId") != key or found.get("SqsManagedSseEnabled") != otherwise:
            yield name
    for name, group in t.of_type("AWS::Logs::LogGroup"):
        if group["Properties"].get("KmsKeyId") != key:
            yield name
    for name in ("AuditBucket", "OutputBucket"):
        if not mentions(props(t.control, name).get("BucketEncryption", {}), "KmsKeyArn"):
            yield name


@rule(lambda t: props(t.control, "ControlPlaneKeyUse")["Roles"].pop(),
      lambda t: props(t.control, "ControlPlaneKeyUse")["PolicyDocument"]["Statement"][0].pop("Condition"))
def every_function_may_use_your_own_key_through_the_services_that_keep_data(t):
    policy = props(t.control, "ControlPlaneKeyUse")
    for name, _ in t.functions():
        if {"Ref": name.removesuffix("Function") + "Role"} not in policy["Roles"]:
            yield name
    if "kms:ViaService" not in json.dumps(policy["PolicyDocument"]["Statement"][0].get("Condition", {})):
        yield "ControlPlaneKeyUse: directly, too"


# ---------------------------------------------------------------- Security Lake


LAKE_CONDITIONS = {
    "WritesLake": {"Fn::Not": [{"Fn::Equals": [{"Ref": "SecurityLakeBucket"}, ""]}]},
    "LakeReadsByKey": {"Fn::And": [{"Condition": "WritesLake"}, {"Condition": "HasKey"}]},
    "LakeWritesByKey": {"Fn::And": [{"Condition": "WritesLake"}, {"Fn::Not": [{"Fn::Equals": [{"Ref": "SecurityLakeKmsKeyArn"}, ""]}]}]},
}


@rule(lambda t: t.control["Parameters"]["SecurityLakeBucket"].update(Default="lake"),
      lambda t: t.control["Resources"]["LakeRule"].pop("Condition"),
      lambda t: t.control["Resources"]["LakeMissingAlarm"].update(Condition="OnAws"),
      lambda t: t.control["Conditions"].update(WritesLake={"Fn::Equals": [1, 1]}))
def security_lake_costs_nothing_unless_a_bucket_is_named(t):
    if t.control["Parameters"]["SecurityLakeBucket"]["Default"] != "":
        yield "SecurityLakeBucket"
    for name, condition in LAKE_CONDITIONS.items():
        if t.control["Conditions"][name] != condition:
            yield name
    for name, resource in t.control["Resources"].items():
        if (name.startswith("Lake") or mentions(resource, "SecurityLakeBucket")) and resource.get("Condition") not in LAKE_CONDITIONS:
            yield name


@rule(lambda t: props(t.control, "LakeRule").update(ScheduleExpression="rate(1 day)"),
      lambda t: props(t.control, "LakeRule").update(ScheduleExpression="cron(0 * * * ? *)"),
      lambda t: props(t.control, "LakeRule").update(ScheduleExpression="cron(30 0 * * ? *)"),
      lambda t: props(t.control, "LakeRule").update(State="DISABLED"),
      lambda t: props(t.control, "LakeRule")["Targets"][0].update(Input="{}"),
      lambda t: props(t.control, "TrailMapping").update(MaximumRecordAgeInSeconds=72000),
      lambda t: props(t.control, "ExportMapping").update(MaximumRecordAgeInSeconds=72000))
def a_day_goes_to_the_lake_when_nothing_more_comes_by_itself(t):
    lake = props(t.control, "LakeRule")
    daily = re.fullmatch(r"cron\((\d+) (\d+) \* \* \? \*\)", lake["ScheduleExpression"])
    if not daily or lake["State"] != "ENABLED":
        yield f"LakeRule: not daily: {lake['ScheduleExpression']}, {lake['State']}"
        return
    # The machine takes the day before yesterday. An hour is for what the functions themselves take.
    waits = 86400 + 3600 * int(daily[2]) + 60 * int(daily[1]) - 3600
    if waits < sum(props(t.control, name)["MaximumRecordAgeInSeconds"] for name in ("TrailMapping", "ExportMapping")):
        yield "LakeRule: too early"
    # The event's time says which day it is.
    if any(key in target for target in lake["Targets"] for key in ("Input", "InputPath", "InputTransformer")):
        yield "LakeRule: another input than the event"


def arn(text):
    return {"Fn::Sub": "arn:${AWS::Partition}:" + text}


LAKE_BUCKET = "s3:::${SecurityLakeBucket}"
# What the roles of the lake may: all of it.
LAKE = {
    "LakeRole": [
        (["athena:GetQueryExecution", "athena:StartQueryExecution", "athena:StopQueryExecution"], [arn("athena:${AWS::Region}:${AWS::AccountId}:workgroup/${NamePrefix}-lake")]),
        (["athena:GetDataCatalog"], [arn("athena:${AWS::Region}:${AWS::AccountId}:datacatalog/AwsDataCatalog")]),
        (["glue:GetDatabase", "glue:GetPartitions", "glue:GetTable"], [
            arn("glue:${AWS::Region}:${AWS::AccountId}:" + one) for one in ("catalog", "database/${NamePrefix}_audit", "table/${NamePrefix}_audit/exported")]),
        (["glue:GetDatabase"], [arn("glue:${AWS::Region}:${AWS::AccountId}:database/default")]),
        (["s3:GetBucketLocation", "s3:ListBucket"], [{"Fn::GetAtt": ["AuditBucket", "Arn"]}]),
        (["s3:GetObject"], [{"Fn::Sub": "${AuditBucket.Arn}/audit/*"}]),
        (["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"], [arn(LAKE_BUCKET)]),
        (["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"], [arn(LAKE_BUCKET + "/${SecurityLakePrefix}-*")]),
    ],
    "LakeStartRole": [(["states:StartExecution"], [arn("states:${AWS::Region}:${AWS::AccountId}:stateMachine:${NamePrefix}-lake")])],
    "LakeReadKeyUse": [(["kms:Decrypt"], [{"Ref": "KmsKeyArn"}])],
    "LakeWriteKeyUse": [(["kms:Decrypt", "kms:GenerateDataKey"], [{"Ref": "SecurityLakeKmsKeyArn"}])],
}


def of_lake(t, name, sid):
    return next(s for owner, s in t.statements() if owner == name and s["Sid"] == sid)


@rule(lambda t: of_lake(t, "LakeRole", "WriteLake")["Action"].append("s3:DeleteObject"),
      lambda t: of_lake(t, "LakeRole", "WriteLake").update(Resource=arn(LAKE_BUCKET + "/*")),
      lambda t: of_lake(t, "LakeRole", "ReadArchive").update(Resource={"Fn::Sub": "${AuditBucket.Arn}/*"}),
      lambda t: of_lake(t, "LakeRole", "Query").update(Resource=arn("athena:${AWS::Region}:${AWS::AccountId}:workgroup/*")),
      lambda t: of_lake(t, "LakeRole", "Table")["Action"].append("glue:UpdateTable"),
      lambda t: of_lake(t, "LakeStartRole", "Start").update(Resource=arn("states:${AWS::Region}:${AWS::AccountId}:stateMachine:*")),
      lambda t: of_lake(t, "LakeReadKeyUse", "ArchiveThroughS3").pop("Condition"),
      lambda t: of_lake(t, "LakeWriteKeyUse", "LakeThroughS3").update(Resource="*"),
      lambda t: props(t.control, "LakeWriteKeyUse")["Roles"].append({"Ref": "ExportRole"}),
      lambda t: props(t.control, "LakeMachine").update(RoleArn={"Fn::GetAtt": ["ExportRole", "Arn"]}),
      lambda t: props(t.control, "LakeRule")["Targets"][0].update(RoleArn={"Fn::GetAtt": ["LakeRole", "Arn"]}))
def what_writes_the_lake_reads_the_archive_and_adds_to_its_folders_alone(t):
    for name, wanted in LAKE.items():
        found = [(listed(s["Action"]), listed(s["Resource"])) for owner, s in t.allows() if owner == name]
        if found != wanted:
            yield name
        for owner, statement in t.allows():
            if owner == name and name.endswith("KeyUse") and "s3.${AWS::Region}" not in json.dumps(statement.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService")):
                yield f"{name}: not through S3"
    for name in ("LakeReadKeyUse", "LakeWriteKeyUse"):
        if props(t.control, name)["Roles"] != [{"Ref": "LakeRole"}]:
            yield f"{name}: on other roles"
    if props(t.control, "LakeMachine")["RoleArn"] != {"Fn::GetAtt": ["LakeRole", "Arn"]}:
        yield "LakeMachine: another role"
    if [target["RoleArn"] for target in props(t.control, "LakeRule")["Targets"]] != [{"Fn::GetAtt": ["LakeStartRole", "Arn"]}]:
        yield "LakeRule: another role"


@rule(lambda t: workgroup(t).update(EnforceWorkGroupConfiguration=False),
      lambda t: workgroup(t)["ManagedQueryResultsConfiguration"].update(Enabled=False),
      lambda t: workgroup(t).update(ResultConfiguration={"EncryptionConfiguration": {"EncryptionOption": "SSE_S3"}}))
def a_query_of_the_lake_has_the_workgroups_settings_and_the_lakes_own_encryption(t):
    found = workgroup(t)
    if found.get("EnforceWorkGroupConfiguration") is not True or found.get("ManagedQueryResultsConfiguration") != {"Enabled": True}:
        yield "LakeWorkGroup"
    # It would also encrypt what is unloaded, so that readers of the lake would need another key than the lake's.
    if "ResultConfiguration" in found:
        yield "LakeWorkGroup: encrypts otherwise than the lake"


def workgroup(t):
    return props(t.control, "LakeWorkGroup")["WorkGroupConfiguration"]


def main():
    control, project = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
    templates = Templates(control, project)
    told, tried = [], 0
    for sentence, check, breaks in RULES:
        told += [f"{sentence}: not so: {where}" for where in check(templates)]
        for number, change in enumerate(breaks, 1):
            broken = templates.copy()
            change(broken)
            tried += 1
            if not list(check(broken)):
                told.append(f"{sentence}: the rule does not see its change {number}")
    for line in told:
        print(f"traps: {line}", file=sys.stderr)
    print(f"traps: {len(RULES)} rules, each seen to fail, {tried} changes in all: {'broken' if told else 'ok'}")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
