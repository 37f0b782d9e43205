//! Stands in for `iam:SimulatePrincipalPolicy`, since the emulator's simulator does not find a role
//! that has a path and then denies everything.
//!
//! It reads what is attached to the role in the emulated account, and evaluates that with the
//! evaluator of `tests/proofs/iam`. It is not kinder than AWS: it answers only who is allowed to
//! ask, knows a role only by its whole ARN, and refuses each parameter, element, operator and
//! boundary that it cannot judge. A variable that it cannot resolve in an Allow matches everything.

use std::collections::BTreeMap;

use sealfleet_iam::policy::{Decision, Policy, Request};
use sealfleet_test_stack::aws::{Aws, Keys};
use sealfleet_test_stack::proxy::{Answer, Asked};
use sealfleet_test_stack::{Failure, Outcome, ensure, ensure_eq};
use serde_json::{Value, json};

const ACTION: &str = "iam:SimulatePrincipalPolicy";

/// Changes what is attached to a role, by the role's ARN.
type Change = fn(&str, &mut Vec<Value>);

pub struct Simulator {
    pub aws: Aws,
    /// Of the account root, to read roles and policies with.
    pub root: Keys,
    /// Who asks.
    pub access_key_id: String,
    /// What the caller may do.
    pub policy: Value,
    pub change: Change,
}

impl Simulator {
    /// The answer, if this is a question for it.
    pub async fn answer(&self, asked: &Asked) -> Outcome<Option<Answer>> {
        if !asked
            .header("content-type")
            .starts_with("application/x-www-form-urlencoded")
        {
            return Ok(None);
        }
        let body = String::from_utf8_lossy(&asked.body);
        let form = reqwest::Url::parse(&format!("http://iam/?{body}"))?;
        let mut form: BTreeMap<String, String> = form.query_pairs().into_owned().collect();
        if form.remove("Action").as_deref() != Some("SimulatePrincipalPolicy") {
            return Ok(None);
        }
        let mut take = |name: &str| form.remove(name).unwrap_or_default();
        let version = take("Version");
        let role = take("PolicySourceArn");
        let mut request = Request {
            action: take("ActionNames.member.1"),
            resource: take("ResourceArns.member.1"),
            context: BTreeMap::new(),
        };
        for at in 1.. {
            let mut of_entry = |name: &str| take(&format!("ContextEntries.member.{at}.{name}"));
            let key = of_entry("ContextKeyName");
            if key.is_empty() {
                break;
            }
            ensure!(
                of_entry("ContextKeyType") == "string",
                "only texts are known here"
            );
            let value = of_entry("ContextKeyValues.member.1");
            request.context.insert(key.to_ascii_lowercase(), value);
        }
        ensure!(
            form.is_empty() && version == "2010-05-08" && request.resource.starts_with("arn:"),
            "not judged here: {form:?}, version `{version}`, resource `{}`",
            request.resource
        );
        if !self.may_ask(asked, &role)? {
            return Ok(Some(refused(403, "AccessDenied")));
        }
        let Some(mut documents) = self.attached(&role).await? else {
            return Ok(Some(refused(404, "NoSuchEntity")));
        };
        (self.change)(&role, &mut documents);
        let decision = decided(&documents, &request, &role)?;
        let text = format!(
            "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
             <SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>\
             <member><EvalActionName>{}</EvalActionName><EvalResourceName>{}</EvalResourceName>\
             <EvalDecision>{decision}</EvalDecision></member></EvaluationResults>\
             </SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
            request.action, request.resource
        );
        Ok(Some(Answer::new(200, "text/xml", text.into_bytes())))
    }

