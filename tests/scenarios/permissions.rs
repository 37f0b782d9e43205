//! IAM refuses each call that the matrix forbids a role: each row of
//! `tests/proofs/iam/matrix.yaml`, tried with the role's own credentials. Rows whose refusals the
//! stack cannot show say why, and are printed.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use sealfleet_iam::account::{Kind, PROJECTS, Role, Shape, Templates};
use sealfleet_iam::matrix::{Answer, Row, Word};
use sealfleet_iam::policy::{Decision, Request};
use sealfleet_iam::template::{ACCOUNT, API, REGION};
use sealfleet_iam::{Account, Matrix, account};
use sealfleet_test_stack::aws::{Keys, Service};
use sealfleet_test_stack::project::{FARGATE, PULL};
use sealfleet_test_stack::{Failure, Outcome, Stack, ensure, unique};
use serde_json::{Value, json};

/// The tag that decides who reads a secret.
const TAG: &str = "sealfleet:project";

/// The matrix's names, on this stack.
struct Here<'a> {
    stack: &'a Stack,
    api: String,
    /// `health` and `healthcare`: one's name begins the other's here as well.
    short: String,
    long: String,
    /// Part of the names of the secrets made for this.
    mark: String,
}

/// One call of a role, and the expected outcome.
struct Try {
    who: String,
    keys: Keys,
    request: Request,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Allowed,
    Denied,
    /// By a Deny statement.
    DeniedForEver,
}

/// A request on the wire.
struct Call {
    service: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// Every refusal of the matrix that this stack can show is one of IAM, and what is allowed there
/// passes.
pub async fn who_may_do_what_on_aws_is_enforced(stack: &Stack) -> Outcome {
    let account = Account::deploy(
        &Templates::of_the_product().map_err(Failure::new)?,
        Shape::Small,
    )
    .map_err(Failure::new)?;
    let matrix = Matrix::of_the_product().map_err(Failure::new)?;
    let (short, long) = stack.pair("iam").await?;
    let api = stack
        .parts
        .api_url
        .split('/')
        .skip_while(|part| *part != "execute-api")
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let here = Here {
        stack,
        api,
        short: short.id.clone(),
        long: long.id.clone(),
        mark: unique(),
    };
    here.make_secrets().await?;
    // The emulator says first that a bucket is not there.
    stack.aws.create_bucket("somebody-elses").await?;

    let mut tries = Vec::new();
    for role in account
        .roles
        .iter()
        .filter(|role| role.project.is_none_or(|project| project == PROJECTS[2]))
    {
        let keys = match role.kind {
            // As a worker gets them from `claim`, with the session policy that narrows them.
            Kind::Queue => short.worker(&json!({})).await?.queue_keys().await?.keys,
            // Sessions for one claim or upload: `outputs.rs` and `inputs.rs` have them of such as
            // there are.
            // Sessions of a step's own token: `aws_sm.rs` has one of a step that runs.
            Kind::Reader => continue,
            Kind::Upload | Kind::Download | Kind::Slot | Kind::Look | Kind::Bring => continue,
            Kind::Function | Kind::Execution | Kind::Sandbox => {
                stack.aws.assume(&here.name(&role.arn)).await?
            }
        };
        for row in matrix.rows() {
            tries.extend(tries_of(&matrix, &account, &here, role, &keys, row)?);
        }
    }

    let start = Instant::now();
    let (made, refused): (usize, usize) = (
        tries.len(),
        tries
            .iter()
            .filter(|one| one.expected != Expected::Allowed)
            .count(),
    );
    let failed: Vec<String> = stream::iter(&tries)
        .map(|one| here.attempt(one))
        .buffer_unordered(8)
        .filter_map(async |result| result.err().map(|failure| failure.to_string()))
        .collect()
        .await;
    let unseen: BTreeSet<(&str, &str)> = matrix
        .rows()
        .filter_map(|row| Some((row.what.as_str(), row.not_live.as_deref()?)))
        .chain(
            matrix
                .not_live
                .iter()
                .map(|(action, why)| (action.as_str(), why.as_str())),
        )
        .collect();
    let (allowed, seconds) = (made - refused, start.elapsed().as_secs_f32());
    eprintln!(
        "{refused} refusals and {allowed} permissions shown in {seconds:.0} s; evaluated but not shown here:"
    );
    for (what, why) in unseen {
        eprintln!("  {what}: {why}");
    }
    ensure!(refused > 1000, "only {refused} refusals were tried");
    ensure!(
        failed.is_empty(),
        "{} of {made} calls went otherwise:\n{}",
        failed.len(),
        failed.join("\n")
    );
    Ok(())
}

/// The calls of a row to try with the keys of a role.
fn tries_of(
    matrix: &Matrix,
    account: &Account,
    here: &Here<'_>,
    role: &Role,
    keys: &Keys,
    row: &Row,
) -> Outcome<Vec<Try>> {
    if row.not_live.is_some() || !row.is_about(Shape::Small) {
        return Ok(Vec::new());
    }
    let mut tries = Vec::new();
    for request in matrix.requests(row).map_err(Failure::new)? {
        // One project is enough for a function; for a project's role, its own and one whose name it
        // begins.
        let project = PROJECTS
            .into_iter()
            .find(|project| names(&request, project));
        let functions_enough =
            role.kind == Kind::Function && project.is_some_and(|project| project != PROJECTS[2]);
        if matrix.not_live.contains_key(&request.action)
            || project == Some("finance")
            || functions_enough
        {
            continue;
        }
        // Another function's things stand for all the other functions'.
        let function = matrix
            .functions
            .keys()
            .find(|name| request.resource.ends_with(&format!("/sealfleet-{name}:*")));
        if function.is_some_and(|function| *function != role.name && function != "fleet") {
            continue;
        }
        let expected = match account.decide(role, &request, false) {
            Decision::Allowed if harmless(&request.action) => Expected::Allowed,
            Decision::Allowed => continue,
            _ if role.kind == Kind::Function && row.functions == Answer::Word(Word::Never) => {
                Expected::DeniedForEver
            }
            _ => Expected::Denied,
        };
        tries.push(Try {
            who: role.name.clone(),
            keys: keys.clone(),
            request: here.request(&request),
            expected,
        });
    }
    Ok(tries)
}

/// Calls that may be let through: with the bodies here they change nothing.
fn harmless(action: &str) -> bool {
    matches!(
        action,
        "secretsmanager:GetSecretValue" | "secretsmanager:DescribeSecret"
    ) || (action.starts_with("dynamodb:") && action.ends_with("Item"))
        || matches!(action, "dynamodb:Query" | "sqs:GetQueueAttributes")
}

fn names(request: &Request, project: &str) -> bool {
    let parts = request
        .resource
        .split(['/', ':'])
        .chain(request.context.values().map(String::as_str));
    parts
        .into_iter()
        .any(|part| part == project || part.starts_with(&format!("sealfleet-{project}--")))
}

impl Here<'_> {
    /// An ARN of the matrix, here.
    fn name(&self, arn: &str) -> String {
        let parts = &self.stack.parts;
        arn.replace(ACCOUNT, &parts.account_id)
            .replace(REGION, &parts.region)
            .replace(API, &self.api)
            .replace(&format!("--{}", account::PULL_POOL), &format!("--{PULL}"))
            .replace(
                &format!("--{}", account::FARGATE_POOL),
                &format!("--{FARGATE}"),
            )
            .replace("healthcare", &self.long)
            .replace("sealfleet-health-", &format!("sealfleet-{}-", self.short))
            .replace("/health/", &format!("/{}/", self.short))
            .replace("/health:", &format!("/{}:", self.short))
    }

