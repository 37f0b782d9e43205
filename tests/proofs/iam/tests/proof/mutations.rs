//! Each change to a template that would open something is seen. So the proof cannot rot into one
//! that passes on anything.

use sealfleet_domain::upload;
use sealfleet_iam::account::{Kind, RUN, Role, Shape, Templates};
use sealfleet_iam::policy::{Decision, Request};
use sealfleet_iam::template::{ACCOUNT, REGION};
use sealfleet_iam::{Account, Matrix};
use serde_json::{Value, json};

/// Statements of a role, a managed policy or a resource's policy.
fn statements<'a>(template: &'a mut Value, id: &str) -> &'a mut Vec<Value> {
    let resource = &mut template["Resources"][id]["Properties"];
    let document = if resource["Policies"].is_array() {
        &mut resource["Policies"][0]["PolicyDocument"]
    } else {
        &mut resource["PolicyDocument"]
    };
    document["Statement"]
        .as_array_mut()
        .unwrap_or_else(|| panic!("`{id}` has no statements"))
}

fn statement<'a>(template: &'a mut Value, id: &str, sid: &str) -> &'a mut Value {
    let found = statements(template, id)
        .iter_mut()
        .find(|statement| statement["Sid"] == sid);
    found.unwrap_or_else(|| {
        panic!("`{id}` has no statement `{sid}`: change this test with the template")
    })
}

fn without(template: &mut Value, id: &str, sid: &str) {
    let before = statements(template, id).len();
    statements(template, id).retain(|statement| statement["Sid"] != sid);
    assert_eq!(
        statements(template, id).len() + 1,
        before,
        "`{id}` has no statement `{sid}`"
    );
}

fn with(template: &mut Value, id: &str, action: &str, resource: Value) {
    statements(template, id)
        .push(json!({ "Sid": "More", "Effect": "Allow", "Action": action, "Resource": resource }));
}

/// What the matrix finds after `change`; or why the result cannot even be judged, which fails the
/// proof as well.
fn found(change: impl Fn(&mut Value, &mut Value)) -> Vec<String> {
    let mut templates = Templates::of_the_product().unwrap();
    change(
        &mut templates.control.document,
        &mut templates.project.document,
    );
    match Account::deploy(&templates, Shape::Large) {
        Ok(account) => Matrix::of_the_product()
            .unwrap()
            .first_differences(&account),
        Err(error) => vec![error],
    }
}

#[track_caller]
fn seen(what: &str, change: impl Fn(&mut Value, &mut Value)) {
    let found = found(change);
    assert!(!found.is_empty(), "nothing failed: {what}");
    println!("{what}: {}", found[0]);
}

/// What the role of outputs allows a session with another run's or project's tags, whatever the
/// session's own policy says.
fn beyond_its_run(change: impl Fn(&mut Value)) -> Vec<String> {
    let mut templates = Templates::of_the_product().unwrap();
    change(&mut templates.control.document);
    let account = Account::deploy(&templates, Shape::Large).unwrap();
    let mut found = Vec::new();
    for role in account
        .roles
        .iter()
        .filter(|role| role.kind == Kind::Upload)
    {
        let alone = Role {
            session: None,
            ..role.clone()
        };
        let project = role.project.unwrap();
        for (owner, run, step) in [
            (project, RUN, "main"),
            (project, RUN, "other"),
            (project, "run_0198c0de-0000-7000-8000-00000000000b", "main"),
            ("finance", RUN, "main"),
            ("healthcare", RUN, "main"),
            ("health", RUN, "main"),
            (project, upload::FOLDER, "upl_x"),
            ("finance", upload::FOLDER, "upl_x"),
            ("healthcare", upload::FOLDER, "upl_x"),
            ("health", upload::FOLDER, "upl_x"),
        ] {
            let key = format!("{owner}/{run}/{step}/1/output/0");
            let bucket = format!("arn:aws:s3:::sealfleet-outputs-{ACCOUNT}-{REGION}");
            let ask = |action: &str, resource: String, key: &str, value: &str| Request {
                action: action.to_owned(),
                resource,
                context: [
                    ("aws:securetransport".to_owned(), "true".to_owned()),
                    (key.to_owned(), value.to_owned()),
                ]
                .into(),
            };
            for request in [
                ask("s3:GetObject", format!("{bucket}/{key}"), "x", "x"),
                ask(
                    "s3:PutObject",
                    format!("{bucket}/{key}"),
                    "s3:if-none-match",
                    "*",
                ),
                ask("s3:ListBucket", bucket.clone(), "s3:prefix", &key),
            ] {
                let may = account.decide(&alone, &request, false) == Decision::Allowed;
                let reads = request.action != "s3:PutObject";
                let own = run == RUN || (run == upload::FOLDER && reads);
                if may != (owner == project && own) {
                    found.push(format!("`{}` {may}: {request:?}", role.name));
                }
            }
        }
    }
    found
}