    /// It answers nobody but the caller, knows roles by their whole ARN, tells a Deny from what is
    /// not allowed, and does not guess.
    pub async fn is_not_kinder_than_aws(&mut self, account: &str, secret: &str) -> Outcome {
        let key = self.access_key_id.clone();
        let signed = |key: &str, service: &str| {
            format!("AWS4-HMAC-SHA256 Credential={key}/20261129/us-east-1/{service}/aws4_request")
        };
        let function = format!("arn:aws:iam::{account}:role/sealfleet/control/sealfleet-fleet");
        let question = |role: &str| {
            format!(
                "Action=SimulatePrincipalPolicy&Version=2010-05-08&PolicySourceArn={role}\
                 &ActionNames.member.1=secretsmanager:GetSecretValue&ResourceArns.member.1={secret}"
            )
        };
        let by_the_caller = signed(&key, "iam");
        for (role, by, status) in [
            (function.as_str(), by_the_caller.as_str(), 200),
            (&function, &signed("AKIAANOTHER", "iam"), 403),
            (&function, &signed(&key, "sts"), 403),
            (&function, "", 403),
            (
                &format!("arn:aws:iam::{account}:role/sealfleet-fleet"),
                &by_the_caller,
                403,
            ),
            (&format!("{function}-of-nobody"), &by_the_caller, 404),
            (
                &function.replace("control/", "control/sealfleet-x/"),
                &by_the_caller,
                404,
            ),
        ] {
            let answer = self.answer(&Asked::form(by, &question(role))?).await?;
            let found = answer.map(|answer| answer.status);
            ensure_eq!(found, Some(status), "about {role}, by `{by}`");
        }
        let one_more = question(&function) + "&CallerArn=arn:aws:iam::1:user/a";
        let guessed = self.answer(&Asked::form(&by_the_caller, &one_more)?).await;
        ensure!(guessed.is_err(), "a parameter that nobody knows was judged");
        let asked = Asked::form(&by_the_caller, &question(&function))?;
        let changes: [(Change, &str); 3] = [
            (|_, _| {}, "explicitDeny"),
            (|_, documents| without_denies(documents), "implicitDeny"),
            (
                |_, documents| {
                    without_denies(documents);
                    documents.push(reads_secrets());
                },
                "allowed",
            ),
        ];
        for (change, decision) in changes {
            self.change = change;
            let answer = self.answer(&asked).await?;
            let text = answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
            let text = text.unwrap_or_default();
            ensure_eq!(elements(&text, "EvalDecision"), [decision], "{text}");
        }
        self.change = |_, _| {};
        Ok(())
    }

    /// Whether the request is signed by the caller, and the caller's policy allows to ask about
    /// this role.
    fn may_ask(&self, asked: &Asked, role: &str) -> Outcome<bool> {
        let signed = asked.header("authorization");
        let by = format!("AWS4-HMAC-SHA256 Credential={}/", self.access_key_id);
        let request = Request {
            action: ACTION.to_owned(),
            resource: role.to_owned(),
            context: BTreeMap::new(),
        };
        let policy = Policy::parse(&self.policy).map_err(Failure::new)?;
        let for_iam = signed.contains("/iam/aws4_request") && signed.starts_with(&by);
        Ok(for_iam && policy.decide(&request, None) == Decision::Allowed)
    }

    /// The documents of all policies of a role. `None` when there is no role of this ARN.
    async fn attached(&self, arn: &str) -> Outcome<Option<Vec<Value>>> {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let role = self
            .ask(&[("Action", "GetRole"), ("RoleName", name)])
            .await?;
        if elements(&role, "Arn") != [arn] {
            return Ok(None);
        }
        ensure!(
            !role.contains("<PermissionsBoundary>"),
            "boundaries are not judged here"
        );
        let mut documents = Vec::new();
        let of_role = |action| [("Action", action), ("RoleName", name)];
        let inline = self.ask(&of_role("ListRolePolicies")).await?;
        for policy in elements(&inline, "member") {
            let [action, role] = of_role("GetRolePolicy");
            let shown = self.ask(&[action, role, ("PolicyName", policy)]).await?;
            documents.push(document(&shown, "PolicyDocument")?);
        }
        let managed = self.ask(&of_role("ListAttachedRolePolicies")).await?;
        for arn in elements(&managed, "PolicyArn") {
            let policy = self
                .ask(&[("Action", "GetPolicy"), ("PolicyArn", arn)])
                .await?;
            let version = elements(&policy, "DefaultVersionId");
            let version = version.first().copied().unwrap_or_default();
            let version = ("VersionId", version);
            let shown = [("Action", "GetPolicyVersion"), ("PolicyArn", arn), version];
            documents.push(document(&self.ask(&shown).await?, "Document")?);
        }
        ensure!(!documents.is_empty(), "nothing is attached to {arn}");
        for listed in [&inline, &managed] {
            ensure!(
                elements(listed, "IsTruncated") == ["false"],
                "there are more policies than one page"
            );
        }
        Ok(Some(documents))
    }

