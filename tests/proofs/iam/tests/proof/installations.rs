//! Two installations in one account, one beside the other: no name is in both, and no policy of one
//! speaks of what is the other's.

use std::collections::BTreeSet;

use sealfleet_iam::Account;
use sealfleet_iam::account::{FARGATE_POOL, PROJECTS, PULL_POOL, Shape, Templates};
use sealfleet_iam::policy::like;
use sealfleet_iam::template::{ACCOUNT, REGION, Template};
use serde_json::{Value, json};

/// Properties that are names, in the account or in the world.
const NAMES: [&str; 12] = [
    "AliasName",
    "AlarmName",
    "BucketName",
    "ClusterName",
    "DashboardName",
    "FunctionName",
    "GroupName",
    "LogGroupName",
    "ManagedPolicyName",
    "QueueName",
    "RoleName",
    "TableName",
];

/// Types whose only name is the property `Name`.
const BY_NAME: [&str; 3] = [
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGatewayV2::Api",
    "AWS::Events::Rule",
];

/// Actions for which AWS knows no narrower resource, or whose condition narrows them.
const ON_ANYTHING: [&str; 4] = [
    "dynamodb:ListStreams",
    "ecr:GetAuthorizationToken",
    "ecs:ListTasks",
    "logs:DescribeLogGroups",
];

struct Installation {
    account: Account,
    names: BTreeSet<String>,
}

fn installation(templates: &Templates, prefix: &str) -> Installation {
    let account = Account::deploy_as(templates, Shape::Large, prefix).unwrap();
    let control = templates
        .control
        .clone()
        .with("NamePrefix", json!(prefix))
        .with("Subnets", json!([""]))
        .with("SandboxInternet", json!("true"));
    let mut names = names(&control);
    for project in PROJECTS {
        let stack = templates
            .project
            .clone()
            .with("NamePrefix", json!(prefix))
            .with("Project", json!(project))
            .with("PullPool", json!(PULL_POOL))
            .with("FargatePool", json!(FARGATE_POOL))
            .with("QueueAgeSeconds", json!(900));
        names.extend(self::names(&stack));
    }
    Installation { account, names }
}

/// The names of all resources of a stack, each with its type.
fn names(template: &Template) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, kind, properties) in template.resources().unwrap() {
        // Refer to a function or a log group, and name none.
        let refers = [
            "AWS::EC2::FlowLog",
            "AWS::Lambda::EventInvokeConfig",
            "AWS::Lambda::EventSourceMapping",
            "AWS::Lambda::Permission",
        ];
        let mut named: Vec<&Value> = NAMES.iter().map(|key| &properties[*key]).collect();
        if refers.contains(&kind) {
            continue;
        }
        if BY_NAME.contains(&kind) {
            named.push(&properties["Name"]);
        }
        named.push(&properties["DatabaseInput"]["Name"]);
        for name in named.into_iter().filter(|name| !name.is_null()) {
            let name = template.resolve(name).unwrap();
            names.insert(format!("{kind} {}", name.as_str().unwrap()));
        }
    }
    names
}

/// What each policy of `of` may be about, and the things of an installation with `prefix`.
fn spoken_of(of: &Installation, prefix: &str) -> Vec<String> {
    let regional = |service: &str, resource: &str| {
        format!(
            "arn:aws:{service}:{REGION}:{ACCOUNT}:{}",
            resource.replace("PREFIX", prefix)
        )
    };
    let things = [
        regional("dynamodb", "table/PREFIX-ledger"),
        regional("dynamodb", "table/PREFIX-ledger/index/due"),
        regional("dynamodb", "table/PREFIX-audit"),
        format!("arn:aws:s3:::{prefix}-audit-{ACCOUNT}-{REGION}/audit/x"),
        regional("sqs", "PREFIX-continue"),
        regional("sqs", "PREFIX-event-failures"),
        regional("sqs", &format!("PREFIX-healthcare--{FARGATE_POOL}")),
        regional("sqs", &format!("PREFIX-healthcare--{PULL_POOL}")),
        regional("secretsmanager", "secret:PREFIX/healthcare/crm-AbCdEf"),
        regional("secretsmanager", "secret:PREFIX/system/crm-AbCdEf"),
        regional("ecs", "task/PREFIX/0123"),
        regional("ecs", "task-definition/PREFIX-healthcare--0123:1"),
        regional("ecr", "repository/PREFIX/sandbox"),
        regional("logs", "log-group:/aws/lambda/PREFIX-fleet:log-stream:x"),
        regional("logs", "log-group:/PREFIX/healthcare:log-stream:x"),
        regional(
            "logs",
            "log-group:/PREFIX-control/sandbox-flows:log-stream:x",
        ),
        regional("lambda", "function:PREFIX-fleet"),
        format!("arn:aws:iam::{ACCOUNT}:role/sealfleet/project/{prefix}-healthcare--execution"),
        format!("arn:aws:iam::{ACCOUNT}:role/sealfleet/shared/{prefix}-sandboxes"),
        format!("arn:aws:iam::{ACCOUNT}:role/sealfleet/shared/{prefix}-queues"),
        format!("arn:aws:iam::{ACCOUNT}:role/sealfleet/shared/{prefix}-outputs"),
        format!("arn:aws:s3:::{prefix}-outputs-{ACCOUNT}-{REGION}/x"),
        format!("arn:aws:iam::{ACCOUNT}:role/sealfleet/control/{prefix}-claim"),
    ];
    let mut found = Vec::new();
    for role in &of.account.roles {
        let statements = role
            .policies
            .iter()
            .flat_map(|(_, policy)| &policy.statements);
        for statement in statements.filter(|statement| statement.allow) {
            if statement
                .actions
                .patterns
                .iter()
                .all(|action| ON_ANYTHING.contains(&action.as_str()))
            {
                continue;
            }
            let patterns = statement
                .resources
                .iter()
                .flat_map(|resources| &resources.patterns);
            for pattern in patterns {
                found.extend(
                    things
                        .iter()
                        .filter(|thing| like(pattern, thing))
                        .map(|thing| format!("`{}` by `{}`: {thing}", role.name, statement.sid)),
                );
            }
        }
        for statement in &role.trust.statements {
            for condition in &statement.conditions {
                found.extend(
                    things
                        .iter()
                        .filter(|thing| condition.values.iter().any(|value| value == *thing))
                        .map(|thing| format!("`{}` trusts {thing}", role.name)),
                );
            }
        }
    }
    found
}

#[test]
fn two_installations_in_one_account_share_no_name() {
    let templates = Templates::of_the_product().unwrap();
    let (ours, theirs) = (
        installation(&templates, "sealfleet"),
        installation(&templates, "sealfleet2"),
    );
    assert!(ours.names.len() > 120, "{} names", ours.names.len());
    assert_eq!(ours.names.len(), theirs.names.len());
    let both: Vec<&String> = ours.names.intersection(&theirs.names).collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn no_policy_speaks_of_another_installation() {
    let templates = Templates::of_the_product().unwrap();
    for (prefix, other) in [("sealfleet", "sealfleet2"), ("sealfleet2", "sealfleet")] {
        let installation = installation(&templates, prefix);
        assert!(spoken_of(&installation, prefix).len() > 40);
        let found = spoken_of(&installation, other);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
