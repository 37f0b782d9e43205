//! Deploys a template by CloudFormation, as `aws cloudformation deploy` does.
//!
//! A change set comes first. It reveals template errors, or that nothing would change, before
//! anything is touched. CloudFormation rolls back a failed deployment, and the error contains its
//! reasons. `sealfleet project deploy` uses this module with the operator's own AWS credentials,
//! and the local stack uses it against the emulator.

use aws_sdk_cloudformation::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        Capability, ChangeSetStatus, ChangeSetType, Parameter, Stack, StackEvent, StackStatus, Tag,
    },
};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};
use tokio::time::sleep;
use uuid::Uuid;

/// The template with the resources of one project.
pub const PROJECT: &str = include_str!("../../infra/sam/project.yaml");

/// Why a deployment failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// CloudFormation refused a call or could not be reached.
    #[error("{what}: {reason}")]
    Refused {
        /// The purpose of the call.
        what: &'static str,
        /// CloudFormation's answer, with causes.
        reason: String,
    },
    #[error("stack `{stack}` did not deploy ({status}):\n{reasons}")]
    Failed {
        stack: String,
        /// Status of the stack or of the change set.
        status: String,
        /// Failed resources with their reasons, one on each line.
        reasons: String,
    },
    /// The first deployment of the stack failed, and only its name is left.
    #[error(
        "stack `{0}` failed in its first deployment, and only its name is left: delete it with `aws \
         cloudformation delete-stack --stack-name {0}`, then deploy again"
    )]
    Ruined(String),
    /// Another deployment of the stack is in progress.
    #[error("stack `{stack}` is busy ({status}): wait until this ends, then deploy again")]
    Busy { stack: String, status: String },
    #[error("stack `{stack}` was not deleted:\n{reasons}")]
    Undeleted {
        stack: String,
        /// Failed resources with their reasons, one on each line.
        reasons: String,
    },
    #[error("there is no stack `{0}` in this account and region")]
    Absent(String),
    /// The deployed stack lacks an output.
    #[error(
        "stack `{stack}` has no output `{output}`: it does not belong to this version of sealfleet"
    )]
    NoOutput { stack: String, output: &'static str },
}

/// The source of a template.
pub enum Template {
    /// URL of an object in a bucket.
    Url(String),
    /// The text itself, at most 51,200 bytes.
    Body(&'static str),
    /// The one that the stack has.
    Deployed,
}

/// A template and values for some of its parameters. Other parameters keep their deployed value or,
/// in a new stack, their default.
pub struct Deployment<'a> {
    pub stack: &'a str,
    pub template: Template,
    pub parameters: Vec<(String, String)>,
    /// Tags of the stack, which CloudFormation puts on every resource that can have tags. With
    /// none, a deployed stack keeps its own.
    pub tags: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Created,
    Updated,
    /// The stack already matched the template.
    Unchanged,
}

#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
pub struct Outputs {
    #[serde(skip)]
    stack: String,
    values: BTreeMap<String, String>,
}

impl Outputs {
    pub(crate) fn of(stack: &str, values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            stack: stack.to_owned(),
            values: values.into_iter().collect(),
        }
    }

    pub fn get(&self, output: &'static str) -> Result<&str, Error> {
        self.find(output).ok_or_else(|| Error::NoOutput {
            stack: self.stack.clone(),
            output,
        })
    }

    /// The value of an output, if the stack has it.
    pub fn find(&self, output: &str) -> Option<&str> {
        self.values.get(output).map(String::as_str)
    }
}

/// The stacks of an account and region.
pub struct Stacks {
    client: Client,
    /// How often to ask for the status.
    poll: Duration,
}

impl Stacks {
    pub const fn new(client: Client, poll: Duration) -> Self {
        Self { client, poll }
    }

    /// The outputs of an existing stack.
    pub async fn outputs(&self, name: &str) -> Result<Outputs, Error> {
        let stack = self
            .find(name)
            .await?
            .ok_or_else(|| Error::Absent(name.to_owned()))?;
        Ok(outputs(name, &stack))
    }

