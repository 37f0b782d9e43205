import { CfnResource } from 'aws-cdk-lib';
import { ISecurityGroup, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { IManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { CfnFunction } from 'aws-cdk-lib/aws-lambda';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { Included, checkNamePrefix } from './included';

/** Who can shorten the retention of archived audit objects. */
export enum AuditLockMode {
  /** A principal with `s3:BypassGovernanceRetention` can. */
  GOVERNANCE = 'GOVERNANCE',
  /** Nobody can, not even the account's root. */
  COMPLIANCE = 'COMPLIANCE',
}

/** The version of OCSF in which audit events are exported. */
export enum OcsfVersion {
  V1_6 = '1.6',
  /** Adds who acts for whom, the AI agent, and a chain of the events of each object. */
  V1_9 = '1.9',
}

/** A network of your own for Fargate sandboxes. They must reach the HTTP API, ECR, CloudWatch Logs, S3 and Secrets Manager. */
export interface SandboxNetwork {
  /** The VPC. */
  readonly vpc: IVpc;
  /**
   * Its subnets.
   *
   * @default - the private subnets
   */
  readonly subnets?: SubnetSelection;
  /** Security groups that decide what a sandbox can reach. At least one. */
  readonly securityGroups: ISecurityGroup[];
}

/** Where the audit archive is written as Parquet, in the folders of custom sources of Security Lake (docs/guides/siem.md). */
export interface SecurityLake {
  /** Security Lake's bucket of this account and region, or your own. */
  readonly bucket: IBucket;
  /**
   * What keys in it begin with. A class has a folder of its own, `PREFIX-CLASS`.
   *
   * @default ext/sealfleet
   */
  readonly prefix?: string;
  /**
   * The key by which the bucket encrypts what is put into it.
   *
   * @default - S3's own
   */
  readonly encryptionKey?: IKey;
}

/** Properties of the control plane. An omitted property stays a parameter of the stack, with the template's default. */
export interface SealfleetProps {
  /** The directory that `cargo lambda build --release --package sealfleet-functions` writes: it holds `bootstrap`. */
  readonly code: string;
  /**
   * What all names of this installation begin with: lower-case letters and digits, at most 16. Each installation in an
   * account needs its own, also in another region. It cannot be changed later.
   *
   * @default sealfleet
   */
  readonly namePrefix?: string;
  /**
   * Permissions boundary of every role.
   *
   * @default - none
   */
  readonly permissionsBoundary?: IManagedPolicy;
  /**
   * A network of your own for sandboxes.
   *
   * @default - a VPC is created that reaches only AWS endpoints
   */
  readonly network?: SandboxNetwork;
  /**
   * Addresses of the created VPC, /16 to /20.
   *
   * @default 10.90.0.0/16
   */
  readonly vpcCidr?: string;
  /**
   * The two availability zones of the created VPC, for regions in which Fargate or an endpoint is not in every zone.
   *
   * @default - the region's first two
   */
  readonly availabilityZones?: string[];
  /**
   * ARNs of your own buckets in this region, and of the objects in them, that sandboxes in the created VPC may use with
   * credentials of theirs.
   *
   * @default - none
   */
  readonly sandboxBucketArns?: string[];
  /**
   * The region's prefix list of S3, for the security group of the created VPC.
   *
   * @default - the group opens port 443; routes lead only to the endpoints
   */
  readonly s3PrefixListId?: string;
  /**
   * Whether sandboxes in the created VPC reach the internet on port 443, through a NAT gateway.
   *
   * @default false
   */
  readonly sandboxInternet?: boolean;
  /**
   * Networks that are not public, as 10.20.0.0/16, and that the egress policies of Fargate steps may reach all the same.
   *
   * @default - none
   */
  readonly egressNetworks?: string[];
  /**
   * Your own key for tables, audit bucket, queues and log groups. docs/guides/deploy.md has the key policy that it needs.
   *
   * @default - keys that AWS manages
   */
  readonly encryptionKey?: IKey;
  /**
   * Topic that alarms notify.
   *
   * @default - alarms notify nobody
   */
  readonly alarmTopic?: ITopic;
  /**
   * How long to keep the control plane's logs.
   *
   * @default RetentionDays.THREE_MONTHS
   */
  readonly logRetention?: RetentionDays;
  /**
   * What Lambda itself logs of each invocation: `INFO` adds its start and a report with times and memory.
   *
   * @default WARN
   */
  readonly systemLogLevel?: 'DEBUG' | 'INFO' | 'WARN';
  /**
   * S3 Object Lock mode of the audit archive.
   *
   * @default AuditLockMode.GOVERNANCE
   */
  readonly auditLockMode?: AuditLockMode;
  /**
   * Days for which an audit object cannot be deleted or replaced.
   *
   * @default 365
   */
  readonly auditLockDays?: number;
  /**
   * Days after which exported events are deleted; must exceed `auditLockDays`. 0 keeps them for ever. Digests are always
   * kept.
   *
   * @default 0
   */
  readonly auditExpireDays?: number;
  /**
   * Version of OCSF in which new audit events are exported. What is exported already stays as it is.
   *
   * @default OcsfVersion.V1_6
   */
  readonly ocsfVersion?: OcsfVersion;
  /**
   * Where each day of the audit archive is written as Parquet, a day after its end.
   *
   * @default - nowhere
   */
  readonly securityLake?: SecurityLake;
  /**
   * Days for which the ledger keeps a run after its end.
   *
   * @default 90
   */
  readonly runRetentionDays?: number;
  /**
   * Your own prices as JSON, which go before the list prices that usage is charged by (docs/guides/usage.md).
   *
   * @default - list prices
   */
  readonly prices?: string;
  /**
   * Days for which an entry stays in the audit table, at least 15. The archive keeps it for `auditExpireDays`.
   *
   * @default 30
   */
  readonly trailRetentionDays?: number;
  /**
   * Days for which the output and the results of steps are kept.
   *
   * @default 30
   */
  readonly outputRetentionDays?: number;
  /**
   * Seconds for which export collects audit rows into one object, unless `exportBatchSize` are there sooner.
   *
   * @default 60
   */
  readonly exportWindowSeconds?: number;
  /**
   * Audit rows that export takes at once. A full batch does not wait for `exportWindowSeconds`.
   *
   * @default 1000
   */
  readonly exportBatchSize?: number;
  /**
   * Seconds that a step of any project may wait for its pool before an alarm is raised.
   *
   * @default 900
   */
  readonly queueAgeSeconds?: number;
  /**
   * Projects that get metrics of their own, or `*` for all. The others are only counted in the sums of the deployment.
   *
   * @default - none
   */
  readonly projectMetrics?: string[];
  /**
   * Seconds for which a claim lives without a heartbeat.
   *
   * @default 30
   */
  readonly leaseSeconds?: number;
  /**
   * Seconds after which a queued step's message is sent again.
   *
   * @default 60
   */
  readonly resendSeconds?: number;
  /**
   * Seconds for which a function uses what Secrets Manager said of a secret's current version; 0 asks each time.
   *
   * @default 60
   */
  readonly secretVersionSeconds?: number;
  /**
   * Requests that the API admits each second.
   *
   * @default 200
   */
  readonly apiRateLimit?: number;
  /**
   * Requests that the API admits at once.
   *
   * @default 400
   */
  readonly apiBurstLimit?: number;
  /**
   * Worker registrations that the API admits each second. This is the only route that requires no credential.
   *
   * @default 2
   */
  readonly registerRateLimit?: number;
  /**
   * Worker registrations that the API admits at once.
   *
   * @default 10
   */
  readonly registerBurstLimit?: number;
  /**
   * OIDC issuers whose JWTs are accepted in addition to API tokens, as the JSON text that docs/guides/oidc.md describes.
   *
   * @default - none
   */
  readonly oidcIssuers?: string;
  /**
   * The URL that others know this deployment by when they verify identity tokens of steps: a custom domain of the API.
   *
   * @default - the API's own address
   */
  readonly issuerUrl?: string;
  /**
   * The keys of identity tokens: `a`, `a,b`, `b,a` or `b`. The first one signs, and tokens of both are verified.
   *
   * @default a
   */
  readonly identityKeys?: string;
  /**
   * Requests that the callers of one project may make each second.
   *
   * @default 100
   */
  readonly projectRequestsPerSecond?: number;
  /**
   * Requests that the callers of one project may make at once.
   *
   * @default 200
   */
  readonly projectRequestsBurst?: number;
  /**
   * Concurrency reserved for each function that stops work: revoke, cancel, sweep.
   *
   * @default 0 - none
   */
  readonly stopReservedConcurrency?: number;
  /**
   * Concurrency reserved for dispatch, which is also its limit.
   *
   * @default 0 - none
   */
  readonly dispatchReservedConcurrency?: number;
}

/**
 * The control plane: exactly the resources of infra/sam/template.yaml, with the same logical ids. All names begin with
 * `namePrefix`, so an account can hold several.
 */
export class Sealfleet extends Construct {
  /** Base URL of the API, without a trailing slash. */
  public readonly apiUrl: string;
  /** Name of the ledger table. */
  public readonly ledgerTableName: string;
  /** Name of the audit table. */
  public readonly auditTableName: string;
  /** Name of the bucket of the audit archive. */
  public readonly auditBucketName: string;
  /** Name of the bucket of what comes out of steps. */
  public readonly outputBucketName: string;
  /** Name of the cluster that runs sandboxes. */
  public readonly clusterName: string;
  /** URL of the queue for changes of the ledger whose audit entries could not be copied to the audit table. */
  public readonly trailFailuresUrl: string;
  /** URL of the queue for audit records that could not be exported. */
  public readonly exportFailuresUrl: string;
  /** URL of the queue for events that a function failed on. */
  public readonly eventFailuresUrl: string;
  /** What all names begin with. Projects need the same. */
  public readonly namePrefix: string;
  /** Your own key, if you set one. Projects also use it. */
  public readonly encryptionKey?: IKey;
  private readonly included: Included;

  constructor(scope: Construct, id: string, props: SealfleetProps) {
    super(scope, id);
    const network = props.network;
    if (network && network.securityGroups.length === 0) {
      throw new Error('`network.securityGroups` is empty: name at least one, it decides what a sandbox can reach');
    }
    checkNamePrefix(props.namePrefix);
    const zones = props.availabilityZones;
    if (zones && (zones.length !== 2 || zones[0] === zones[1])) {
      throw new Error('`availabilityZones` must be two different zones');
    }
    const subnets = network?.vpc.selectSubnets(network.subnets).subnetIds;
    const parameters = {
      NamePrefix: props.namePrefix,
      PermissionsBoundaryArn: props.permissionsBoundary?.managedPolicyArn,
      ZoneA: zones?.[0],
      ZoneB: zones?.[1],
      SandboxBucketArns: props.sandboxBucketArns,
      Subnets: subnets,
      SecurityGroups: network?.securityGroups.map((group) => group.securityGroupId),
      VpcCidr: props.vpcCidr,
      S3PrefixListId: props.s3PrefixListId,
      SandboxInternet: props.sandboxInternet === undefined ? undefined : String(props.sandboxInternet),
      EgressNetworks: props.egressNetworks,
      KmsKeyArn: props.encryptionKey?.keyArn,
      AlarmTopicArn: props.alarmTopic?.topicArn,
      LogRetentionDays: props.logRetention,
      SystemLogLevel: props.systemLogLevel,
      AuditLockMode: props.auditLockMode,
      AuditLockDays: props.auditLockDays,
      AuditExpireDays: props.auditExpireDays,
      OcsfVersion: props.ocsfVersion,
      SecurityLakeBucket: props.securityLake?.bucket.bucketName,
      SecurityLakePrefix: props.securityLake?.prefix,
      SecurityLakeKmsKeyArn: props.securityLake?.encryptionKey?.keyArn,
      RunRetentionDays: props.runRetentionDays,
      Prices: props.prices,
      TrailRetentionDays: props.trailRetentionDays,
      OutputRetentionDays: props.outputRetentionDays,
      ExportWindowSeconds: props.exportWindowSeconds,
      ExportBatchSize: props.exportBatchSize,
      QueueAgeSeconds: props.queueAgeSeconds,
      ProjectMetrics: props.projectMetrics,
      LeaseSeconds: props.leaseSeconds,
      ResendSeconds: props.resendSeconds,
      SecretVersionSeconds: props.secretVersionSeconds,
      ApiRateLimit: props.apiRateLimit,
      ApiBurstLimit: props.apiBurstLimit,
      RegisterRateLimit: props.registerRateLimit,
      RegisterBurstLimit: props.registerBurstLimit,
      OidcIssuers: props.oidcIssuers,
      IssuerUrl: props.issuerUrl,
      IdentityKeys: props.identityKeys,
      ProjectRequestsPerSecond: props.projectRequestsPerSecond,
      ProjectRequestsBurst: props.projectRequestsBurst,
      StopReservedConcurrency: props.stopReservedConcurrency,
      DispatchReservedConcurrency: props.dispatchReservedConcurrency,
    };
    const conditions = {
      MakesVpc: network ? false : undefined,
      HasKey: props.encryptionKey ? true : undefined,
      HasAlarmTopic: props.alarmTopic ? true : undefined,
      HasBoundary: props.permissionsBoundary ? true : undefined,
      WritesLake: props.securityLake ? true : undefined,
      LakeWritesByKey: props.securityLake?.encryptionKey ? true : undefined,
      NamesZones: zones ? true : undefined,
      HasSandboxBuckets: props.sandboxBucketArns ? props.sandboxBucketArns.length > 0 : undefined,
    };
    const rules = [...(network ? ['NetworkIsWhole'] : []), ...(zones ? ['ZonesAreTwo'] : [])];
    this.included = new Included(this, 'template.json', parameters, conditions, rules);
    const code = new Asset(this, 'Code', { path: props.code });
    for (const child of this.node.findAll()) {
      if (child instanceof CfnFunction) {
        child.code = { s3Bucket: code.s3BucketName, s3Key: code.s3ObjectKey };
      }
    }
    this.apiUrl = this.included.output('ApiUrl');
    this.ledgerTableName = this.included.output('LedgerTableName');
    this.auditTableName = this.included.output('AuditTableName');
    this.auditBucketName = this.included.output('AuditBucketName');
    this.outputBucketName = this.included.output('OutputBucketName');
    this.clusterName = this.included.output('ClusterName');
    this.trailFailuresUrl = this.included.output('TrailFailuresUrl');
    this.exportFailuresUrl = this.included.output('ExportFailuresUrl');
    this.eventFailuresUrl = this.included.output('EventFailuresUrl');
    this.namePrefix = this.included.output('NamePrefix');
    this.encryptionKey = props.encryptionKey;
  }

  /**
   * A resource of the template, for settings that no property covers.
   *
   * @param logicalId its logical id in infra/sam/template.yaml
   */
  public resource(logicalId: string): CfnResource {
    return this.included.resource(logicalId);
  }
}
