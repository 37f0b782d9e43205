import * as path from 'path';
import { CfnCondition, Fn, Token } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { Construct } from 'constructs';

/**
 * Includes a template of infra/sam and sets some of its parameters. A parameter that is not set stays a parameter of the
 * stack, with its default. Without any set, the stack is the one that SAM deploys.
 *
 * @internal
 */
export class Included {
  private readonly include: CfnInclude;

  /**
   * @param conditions conditions of the template that compare a set parameter. They are evaluated here, because a value may
   *   become known only at deployment, and CloudFormation allows no such value in a condition.
   * @param rules rules of the template about set parameters. The construct has checked them itself.
   */
  constructor(
    scope: Construct,
    template: string,
    parameters: Record<string, unknown>,
    conditions: Record<string, boolean | undefined>,
    rules: string[],
  ) {
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
    this.include = new CfnInclude(scope, 'Template', {
      templateFile: path.join(__dirname, '..', 'templates', template),
      parameters: Object.fromEntries(given),
    });
    for (const [name, holds] of Object.entries(conditions)) {
      if (holds !== undefined) {
        this.include.getCondition(name).expression = constant(holds);
      }
    }
    for (const rule of rules) {
      const found = this.include.getRule(rule);
      found.node.scope?.node.tryRemoveChild(found.node.id);
    }
  }

  /** Every resource of the template, by logical id. */
  public resource(id: string) {
    return this.include.getResource(id);
  }

  /** The value of an output. */
  public output(name: string): string {
    return String(this.include.getOutput(name).value);
  }

  /** A condition, for an output that depends on it. */
  public condition(name: string): CfnCondition {
    return this.include.getCondition(name);
  }
}

/**
 * Refuses a prefix that the templates would refuse.
 *
 * @internal
 */
export function checkNamePrefix(prefix: string | undefined): void {
  if (prefix !== undefined && !Token.isUnresolved(prefix) && !/^[a-z][a-z0-9]{0,15}$/.test(prefix)) {
    throw new Error(`\`${prefix}\` is no name prefix: use lower-case letters and digits, at most 16, a letter first`);
  }
}

function constant(holds: boolean) {
  return Fn.conditionEquals(holds ? 'yes' : 'no', 'yes');
}