    fn request(&self, request: &Request) -> Request {
        let mut resource = self.name(&request.resource);
        if request.action == "secretsmanager:GetSecretValue" && resource.ends_with("/x7") {
            // The one of this name that has the tag that the request speaks of.
            let tag = match request
                .context
                .get(&format!("aws:resourcetag/{TAG}"))
                .map(String::as_str)
            {
                None => "untagged",
                Some("payroll") => "others",
                Some(_) => "own",
            };
            resource = resource.replace("/x7", &format!("/iam-{}-{tag}", self.mark));
        }
        Request {
            resource,
            ..request.clone()
        }
    }

    /// Secrets of each project and the operators': with their own tag, another's, and none.
    async fn make_secrets(&self) -> Outcome {
        for owner in [self.short.as_str(), self.long.as_str(), "system"] {
            for (name, tag) in [
                ("own", Some(owner)),
                ("others", Some("payroll")),
                ("untagged", None),
            ] {
                let tags: Vec<Value> = tag
                    .iter()
                    .map(|tag| json!({ "Key": TAG, "Value": tag }))
                    .collect();
                let name = format!("sealfleet/{owner}/iam-{}-{name}", self.mark);
                let body = json!({ "Name": name, "SecretString": "{}", "Tags": tags });
                self.stack
                    .aws
                    .call(Service::SecretsManager, "CreateSecret", body)
                    .await?;
            }
        }
        Ok(())
    }