    /// Creates or updates a stack from a template. Calls `tell` for each resource that changes.
    pub async fn deploy(
        &self,
        deployment: Deployment<'_>,
        tell: impl Fn(&str),
    ) -> Result<(Change, Outputs), Error> {
        let name = deployment.stack;
        let before = self.find(name).await?;
        let kind = match before.as_ref().map(status) {
            None | Some("REVIEW_IN_PROGRESS") => ChangeSetType::Create,
            Some("ROLLBACK_COMPLETE" | "ROLLBACK_FAILED") => {
                return Err(Error::Ruined(name.to_owned()));
            }
            Some(busy) if busy.ends_with("_IN_PROGRESS") => {
                return Err(Error::Busy {
                    stack: name.to_owned(),
                    status: busy.to_owned(),
                });
            }
            Some(_) => ChangeSetType::Update,
        };
        let change = if kind == ChangeSetType::Create {
            Change::Created
        } else {
            Change::Updated
        };
        let id = self.change_set(deployment, kind, before.as_ref()).await?;
        if !self.has_changes(name, &id).await? {
            return Ok((Change::Unchanged, self.outputs(name).await?));
        }
        let mut told: HashSet<String> = self
            .events(name)
            .await?
            .iter()
            .filter_map(|event| event.event_id().map(str::to_owned))
            .collect();
        let execute = self
            .client
            .execute_change_set()
            .stack_name(name)
            .change_set_name(&id);
        execute.send().await.map_err(refused("deploying a stack"))?;
        let mut failures = Vec::new();
        loop {
            // Ask for the status before the events, so that no event that led to this status is
            // missed.
            let now = self
                .find(name)
                .await?
                .ok_or_else(|| Error::Absent(name.to_owned()))?;
            let mut news = self.events(name).await?;
            news.retain(|event| {
                event
                    .event_id()
                    .is_some_and(|id| told.insert(id.to_owned()))
            });
            for event in news.iter().rev() {
                tell(&line(event));
                if has_failed(event) {
                    failures.push(line(event));
                }
            }
            match status(&now) {
                "CREATE_COMPLETE" | "UPDATE_COMPLETE" => return Ok((change, outputs(name, &now))),
                // The stack is complete. CloudFormation only deletes what it replaced.
                "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => return Ok((change, outputs(name, &now))),
                going if going.ends_with("_IN_PROGRESS") => sleep(self.poll).await,
                failed => {
                    let reasons = if failures.is_empty() {
                        "  no reason given".to_owned()
                    } else {
                        failures.join("\n")
                    };
                    return Err(Error::Failed {
                        stack: name.to_owned(),
                        status: failed.to_owned(),
                        reasons,
                    });
                }
            }
        }
    }

    /// Deletes a stack, and waits until it is gone. One that is gone already is no error.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        // A stack that is being made cannot be deleted before that has ended.
        loop {
            match self.find(name).await?.as_ref().map(status) {
                None | Some("DELETE_COMPLETE") => return Ok(()),
                Some(making)
                    if making.ends_with("_IN_PROGRESS") && making != "REVIEW_IN_PROGRESS" =>
                {
                    sleep(self.poll).await;
                }
                Some(_) => break,
            }
        }
        let delete = self.client.delete_stack().stack_name(name);
        delete.send().await.map_err(refused("deleting a stack"))?;
        loop {
            match self.find(name).await?.as_ref().map(status) {
                None | Some("DELETE_COMPLETE") => return Ok(()),
                Some("DELETE_FAILED") => {
                    let events = self.events(name).await?;
                    let reasons: Vec<String> = events
                        .iter()
                        .filter(|event| has_failed(event))
                        .map(line)
                        .collect();
                    return Err(Error::Undeleted {
                        stack: name.to_owned(),
                        reasons: reasons.join("\n"),
                    });
                }
                Some(_) => sleep(self.poll).await,
            }
        }
    }

    async fn find(&self, name: &str) -> Result<Option<Stack>, Error> {
        match self.client.describe_stacks().stack_name(name).send().await {
            Ok(described) => Ok(described.stacks.unwrap_or_default().into_iter().next()),
            Err(error) => match error.as_service_error() {
                // For a well-formed name, this validation error means that the stack does not
                // exist.
                Some(refusal) if refusal.meta().code() == Some("ValidationError") => Ok(None),
                _ => Err(refused("describing a stack")(error)),
            },
        }
    }

    /// Creates a change set. Returns its id.
    async fn change_set(
        &self,
        deployment: Deployment<'_>,
        kind: ChangeSetType,
        before: Option<&Stack>,
    ) -> Result<String, Error> {
        let mut parameters: Vec<Parameter> = deployment
            .parameters
            .iter()
            .map(|(name, value)| {
                Parameter::builder()
                    .parameter_key(name)
                    .parameter_value(value)
                    .build()
            })
            .collect();
        if kind == ChangeSetType::Update {
            let given = |name: &str| deployment.parameters.iter().any(|(given, _)| given == name);
            let names = before
                .iter()
                .flat_map(|stack| stack.parameters())
                .filter_map(Parameter::parameter_key);
            let kept = names.filter(|name| !given(name) && deployment.template.may_have(name));
            parameters.extend(kept.map(|name| {
                Parameter::builder()
                    .parameter_key(name)
                    .use_previous_value(true)
                    .build()
            }));
        }
        let tags: Vec<Tag> = deployment
            .tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        let request = self
            .client
            .create_change_set()
            .stack_name(deployment.stack)
            .change_set_name(format!("sealfleet-{}", Uuid::new_v4()))
            .change_set_type(kind)
            .capabilities(Capability::CapabilityNamedIam)
            .set_parameters(Some(parameters))
            .set_tags((!tags.is_empty()).then_some(tags));
        let request = match deployment.template {
            Template::Url(url) => request.template_url(url),
            Template::Body(text) => request.template_body(text),
            Template::Deployed => request.use_previous_template(true),
        };
        let made = request
            .send()
            .await
            .map_err(refused("preparing a deployment"))?;
        made.id.ok_or(Error::Refused {
            what: "preparing a deployment",
            reason: "an answer without an id".to_owned(),
        })
    }

    /// Waits for a change set, and deletes it if it failed. Returns `false` if it would change
    /// nothing.
    async fn has_changes(&self, stack: &str, id: &str) -> Result<bool, Error> {
        loop {
            let described = self
                .client
                .describe_change_set()
                .stack_name(stack)
                .change_set_name(id)
                .send()
                .await;
            let described = described.map_err(refused("preparing a deployment"))?;
            match described.status() {
                Some(ChangeSetStatus::CreateComplete) => return Ok(true),
                Some(ChangeSetStatus::Failed) => {
                    let delete = self
                        .client
                        .delete_change_set()
                        .stack_name(stack)
                        .change_set_name(id);
                    delete
                        .send()
                        .await
                        .map_err(refused("removing an empty change set"))?;
                    let reason = described.status_reason().unwrap_or("no reason given");
                    // There is no error code for this. These are the texts of CloudFormation and of
                    // the translator's macros.
                    if reason.contains("didn't contain changes")
                        || reason.contains("No updates are to be performed")
                    {
                        return Ok(false);
                    }
                    return Err(Error::Failed {
                        stack: stack.to_owned(),
                        status: "refused".to_owned(),
                        reasons: format!("  {reason}"),
                    });
                }
                _ => sleep(self.poll).await,
            }
        }
    }

    /// The latest events, newest first.
    async fn events(&self, stack: &str) -> Result<Vec<StackEvent>, Error> {
        let events = self
            .client
            .describe_stack_events()
            .stack_name(stack)
            .send()
            .await;
        Ok(events
            .map_err(refused("describing a stack's events"))?
            .stack_events
            .unwrap_or_default())
    }
}