#[test]
fn nothing_is_found_when_nothing_is_changed() {
    assert_eq!(found(|_, _| {}), Vec::<String>::new());
    assert_eq!(beyond_its_run(|_| {}), Vec::<String>::new());
}

#[test]
fn each_deny_is_missed() {
    let mut templates = Templates::of_the_product().unwrap();
    let sids: Vec<String> = statements(&mut templates.control.document, "ControlPlaneDenies")
        .iter()
        .map(|statement| statement["Sid"].as_str().unwrap().to_owned())
        .collect();
    assert!(sids.len() >= 8);
    // What the ceiling denies anyway; they stand there to be read, and for the day on which the
    // ceiling grows.
    let twice = [
        "NeverReadSecretValues",
        "NeverScan",
        "NeverShortenTheArchive",
        "NeverManageSigningKeys",
    ];
    for sid in sids {
        if twice.contains(&sid.as_str()) {
            seen(
                &format!("`{sid}` removed, and its calls put under the ceiling"),
                |control, _| {
                    let actions = statement(control, "ControlPlaneDenies", &sid)["Action"].clone();
                    let ceiling =
                        statement(control, "ControlPlaneDenies", "NothingElse")["NotAction"]
                            .as_array_mut();
                    ceiling.unwrap().extend(actions.as_array().unwrap().clone());
                    without(control, "ControlPlaneDenies", &sid);
                },
            );
        } else {
            seen(&format!("`{sid}` removed"), |control, _| {
                without(control, "ControlPlaneDenies", &sid)
            });
        }
    }
    seen("the denies not attached to a function", |control, _| {
        control["Resources"]["ExportRole"]["Properties"]["ManagedPolicyArns"] = json!([]);
    });
    for id in [
        "AuditBucketPolicy",
        "OutputBucketPolicy",
        "PullQueuePolicy",
        "FargateDeadLettersPolicy",
    ] {
        seen(
            &format!("TLS not required by `{id}`"),
            |control, project| {
                for template in [control, project] {
                    template["Resources"].as_object_mut().unwrap().remove(id);
                }
            },
        );
    }
}

#[test]
fn each_call_under_the_ceiling_is_needed() {
    // Every call that the ceiling leaves open is one that some function may make: no more is open
    // than is used.
    let mut templates = Templates::of_the_product().unwrap();
    let open = statement(
        &mut templates.control.document,
        "ControlPlaneDenies",
        "NothingElse",
    )["NotAction"]
        .clone();
    for action in open.as_array().unwrap() {
        seen(&format!("{action} no longer open"), |control, _| {
            let ceiling = statement(control, "ControlPlaneDenies", "NothingElse");
            ceiling["NotAction"]
                .as_array_mut()
                .unwrap()
                .retain(|open| open != action);
        });
    }
}