    async fn ask(&self, parameters: &[(&str, &str)]) -> Outcome<String> {
        let mut form = reqwest::Url::parse("http://iam/?Version=2010-05-08")?;
        form.query_pairs_mut().extend_pairs(parameters);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let body = form.query().unwrap_or_default();
        let answer = self
            .aws
            .ask_as(&self.root, "iam", ("POST", "/"), &headers, body);
        Ok(answer.await?.text())
    }
}

/// As the simulator spells it.
fn decided(documents: &[Value], request: &Request, role: &str) -> Outcome<&'static str> {
    let mut allowed = false;
    let mut denied = false;
    for document in documents {
        let policy = Policy::parse(&with_variables(document)?).map_err(Failure::new)?;
        match policy.decide(request, Some(("AWS", role))) {
            Decision::Denied(_) => denied = true,
            Decision::Allowed => allowed = true,
            Decision::NotAllowed => {}
        }
    }
    Ok(match (denied, allowed) {
        (true, _) => "explicitDeny",
        (false, true) => "allowed",
        (false, false) => "implicitDeny",
    })
}

/// Variables have no value here. What they stand for in an Allow's resource is anything; elsewhere
/// they stay, and the evaluator refuses them.
fn with_variables(document: &Value) -> Outcome<Value> {
    let mut document = document.clone();
    for statement in document["Statement"].as_array_mut().into_iter().flatten() {
        if statement["Effect"] != "Allow" {
            continue;
        }
        let text = statement["Resource"].to_string();
        let mut parts = text.split("${");
        let mut anything = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.split_once('}').map(|(_, rest)| rest);
            let rest = rest.ok_or_else(|| Failure::new(format!("a variable in {text}")))?;
            anything += "*";
            anything += rest;
        }
        statement["Resource"] = serde_json::from_str(&anything)?;
    }
    Ok(document)
}

fn refused(status: u16, code: &str) -> Answer {
    let text = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{ACTION}</Message>\
         </Error></ErrorResponse>"
    );
    Answer::new(status, "text/xml", text.into_bytes())
}

/// The texts of all elements of this name that hold no others.
fn elements<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let all = text.split(open.as_str()).skip(1);
    let all = all.filter_map(|rest| rest.split_once(close.as_str()));
    all.map(|(value, _)| value).collect()
}

/// A policy's document, which IAM shows percent-encoded.
fn document(text: &str, name: &str) -> Outcome<Value> {
    let encoded = elements(text, name);
    let encoded = encoded.first().copied().unwrap_or_default();
    let decoded = reqwest::Url::parse(&format!("http://iam/?document={encoded}"))?;
    let (_, decoded) = decoded
        .query_pairs()
        .next()
        .ok_or_else(|| Failure::new(format!("no {name}: {text}")))?;
    Ok(serde_json::from_str(&decoded)?)
}

/// Takes the narrowing out of a role's permissions on secrets.
pub fn widen(documents: &mut [Value]) {
    for document in documents {
        for statement in document["Statement"].as_array_mut().into_iter().flatten() {
            if statement.to_string().contains("secretsmanager:") && statement["Effect"] == "Allow" {
                statement["Resource"] = json!("*");
                if let Some(fields) = statement.as_object_mut() {
                    fields.remove("Condition");
                }
            }
        }
    }
}

/// Takes every Deny out.
pub fn without_denies(documents: &mut [Value]) {
    for document in documents {
        if let Some(statements) = document["Statement"].as_array_mut() {
            statements.retain(|statement| statement["Effect"] != "Deny");
        }
    }
}

/// A policy that lets secrets be read.
pub fn reads_secrets() -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*",
    }] })
}
