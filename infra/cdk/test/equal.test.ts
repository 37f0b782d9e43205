// The constructs create exactly what SAM deploys: the same resources, policies, conditions and outputs.

import * as assert from 'node:assert/strict';
import { test } from 'node:test';
import { SecurityGroup, Vpc } from 'aws-cdk-lib/aws-ec2';
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { AuditLockMode, OcsfVersion, Sealfleet, SealfleetProject, SealfleetProjectProps } from '../lib';
import { Json, code, given, newStack, normal, synth, translated } from './synth';

const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/0198c0de-0000-7000-8000-000000000000';
const SECRETS_KEY = 'arn:aws:kms:eu-west-1:111122223333:key/0198c0de-0000-7000-8000-000000000001';
const LAKE_KEY = 'arn:aws:kms:eu-west-1:111122223333:key/0198c0de-0000-7000-8000-000000000002';
const BOUNDARY = 'arn:aws:iam::111122223333:policy/boundary';
const TOPIC = 'arn:aws:sns:eu-west-1:111122223333:alarms';
const PROJECT: SealfleetProjectProps = { project: 'healthcare', pullPool: 'workers', fargatePool: 'fargate' };

/** Removes the conditions that a construct evaluates itself, and the rules that it checks itself. */
function less(template: Json, conditions: string[], rules: string[]): Json {
  const copy = JSON.parse(JSON.stringify(template));
  conditions.forEach((name) => delete copy.Conditions[name]);
  rules.forEach((name) => delete copy.Rules?.[name]);
  if (Object.keys(copy.Rules ?? {}).length === 0) {
    delete copy.Rules;
  }
  return copy;
}

test('the control plane without properties is the SAM template', () => {
  const stack = newStack();
  new Sealfleet(stack, 'Sealfleet', { code });
  assert.deepEqual(normal(synth(stack)), normal(translated('template')));
});

test('a difference in one property of one resource is seen', () => {
  const stack = newStack();
  new Sealfleet(stack, 'Sealfleet', { code }).resource('LedgerTable').addPropertyOverride('DeletionProtectionEnabled', false);
  assert.notDeepEqual(normal(synth(stack)), normal(translated('template')));
});

test('a resource that one has and the other lacks is seen', () => {
  const stack = newStack();
  new Sealfleet(stack, 'Sealfleet', { code });
  const less = normal(translated('template'));
  delete less.Resources.AuditBucketPolicy;
  assert.notDeepEqual(normal(synth(stack)), less);
});

