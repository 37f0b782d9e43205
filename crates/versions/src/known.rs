//! What backends said a moment ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sealfleet_domain::identity::Pin;
use sealfleet_domain::{Clock, ProjectId, Timestamp};

/// Answers that a process keeps.
const MOST: usize = 1024;

/// A question to a backend. The project is part of it: no project is given what another has asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub project: ProjectId,
    pub scheme: &'static str,
    pub name: String,
}

/// Answers, each kept for some seconds from when it was asked for. Failures are not kept.
pub struct Known {
    clock: Arc<dyn Clock>,
    seconds: i64,
    answers: Mutex<HashMap<Question, (Timestamp, Pin)>>,
}

impl Known {
    pub fn new(clock: Arc<dyn Clock>, seconds: i64) -> Self {
        Self {
            clock,
            seconds,
            answers: Mutex::default(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn get(&self, question: &Question) -> Option<Pin> {
        let now = self.now();
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, pin) = answers.get(question)?;
        let is_recent = *asked <= now && now < asked.plus_seconds(self.seconds);
        is_recent.then(|| pin.clone())
    }

    pub fn add(&self, question: Question, asked: Timestamp, pin: Pin) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(question, (asked, pin));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

    use async_trait::async_trait;
    use sealfleet_domain::ProjectScope;

    use super::*;
    use crate::{Age, Error, SecretVersions, Versions};

    const SECONDS: i64 = 60;

    /// A clock that is set, and a backend whose version counts its answers.
    #[derive(Default)]
    struct World {
        millis: AtomicI64,
        answers: AtomicI64,
        is_away: AtomicBool,
    }

    struct Played(Arc<World>);

    impl Clock for Played {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.millis.load(Ordering::Relaxed))
        }
    }

    #[async_trait]
    impl SecretVersions for Played {
        fn scheme(&self) -> &'static str {
            "aws-sm"
        }

        async fn describe(&self, name: &str) -> Result<Pin, Error> {
            let number = self.0.answers.fetch_add(1, Ordering::Relaxed) + 1;
            if self.0.is_away.load(Ordering::Relaxed) {
                return Err(Error::NotFound(name.to_owned()));
            }
            Ok(Pin {
                version: format!("{name} {number}"),
                arn: None,
            })
        }
    }

    fn played() -> (Arc<World>, Versions) {
        let world = Arc::new(World::default());
        let clock = Arc::new(Played(Arc::clone(&world)));
        let versions = Versions::of(Played(Arc::clone(&world))).kept_for(SECONDS, clock);
        (world, versions)
    }

    async fn ask(versions: &Versions, project: &str, name: &str, age: Age) -> String {
        let scope = ProjectScope::of_stored_row(project.parse().expect("a project"));
        let pin = versions.describe(&scope, "aws-sm", name, age).await;
        pin.expect("an answer").version
    }

    #[tokio::test]
    async fn an_answer_is_used_again_for_a_minute() {
        let (world, versions) = played();
        let crm = async || ask(&versions, "healthcare", "crm", Age::Recent).await;
        assert_eq!(crm().await, "crm 1");
        world.millis.store(SECONDS * 1000 - 1, Ordering::Relaxed);
        assert_eq!(crm().await, "crm 1");
        world.millis.store(SECONDS * 1000, Ordering::Relaxed);
        assert_eq!(crm().await, "crm 2");
        // A clock that was put back proves nothing.
        world.millis.store(0, Ordering::Relaxed);
        assert_eq!(crm().await, "crm 3");
    }

    #[tokio::test]
    async fn another_project_another_secret_and_whoever_needs_it_now_ask_anew() {
        let (_, versions) = played();
        let recent = async |project, name| ask(&versions, project, name, Age::Recent).await;
        assert_eq!(recent("healthcare", "crm").await, "crm 1");
        assert_eq!(recent("finance", "crm").await, "crm 2");
        assert_eq!(recent("healthcare", "ehr").await, "ehr 3");
        let now = ask(&versions, "healthcare", "crm", Age::Now).await;
        assert_eq!(now, "crm 4");
        assert_eq!(recent("healthcare", "crm").await, "crm 4");
        assert_eq!(recent("finance", "crm").await, "crm 2");
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let (world, versions) = played();
        world.is_away.store(true, Ordering::Relaxed);
        let scope = ProjectScope::of_stored_row("healthcare".parse().expect("a project"));
        let refused = versions
            .describe(&scope, "aws-sm", "crm", Age::Recent)
            .await;
        assert_eq!(refused, Err(Error::NotFound("crm".to_owned())));
        world.is_away.store(false, Ordering::Relaxed);
        let crm = ask(&versions, "healthcare", "crm", Age::Recent).await;
        assert_eq!(crm, "crm 2");
    }

    #[tokio::test]
    async fn a_process_keeps_a_bounded_number_of_answers() {
        let (_, versions) = played();
        for number in 0..=2 * MOST {
            ask(&versions, "healthcare", &number.to_string(), Age::Recent).await;
        }
        let known = versions.known.as_ref().expect("answers are kept");
        assert!(known.answers.lock().expect("a lock").len() <= MOST);
    }

    #[tokio::test]
    async fn answers_that_are_kept_for_no_time_are_not_used() {
        let (world, _) = played();
        let clock = Arc::new(Played(Arc::clone(&world)));
        let versions = Versions::of(Played(world)).kept_for(0, clock);
        assert_eq!(
            ask(&versions, "healthcare", "crm", Age::Recent).await,
            "crm 1"
        );
        assert_eq!(
            ask(&versions, "healthcare", "crm", Age::Recent).await,
            "crm 2"
        );
    }
}