    async fn attempt(&self, one: &Try) -> Outcome {
        let Request {
            action, resource, ..
        } = &one.request;
        let told = || format!("`{}`: {action} on {resource}", one.who);
        let Some(call) = self.call(action, resource) else {
            return Err(Failure::new(format!(
                "{}: add the call here, or say in the matrix why it is not shown",
                told()
            )));
        };
        let headers: Vec<(&str, &str)> = call
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = self
            .stack
            .aws
            .ask_as(
                &one.keys,
                call.service,
                (call.method, &call.path),
                &headers,
                &call.body,
            )
            .await?;
        let text = answer.text();
        // IAM's refusal names the action; a call that is refused for something else proves nothing.
        let refused = answer.status >= 400 && text.contains("is not authorized to perform");
        let by_action = text.to_lowercase().contains(&action.to_lowercase())
            // With these headers it is a deletion first, and refused as that.
            || (action == "s3:BypassGovernanceRetention" && text.contains("s3:DeleteObject"));
        match one.expected {
            Expected::Allowed => ensure!(!refused, "{}: refused: {text}", told()),
            Expected::Denied => {
                ensure!(refused && by_action, "{}: {} {text}", told(), answer.status)
            }
            Expected::DeniedForEver => {
                let explicit = text.contains("with an explicit deny");
                ensure!(
                    refused && by_action && explicit,
                    "{}: {} {text}",
                    told(),
                    answer.status
                );
            }
        }
        Ok(())
    }

