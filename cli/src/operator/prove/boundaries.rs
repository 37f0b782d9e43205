//! What project B tries with its own, real credentials against project A.

use aws_sdk_sqs::config::{Credentials, Region};
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use sealfleet_client::types::{ClaimStep, CreateProfile, EnqueueRun, QueueCredentials, RunView};
use sealfleet_client::{AuditQuery, Client, Code, Error, PageQuery, all_pages};
use sealfleet_domain::cause::chain;
use sealfleet_domain::{ProfileName, RunId, StepId, WorkerId};
use serde_json::json;

use super::report::{Seen, Why};
use super::tenant::typed;

/// What project A has, by its names.
pub struct Theirs {
    pub run: RunId,
    pub step: StepId,
    pub profile: ProfileName,
    pub worker: WorkerId,
    /// How its profiles name its secret.
    pub reference: String,
}

/// To the admin of another project, nothing of theirs exists.
pub async fn nothing_exists(other: &Client, theirs: &Theirs) -> Seen {
    let run = theirs.run;
    let trail = AuditQuery {
        run_id: Some(run),
        ..AuditQuery::default()
    };
    let tried = [
        absent("reads the run", other.get_run(run).await),
        absent("cancels the run", other.cancel_run(run).await),
        absent("retries a step", other.retry_step(run, &theirs.step).await),
        absent("reads its trail", other.list_audit_entries(&trail).await),
        absent(
            "reads the profile",
            other.get_profile(&theirs.profile).await,
        ),
        absent("reads the worker", other.get_worker(theirs.worker).await),
        enqueue_with(other, theirs).await,
    ];
    let requests = tried.len();
    // What is broken is told first, whatever else got no answer.
    let (broken, others): (Vec<_>, Vec<_>) = tried
        .into_iter()
        .partition(|tried| matches!(tried, Err(Why::Broken(_))));
    broken
        .into_iter()
        .chain(others)
        .collect::<Result<(), Why>>()?;
    let runs = all_pages(async |page| other.list_runs(None, page).await).await?;
    if runs.iter().any(|listed| listed.run_id == run) {
        return Err(Why::Broken(format!(
            "run {run} is listed for the other project"
        )));
    }
    other.list_profiles(&PageQuery::default()).await?;
    Ok(format!(
        "{requests} requests answered `404 not_found`; the run is in no list"
    ))
}

async fn enqueue_with(other: &Client, theirs: &Theirs) -> Result<(), Why> {
    let wanted: EnqueueRun = typed(json!({
        "workflow": "prove", "profile": theirs.profile,
        "steps": [{ "id": "only", "pool": super::tenant::PULL, "mode": "identity", "command": ["true"] }],
    }))?;
    absent(
        "enqueues with the profile",
        other.enqueue_run(&wanted, None).await,
    )
}

/// Fails unless the answer is that to what is not there.
fn absent<T>(what: &str, answer: Result<T, Error>) -> Result<(), Why> {
    let told = match answer {
        Ok(_) => "it was answered".to_owned(),
        Err(Error::Problem(problem)) if problem.code == Code::NotFound => return Ok(()),
        Err(Error::Problem(problem))
            if (400..500).contains(&problem.status) && problem.status != 429 =>
        {
            format!("the answer tells that it is there: {problem}")
        }
        Err(error) => return Err(error.into()),
    };
    Err(Why::Broken(format!(
        "somebody of the other project {what}: {told}"
    )))
}

/// A worker of another project claims their step.
pub async fn claims_nothing(worker: &Client, owner: &Client, theirs: &Theirs) -> Seen {
    let before = owner.get_run(theirs.run).await?;
    let claim = ClaimStep {
        run_id: theirs.run,
        step_id: theirs.step.clone(),
        passed_on_until: None,
    };
    absent("claims the step", worker.claim_step(&claim).await)?;
    let after = owner.get_run(theirs.run).await?;
    if states(&after) != states(&before) {
        return Err(Why::Broken(format!(
            "the refused claim changed the run: {:?}",
            states(&after)
        )));
    }
    Ok("404 not_found; the step is as it was".to_owned())
}

fn states(run: &RunView) -> Vec<(&str, u64)> {
    let steps = run.steps.iter();
    steps
        .map(|step| (step.state.as_str(), step.fence.number()))
        .collect()
}

