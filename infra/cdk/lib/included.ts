import * as path from 'path';
import { CfnCondition, Fn } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { Construct } from 'constructs';

/**
 * One of the templates of infra/sam, with some of its parameters given. A parameter that is not given stays a parameter of
 * the stack, with its default: the stack is then the one that SAM deploys.
 *
 * @internal
 */
export class Included {
  private readonly include: CfnInclude;

  /**
   * @param conditions conditions of the template that compare a given parameter. They are decided here: a value may be known
   *   only once the stack is deployed, and CloudFormation allows no such value in a condition.
   * @param rules rules of the template about given parameters, which the construct has checked itself.
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

  /** The value of an output, as text. */
  public output(name: string): string {
    return String(this.include.getOutput(name).value);
  }

  /** A condition, for an output that hangs on it. */
  public condition(name: string): CfnCondition {
    return this.include.getCondition(name);
  }
}

function constant(holds: boolean) {
  return Fn.conditionEquals(holds ? 'yes' : 'no', 'yes');
}
