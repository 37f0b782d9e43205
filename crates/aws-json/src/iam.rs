//! AWS IAM: `SimulatePrincipalPolicy`.

use aws_config::SdkConfig;

use crate::CallError;
use crate::call::{Request, Service, element, segment};

/// The roles of an account.
#[derive(Clone, Debug)]
pub struct Iam(Service);

/// What the policies of a principal say to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    /// Denied by a statement.
    ExplicitDeny,
    /// Denied since no statement allows it.
    ImplicitDeny,
}

impl Iam {
    /// # Errors
    /// When the configuration lacks a region, credentials or an HTTP client.
    pub fn new(config: &SdkConfig) -> Result<Self, Box<CallError>> {
        Service::new(config, "iam", "IAM").map(Self)
    }

    /// What a role's policies say to an action on a resource, with these values in the request's
    /// context. `None` when the answer is none that this program knows.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn simulate(
        &self,
        role_arn: &str,
        action: &str,
        resource: &str,
        context: &[(&str, &str)],
    ) -> Result<Option<Decision>, CallError> {
        let mut fields = vec![
            ("Action".to_owned(), "SimulatePrincipalPolicy"),
            ("Version".to_owned(), "2010-05-08"),
            ("PolicySourceArn".to_owned(), role_arn),
            ("ActionNames.member.1".to_owned(), action),
            ("ResourceArns.member.1".to_owned(), resource),
        ];
        for (at, (key, value)) in context.iter().enumerate() {
            let of_entry = |name: &str| format!("ContextEntries.member.{}.{name}", at + 1);
            fields.extend([
                (of_entry("ContextKeyName"), *key),
                (of_entry("ContextKeyType"), "string"),
                (of_entry("ContextKeyValues.member.1"), *value),
            ]);
        }
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", segment(value)))
            .collect();
        let request = Request {
            path: "/".to_owned(),
            headers: vec![("content-type", "application/x-www-form-urlencoded")],
            body: body.join("&").into_bytes(),
        };
        let answer = self.0.post(request).await?;
        let decision = element(&String::from_utf8_lossy(&answer.body), "EvalDecision");
        Ok(match decision.as_deref() {
            Some("allowed") => Some(Decision::Allowed),
            Some("explicitDeny") => Some(Decision::ExplicitDeny),
            Some("implicitDeny") => Some(Decision::ImplicitDeny),
            _ => None,
        })
    }
}
