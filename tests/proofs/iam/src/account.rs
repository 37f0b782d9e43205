//! A deployment: the control plane's stack and those of three projects, one of which has a name
//! that begins another's.

use std::collections::BTreeSet;

use sealfleet_aws::outputs::{OutputAccount, Use, session_policy};
use sealfleet_domain::ProjectScope;
use sealfleet_domain::output::Outputs;
use sealfleet_domain::run::Fence;
use sealfleet_domain::upload;
use serde_json::{Value, json};

use crate::policy::{Decision, Policy, Request};
use crate::template::{ACCOUNT, REGION, SANDBOX_API, Template};

/// The projects. `health` begins `healthcare`: no pattern of one may reach the other.
pub const PROJECTS: [&str; 3] = ["healthcare", "finance", "health"];
/// Pool of a project's own workers.
pub const PULL_POOL: &str = "edge";
/// The run whose outputs sessions are for.
pub const RUN: &str = "run_0198c0de-0000-7000-8000-00000000000a";
/// The upload that a session puts in its place.
pub const UPLOAD: &str = "upl_0198c0de-0000-7000-8000-00000000000a";
/// The host of the control plane's own identity tokens.
pub const ISSUER: &str = "issuer.example";
/// Pool of a project on Fargate.
pub const FARGATE_POOL: &str = "cloud";

/// Whose role it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Function,
    /// What ECS starts a project's sandboxes with.
    Execution,
    /// What a worker's sandbox reads its project's secrets with.
    Reader,
    /// What the code in a project's sandboxes holds.
    Sandbox,
    /// What a worker's queue credentials are made from.
    Queue,
    /// What a worker writes the outputs of its claim with.
    Upload,
    /// What `runs` reads the outputs of a claim with.
    Download,
    /// What a caller puts one upload in its place with.
    Slot,
    /// What `enqueue` sees with which uploads are there.
    Look,
    /// What a worker is brought the inputs of its claim with.
    Bring,
}

impl Kind {
    /// The sessions of the role of outputs.
    pub const OUTPUTS: [Self; 5] = [
        Self::Upload,
        Self::Download,
        Self::Slot,
        Self::Look,
        Self::Bring,
    ];
}

#[derive(Clone, Debug)]
pub struct Role {
    pub kind: Kind,
    /// For people: the function's name, or the kind and the project.
    pub name: String,
    pub arn: String,
    pub project: Option<&'static str>,
    /// Who may assume it.
    pub trust: Policy,
    /// Its own policies and the managed ones, by name.
    pub policies: Vec<(String, Policy)>,
    /// The same documents, for a second evaluator.
    pub documents: Vec<Value>,
    /// For credentials of queues and outputs: the policy of the session, which can only narrow.
    pub session: Option<Policy>,
    /// For the same: the tags of the session.
    pub tags: Vec<(&'static str, &'static str)>,
}

impl Role {
    /// Whose things are its own: its project, or the function it is the role of.
    pub fn owner(&self) -> &str {
        self.project.unwrap_or(&self.name)
    }
}

/// A policy on a resource: the resource's ARN and what the policy says.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The ARN that it is attached to.
    pub of: String,
    pub policy: Policy,
}

/// Who may invoke a function, by the function's resource policy.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub function: String,
    pub principal: String,
    /// On behalf of what.
    pub source: String,
}

/// A customer-managed key, where one is deployed with.
pub const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4000-8000-0a1b2c3d4e5f";

/// Another, of the projects' secrets.
pub const SECRETS_KEY: &str =
    "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4000-8000-0a1b2c3d4e60";

/// The bucket of Security Lake, and its key.
pub const LAKE: &str = "acme-lake";
pub const LAKE_KEY: &str =
    "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4000-8000-0a1b2c3d4e61";

/// The name prefix, unless told otherwise: the templates' default.
pub const PREFIX: &str = "sealfleet";

/// The key with which Lambda encrypts the settings of functions, since the templates name none.
pub const LAMBDA_KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/lambda";

/// Which of the templates' choices a deployment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// In a network of yours, without a key of yours. As the local stack.
    Small,
    /// With a network made for sandboxes, an API in it, a key of yours, [`KEY`], and Security Lake,
    /// [`LAKE`].
    Large,
}