    /// The request that AWS authorises as `action` on `resource`, with no more in it than names the
    /// resource.
    fn call(&self, action: &str, resource: &str) -> Option<Call> {
        let (service, operation) = action.split_once(':')?;
        let name = resource.splitn(6, ':').nth(5).unwrap_or_default();
        let last = |text: &str| {
            text.rsplit(['/', ':'])
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let json = |service: &'static str, prefix: &str, body: Value| {
            Some(Call {
                service,
                method: "POST",
                path: "/".to_owned(),
                headers: vec![
                    ("content-type", "application/x-amz-json-1.1".to_owned()),
                    ("x-amz-target", format!("{prefix}.{operation}")),
                ],
                body: body.to_string(),
            })
        };
        let form = |service: &'static str, version: &str, more: String| {
            Some(Call {
                service,
                method: "POST",
                path: "/".to_owned(),
                headers: vec![(
                    "content-type",
                    "application/x-www-form-urlencoded".to_owned(),
                )],
                body: format!("Action={operation}&Version={version}&{more}"),
            })
        };
        let rest = |service: &'static str, method: &'static str, path: String| {
            Some(Call {
                service,
                method,
                path,
                headers: vec![("content-type", "application/json".to_owned())],
                body: if method == "GET" {
                    String::new()
                } else {
                    "{}".to_owned()
                },
            })
        };
        match service {
            "dynamodb" if name.contains("/stream/") || operation == "ListStreams" => json(
                "dynamodb",
                "DynamoDBStreams_20120810",
                json!({ "StreamArn": resource }),
            ),
            "dynamodb" => {
                let mut parts = name.split('/').skip(1);
                let table = parts.next().unwrap_or_default();
                let mut body = json!({ "TableName": table });
                if let Some(index) = parts.nth(1) {
                    body["IndexName"] = json!(index);
                }
                if operation.starts_with("Batch") {
                    body = json!({ "RequestItems": { table: [] } });
                }
                json("dynamodb", "DynamoDB_20120810", body)
            }
            "secretsmanager" => {
                let id = name.strip_prefix("secret:").unwrap_or_default();
                json(
                    "secretsmanager",
                    "secretsmanager",
                    json!({ "SecretId": id, "Name": id }),
                )
            }
            "sqs" => {
                let url = format!(
                    "{}/{}/{name}",
                    self.stack.parts.endpoint, self.stack.parts.account_id
                );
                json(
                    "sqs",
                    "AmazonSQS",
                    json!({ "QueueUrl": url, "QueueName": name }),
                )
            }
            "kms" => json("kms", "TrentService", json!({ "KeyId": resource })),
            "logs" => {
                let group = name
                    .strip_prefix("log-group:")
                    .unwrap_or_default()
                    .trim_end_matches(":*");
                json(
                    "logs",
                    "Logs_20140328",
                    json!({ "logGroupName": group, "logStreamName": "x7" }),
                )
            }
            // The emulator's own ECS, which checks permissions; the stack's stand-in does not.
            "ecs" => json(
                "ecs",
                "AmazonEC2ContainerServiceV20141113",
                json!({ "cluster": "sealfleet", "task": resource }),
            ),
            "ecr" => json(
                "ecr",
                "AmazonEC2ContainerRegistry_V20150921",
                json!({ "repositoryName": "sealfleet/x7" }),
            ),
            "states" => json("states", "AWSStepFunctions", json!({ "name": "x7" })),
            "events" => json("events", "AWSEvents", json!({ "Name": "x7", "Rule": "x7" })),
            "ssm" => json("ssm", "AmazonSSM", json!({ "Name": "x7" })),
            "codebuild" => json("codebuild", "CodeBuild_20161006", json!({ "name": "x7" })),
            "glue" => json("glue", "AWSGlue", json!({ "EndpointName": "x7" })),
            "organizations" => json("organizations", "AWSOrganizationsV20161128", json!({})),
            "cloudtrail" => json(
                "cloudtrail",
                "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101",
                json!({ "Name": "x7" }),
            ),
            "iam" => {
                let of = match name.split_once('/') {
                    Some(("role", role)) => format!("RoleName={}", last(role)),
                    Some(("user", user)) => format!("UserName={}", last(user)),
                    _ => format!("PolicyArn={resource}"),
                };
                form("iam", "2010-05-08", of)
            }
            "sts" => form(
                "sts",
                "2011-06-15",
                // The queue role admits no session without both tags.
                format!(
                    "RoleArn={resource}&RoleSessionName=x7&Tags.member.1.Key=project&Tags.member.1.Value=x7\
                     &Tags.member.2.Key=pool&Tags.member.2.Value=x7"
                ),
            ),
            "cloudformation" => form("cloudformation", "2010-05-15", "StackName=x7".to_owned()),
            "ec2" => form("ec2", "2016-11-15", "ImageId=x7".to_owned()),
            "execute-api" => {
                let path = self
                    .stack
                    .parts
                    .api_url
                    .replacen(&self.stack.parts.endpoint, "", 1);
                rest("execute-api", "POST", format!("{path}/v1/sandbox/step"))
            }
            "scheduler" => rest("scheduler", "POST", "/schedules/x7".to_owned()),
            "pipes" => rest("pipes", "POST", "/v1/pipes/x7".to_owned()),
            "lambda" => {
                let function = last(name);
                let functions = "/2015-03-31/functions";
                let (method, path) = match operation {
                    "CreateFunction" => ("POST", functions.to_owned()),
                    "UpdateFunctionCode" => ("PUT", format!("{functions}/{function}/code")),
                    "UpdateFunctionConfiguration" => {
                        ("PUT", format!("{functions}/{function}/configuration"))
                    }
                    "DeleteFunction" => ("DELETE", format!("{functions}/{function}")),
                    "AddPermission" => ("POST", format!("{functions}/{function}/policy")),
                    "InvokeFunction" => ("POST", format!("{functions}/{function}/invocations")),
                    "CreateFunctionUrlConfig" => {
                        ("POST", format!("/2021-10-31/functions/{function}/url"))
                    }
                    "CreateEventSourceMapping" => {
                        ("POST", "/2015-03-31/event-source-mappings".to_owned())
                    }
                    "PublishLayerVersion" => ("POST", "/2018-10-31/layers/x7/versions".to_owned()),
                    _ => return None,
                };
                rest("lambda", method, path)
            }
            "s3" => {
                let (method, query) = match operation {
                    "GetObject" | "ListBucket" => ("GET", ""),
                    "PutObject" => ("PUT", ""),
                    "DeleteObject" | "DeleteBucket" => ("DELETE", ""),
                    "BypassGovernanceRetention" => ("DELETE", ""),
                    "DeleteObjectVersion" => ("DELETE", "?versionId=x7"),
                    "PutObjectRetention" => ("PUT", "?retention="),
                    "PutObjectLegalHold" => ("PUT", "?legal-hold="),
                    "PutBucketObjectLockConfiguration" => ("PUT", "?object-lock="),
                    "PutBucketVersioning" => ("PUT", "?versioning="),
                    "PutLifecycleConfiguration" => ("PUT", "?lifecycle="),
                    "PutBucketPolicy" => ("PUT", "?policy="),
                    "DeleteBucketPolicy" => ("DELETE", "?policy="),
                    "PutBucketAcl" => ("PUT", "?acl="),
                    "PutBucketPublicAccessBlock" => ("PUT", "?publicAccessBlock="),
                    "PutEncryptionConfiguration" => ("PUT", "?encryption="),
                    "PutReplicationConfiguration" => ("PUT", "?replication="),
                    "PutBucketNotification" => ("PUT", "?notification="),
                    _ => return None,
                };
                let mut call = rest("s3", method, format!("/{name}{query}"))?;
                if operation == "BypassGovernanceRetention" {
                    call.headers
                        .push(("x-amz-bypass-governance-retention", "true".to_owned()));
                }
                Some(call)
            }
            _ => None,
        }
    }
}
