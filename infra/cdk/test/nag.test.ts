// Runs cdk-nag's AwsSolutions rules on both stacks. Each accepted violation is listed below with its reason and its
// evidence: a check that the reason is still true of the template. An acceptance that is no longer needed also fails.

import * as assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { Sealfleet, SealfleetProject } from '../lib';
import { Json, code, newStack, synth } from './synth';

interface Accepted {
  /** The rule, and its finding if it has one. */
  readonly rule: string | RegExp;
  /** Logical ids. Omitted: any. */
  readonly on?: string[];
  readonly reason: string;
  readonly evidence: (template: Json) => boolean;
}

const list = <T>(value: T | T[]): T[] => (Array.isArray(value) ? value : [value]);

/** The allowing statements of all roles whose resources' text contains `part`. */
function allows(template: Json, part: string): Json[] {
  const policies = Object.values<Json>(template.Resources)
    .filter((resource) => resource.Type === 'AWS::IAM::Role')
    .flatMap((role) => role.Properties.Policies ?? [])
    .flatMap((policy: Json) => (policy['Fn::If'] ? [policy['Fn::If'][1]] : [policy]));
  const statements = policies.flatMap((policy: Json) => policy.PolicyDocument.Statement);
  return statements.filter((statement: Json) => statement.Effect === 'Allow' && JSON.stringify(statement.Resource).includes(part));
}

/** Whether such statements exist, and none allows another action. */
const only = (part: string, ...actions: string[]) => (template: Json) => {
  const found = allows(template, part);
  return found.length > 0 && found.every((statement) => list(statement.Action).every((action) => actions.includes(action)));
};

/** Each such statement has a condition on one of these keys. */
const under = (part: string, ...keys: string[]) => (template: Json) =>
  allows(template, part).every((statement) => keys.some((key) => JSON.stringify(statement.Condition ?? {}).includes(`"${key}"`)));

const resource = (template: Json, id: string): Json => template.Resources[id].Properties;