#[derive(Clone, Debug)]
pub struct Account {
    /// Which of the templates' choices it is deployed with.
    pub shape: Shape,
    /// What its names begin with.
    pub prefix: String,
    pub functions: BTreeSet<String>,
    pub roles: Vec<Role>,
    pub guards: Vec<Guard>,
    /// Who may invoke functions.
    pub invocations: Vec<Invocation>,
    /// Rules of EventBridge, with the functions that each invokes.
    pub rules: Vec<(String, Vec<String>)>,
}

/// The templates of a deployment.
#[derive(Clone, Debug)]
pub struct Templates {
    pub control: Template,
    pub project: Template,
}

impl Templates {
    /// Those of `infra/sam`.
    pub fn of_the_product() -> Result<Self, String> {
        Self::parse(
            &crate::text("infra/sam/template.yaml")?,
            &crate::text("infra/sam/project.yaml")?,
        )
    }

    pub fn parse(control: &str, project: &str) -> Result<Self, String> {
        Ok(Self {
            control: Template::parse(control)?,
            project: Template::parse(project)?,
        })
    }
}

impl Account {
    /// What the templates deploy: small, large.
    pub fn both(templates: &Templates) -> Result<[Self; 2], String> {
        Ok([
            Self::deploy(templates, Shape::Small)?,
            Self::deploy(templates, Shape::Large)?,
        ])
    }

    /// What the templates deploy.
    pub fn deploy(templates: &Templates, shape: Shape) -> Result<Self, String> {
        Self::deploy_as(templates, shape, PREFIX)
    }

    /// What the templates deploy with another name prefix.
    pub fn deploy_as(templates: &Templates, shape: Shape, prefix: &str) -> Result<Self, String> {
        let mut account = Self {
            shape,
            prefix: prefix.to_owned(),
            functions: BTreeSet::new(),
            roles: Vec::new(),
            guards: Vec::new(),
            invocations: Vec::new(),
            rules: Vec::new(),
        };
        let (key, secrets_key, network, lake, lake_key) = match shape {
            Shape::Small => ("", "", "some-network", "", ""),
            Shape::Large => (KEY, SECRETS_KEY, "", LAKE, LAKE_KEY),
        };
        let mut control = templates.control.clone();
        // Whatever has no default: its value decides nothing here.
        for (name, parameter) in templates.control.document["Parameters"]
            .as_object()
            .into_iter()
            .flatten()
        {
            if parameter["Default"].is_null() {
                let made_up = format!("some-{}", name.to_ascii_lowercase());
                let is_list = parameter["Type"]
                    .as_str()
                    .is_some_and(|kind| kind.contains("List"));
                control = control.with(
                    name,
                    if is_list {
                        json!([made_up])
                    } else {
                        json!(made_up)
                    },
                );
            }
        }
        let control = control
            .with("NamePrefix", json!(prefix))
            .with("KmsKeyArn", json!(key))
            .with("SecurityLakeBucket", json!(lake))
            .with("SecurityLakeKmsKeyArn", json!(lake_key))
            .with("Subnets", json!([network]))
            .with("SecurityGroups", json!([network]));
        account.add(&control, None)?;
        for project in PROJECTS {
            let stack = templates
                .project
                .clone()
                .with("NamePrefix", json!(prefix))
                .with("KmsKeyArn", json!(key))
                .with("SecretsKmsKeyArn", json!(secrets_key))
                .with("Project", json!(project))
                .with("Issuer", json!(format!("https://{ISSUER}")))
                .with("PullPool", json!(PULL_POOL))
                .with("FargatePool", json!(FARGATE_POOL));
            account.add(&stack, Some(project))?;
        }
        account.add_grants()?;
        Ok(account)
    }

    /// The grants that Lambda makes for itself: it decrypts a function's settings as the function's
    /// role before it starts the function ("Securing Lambda environment variables", Lambda
    /// Developer Guide). A grant allows and never denies, so a role's Deny also ends this.
    fn add_grants(&mut self) -> Result<(), String> {
        let functions = self
            .roles
            .iter()
            .filter(|role| role.kind == Kind::Function && self.functions.contains(&role.name));
        let grantees: Vec<&str> = functions.map(|role| role.arn.as_str()).collect();
        let grants = json!({ "Version": "2012-10-17", "Statement": [{
            "Sid": "Grants", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": LAMBDA_KEY,
            "Principal": { "AWS": grantees },
            "Condition": { "StringEquals": { "kms:ViaService": format!("lambda.{REGION}.amazonaws.com") } },
        }] });
        self.guards.push(Guard {
            of: LAMBDA_KEY.to_owned(),
            policy: Policy::parse(&grants)?,
        });
        Ok(())
    }