#[test]
fn more_permissions_are_seen() {
    let ledger = json!({ "Fn::GetAtt": ["LedgerTable", "Arn"] });
    for (id, action, resource) in [
        ("FleetRole", "dynamodb:Scan", ledger.clone()),
        ("FleetRole", "dynamodb:UpdateItem", ledger.clone()),
        ("RunsRole", "dynamodb:PutItem", ledger.clone()),
        ("RunsRole", "dynamodb:*", ledger),
        (
            "AuditRole",
            "dynamodb:DeleteItem",
            json!({ "Fn::GetAtt": ["AuditTable", "Arn"] }),
        ),
        ("EnqueueRole", "secretsmanager:GetSecretValue", json!("*")),
        ("EnqueueRole", "secretsmanager:DescribeSecret", json!("*")),
        ("DispatchRole", "iam:PassRole", json!("*")),
        ("DispatchRole", "ecs:RunTask", json!("*")),
        ("DispatchRole", "ecs:ExecuteCommand", json!("*")),
        ("ClaimRole", "sts:AssumeRole", json!("*")),
        ("ExportRole", "s3:DeleteObject", json!("*")),
        ("ExportRole", "s3:PutObject", json!("arn:aws:s3:::*")),
        ("SweepRole", "lambda:UpdateFunctionCode", json!("*")),
        ("SweepRole", "iam:PutRolePolicy", json!("*")),
        ("ReportRole", "sqs:SendMessage", json!("*")),
        ("ObserveRole", "*", json!("*")),
        ("ObserveRole", "logs:PutLogEvents", json!("*")),
    ] {
        seen(&format!("{id}: {action} on {resource}"), |control, _| {
            with(control, id, action, resource.clone())
        });
    }
    for (id, action, resource) in [
        (
            "ExecutionRole",
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:sealfleet/*",
        ),
        ("ExecutionRole", "secretsmanager:ListSecrets", "*"),
        (
            "SandboxTaskRole",
            "execute-api:Invoke",
            "arn:aws:execute-api:eu-west-1:111122223333:a1b2c3d4e5/*",
        ),
        ("SandboxTaskRole", "secretsmanager:GetSecretValue", "*"),
        ("SandboxTaskRole", "ecs:DescribeTasks", "*"),
        ("WorkerQueueRole", "sqs:*", "*"),
        (
            "WorkerQueueRole",
            "sqs:SendMessage",
            "arn:aws:sqs:eu-west-1:111122223333:sealfleet-healthcare--edge",
        ),
    ] {
        seen(
            &format!("{id}: {action} on {resource}"),
            |control, project| {
                let of_project = project["Resources"][id].is_object();
                let template = if of_project { project } else { control };
                with(template, id, action, json!(resource));
            },
        );
    }
}

#[test]
fn wider_resources_and_weaker_conditions_are_seen() {
    let sub = |text: &str| json!({ "Fn::Sub": text });
    seen(
        "an execution role reads projects that begin with its name",
        |_, project| {
            statement(project, "ExecutionRole", "OwnSecrets")["Resource"] = sub(
                "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:sealfleet/${Project}*",
            );
        },
    );
    for sid in ["OwnSecrets", "SystemSecrets"] {
        seen(&format!("no tag asked for by `{sid}`"), |_, project| {
            statement(project, "ExecutionRole", sid)
                .as_object_mut()
                .unwrap()
                .remove("Condition");
        });
        seen(
            &format!("a missing tag will do for `{sid}`"),
            |_, project| {
                let condition = &mut statement(project, "ExecutionRole", sid)["Condition"];
                *condition = json!({ "StringEqualsIfExists": condition["StringEquals"] });
            },
        );
    }
    seen("any tag that begins with the project", |_, project| {
        statement(project, "ExecutionRole", "OwnSecrets")["Condition"] =
            json!({ "StringLike": { "aws:ResourceTag/sealfleet:project": sub("${Project}*") } });
    });
    seen("roles passed to any service", |control, _| {
        statement(control, "DispatchRole", "PassProjectRoles")
            .as_object_mut()
            .unwrap()
            .remove("Condition");
    });
    seen("tasks in any cluster", |control, _| {
        statement(control, "DispatchRole", "RunTasks")
            .as_object_mut()
            .unwrap()
            .remove("Condition");
    });
    seen("queue roles passed to tasks", |control, _| {
        let all = sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:role/sealfleet/project/*");
        statement(control, "DispatchRole", "PassProjectRoles")["Resource"] = all.clone();
        statement(control, "ControlPlaneDenies", "NeverPassOtherRoles")["NotResource"] = all;
    });
    seen("claim assumes execution roles", |control, _| {
        let all = sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:role/sealfleet/project/*");
        statement(control, "ClaimRole", "QueueSessions")["Resource"] = all.clone();
        statement(control, "ControlPlaneDenies", "NeverAssumeOtherRoles")["NotResource"] = all;
    });
    for (what, queue) in [
        ("any project's", "sealfleet-*--${!aws:PrincipalTag/pool}"),
        ("any pool's", "sealfleet-${!aws:PrincipalTag/project}--*"),
        (
            "those of projects that begin with its name",
            "sealfleet-${!aws:PrincipalTag/project}*--${!aws:PrincipalTag/pool}",
        ),
        (
            "that of another tag",
            "sealfleet-${!aws:PrincipalTag/team}--edge",
        ),
    ] {
        seen(
            &format!("a worker's session reads {what} queue"),
            |control, _| {
                statement(control, "WorkerQueueRole", "TaggedQueue")["Resource"] = sub(&format!(
                    "arn:${{AWS::Partition}}:sqs:${{AWS::Region}}:${{AWS::AccountId}}:{queue}"
                ));
            },
        );
    }
    for tag in ["aws:RequestTag/project", "aws:RequestTag/pool"] {
        seen(
            &format!("a worker's session without {tag}"),
            |control, _| {
                let trust = &mut control["Resources"]["WorkerQueueRole"]["Properties"]["AssumeRolePolicyDocument"];
                trust["Statement"][0]["Condition"]["Null"]
                    .as_object_mut()
                    .unwrap()
                    .remove(tag);
            },
        );
    }
    for (what, objects) in [
        ("any project's", "*/${!aws:PrincipalTag/run}/*"),
        ("any run's", "${!aws:PrincipalTag/project}/*"),
        (
            "those of projects that begin with its name",
            "${!aws:PrincipalTag/project}*/${!aws:PrincipalTag/run}/*",
        ),
    ] {
        let found = beyond_its_run(|control| {
            statement(control, "OutputRole", "TaggedRun")["Resource"] =
                sub(&format!("${{OutputBucket.Arn}}/{objects}"));
        });
        assert!(
            !found.is_empty(),
            "nothing failed: a session for {what} outputs"
        );
    }
    let listed = beyond_its_run(|control| {
        statement(control, "OutputRole", "TaggedRunList")
            .as_object_mut()
            .unwrap()
            .remove("Condition");
    });
    assert!(
        !listed.is_empty(),
        "nothing failed: outputs listed without a prefix"
    );
    for (at, what) in [
        (0, "outputs written by a session without a run"),
        (2, "sessions of `enqueue` for runs"),
    ] {
        seen(what, |control, _| {
            let trust =
                &mut control["Resources"]["OutputRole"]["Properties"]["AssumeRolePolicyDocument"];
            let condition = trust["Statement"][at]["Condition"].as_object_mut().unwrap();
            condition.remove("StringLike");
            condition.remove("StringEquals");
        });
    }
    let read = beyond_its_run(|control| {
        statement(control, "OutputRole", "ProjectsUploads")["Resource"] =
            sub("${OutputBucket.Arn}/*/uploads/*");
    });
    assert!(!read.is_empty(), "nothing failed: uploads of any project");
    seen("outputs that can be replaced", |control, _| {
        without(control, "OutputBucketPolicy", "WriteOnce");
    });
    seen("a function that reads outputs by itself", |control, _| {
        statement(control, "ExportRole", "ArchiveObjects")["Resource"] =
            sub("arn:${AWS::Partition}:s3:::*");
        without(control, "ControlPlaneDenies", "NeverTouchOutputs");
    });
    seen("messages into any queue", |control, _| {
        statement(control, "FleetRole", "ProjectQueues")["Resource"] =
            sub("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:*");
    });
    seen(
        "a project's output written to all log groups",
        |_, project| {
            statement(project, "ExecutionRole", "OwnLogs")["Resource"] = sub(
                "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/sealfleet/*",
            );
        },
    );
    seen("a permission taken away", |control, _| {
        without(control, "SweepRole", "LedgerDue")
    });
}

#[test]
fn other_doors_are_seen() {
    let trust = |template: &mut Value, id: &str, principal: Value| {
        template["Resources"][id]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] =
            principal;
    };
    seen("a function's role for every service", |control, _| {
        trust(control, "FleetRole", json!("*"))
    });
    seen("a function's role for another service", |control, _| {
        trust(
            control,
            "FleetRole",
            json!({ "Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"] }),
        );
    });
    seen("a function's role for an unknown service", |control, _| {
        trust(
            control,
            "FleetRole",
            json!({ "Service": ["lambda.amazonaws.com", "new.amazonaws.com"] }),
        );
    });
    seen("an execution role for the account", |_, project| {
        trust(
            project,
            "ExecutionRole",
            json!({ "AWS": { "Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root" } }),
        );
    });
    seen(
        "an execution role for other accounts' tasks",
        |_, project| {
            let trust = &mut project["Resources"]["ExecutionRole"]["Properties"]["AssumeRolePolicyDocument"];
            trust["Statement"][0]
                .as_object_mut()
                .unwrap()
                .remove("Condition");
        },
    );
    seen(
        "the queue role for whoever may assume roles",
        |control, _| {
            let trust = &mut control["Resources"]["WorkerQueueRole"]["Properties"]["AssumeRolePolicyDocument"];
            trust["Statement"][0]["Condition"]
                .as_object_mut()
                .unwrap()
                .remove("ArnLike");
        },
    );
    seen("a role that nobody wrote down", |control, _| {
        let mut role = control["Resources"]["RunsRole"].clone();
        role["Properties"]["RoleName"] = json!("sealfleet-new");
        control["Resources"]["NewRole"] = role;
    });
    seen("a policy beside the roles", |control, _| {
        control["Resources"]["Extra"] = json!({ "Type": "AWS::IAM::Policy", "Properties": {} });
    });
    seen("a managed policy of AWS", |control, _| {
        control["Resources"]["RunsRole"]["Properties"]["ManagedPolicyArns"] =
            json!([{ "Ref": "ControlPlaneDenies" }, "arn:aws:iam::aws:policy/AdministratorAccess"]);
    });
    seen("a function without a role of the template", |control, _| {
        control["Resources"]["RunsFunction"]["Properties"]
            .as_object_mut()
            .unwrap()
            .remove("Role");
    });
    seen("a function open to any API", |control, _| {
        control["Resources"]["FleetInvocation"]["Properties"]
            .as_object_mut()
            .unwrap()
            .remove("SourceArn");
    });
    seen("a function open to any rule", |control, _| {
        control["Resources"]["SweepInvocation"]["Properties"]["SourceArn"] = json!("*");
    });
    seen("a queue open to the account", |_, project| {
        project["Resources"]["PullQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"].as_array_mut().unwrap().push(
            json!({ "Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": { "Fn::GetAtt": ["PullQueue", "Arn"] } }),
        );
    });
}