const CONTROL_PLANE: Accepted[] = [
  {
    rule: 'S1', on: ['AuditBucket'],
    reason: 'Every object is locked, versioned and hashed into a digest; who reads is in CloudTrail data events (docs/guides/deploy.md).',
    evidence: (template) => resource(template, 'AuditBucket').ObjectLockEnabled === true,
  },
  {
    rule: 'S1', on: ['OutputBucket'],
    reason: 'No function reaches it by its own role; sessions name the worker or the run, in CloudTrail data events (docs/guides/deploy.md).',
    evidence: (template) => JSON.stringify(template.Resources.ControlPlaneDenies).includes('"NeverTouchOutputs"'),
  },
  {
    rule: 'SQS3', on: ['TrailFailures', 'ExportFailures'],
    reason: 'They are where failures end.',
    evidence: (template) =>
      ['TrailFailures', 'ExportFailures'].every((id) => JSON.stringify(template).includes(`"Destination":{"Fn::GetAtt":["${id}","Arn"]}`)),
  },
  ...['ledger', 'audit'].map((table) => ({
    rule: `IAM5[Resource::arn:<AWS::Partition>:dynamodb:<AWS::Region>:<AWS::AccountId>:table/<NamePrefix>-${table}<TableSuffix>/stream/*]`,
    reason: 'The streams of one table, which are read. A stream of another table than TableSuffix names is refused.',
    evidence: only(`\${NamePrefix}-${table}\${TableSuffix}/stream/*`, 'dynamodb:DescribeStream', 'dynamodb:GetRecords', 'dynamodb:GetShardIterator'),
  })),
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:sqs:<AWS::Region>:<AWS::AccountId>:<NamePrefix>-*--*]',
    reason: 'One queue for each pool of each project, made after this stack; no other queue of this stack has `--` in its name.',
    evidence: (template) =>
      Object.values<Json>(template.Resources)
        .filter((found) => found.Type === 'AWS::SQS::Queue')
        .every((queue) => !JSON.stringify(queue.Properties.QueueName).includes('--')),
  },
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task/<Cluster>/*]',
    reason: 'Tasks come and go; those of this cluster only. They are tagged by the call that starts them.',
    evidence: under('task/${Cluster}/*', 'ecs:cluster', 'ecs:CreateAction'),
  },
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:<NamePrefix>/*]',
    reason: 'Secrets of all projects are described, for the ids of their versions. No value is read.',
    evidence: only(':secret:${NamePrefix}/*', 'secretsmanager:DescribeSecret'),
  },
  {
    rule: 'IAM5', on: ['WorkerQueueRole', 'OutputRole'],
    reason: 'The rule cannot read a policy that hangs on a condition.',
    evidence: (template) =>
      ['WorkerQueueRole', 'OutputRole'].flatMap((id) => resource(template, id).Policies).every((policy: Json) => !JSON.stringify(policy).includes('"Resource":"*"')),
  },
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task-definition/<NamePrefix>-*:*]',
    reason: 'Task definitions are made at run time, with names that begin so.',
    evidence: only('task-definition/${NamePrefix}-', 'ecs:RegisterTaskDefinition', 'ecs:RunTask'),
  },
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task-definition/<NamePrefix>-*]',
    reason: 'As above, before there is a revision.',
    evidence: only('task-definition/${NamePrefix}-', 'ecs:RegisterTaskDefinition', 'ecs:RunTask'),
  },
  {
    rule: /^IAM5\[Resource::arn:<AWS::Partition>:iam::<AWS::AccountId>:role\/sealfleet\/project\//, on: ['DispatchRole'],
    reason: 'Roles of projects are made after this stack, below this path, and passed to ECS tasks alone.',
    evidence: (template) => {
      const passed = allows(template, 'role/sealfleet/project/').filter((statement) => list(statement.Action).includes('iam:PassRole'));
      return passed.length > 0 && passed.every(
        (statement) => statement.Condition?.StringEquals?.['iam:PassedToService'] === 'ecs-tasks.amazonaws.com',
      );
    },
  },
  {
    rule: 'IAM5[Resource::*]',
    reason: 'Calls for which AWS has no resource, or only a condition.',
    evidence: only('"*"', 'ecs:DescribeTaskDefinition', 'ecs:ListTasks', 'dynamodb:ListStreams', 'logs:DescribeLogGroups'),
  },
  {
    rule: 'IAM5[Resource::<AuditBucket.Arn>/*]',
    reason: 'Objects of the archive. None is deleted.',
    evidence: only('${AuditBucket.Arn}/*', 's3:GetObject', 's3:PutObject'),
  },
  {
    rule: 'IAM5[Resource::<AuditBucket.Arn>/audit/*]', on: ['LakeRole'],
    reason: 'Events of the archive, read only.',
    evidence: only('${AuditBucket.Arn}/audit/*', 's3:GetObject'),
  },
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:s3:::<SecurityLakeBucket>/<SecurityLakePrefix>-*]', on: ['LakeRole'],
    reason: 'A folder for each class, in a bucket that is named. Nothing is read or deleted there.',
    evidence: only('${SecurityLakeBucket}/${SecurityLakePrefix}-*', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts', 's3:PutObject'),
  },
  {
    rule: 'SF1', on: ['LakeMachine'],
    reason: 'Logs of state machines need permissions on all log deliveries of the account. A standard machine keeps the history of each execution for 90 days.',
    evidence: (template) => resource(template, 'LakeMachine').StateMachineType === 'STANDARD' && 'LakeFailedAlarm' in template.Resources,
  },
  {
    rule: 'SF2', on: ['LakeMachine'],
    reason: 'The history says what each step took, and nothing else is called.',
    evidence: (template) => resource(template, 'LakeMachine').StateMachineType === 'STANDARD',
  },
  {
    rule: 'APIG4',
    reason: 'Callers hold API tokens, which the functions check against the ledger before anything else. Routes for IAM callers ask for a signature. What is public are the keys of identity tokens, and the API\'s document.',
    evidence: (template) => resource(template, 'PostSandboxStepRoute').AuthorizationType === 'AWS_IAM',
  },
  {
    rule: 'APIG2', on: ['SandboxApi'],
    reason: 'The function refuses every field that it does not know.',
    evidence: (template) => resource(template, 'SandboxApiPostStep').Integration.Type === 'AWS_PROXY',
  },
  {
    rule: 'COG4', on: ['SandboxApiPostEnd', 'SandboxApiPostHeartbeat', 'SandboxApiPostStep', 'SandboxApiPostToken'],
    reason: 'Callers are ECS tasks: they sign with their role.',
    evidence: (template) => ['SandboxApiPostEnd', 'SandboxApiPostHeartbeat', 'SandboxApiPostStep', 'SandboxApiPostToken']
      .every((method) => resource(template, method).AuthorizationType === 'AWS_IAM'),
  },
  ...['APIG1', 'APIG6'].map((rule) => ({
    rule, on: ['SandboxApiStage'],
    reason: 'Logs of REST APIs need a role for the whole account and region, which is not ours to set. The function logs, and so do the VPC\'s flows.',
    evidence: (template: Json) => 'SandboxFlows' in template.Resources,
  })),
  {
    rule: 'APIG3', on: ['SandboxApiStage'],
    reason: 'It is reached through one VPC endpoint only.',
    evidence: (template) => resource(template, 'SandboxApi').EndpointConfiguration.Types[0] === 'PRIVATE',
  },
];

const PROJECT: Accepted[] = [
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:<NamePrefix>/healthcare/*]',
    reason: 'The project\'s own secrets, which carry its tag.',
    evidence: under(':secret:${NamePrefix}/healthcare/*', 'aws:ResourceTag/sealfleet:project'),
  },
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:<NamePrefix>/system/*]',
    reason: 'What the operators share with all projects, by its tag.',
    evidence: under(':secret:${NamePrefix}/system/*', 'aws:ResourceTag/sealfleet:project'),
  },
  {
    rule: 'IAM5[Resource::*]', on: ['ExecutionRole'],
    reason: 'AWS has no resource for this call.',
    evidence: only('"*"', 'ecr:GetAuthorizationToken'),
  },
  {
    rule: 'IAM5[Resource::arn:<AWS::Partition>:ecr:<AWS::Region>:<AWS::AccountId>:repository/<NamePrefix>/*]',
    reason: 'Images of sandboxes, pulled only.',
    evidence: only('repository/${NamePrefix}/*', 'ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'),
  },
];

/** Unaccepted violations, acceptances that are no longer needed, and acceptances whose evidence no longer holds. */
function unexplained(stack: Stack, accepted: Accepted[]): string[] {
  const found = new AwsSolutionsChecks(stack).validateScope(stack).violations.flatMap((violation) =>
    violation.violatingResources.map((where) => ({
      rule: violation.ruleName.replace('AwsSolutions-', ''), id: (where.constructPath ?? '').split('/').pop() ?? '',
    })));
  const template = synth(stack);
  const matches = (one: { rule: string; id: string }, entry: Accepted) =>
    (entry.rule instanceof RegExp ? entry.rule.test(one.rule) : one.rule === entry.rule) && (entry.on === undefined || entry.on.includes(one.id));
  return [
    ...found.filter((one) => !accepted.some((entry) => matches(one, entry))).map((one) => `${one.rule} on ${one.id}`),
    ...accepted.flatMap((entry) => (entry.on ?? [undefined])
      .filter((id) => !found.some((one) => matches(one, { ...entry, on: id ? [id] : undefined })))
      .map((id) => `not needed: ${entry.rule}${id ? ` on ${id}` : ''}`)),
    ...accepted.filter((entry) => !entry.evidence(template)).map((entry) => `no longer true: ${entry.rule}: ${entry.reason}`),
  ];
}

