//! What IAM would decide, for calls that an operator cannot make in the name of a role.

use sealfleet_aws_json::iam::{Decision, Iam};
use sealfleet_domain::cause::chain;

use super::report::{Seen, Why};

/// Tells what the policies of a role say.
pub trait Simulator {
    async fn simulate(&self, question: &Question) -> Result<Option<Decision>, String>;
}

/// Whether a role may do something.
#[derive(Clone, Debug)]
pub struct Question {
    pub role: String,
    pub action: &'static str,
    pub resource: String,
    /// The project that the secret is tagged with.
    pub tag: String,
}

/// What has to be the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    Anyhow,
    /// By a Deny, which no other policy can outweigh.
    ByStatement,
}

impl Simulator for Iam {
    async fn simulate(&self, question: &Question) -> Result<Option<Decision>, String> {
        let tag = format!("aws:ResourceTag/{}", sealfleet_versions::PROJECT_TAG);
        let context = [(tag.as_str(), question.tag.as_str())];
        self.simulate(
            &question.role,
            question.action,
            &question.resource,
            &context,
        )
        .await
        .map_err(|error| chain(&error))
    }
}

/// All of these questions are answered with a denial. `control` must be allowed: a simulator that
/// denies everything shows nothing.
pub async fn denied(
    simulator: &impl Simulator,
    control: &Question,
    questions: &[Question],
    denied: Denied,
) -> Seen {
    if ask(simulator, control).await? != Decision::Allowed {
        return Err(Why::NotTried(format!(
            "IAM's simulator does not even allow what the policies allow ({}, {} of the own \
             project's secret): its denials show nothing",
            name(&control.role),
            control.action
        )));
    }
    for question in questions {
        let decision = ask(simulator, question).await?;
        let role = name(&question.role);
        match (decision, denied) {
            (Decision::Allowed, _) => {
                return Err(Why::Broken(format!(
                    "{role} is allowed {} on {}",
                    question.action, question.resource
                )));
            }
            (Decision::ImplicitDeny, Denied::ByStatement) => {
                return Err(Why::Broken(format!(
                    "no statement denies {role} {}: one more policy could allow it",
                    question.action
                )));
            }
            (Decision::ImplicitDeny, Denied::Anyhow) | (Decision::ExplicitDeny, _) => {}
        }
    }
    Ok(format!(
        "{} questions, all denied; the control question was allowed",
        questions.len()
    ))
}

async fn ask(simulator: &impl Simulator, question: &Question) -> Result<Decision, Why> {
    let decision = simulator.simulate(question).await;
    let decision = decision.map_err(|error| {
        Why::NotTried(format!(
            "iam:SimulatePrincipalPolicy for {}: {error}",
            name(&question.role)
        ))
    })?;
    decision.ok_or_else(|| Why::NotTried("IAM's answer is none that is known".to_owned()))
}

/// A role's name, without its path.
fn name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers by the role's ARN.
    struct Says(fn(&str) -> Result<Option<Decision>, String>);

    impl Simulator for Says {
        async fn simulate(&self, question: &Question) -> Result<Option<Decision>, String> {
            (self.0)(&question.role)
        }
    }

    fn question(role: &str) -> Question {
        Question {
            role: role.to_owned(),
            action: "secretsmanager:GetSecretValue",
            resource: "arn:aws:secretsmanager:r:1:secret:sealfleet/a/canary-AbCdEf".to_owned(),
            tag: "a".to_owned(),
        }
    }

    async fn asked(says: fn(&str) -> Result<Option<Decision>, String>, how: Denied) -> Seen {
        denied(&Says(says), &question("own"), &[question("other")], how).await
    }

    #[tokio::test]
    async fn a_permission_is_broken_and_a_simulator_that_denies_all_shows_nothing() {
        let right = |role: &str| {
            Ok(Some(match role {
                "own" => Decision::Allowed,
                _ => Decision::ImplicitDeny,
            }))
        };
        assert!(asked(right, Denied::Anyhow).await.is_ok());
        assert!(
            matches!(asked(right, Denied::ByStatement).await, Err(Why::Broken(why)) if why.contains("no statement denies other"))
        );
        let explicit = |role: &str| {
            Ok(Some(match role {
                "own" => Decision::Allowed,
                _ => Decision::ExplicitDeny,
            }))
        };
        assert!(asked(explicit, Denied::ByStatement).await.is_ok());
        let all = |_: &str| Ok(Some(Decision::Allowed));
        for how in [Denied::Anyhow, Denied::ByStatement] {
            assert!(
                matches!(asked(all, how).await, Err(Why::Broken(why)) if why.contains("other is allowed"))
            );
        }
        for says in [
            |_: &str| Ok(Some(Decision::ExplicitDeny)),
            |_: &str| Ok(None),
            |_: &str| Err("AccessDenied".to_owned()),
        ] {
            let says: fn(&str) -> Result<Option<Decision>, String> = says;
            assert!(matches!(
                asked(says, Denied::Anyhow).await,
                Err(Why::NotTried(_))
            ));
        }
    }
}
