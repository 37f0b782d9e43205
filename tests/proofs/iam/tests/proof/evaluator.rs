//! The evaluator itself: cases written by hand from the IAM user guide, and a second evaluator that
//! must agree.

use iam_rs::{Arn, IAMPolicy, IAMRequest, PolicyEvaluator, Principal, PrincipalId};
use sealfleet_iam::account::{Kind, Shape, Templates};
use sealfleet_iam::policy::{Context, Decision, Policy, Request, like, within};
use sealfleet_iam::{Account, Matrix};
use serde_json::{Value, json};

const TABLE: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/a";

fn policy(statements: Value) -> Result<Policy, String> {
    Policy::parse(&json!({ "Version": "2012-10-17", "Statement": statements }))
}

fn request(action: &str, resource: &str, context: &[(&str, &str)]) -> Request {
    let context = context
        .iter()
        .map(|(key, value)| (key.to_ascii_lowercase(), (*value).to_owned()));
    Request {
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: context.collect::<Context>(),
    }
}

fn allowed(statements: Value, action: &str, resource: &str, context: &[(&str, &str)]) -> bool {
    let decision = policy(statements)
        .unwrap()
        .decide(&request(action, resource, context), None);
    decision == Decision::Allowed
}

#[test]
fn a_deny_wins_and_silence_refuses() {
    let allow = json!({ "Effect": "Allow", "Action": "dynamodb:*", "Resource": "*" });
    let deny =
        json!({ "Sid": "D", "Effect": "Deny", "Action": ["dynamodb:Scan"], "Resource": TABLE });
    let both = policy(json!([allow, deny])).unwrap();
    assert_eq!(
        both.decide(&request("dynamodb:GetItem", TABLE, &[]), None),
        Decision::Allowed
    );
    assert_eq!(
        both.decide(&request("dynamodb:Scan", TABLE, &[]), None),
        Decision::Denied("D".to_owned())
    );
    assert_eq!(
        both.decide(&request("sqs:SendMessage", TABLE, &[]), None),
        Decision::NotAllowed
    );
}

#[test]
fn actions_match_in_any_case_and_resources_in_their_own() {
    let allow =
        json!([{ "Effect": "Allow", "Action": "DynamoDB:get*", "Resource": format!("{TABLE}b?") }]);
    assert!(allowed(
        allow.clone(),
        "dynamodb:GetItem",
        &format!("{TABLE}bc"),
        &[]
    ));
    assert!(!allowed(
        allow.clone(),
        "dynamodb:GetItem",
        &format!("{TABLE}b"),
        &[]
    ));
    assert!(!allowed(
        allow.clone(),
        "dynamodb:GetItem",
        &format!("{TABLE}Bc"),
        &[]
    ));
    assert!(!allowed(
        allow,
        "dynamodb:PutItem",
        &format!("{TABLE}bc"),
        &[]
    ));
}

#[test]
fn not_action_and_not_resource_are_the_rest() {
    let all = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let ceiling = json!([all, { "Effect": "Deny", "NotAction": ["sqs:*"], "Resource": "*" }]);
    assert!(allowed(ceiling.clone(), "sqs:SendMessage", "*", &[]));
    assert!(!allowed(ceiling, "iam:PutRolePolicy", "*", &[]));
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let only =
        json!([all, { "Effect": "Deny", "Action": "iam:PassRole", "NotResource": role("p/*") }]);
    assert!(allowed(only.clone(), "iam:PassRole", &role("p/x"), &[]));
    assert!(!allowed(only.clone(), "iam:PassRole", &role("q/x"), &[]));
    assert!(!allowed(
        only,
        "iam:PassRole",
        "arn:aws:iam::999999999999:role/p/x",
        &[]
    ));
}

#[test]
fn an_allow_errs_to_more_and_a_deny_to_less() {
    let pattern = "arn:aws:dynamodb:*:table/a";
    let allow =
        json!([{ "Effect": "Allow", "Action": "*", "Resource": "arn:aws:dynamodb:*:*:table/a" }]);
    assert!(allowed(allow, "dynamodb:GetItem", TABLE, &[]));
    assert!(like(pattern, TABLE), "as text, a star crosses the colon");
    let deny = json!([
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::a*:b" },
    ]);
    assert!(!allowed(
        deny.clone(),
        "s3:GetObject",
        "arn:aws:s3:::a/x:b",
        &[]
    ));
    let crossing = json!([
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "*", "Resource": "arn:aws:*:*:*:table/a" },
    ]);
    assert!(allowed(
        crossing,
        "dynamodb:GetItem",
        "arn:aws:dynamodb:eu-west-1:1:x:table/a",
        &[]
    ));
}