test('the control plane with properties is the SAM template with those parameters', () => {
  const stack = newStack();
  const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1', availabilityZones: ['eu-west-1a', 'eu-west-1b'], privateSubnetIds: ['subnet-1', 'subnet-2'],
  });
  new Sealfleet(stack, 'Sealfleet', {
    code,
    network: { vpc, securityGroups: [SecurityGroup.fromSecurityGroupId(stack, 'Group', 'sg-1')] },
    namePrefix: 'acme',
    permissionsBoundary: ManagedPolicy.fromManagedPolicyArn(stack, 'Boundary', BOUNDARY),
    availabilityZones: ['eu-west-1b', 'eu-west-1c'],
    sandboxBucketArns: ['arn:aws:s3:::acme-data', 'arn:aws:s3:::acme-data/*'],
    vpcCidr: '10.1.0.0/16',
    s3PrefixListId: 'pl-1',
    sandboxInternet: true,
    egressNetworks: ['10.1.0.0/16', '10.2.0.0/16'],
    encryptionKey: Key.fromKeyArn(stack, 'Key', KEY),
    alarmTopic: Topic.fromTopicArn(stack, 'Topic', TOPIC),
    logRetention: RetentionDays.ONE_YEAR,
    systemLogLevel: 'INFO',
    auditLockMode: AuditLockMode.COMPLIANCE,
    auditLockDays: 400,
    auditExpireDays: 800,
    ocsfVersion: OcsfVersion.V1_9,
    securityLake: {
      bucket: Bucket.fromBucketName(stack, 'Lake', 'acme-lake'), prefix: 'ext/acme', encryptionKey: Key.fromKeyArn(stack, 'LakeKey', LAKE_KEY),
    },
    runRetentionDays: 10,
    prices: '{}',
    trailRetentionDays: 20,
    outputRetentionDays: 7,
    exportWindowSeconds: 90,
    exportBatchSize: 500,
    queueAgeSeconds: 300,
    projectMetrics: ['healthcare', 'finance'],
    leaseSeconds: 40,
    resendSeconds: 90,
    secretVersionSeconds: 0,
    apiRateLimit: 20,
    apiBurstLimit: 50,
    registerRateLimit: 1,
    registerBurstLimit: 2,
    oidcIssuers: '[]',
    issuerUrl: 'https://issuer.example.com',
    identityKeys: 'a,b',
    projectRequestsPerSecond: 10,
    projectRequestsBurst: 30,
    stopReservedConcurrency: 10,
    dispatchReservedConcurrency: 20,
  });
  const sam = given(translated('template'), {
    NamePrefix: 'acme', PermissionsBoundaryArn: BOUNDARY, ZoneA: 'eu-west-1b', ZoneB: 'eu-west-1c',
    SandboxBucketArns: ['arn:aws:s3:::acme-data', 'arn:aws:s3:::acme-data/*'],
    Subnets: ['subnet-1', 'subnet-2'], SecurityGroups: ['sg-1'], VpcCidr: '10.1.0.0/16', S3PrefixListId: 'pl-1',
    SandboxInternet: 'true', EgressNetworks: ['10.1.0.0/16', '10.2.0.0/16'], KmsKeyArn: KEY, AlarmTopicArn: TOPIC, LogRetentionDays: 365, SystemLogLevel: 'INFO', AuditLockMode: 'COMPLIANCE',
    AuditLockDays: 400, AuditExpireDays: 800, OcsfVersion: '1.9', SecurityLakeBucket: 'acme-lake', SecurityLakePrefix: 'ext/acme', SecurityLakeKmsKeyArn: LAKE_KEY, RunRetentionDays: 10, Prices: '{}', TrailRetentionDays: 20, OutputRetentionDays: 7, ExportWindowSeconds: 90, ExportBatchSize: 500, QueueAgeSeconds: 300, ProjectMetrics: ['healthcare', 'finance'], LeaseSeconds: 40, ResendSeconds: 90, SecretVersionSeconds: 0, ApiRateLimit: 20, ApiBurstLimit: 50,
    RegisterRateLimit: 1, RegisterBurstLimit: 2, OidcIssuers: '[]', IssuerUrl: 'https://issuer.example.com', IdentityKeys: 'a,b',
    ProjectRequestsPerSecond: 10, ProjectRequestsBurst: 30, StopReservedConcurrency: 10, DispatchReservedConcurrency: 20,
  });
  const [made, expected] = [normal(synth(stack)), normal(sam)];
  const decided = ['MakesVpc', 'HasKey', 'HasAlarmTopic', 'HasBoundary', 'NamesZones', 'HasSandboxBuckets', 'WritesLake', 'LakeWritesByKey'];
  assert.deepEqual(less(made, decided, []), less(expected, decided, ['NetworkIsWhole', 'ZonesAreTwo']));
  assert.deepEqual(decided.map((name) => made.Conditions[name]['Fn::Equals'][0]), ['no', 'yes', 'yes', 'yes', 'yes', 'yes', 'yes', 'yes']);
  // A remaining parameter has no property yet: add one to SealfleetProps and to this test. `sealfleet restore` sets the first four
  // in the stack, so a property would undo it.
  assert.deepEqual(Object.keys(made.Parameters), ['TableSuffix', 'LedgerStreamArn', 'AuditStreamArn', 'Closed', 'LocalEndpoint']);
});

