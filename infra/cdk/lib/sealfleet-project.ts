import { CfnResource, Token } from 'aws-cdk-lib';
import { IManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { Included, checkNamePrefix } from './included';

/** Properties of a project. An omitted property stays a parameter of the stack, with the template's default. */
export interface SealfleetProjectProps {
  /** The project's id: lower-case letters, digits and single hyphens. Cannot be `system`. */
  readonly project: string;
  /**
   * The control plane's `namePrefix`.
   *
   * @default sealfleet
   */
  readonly namePrefix?: string;
  /**
   * Permissions boundary of the execution role.
   *
   * @default - none
   */
  readonly permissionsBoundary?: IManagedPolicy;
  /**
   * Your own key of the project's secrets and of those that the operators share.
   *
   * @default - Secrets Manager encrypts them with the account's key
   */
  readonly secretsKey?: IKey;
  /**
   * Pool of the project's own workers.
   *
   * @default - none
   */
  readonly pullPool?: string;
  /**
   * Pool that runs on Fargate.
   *
   * @default - none
   */
  readonly fargatePool?: string;
  /**
   * The control plane's `encryptionKey`, for the queues and the log group.
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
   * Seconds that a message may wait before an alarm of the project's own is raised.
   *
   * @default 0 - no alarms of its own: those of the control plane watch all projects together
   */
  readonly queueAgeSeconds?: number;
  /**
   * The control plane's output `Issuer`: lets the project's own workers read its secrets with tokens of their steps.
   *
   * @default no worker can
   */
  readonly issuer?: string;
  /**
   * How long to keep the output of the project's sandboxes.
   *
   * @default RetentionDays.THREE_MONTHS
   */
  readonly logRetention?: RetentionDays;
}

/**
 * The resources of one project: exactly those of infra/sam/project.yaml, with the same logical ids. Use one for each stack.
 */
export class SealfleetProject extends Construct {
  /** Name of the log group of the project's sandboxes. */
  public readonly logGroupName: string;
  /** URL of the pull pool's queue. */
  public readonly pullQueueUrl?: string;
  /** URL of the Fargate pool's queue. */
  public readonly fargateQueueUrl?: string;
  /** Role by which ECS reads the project's secrets. */
  public readonly executionRoleArn?: string;
  /** Role by which sandboxes of the project's own workers read its secrets. */
  public readonly readerRoleArn?: string;
  private readonly included: Included;

  constructor(scope: Construct, id: string, props: SealfleetProjectProps) {
    super(scope, id);
    check(props);
    const { pullPool, fargatePool } = props;
    const parameters = {
      NamePrefix: props.namePrefix,
      PermissionsBoundaryArn: props.permissionsBoundary?.managedPolicyArn,
      SecretsKmsKeyArn: props.secretsKey?.keyArn,
      Project: props.project,
      PullPool: pullPool,
      FargatePool: fargatePool,
      Issuer: props.issuer,
      KmsKeyArn: props.encryptionKey?.keyArn,
      AlarmTopicArn: props.alarmTopic?.topicArn,
      QueueAgeSeconds: props.queueAgeSeconds,
      LogRetentionDays: props.logRetention,
    };
    const conditions = {
      HasKey: props.encryptionKey ? true : undefined,
      HasAlarmTopic: props.alarmTopic ? true : undefined,
      HasBoundary: props.permissionsBoundary ? true : undefined,
      HasSecretsKey: props.secretsKey ? true : undefined,
      HasIssuer: props.issuer ? true : undefined,
    };
    this.included = new Included(this, 'project.json', parameters, conditions, ['ProjectIsNotReserved', 'PoolsDiffer']);
    this.logGroupName = this.included.output('LogGroupName');
    this.pullQueueUrl = pullPool ? this.included.output('PullQueueUrl') : undefined;
    this.fargateQueueUrl = fargatePool ? this.included.output('FargateQueueUrl') : undefined;
    this.executionRoleArn = fargatePool ? this.included.output('ExecutionRoleArn') : undefined;
    this.readerRoleArn = pullPool && props.issuer ? this.included.output('ReaderRoleArn') : undefined;
  }

  /**
   * A resource of the template, for settings that no property covers.
   *
   * @param logicalId its logical id in infra/sam/project.yaml
   */
  public resource(logicalId: string): CfnResource {
    return this.included.resource(logicalId);
  }
}

/** Checks the template's patterns and rules for values that are known at synthesis. */
function check(props: SealfleetProjectProps): void {
  checkNamePrefix(props.namePrefix);
  const name = (what: string, value: string | undefined, length: number) => {
    if (value === undefined || Token.isUnresolved(value)) {
      return;
    }
    if (value.length > length || !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(value)) {
      throw new Error(
        `\`${value}\` is no ${what}: use lower-case letters, digits and single hyphens, at most ${length}, a letter first`,
      );
    }
  };
  name('project id', props.project, 32);
  name('pool name', props.pullPool, 24);
  name('pool name', props.fargatePool, 24);
  if (props.project === 'system') {
    throw new Error('`system` stands for the operators: choose another project id');
  }
  if (props.pullPool !== undefined && props.pullPool === props.fargatePool) {
    throw new Error('`pullPool` and `fargatePool` must differ');
  }
}