function controlPlane(): { stack: Stack; sealfleet: Sealfleet } {
  const stack = newStack();
  return { stack, sealfleet: new Sealfleet(stack, 'Sealfleet', { code }) };
}

test('the control plane keeps AwsSolutions', () => {
  assert.deepEqual(unexplained(controlPlane().stack, CONTROL_PLANE), []);
});

test('a project keeps AwsSolutions', () => {
  const stack = newStack();
  new SealfleetProject(stack, 'P', { project: 'healthcare', pullPool: 'workers', fargatePool: 'fargate' });
  assert.deepEqual(unexplained(stack, PROJECT), []);
});

test('an open bucket, an acceptance without need and evidence that is gone are seen', () => {
  const open = controlPlane();
  open.sealfleet.resource('AuditBucket').addPropertyDeletionOverride('PublicAccessBlockConfiguration');
  open.sealfleet.resource('AuditBucketPolicy').addPropertyOverride('PolicyDocument.Statement.0.Effect', 'Allow');
  open.sealfleet.resource('PostSandboxStepRoute').addPropertyOverride('AuthorizationType', 'NONE');
  const idle = [
    { rule: 'L1', reason: 'unneeded', evidence: () => true },
    { rule: 'L2', on: ['Elsewhere'], reason: 'unneeded', evidence: () => true },
  ];
  const told = unexplained(open.stack, [...CONTROL_PLANE.filter((entry) => entry.rule !== 'SQS3'), ...idle]);
  assert.deepEqual(told.map((line) => line.split(':').slice(0, 2).join(':').slice(0, 27)).sort(), [
    'SQS3 on ExportFailures', 'SQS3 on TrailFailures', 'no longer true: APIG4', 'not needed: L1', 'not needed: L2 on Elsewhere',
  ]);
});