    /// A name without the prefix.
    fn short<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .unwrap_or(name)
    }

    fn add(&mut self, template: &Template, project: Option<&'static str>) -> Result<(), String> {
        for (id, kind, properties) in template.resources()? {
            let result = match kind {
                "AWS::IAM::Role" => self.add_role(template, id, properties, project),
                "AWS::IAM::Policy"
                | "AWS::IAM::User"
                | "AWS::IAM::Group"
                | "AWS::IAM::RolePolicy" => Err(format!(
                    "`{kind}` is not judged here: put the policy into its role"
                )),
                "AWS::S3::BucketPolicy" => {
                    self.add_guards(template, properties, &properties["Bucket"], "s3")
                }
                "AWS::SQS::QueuePolicy" => {
                    self.add_guards(template, properties, &properties["Queues"], "sqs")
                }
                "AWS::ApiGateway::RestApi" => self.add_api(template, properties),
                "AWS::KMS::Key" => self.add_key(template, id, properties),
                "AWS::Lambda::Permission" => self.add_invocation(template, properties),
                "AWS::Lambda::Function" | "AWS::Serverless::Function" => match properties["Role"] {
                    Value::Null => Err(
                        "a function without `Role`: SAM would make one that nobody judged"
                            .to_owned(),
                    ),
                    _ if !properties["Policies"].is_null() || !properties["Events"].is_null() => {
                        Err(
                            "SAM would add permissions for `Policies` or `Events`: write them out"
                                .to_owned(),
                        )
                    }
                    _ => template.resolve(&json!({ "Ref": id })).map(|name| {
                        let name = text(name);
                        let short = self.short(&name).to_owned();
                        self.functions.insert(short);
                    }),
                },
                "AWS::Lambda::Url" => Err("a function URL is a door beside the API".to_owned()),
                "AWS::Events::Rule" => {
                    let arn = template.resolve(&json!({ "Fn::GetAtt": [id, "Arn"] }))?;
                    let targets = template.resolve(&properties["Targets"])?;
                    let targets = targets.as_array().into_iter().flatten();
                    let targets = targets
                        .filter_map(|target| target["Arn"].as_str().map(str::to_owned))
                        .collect();
                    self.rules
                        .push((arn.as_str().unwrap_or_default().to_owned(), targets));
                    Ok(())
                }
                _ => Ok(()),
            };
            result.map_err(|error| format!("`{id}`: {error}"))?;
        }
        Ok(())
    }

    fn add_role(
        &mut self,
        template: &Template,
        id: &str,
        properties: &Value,
        project: Option<&'static str>,
    ) -> Result<(), String> {
        let arn = text(template.resolve(&json!({ "Fn::GetAtt": [id, "Arn"] }))?);
        let name = text(template.resolve(&json!({ "Ref": id }))?);
        let trust = match template.resolve(&properties["AssumeRolePolicyDocument"])? {
            // CloudFormation takes it as a text, too.
            Value::String(text) => {
                serde_json::from_str(&text).map_err(|error| error.to_string())?
            }
            document => document,
        };
        if !template
            .resolve(&properties["PermissionsBoundary"])?
            .is_null()
        {
            return Err("permission boundaries are not evaluated here".to_owned());
        }
        let mut documents = Vec::new();
        for policy in template
            .resolve(&properties["Policies"])?
            .as_array()
            .into_iter()
            .flatten()
        {
            documents.push((
                text(policy["PolicyName"].clone()),
                policy["PolicyDocument"].clone(),
            ));
        }
        let mut attached = Vec::new();
        for policy in properties["ManagedPolicyArns"]
            .as_array()
            .into_iter()
            .flatten()
        {
            attached.push(
                policy["Ref"]
                    .as_str()
                    .ok_or("a managed policy of another stack is not judged here")?,
            );
        }
        for (policy, kind, properties) in template.resources()? {
            if kind != "AWS::IAM::ManagedPolicy" {
                continue;
            }
            let roles = template.resolve(&properties["Roles"])?;
            let mut roles = roles.as_array().into_iter().flatten();
            if roles.any(|role| *role == name) {
                attached.push(policy);
            }
        }
        for id in attached {
            let managed = &template.document["Resources"][id];
            if managed["Type"] != "AWS::IAM::ManagedPolicy" {
                return Err(format!("`{id}` is no managed policy of this template"));
            }
            let document = template.resolve(&managed["Properties"]["PolicyDocument"])?;
            documents.push((id.to_owned(), document));
        }
        let short = self.short(&name).to_owned();
        let owners: Vec<(Kind, Option<&'static str>)> = match (project, short.rsplit_once("--")) {
            // Roles that all projects share: held in turn for each of them.
            (None, _) if short == "sandboxes" => shared(Kind::Sandbox),
            (None, _) if short == "queues" => shared(Kind::Queue),
            (None, _) if short == "outputs" => Kind::OUTPUTS.map(shared).concat(),
            (None, _) => vec![(Kind::Function, None)],
            (Some(_), Some((_, "execution"))) => vec![(Kind::Execution, project)],
            (Some(_), Some((_, "reader"))) => vec![(Kind::Reader, project)],
            _ => {
                return Err(format!(
                    "the role `{name}` is no kind of role that the matrix has a column for"
                ));
            }
        };
        for (kind, project) in owners {
            let tags = match (kind, project) {
                (Kind::Queue, Some(project)) => vec![("project", project), ("pool", PULL_POOL)],
                (Kind::Upload | Kind::Download | Kind::Bring, Some(project)) => {
                    vec![("project", project), ("run", RUN)]
                }
                (Kind::Slot | Kind::Look, Some(project)) => {
                    vec![("project", project), ("run", upload::FOLDER)]
                }
                _ => Vec::new(),
            };
            let documents: Vec<(String, Value)> = documents
                .iter()
                .map(|(name, document)| Ok((name.clone(), tagged(document, &tags)?)))
                .collect::<Result<_, String>>()?;
            let policies = documents
                .iter()
                .map(|(name, document)| Ok((name.clone(), Policy::parse(document)?)))
                .collect::<Result<_, String>>()?;
            self.roles.push(Role {
                kind,
                name: match project {
                    Some(project) => format!("{} of {project}", kind.word()),
                    None => short.to_owned(),
                },
                arn: arn.clone(),
                project,
                trust: Policy::parse(&trust)?,
                policies,
                documents: documents
                    .into_iter()
                    .map(|(_, document)| document)
                    .collect(),
                session: match (kind, project) {
                    (Kind::Queue, Some(project)) => Some(session(&self.prefix, project)?),
                    (Kind::Function | Kind::Execution | Kind::Reader | Kind::Sandbox, _)
                    | (_, None) => None,
                    (kind, Some(project)) => Some(output_session(&self.prefix, project, kind)?),
                },
                tags,
            });
        }
        Ok(())
    }

    fn add_guards(
        &mut self,
        template: &Template,
        properties: &Value,
        of: &Value,
        service: &str,
    ) -> Result<(), String> {
        let policy = Policy::parse(&template.resolve(&properties["PolicyDocument"])?)?;
        let names = match template.resolve(of)? {
            Value::Array(names) => names,
            name => vec![name],
        };
        for name in names.into_iter().map(text) {
            let of = match service {
                "s3" => format!("arn:aws:s3:::{name}"),
                _ => format!(
                    "arn:aws:sqs:{REGION}:{ACCOUNT}:{}",
                    name.rsplit('/').next().unwrap_or_default()
                ),
            };
            self.guards.push(Guard {
                of,
                policy: policy.clone(),
            });
        }
        Ok(())
    }

    fn add_key(&mut self, template: &Template, id: &str, properties: &Value) -> Result<(), String> {
        let of = text(template.resolve(&json!({ "Fn::GetAtt": [id, "Arn"] }))?);
        let mut document = template.resolve(&properties["KeyPolicy"])?;
        // In a key's policy `*` is the key itself.
        for statement in document["Statement"].as_array_mut().into_iter().flatten() {
            if statement["Resource"] == "*" {
                statement["Resource"] = json!(of);
            }
        }
        self.guards.push(Guard {
            of,
            policy: Policy::parse(&document)?,
        });
        Ok(())
    }

    fn add_api(&mut self, template: &Template, properties: &Value) -> Result<(), String> {
        let of = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{SANDBOX_API}");
        let document = template.resolve(&properties["Policy"])?.to_string();
        // The short form that API Gateway takes: of this API.
        let document = document.replace("\"execute-api:/", &format!("\"{of}/"));
        let document = serde_json::from_str(&document).map_err(|error| error.to_string())?;
        self.guards.push(Guard {
            of,
            policy: Policy::parse(&document)?,
        });
        Ok(())
    }

    fn add_invocation(&mut self, template: &Template, properties: &Value) -> Result<(), String> {
        let of = |field: &str| template.resolve(&properties[field]).map(text);
        if of("Action")? != "lambda:InvokeFunction" {
            return Err("only `lambda:InvokeFunction` may be given away".to_owned());
        }
        let invocation = Invocation {
            function: of("FunctionName")?,
            principal: of("Principal")?,
            source: of("SourceArn")?,
        };
        self.invocations.push(invocation);
        Ok(())
    }

    /// What `role` is answered.
    ///
    /// With `whatever_else`, as if a policy allowed it everything as well: what is refused then is
    /// refused for ever.
    pub fn decide(&self, role: &Role, request: &Request, whatever_else: bool) -> Decision {
        let principal = Some(("AWS", role.arn.as_str()));
        let mut allowed = whatever_else;
        for (_, policy) in &role.policies {
            match policy.decide(request, principal) {
                denied @ Decision::Denied(_) => return denied,
                Decision::Allowed => allowed = true,
                Decision::NotAllowed => {}
            }
        }
        for guard in self
            .guards
            .iter()
            .filter(|guard| guards(&guard.of, &request.resource))
        {
            // Within one account a resource's policy may allow by itself.
            match guard.policy.decide(request, principal) {
                denied @ Decision::Denied(_) => return denied,
                Decision::Allowed if names(&guard.policy, request, &role.arn) => allowed = true,
                Decision::Allowed | Decision::NotAllowed => {}
            }
        }
        let narrowed = match &role.session {
            None => Decision::Allowed,
            Some(session) => session.decide(request, principal),
        };
        match narrowed {
            Decision::Allowed if allowed => Decision::Allowed,
            Decision::Denied(by) => Decision::Denied(by),
            Decision::Allowed | Decision::NotAllowed => Decision::NotAllowed,
        }
    }

    /// Whether `role` can be assumed by a service, for this account or another.
    pub fn service_may_assume(role: &Role, service: &str, account: &str) -> bool {
        let request = assuming(role, account);
        role.trust.decide(&request, Some(("Service", service))) == Decision::Allowed
    }

    /// Whether `role` can be assumed by a token of the control plane for this audience, with a
    /// subject of this project.
    pub fn token_may_assume(role: &Role, audience: &str, project: &str) -> bool {
        let subject = format!("project:{project}:workflow:w:run:{RUN}:step:main");
        let provider = format!("arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}");
        let claims = [("aud", audience), ("sub", &subject)];
        let claims = claims.map(|(name, value)| (format!("{ISSUER}:{name}"), value.to_owned()));
        ["sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity"]
            .iter()
            .all(|action| {
                let mut request = assuming(role, ACCOUNT);
                request.action = (*action).to_owned();
                request.context.extend(claims.clone());
                let by = Some(("Federated", provider.as_str()));
                role.trust.decide(&request, by) == Decision::Allowed
            })
    }

    /// Whether `role` can be assumed by the principal `arn`, which holds `holder`'s policies if it
    /// is a role of this account. A session with `tags` needs the permission to tag it, too.
    pub fn principal_may_assume(
        &self,
        role: &Role,
        tags: &[(&str, &str)],
        arn: &str,
        holder: Option<&Role>,
    ) -> bool {
        let mut request = assuming(role, ACCOUNT);
        request.context.extend(
            tags.iter()
                .map(|(key, value)| (format!("aws:requesttag/{key}"), (*value).to_owned())),
        );
        let tagging = (!tags.is_empty()).then(|| Request {
            action: "sts:TagSession".to_owned(),
            ..request.clone()
        });
        [Some(request), tagging].iter().flatten().all(|request| {
            if role.trust.decide(request, Some(("AWS", arn))) != Decision::Allowed {
                return false;
            }
            match holder.map(|holder| self.decide(holder, request, false)) {
                None | Some(Decision::Allowed) => true,
                Some(Decision::Denied(_)) => false,
                // A trust policy that names the role itself needs no other permission.
                Some(Decision::NotAllowed) => names(&role.trust, request, arn),
            }
        })
    }
}