impl Template {
    /// Whether the template may have a parameter. A template that is not available here is assumed
    /// to have it.
    fn may_have(&self, parameter: &str) -> bool {
        match self {
            Self::Url(_) | Self::Deployed => true,
            Self::Body(text) => text.contains(&format!("\n  {parameter}:\n")),
        }
    }
}

fn status(stack: &Stack) -> &str {
    stack.stack_status().map_or("absent", StackStatus::as_str)
}

fn outputs(name: &str, stack: &Stack) -> Outputs {
    let pairs = stack.outputs().iter().filter_map(|output| {
        Some((
            output.output_key()?.to_owned(),
            output.output_value()?.to_owned(),
        ))
    });
    Outputs::of(name, pairs)
}

fn has_failed(event: &StackEvent) -> bool {
    event
        .resource_status()
        .is_some_and(|status| status.as_str().ends_with("_FAILED"))
}

fn line(event: &StackEvent) -> String {
    let resource = event.logical_resource_id().unwrap_or("?");
    let status = event
        .resource_status()
        .map_or("?", |status| status.as_str());
    match event
        .resource_status_reason()
        .filter(|reason| !reason.is_empty())
    {
        Some(reason) => format!("  {resource} {status}: {reason}"),
        None => format!("  {resource} {status}"),
    }
}

/// The service's message when it answered, the chain of causes when it did not.
pub fn reason<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata,
    SdkError<E, R>: std::error::Error,
{
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::message)
        .map_or_else(|| causes(error), ToOwned::to_owned)
}

pub fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn refused<E, R>(what: &'static str) -> impl FnOnce(SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata,
    SdkError<E, R>: std::error::Error,
{
    move |error| Error::Refused {
        what,
        reason: reason(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_template_can_be_sent_with_the_request() {
        assert!(
            PROJECT.len() <= 51_200,
            "{} bytes: it needs a bucket now",
            PROJECT.len()
        );
        assert!(
            !PROJECT.contains("AWS::Serverless"),
            "a transform would need another capability"
        );
        assert!(
            Template::Body(PROJECT).may_have("KmsKeyArn")
                && !Template::Body(PROJECT).may_have("Gone")
        );
    }
}