/// Their secret in a profile of another project.
pub async fn names_no_secret(other: &Client, theirs: &Theirs) -> Seen {
    let wanted: CreateProfile = typed(json!({
        "name": "prove-sneaky", "secrets": { "CANARY": theirs.reference },
    }))?;
    match other.create_profile(&wanted).await {
        Ok(made) => {
            // Whether or not it can be removed, it was taken.
            drop(other.delete_profile(&made.name, None).await);
            Err(Why::Broken("the profile was taken".to_owned()))
        }
        Err(Error::Problem(problem)) if problem.code == Code::InvalidRequest => {
            Ok(format!("400 invalid_request: {}", problem.detail))
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens queues with some credentials.
pub trait QueueDoor {
    /// Receives from a queue, and leaves the messages visible.
    async fn opens(&self, url: &str) -> Result<Opened, String>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Yes,
    /// IAM refuses.
    Denied,
}

/// SQS, with the credentials that a worker was given.
pub struct WorkerKeys(aws_sdk_sqs::Client);

impl WorkerKeys {
    pub fn new(config: &aws_config::SdkConfig, given: QueueCredentials) -> Self {
        let credentials = Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            None,
            "sealfleet",
        );
        let config = aws_sdk_sqs::config::Builder::from(config)
            .region(Region::new(given.region))
            .credentials_provider(credentials);
        Self(aws_sdk_sqs::Client::from_conf(config.build()))
    }
}

impl QueueDoor for WorkerKeys {
    async fn opens(&self, url: &str) -> Result<Opened, String> {
        let received = self
            .0
            .receive_message()
            .queue_url(url)
            .visibility_timeout(0)
            .wait_time_seconds(0)
            .send()
            .await;
        match received {
            Ok(_) => Ok(Opened::Yes),
            Err(error)
                if error
                    .code()
                    .is_some_and(|code| code.contains("AccessDenied")) =>
            {
                Ok(Opened::Denied)
            }
            Err(error) => Err(chain(&error)),
        }
    }
}

/// A worker's credentials open its own queue, and no other.
pub async fn opens_one_queue(door: &impl QueueDoor, own: &str, others: &[&str]) -> Seen {
    let ask = async |url: &str| {
        let opened = door.opens(url).await;
        opened.map_err(|error| Why::NotTried(format!("{url}: {error}")))
    };
    if ask(own).await? != Opened::Yes {
        return Err(Why::NotTried(format!(
            "the worker's own queue {own} is denied as well, so that other denials show nothing"
        )));
    }
    for other in others {
        if ask(other).await? == Opened::Yes {
            return Err(Why::Broken(format!(
                "the worker's credentials open {other}"
            )));
        }
    }
    Ok(format!(
        "its own queue opens; IAM denies {} others, one of them its own project's Fargate queue",
        others.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::prove::fake::{RUN, api, problem, run};

    fn theirs() -> Theirs {
        Theirs {
            run: RUN.parse().expect("an id"),
            step: "only".parse().expect("a step"),
            profile: "crm".parse().expect("a profile"),
            worker: "wrk_0198c0de-0000-7000-8000-00000000000a"
                .parse()
                .expect("an id"),
            reference: "aws-sm://sealfleet/a/canary#value".to_owned(),
        }
    }

    /// An API to which nothing of the other project exists, but for what `leaks` answers.
    fn other(leaks: &'static [(&'static str, &'static str)]) -> Client {
        api(move |method, path| {
            let leaks = leaks.iter();
            let mut leaks = leaks.filter(|(at, start)| *at == method && path.starts_with(start));
            if leaks.next().is_some() {
                return match path {
                    "/v1/profiles" => (201, profile()),
                    list if list.starts_with("/v1/runs?") => (
                        200,
                        json!({ "items": [{
                            "run_id": RUN, "workflow": "w", "state": "queued",
                            "created_at": "2026-01-31T08:00:00Z",
                        }] }),
                    ),
                    _ => (200, run("queued", "queued")),
                };
            }
            match (method, path) {
                ("GET", list) if list.starts_with("/v1/runs?") || list == "/v1/profiles" => {
                    (200, json!({ "items": [] }))
                }
                ("POST", "/v1/profiles") => problem(Code::InvalidRequest),
                _ => problem(Code::NotFound),
            }
        })
    }

    fn profile() -> serde_json::Value {
        json!({ "name": "prove-sneaky", "version": 1, "created_at": "2026-01-31T08:00:00Z",
            "updated_at": "2026-01-31T08:00:00Z" })
    }

    #[tokio::test]
    async fn whatever_is_told_of_another_projects_run_is_broken() {
        let seen = nothing_exists(&other(&[]), &theirs()).await;
        assert!(seen.is_ok(), "{seen:?}");
        const LEAKS: [&[(&str, &str)]; 4] = [
            &[("GET", "/v1/runs/run_")],
            &[("POST", "/v1/runs/run_")],
            &[("GET", "/v1/runs?")],
            &[("POST", "/v1/runs")],
        ];
        for leaks in LEAKS {
            let seen = nothing_exists(&other(leaks), &theirs()).await;
            assert!(matches!(seen, Err(Why::Broken(_))), "{leaks:?}: {seen:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_that_tells_of_the_run_is_broken_and_no_answer_is_not_tried() {
        let tells = api(|_, _| problem(Code::Forbidden));
        let seen = nothing_exists(&tells, &theirs()).await;
        assert!(
            matches!(&seen, Err(Why::Broken(why)) if why.contains("it is there")),
            "{seen:?}"
        );
        let half = api(|method, path| match (method, path) {
            ("GET", path) if path.starts_with("/v1/workers/") => (200, json!({})),
            ("GET", path) if path.starts_with("/v1/profiles/") => problem(Code::Forbidden),
            _ => problem(Code::Unavailable),
        });
        let seen = nothing_exists(&half.without_retries(), &theirs()).await;
        assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");
        let away = api(|_, _| problem(Code::Unavailable)).without_retries();
        let seen = nothing_exists(&away, &theirs()).await;
        assert!(matches!(seen, Err(Why::NotTried(_))), "{seen:?}");
    }

    #[tokio::test]
    async fn a_foreign_claim_that_is_answered_or_changes_something_is_broken() {
        let owner = || api(|_, _| (200, run("queued", "queued")));
        let worker = other(&[]);
        assert!(claims_nothing(&worker, &owner(), &theirs()).await.is_ok());

        let claimed = json!({ "project": "a", "run_id": RUN, "step_id": "only", "fence": 1, "attempt": 1,
            "lease_seconds": 60, "mode": "identity", "command": ["true"], "env": {}, "timeout_seconds": 60 });
        let given = api(move |_, _| (200, claimed.clone()));
        let seen = claims_nothing(&given, &owner(), &theirs()).await;
        assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");

        let asked = std::sync::atomic::AtomicUsize::new(0);
        let changing = api(move |_, _| {
            let state = match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => "queued",
                _ => "leased",
            };
            (200, run("running", state))
        });
        let seen = claims_nothing(&worker, &changing, &theirs()).await;
        assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");
    }

    #[tokio::test]
    async fn a_profile_with_a_foreign_secret_that_is_taken_is_broken() {
        let seen = names_no_secret(&other(&[]), &theirs()).await;
        assert!(seen.is_ok(), "{seen:?}");
        for removed in [(204, serde_json::Value::Null), problem(Code::NotFound)] {
            let takes = api(move |method, _| match method {
                "POST" => (201, profile()),
                _ => removed.clone(),
            });
            let seen = names_no_secret(&takes, &theirs()).await;
            assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");
        }
    }

    struct Doors(fn(&str) -> Result<Opened, String>);

    impl QueueDoor for Doors {
        async fn opens(&self, url: &str) -> Result<Opened, String> {
            (self.0)(url)
        }
    }

    #[tokio::test]
    async fn credentials_that_open_another_queue_are_broken() {
        let open = async |doors: fn(&str) -> Result<Opened, String>| {
            opens_one_queue(&Doors(doors), "own", &["a", "b"]).await
        };
        let right = |url: &str| {
            Ok(match url {
                "own" => Opened::Yes,
                _ => Opened::Denied,
            })
        };
        assert!(open(right).await.is_ok());
        let wide = |url: &str| {
            Ok(match url {
                "a" => Opened::Denied,
                _ => Opened::Yes,
            })
        };
        assert_eq!(
            open(wide).await,
            Err(Why::Broken("the worker's credentials open b".to_owned()))
        );
        assert!(matches!(
            open(|_| Ok(Opened::Denied)).await,
            Err(Why::NotTried(_))
        ));
        assert!(matches!(
            open(|_| Err("no network".to_owned())).await,
            Err(Why::NotTried(_))
        ));
    }
}
