// Shared by the tests: a stack synthesised in this process, and the template that it must equal.

import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { App, DefaultStackSynthesizer, Stack, Validations } from 'aws-cdk-lib';

export type Json = any;

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'sealfleet-cdk-'));
process.on('exit', () => fs.rmSync(work, { recursive: true, force: true }));

/** A directory with a `bootstrap`, as cargo-lambda writes it. */
export const code = path.join(work, 'code');
fs.mkdirSync(code);
fs.writeFileSync(path.join(code, 'bootstrap'), '#!/bin/sh\n', { mode: 0o755 });
/** An app with one stack that contains none of CDK's own resources. */
export function newStack(): Stack {
  const app = new App({ analyticsReporting: false, outdir: fs.mkdtempSync(path.join(work, 'out-')) });
  const stack = new Stack(app, 'Test', {
    env: { account: '111122223333', region: 'eu-west-1' },
    synthesizer: new DefaultStackSynthesizer({ generateBootstrapVersionRule: false }),
  });
  // These rules warn about empty parameters and constant conditions. Both are intended: an empty parameter omits the property
  // that would reject it, and a set one decides its conditions.
  for (const rule of ['W1028', 'W1030', 'W8003', 'W9053']) {
    Validations.of(stack).acknowledge({ id: `CloudFormation-Validate::${rule}`, reason: 'what parameters are for' });
  }
  return stack;
}

/** The template of a stack. */
export function synth(stack: Stack): Json {
  const assembly = (stack.node.root as App).synth();
  return assembly.getStackByName(stack.stackName).template;
}

/** A template of infra/sam, translated by AWS's translator. */
export function translated(name: string): Json {
  return JSON.parse(fs.readFileSync(path.join(__dirname, '..', 'templates', `${name}.json`), 'utf8'));
}

/** The template without the location of the functions' code and without CDK's metadata. */
export function normal(template: Json): Json {
  // CloudFormation treats a number and its text the same.
  const copy = JSON.parse(JSON.stringify(template, (_, value) => (typeof value === 'number' ? String(value) : value)));
  for (const resource of Object.values<Json>(copy.Resources)) {
    if (resource.Type === 'AWS::Lambda::Function') {
      resource.Properties.Code = 'the functions';
    }
    // A single resource may omit the brackets.
    if (typeof resource.DependsOn === 'string') {
      resource.DependsOn = [resource.DependsOn];
    }
    for (const key of Object.keys(resource.Metadata ?? {}).filter((name) => name.startsWith('aws:cdk:') || name.startsWith('aws:asset:'))) {
      delete resource.Metadata[key];
    }
    if (resource.Metadata && Object.keys(resource.Metadata).length === 0) {
      delete resource.Metadata;
    }
  }
  // Ignore SAM's own section, the stack's description and the format version: they do not affect resources.
  for (const section of ['Metadata', 'AWSTemplateFormatVersion', 'Description']) {
    delete copy[section];
  }
  return copy;
}

/** The template as CloudFormation sees it with these parameter values. */
export function given(template: Json, parameters: Record<string, Json>): Json {
  const replace = (node: Json): Json => {
    if (Array.isArray(node)) {
      return node.map(replace);
    }
    if (typeof node === 'string' || node === null || typeof node !== 'object') {
      return node;
    }
    if (typeof node.Ref === 'string' && node.Ref in parameters) {
      return parameters[node.Ref];
    }
    const sub = node['Fn::Sub'];
    const filled = (text: string) => text.replace(/\$\{(\w+)\}/g, (whole, name) => (name in parameters ? String(parameters[name]) : whole));
    if (typeof sub === 'string') {
      return { 'Fn::Sub': filled(sub) };
    }
    if (Array.isArray(sub)) {
      return { 'Fn::Sub': [filled(sub[0]), replace(sub[1])] };
    }
    // What is known at synthesis is evaluated there.
    const split = node['Fn::Select']?.[1]?.['Fn::Split'];
    const text = split && replace(split[1]);
    if (typeof text === 'string') {
      return text.split(split[0])[Number(node['Fn::Select'][0])];
    }
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, replace(value)]));
  };
  const { Parameters, ...rest } = template;
  const left = Object.entries(Parameters).filter(([name]) => !(name in parameters));
  return { ...replace(rest), Parameters: Object.fromEntries(left) };
}