#[test]
fn conditions_hold_as_the_guide_says() {
    let with = |condition: Value| json!([{ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition }]);
    let holds =
        |condition: Value, context: &[(&str, &str)]| allowed(with(condition), "a:B", "*", context);
    let tag = "aws:ResourceTag/sealfleet:project";
    // Present and equal, in the value's own case; the key in any.
    let equals = json!({ "StringEquals": { tag: ["finance", "health"] } });
    assert!(holds(equals.clone(), &[(tag, "health")]));
    assert!(holds(
        equals.clone(),
        &[("AWS:resourcetag/SEALFLEET:project", "finance")]
    ));
    assert!(!holds(equals.clone(), &[(tag, "healthcare")]));
    assert!(!holds(equals.clone(), &[(tag, "Health")]));
    assert!(!holds(equals, &[]));
    // Absent satisfies `IfExists` and differences.
    assert!(holds(
        json!({ "StringEqualsIfExists": { tag: "health" } }),
        &[]
    ));
    assert!(!holds(
        json!({ "StringEqualsIfExists": { tag: "health" } }),
        &[(tag, "x")]
    ));
    assert!(holds(json!({ "StringNotEquals": { tag: "health" } }), &[]));
    assert!(!holds(
        json!({ "StringNotEquals": { tag: ["health", "x"] } }),
        &[(tag, "x")]
    ));
    // All keys, all operators.
    let two = json!({ "StringEquals": { "a:x": "1", "a:y": "2" }, "Bool": { "a:z": "true" } });
    assert!(holds(
        two.clone(),
        &[("a:x", "1"), ("a:y", "2"), ("a:z", "true")]
    ));
    assert!(!holds(
        two.clone(),
        &[("a:x", "1"), ("a:y", "2"), ("a:z", "false")]
    ));
    assert!(!holds(two, &[("a:x", "1"), ("a:z", "true")]));
    // Patterns: `ArnEquals` is `ArnLike`; `StringEquals` knows none.
    assert!(holds(
        json!({ "ArnEquals": { "ecs:cluster": "arn:aws:ecs:*:1:cluster/s*" } }),
        &[("ecs:cluster", "arn:aws:ecs:e:1:cluster/sx")]
    ));
    assert!(holds(
        json!({ "StringLike": { "a:x": "p*" } }),
        &[("a:x", "pq")]
    ));
    assert!(!holds(
        json!({ "StringNotLike": { "a:x": "p*" } }),
        &[("a:x", "pq")]
    ));
    assert!(!holds(
        json!({ "StringEquals": { "a:x": "p*" } }),
        &[("a:x", "pq")]
    ));
    // One value, or none.
    assert!(holds(
        json!({ "ForAllValues:StringLike": { "a:x": "p*" } }),
        &[("a:x", "pq")]
    ));
    assert!(!holds(
        json!({ "ForAllValues:StringLike": { "a:x": "p*" } }),
        &[("a:x", "q")]
    ));
    assert!(holds(
        json!({ "ForAllValues:StringLike": { "a:x": "p*" } }),
        &[]
    ));
    assert!(!holds(
        json!({ "ForAllValues:StringLike": { "a:x": "p*" }, "Null": { "a:x": "false" } }),
        &[]
    ));
    assert!(holds(
        json!({ "ForAnyValue:StringNotLike": { "a:x": "p*" } }),
        &[("a:x", "q")]
    ));
    assert!(!holds(
        json!({ "ForAnyValue:StringNotLike": { "a:x": "p*" } }),
        &[("a:x", "pq")]
    ));
    assert!(!holds(
        json!({ "ForAnyValue:StringNotLike": { "a:x": "p*" } }),
        &[]
    ));
    // Presence.
    assert!(holds(json!({ "Null": { "a:x": "true" } }), &[]));
    assert!(!holds(
        json!({ "Null": { "a:x": "true" } }),
        &[("a:x", "1")]
    ));
    assert!(holds(
        json!({ "Null": { "a:x": "false" } }),
        &[("a:x", "1")]
    ));
}