/// The role of `kind` for each project.
fn shared(kind: Kind) -> Vec<(Kind, Option<&'static str>)> {
    PROJECTS
        .iter()
        .map(|project| (kind, Some(*project)))
        .collect()
}

/// A policy as it reads in a session with these tags: IAM puts their values in place of
/// `${aws:PrincipalTag/KEY}`. A variable that remains cannot be judged.
fn tagged(document: &Value, tags: &[(&str, &str)]) -> Result<Value, String> {
    let mut text = document.to_string();
    for (key, value) in tags {
        text = text.replace(&format!("${{aws:PrincipalTag/{key}}}"), value);
    }
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Whether an Allow of `policy` names this very principal, and not its whole account: a whole
/// account's principals need a permission of their own besides.
fn names(policy: &Policy, request: &Request, arn: &str) -> bool {
    policy.statements.iter().any(|statement| {
        statement.allow
            && statement
                .principals
                .iter()
                .flatten()
                .any(|(_, name)| name == arn || name == "*")
            && statement.applies(request, Some(("AWS", arn)))
    })
}

fn assuming(role: &Role, account: &str) -> Request {
    Request {
        action: "sts:AssumeRole".to_owned(),
        resource: role.arn.clone(),
        context: [("aws:sourceaccount".to_owned(), account.to_owned())].into(),
    }
}

/// Whether the policy of `of` has a say on `resource`: on itself, on objects in it.
fn guards(of: &str, resource: &str) -> bool {
    resource
        .strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The policy of a session that `claim` makes for a worker of the pull pool, by the code that makes
/// it.
fn session(prefix: &str, project: &str) -> Result<Policy, String> {
    let account = sealfleet_aws::queue_access::Account {
        partition: "aws".to_owned(),
        region: REGION.to_owned(),
        account_id: ACCOUNT.to_owned(),
        queue_url_prefix: String::new(),
        name_prefix: prefix
            .parse()
            .map_err(|_| format!("`{prefix}` is no name prefix"))?,
    };
    let queue = format!("{prefix}-{project}--{PULL_POOL}");
    let document = sealfleet_aws::queue_access::session_policy(&account, &queue);
    Policy::parse(&serde_json::from_str(&document).map_err(|error| error.to_string())?)
}

/// The policy of a session of the role of outputs: for step `main` of [`RUN`] with fence 1, or for
/// [`UPLOAD`].
fn output_session(prefix: &str, project: &str, kind: Kind) -> Result<Policy, String> {
    let wrong = |what: &str| format!("`{what}` is no name");
    let name_prefix = prefix.parse().map_err(|_| wrong(prefix))?;
    let project = project.parse().map_err(|_| wrong(project))?;
    let scope = ProjectScope::of_stored_row(project);
    let run = RUN.parse().map_err(|_| wrong(RUN))?;
    let upload_id = UPLOAD.parse().map_err(|_| wrong(UPLOAD))?;
    let step = "main".parse().map_err(|_| wrong("main"))?;
    let of = Outputs::of(&scope, run, &step, Fence::new(1));
    let to = match kind {
        Kind::Upload => Use::Write(&of),
        Kind::Download => Use::Read(&of),
        Kind::Slot => Use::Upload(&scope, upload_id),
        Kind::Look => Use::Look(&scope),
        Kind::Bring => Use::Inputs(&scope, run),
        other => return Err(format!("{other:?} is no session of the role of outputs")),
    };
    let account = OutputAccount {
        partition: "aws".to_owned(),
        region: REGION.to_owned(),
        account_id: ACCOUNT.to_owned(),
        bucket: format!("{prefix}-outputs-{ACCOUNT}-{REGION}"),
        endpoint: String::new(),
        name_prefix,
    };
    let document = session_policy(&account, to);
    Policy::parse(&serde_json::from_str(&document).map_err(|error| error.to_string())?)
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