test('a project is the SAM template with its parameters', () => {
  const stack = newStack();
  new SealfleetProject(stack, 'Healthcare', {
    ...PROJECT,
    namePrefix: 'acme',
    permissionsBoundary: ManagedPolicy.fromManagedPolicyArn(stack, 'Boundary', BOUNDARY),
    secretsKey: Key.fromKeyArn(stack, 'SecretsKey', SECRETS_KEY),
    encryptionKey: Key.fromKeyArn(stack, 'Key', KEY),
    alarmTopic: Topic.fromTopicArn(stack, 'Topic', TOPIC),
    queueAgeSeconds: 600,
    logRetention: RetentionDays.ONE_WEEK,
    issuer: 'https://issuer.example',
  });
  const sam = given(translated('project'), {
    NamePrefix: 'acme', PermissionsBoundaryArn: BOUNDARY, SecretsKmsKeyArn: SECRETS_KEY,
    Project: 'healthcare', PullPool: 'workers', FargatePool: 'fargate', Issuer: 'https://issuer.example',
    KmsKeyArn: KEY, AlarmTopicArn: TOPIC, QueueAgeSeconds: 600, LogRetentionDays: 7,
  });
  const [made, expected] = [normal(synth(stack)), normal(sam)];
  const decided = ['HasKey', 'HasAlarmTopic', 'HasBoundary', 'HasSecretsKey', 'HasIssuer'];
  assert.deepEqual(less(made, decided, []), less(expected, decided, ['ProjectIsNotReserved', 'PoolsDiffer']));
  assert.deepEqual(decided.map((name) => made.Conditions[name]['Fn::Equals'][0]), ['yes', 'yes', 'yes', 'yes', 'yes']);
  assert.deepEqual(Object.keys(made.Parameters), ['LocalEndpoint']);
});

test('what the same stack makes can be given', () => {
  const stack = newStack();
  const vpc = new Vpc(stack, 'Vpc', { maxAzs: 2, natGateways: 1 });
  new Sealfleet(stack, 'Sealfleet', {
    code,
    network: { vpc, securityGroups: [new SecurityGroup(stack, 'Group', { vpc, allowAllOutbound: false })] },
    encryptionKey: new Key(stack, 'Key'),
    alarmTopic: new Topic(stack, 'Topic'),
    securityLake: { bucket: new Bucket(stack, 'Lake'), encryptionKey: new Key(stack, 'LakeKey') },
  });
  // CloudFormation evaluates conditions and rules before it knows any resource.
  const { Conditions, Rules, Resources } = synth(stack);
  for (const name of Object.keys(Resources)) {
    assert.ok(!JSON.stringify([Conditions, Rules]).includes(`"${name}"`), name);
  }
});

test('outputs are attributes', () => {
  const stack = newStack();
  const sealfleet = new Sealfleet(stack, 'Sealfleet', { code });
  const resolved = (value?: string) => stack.resolve(value);
  assert.deepEqual(resolved(sealfleet.apiUrl), translated('template').Outputs.ApiUrl.Value);
  assert.deepEqual(resolved(sealfleet.auditBucketName), { Ref: 'AuditBucket' });
  const project = new SealfleetProject(newStack(), 'Healthcare', { project: 'healthcare', pullPool: 'workers' });
  assert.equal(project.fargateQueueUrl, undefined);
  assert.ok(project.pullQueueUrl);
});

test('names that the template would refuse are refused at synthesis', () => {
  const refused: [Partial<SealfleetProjectProps>, RegExp][] = [
    [{ project: 'system' }, /operators/],
    [{ project: 'Healthcare' }, /no project id/],
    [{ project: 'a--b' }, /no project id/],
    [{ pullPool: 'x'.repeat(25) }, /no pool name/],
    [{ fargatePool: 'workers' }, /must differ/],
    [{ namePrefix: 'acme-eu' }, /no name prefix/],
  ];
  for (const [change, message] of refused) {
    assert.throws(() => new SealfleetProject(newStack(), 'P', { ...PROJECT, ...change }), message);
  }
  const vpc = Vpc.fromVpcAttributes(newStack(), 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['a'], privateSubnetIds: ['subnet-1'] });
  assert.throws(() => new Sealfleet(newStack(), 'S', { code, network: { vpc, securityGroups: [] } }), /securityGroups/);
  assert.throws(() => new Sealfleet(newStack(), 'S', { code, availabilityZones: ['a', 'a'] }), /two different/);
});