#[test]
fn principals_are_named_one_by_one_or_by_account() {
    let trust = |principal: Value| {
        policy(json!([{ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" }]))
            .unwrap()
    };
    let assume = request("sts:AssumeRole", "*", &[]);
    let role = "arn:aws:iam::111122223333:role/a";
    let says =
        |policy: &Policy, principal| policy.decide(&assume, Some(principal)) == Decision::Allowed;
    let service = trust(json!({ "Service": "lambda.amazonaws.com" }));
    assert!(says(&service, ("Service", "lambda.amazonaws.com")));
    assert!(!says(&service, ("Service", "ecs-tasks.amazonaws.com")));
    assert!(!says(&service, ("AWS", role)));
    let one = trust(json!({ "AWS": role }));
    assert!(says(&one, ("AWS", role)) && !says(&one, ("AWS", "arn:aws:iam::111122223333:role/ab")));
    let all = trust(json!({ "AWS": "arn:aws:iam::111122223333:root" }));
    assert!(says(&all, ("AWS", role)) && !says(&all, ("AWS", "arn:aws:iam::999999999999:role/a")));
    assert!(says(
        &trust(json!("*")),
        ("AWS", "arn:aws:iam::999999999999:role/a")
    ));
}

#[test]
fn a_pattern_lies_within_another_only_if_all_it_matches_does() {
    for (inner, outer, expected) in [
        ("a:b", "a:b", true),
        ("a:b", "a:*", true),
        ("a:*", "a:*", true),
        ("a:*-*", "a:*", true),
        ("a:*", "a:b*", false),
        ("*", "a:*", false),
        ("a:*", "a:?", false),
        ("a:?", "a:*", false),
    ] {
        assert_eq!(within(inner, outer), expected, "{inner} within {outer}");
    }
}

#[test]
fn what_is_not_known_is_an_error_and_no_guess() {
    let allow = |more: Value| {
        let mut statement = json!({ "Effect": "Allow", "Action": "a:B", "Resource": "*" });
        for (field, value) in more.as_object().unwrap() {
            statement[field] = value.clone();
        }
        statement
    };
    for statement in [
        allow(json!({ "Condition": { "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } } })),
        allow(json!({ "Condition": { "ForAnyValue:Null": { "aws:TagKeys": "true" } } })),
        allow(json!({ "Condition": { "StringEquals": { "a:x": "${aws:PrincipalTag/x}" } } })),
        allow(json!({ "Resource": "arn:aws:s3:::${aws:PrincipalTag/x}" })),
        allow(json!({ "Resource": "arn:aws:s3" })),
        allow(json!({ "NotPrincipal": "*" })),
        allow(json!({ "Effect": "Maybe" })),
        json!({ "Effect": "Allow", "NotAction": "a:B", "Resource": "*" }),
        json!({ "Effect": "Allow", "Action": "a:B", "NotResource": "*" }),
    ] {
        assert!(policy(json!([statement])).is_err(), "{statement}");
    }
    assert!(Policy::parse(&json!({ "Statement": [] })).is_err());
}

/// `iam-rs` reads the same documents and must decide the same, on every request of the matrix, for
/// every role.
#[test]
fn a_second_evaluator_decides_the_same() {
    let account = Account::deploy(&Templates::of_the_product().unwrap(), Shape::Large).unwrap();
    let matrix = Matrix::of_the_product().unwrap();
    let requests: Vec<Request> = matrix
        .rows()
        .flat_map(|row| matrix.requests(row).unwrap())
        .collect();
    let mut compared = 0_usize;
    for role in &account.roles {
        let documents = role
            .documents
            .iter()
            .map(|document| serde_json::from_value::<IAMPolicy>(document.clone()));
        let other = PolicyEvaluator::with_policies(documents.collect::<Result<_, _>>().unwrap());
        // Without resources' policies and sessions: those are not the second evaluator's to know.
        let own = Account {
            guards: Vec::new(),
            ..account.clone()
        };
        let role = sealfleet_iam::account::Role {
            session: None,
            tags: Vec::new(),
            ..role.clone()
        };
        for request in &requests {
            // It asks for an ARN, and a request on no resource has none.
            let Ok(resource) = Arn::parse(&request.resource) else {
                continue;
            };
            let mut asked = IAMRequest::new(
                Principal::Aws(PrincipalId::String(role.arn.clone())),
                request.action.as_str(),
                resource,
            );
            for (key, value) in &request.context {
                asked.context = match value.as_str() {
                    "true" | "false" => asked.context.with_boolean(key, value == "true"),
                    _ => asked.context.with_string(key, value),
                };
            }
            let theirs = other.evaluate(&asked).unwrap().decision;
            let ours = match own.decide(&role, request, false) {
                Decision::Allowed => iam_rs::Decision::Allow,
                Decision::Denied(_) => iam_rs::Decision::Deny,
                Decision::NotAllowed => iam_rs::Decision::NotApplicable,
            };
            assert_eq!(ours, theirs, "`{}`: {request:?}", role.name);
            compared += 1;
        }
    }
    assert!(compared > 5000, "{compared} decisions compared");
    assert_eq!(
        account
            .roles
            .iter()
            .filter(|role| role.kind == Kind::Queue)
            .count(),
        3
    );
}
