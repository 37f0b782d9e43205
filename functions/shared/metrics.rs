//! CloudWatch metrics, as lines of the embedded metric format on standard output: CloudWatch Logs
//! reads the numbers out of the function's own log, so a metric costs no call, no permission and no
//! time.
//!
//! Written here rather than with `metrics_cloudwatch_embedded`: a line is one JSON object, while
//! that crate gathers numbers in a recorder of the whole process and writes them after an
//! invocation. Here a number is written when what it counts has been stored, a handler that dies
//! later does not lose it, and a test reads the very lines.
//!
//! A metric's names are the ones below, a project's and a function's: it has no field for a key's
//! name or a value. CloudWatch bills each combination of a name and a dimension's value, so a
//! project is a dimension only where the deployment asks for it ([`ByProject`]). What concerns
//! projects is summed over the deployment, and each line names its project for whoever queries the
//! log.
//!
//! Steps are counted where the ledger has stored their transition ([`Watch`]), which happens once
//! however often an event or a request comes. A transition whose answer was lost is not counted:
//! these are figures for watching, not for bills.
//!
//! Source: "Specification: Embedded metric format", Amazon CloudWatch User Guide.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use sealfleet_domain::audit::Event;
use sealfleet_domain::capability::AWS_SM;
use sealfleet_domain::usage::{ByModel, Ran, Sums};
use sealfleet_domain::{NamePrefix, ProjectScope, Timestamp};
use sealfleet_ledger::Watch;
use serde_json::{Map, Value, json};

/// The dimension of the sums over all projects. Its only value is the name prefix.
const DEPLOYMENT: &str = "Deployment";

/// The projects that have metrics of their own: names, or `*` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByProject(BTreeSet<String>);

impl ByProject {
    /// Reads the names from a list with commas. An empty list names none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let names = text.split(',').map(str::trim);
        Self(
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    fn has(&self, project: &str) -> bool {
        self.0.contains(project) || self.0.contains("*")
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Of projects: sandboxes that started.
    StepsStarted,
    /// Of projects: steps that ended, however they did.
    StepsEnded,
    /// Of projects: seconds of hosted sandboxes, times their virtual CPUs.
    VcpuSeconds,
    /// Of projects: seconds of hosted sandboxes, times their gigabytes of memory.
    GbSeconds,
    /// Of projects: seconds from claims to ends, of attempts that ended.
    StepSeconds,
    /// Of projects: tokens that models were sent, as they are charged.
    InputTokens,
    /// Of projects: tokens that models wrote, as they are charged.
    OutputTokens,
    /// Of projects: bytes that steps sent and received through their egress proxies.
    EgressBytes,
    /// Of projects: US dollars of hosted sandboxes, and of tokens whose price is known.
    CostDollars,
    /// Of projects: launches that its pool or the host had no room for, or that the host refused.
    DispatchRefusals,
    /// Of projects: starts whose host reads values in Secrets Manager, of which CloudTrail tells.
    SecretsReleased,
    /// Of projects: requests that were answered with 429.
    RequestsThrottled,
    /// Of projects, by function: reads of secrets that no release explains.
    ReadsUnexplained,
    /// By function: sandboxes that ran for a claim that was gone, and were stopped.
    OrphanTasks,
    /// By function: fan-outs that were due and are not finished.
    FanOutsUnfinished,
    /// By function: due rows that a sweep had no time for.
    SweepLeft,
    /// By function: seconds for which a step of a run that was visited has waited for its pool.
    QueuedSeconds,
    /// By function: audit records that could not be exported and were set aside, and rows of runs
    /// whose entries somebody else has changed.
    AuditSetAside,
    /// By function: digests of the exported trail that were written.
    DigestsWritten,
}

impl Metric {
    /// Its name in CloudWatch.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StepsStarted => "StepsStarted",
            Self::StepsEnded => "StepsEnded",
            Self::VcpuSeconds => "VcpuSeconds",
            Self::GbSeconds => "GbSeconds",
            Self::StepSeconds => "StepSeconds",
            Self::InputTokens => "InputTokens",
            Self::OutputTokens => "OutputTokens",
            Self::EgressBytes => "EgressBytes",
            Self::CostDollars => "CostDollars",
            Self::DispatchRefusals => "DispatchRefusals",
            Self::SecretsReleased => "SecretsReleased",
            Self::RequestsThrottled => "RequestsThrottled",
            Self::ReadsUnexplained => "ReadsUnexplained",
            Self::OrphanTasks => "OrphanTasks",
            Self::FanOutsUnfinished => "FanOutsUnfinished",
            Self::SweepLeft => "SweepLeft",
            Self::QueuedSeconds => "QueuedSeconds",
            Self::AuditSetAside => "AuditSetAside",
            Self::DigestsWritten => "DigestsWritten",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            // CloudWatch has no unit for a product with seconds, and none for money.
            Self::VcpuSeconds | Self::GbSeconds | Self::CostDollars => "None",
            Self::QueuedSeconds | Self::StepSeconds => "Seconds",
            Self::EgressBytes => "Bytes",
            _ => "Count",
        }
    }
}

/// Where lines go.
pub trait Lines: Send + Sync {
    /// Writes one line.
    fn write(&self, line: String);
}

/// Standard output, which is the function's log.
struct Stdout;

impl Lines for Stdout {
    fn write(&self, mut line: String) {
        line.push('\n');
        // A log that cannot be written must not end the handler.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

/// Keeps them, for tests.
impl Lines for Mutex<Vec<String>> {
    fn write(&self, line: String) {
        if let Ok(mut lines) = self.lock() {
            lines.push(line);
        }
    }
}

/// The metrics of one function.
#[derive(Clone)]
pub struct Metrics {
    /// The namespace of all metrics: two installations in one account do not count together.
    prefix: NamePrefix,
    function: String,
    by_project: ByProject,
    lines: Arc<dyn Lines>,
}

impl Metrics {
    /// The metrics of `function`, the name of its folder, to the function's log.
    #[must_use]
    pub fn new(prefix: NamePrefix, function: &str, by_project: ByProject) -> Self {
        Self {
            prefix,
            by_project,
            ..Self::to(function, Arc::new(Stdout))
        }
    }

    /// The metrics of `function`, to `lines`. No project has metrics of its own.
    #[must_use]
    pub fn to(function: &str, lines: Arc<dyn Lines>) -> Self {
        Self {
            prefix: NamePrefix::default(),
            function: function.to_owned(),
            by_project: ByProject::default(),
            lines,
        }
    }

    /// Numbers of a project, or of the operators' `~system`, which are summed over all of them.
    pub fn of_project(&self, project: &str, at: Timestamp, numbers: &[(Metric, f64)]) {
        self.write(
            (DEPLOYMENT, self.prefix.as_str()),
            Some(project),
            at,
            numbers,
        );
    }

    /// Numbers of this function.
    pub fn of_function(&self, at: Timestamp, numbers: &[(Metric, f64)]) {
        self.write(("Function", &self.function), None, at, numbers);
    }

    /// Numbers of a project that are summed by function.
    pub fn of_project_and_function(&self, project: &str, at: Timestamp, numbers: &[(Metric, f64)]) {
        self.write(("Function", &self.function), Some(project), at, numbers);
    }

    fn write(
        &self,
        dimension: (&str, &str),
        project: Option<&str>,
        at: Timestamp,
        numbers: &[(Metric, f64)],
    ) {
        let mut sets = vec![[dimension.0]];
        sets.extend(
            project
                .filter(|project| self.by_project.has(project))
                .map(|_| ["Project"]),
        );
        let named = [dimension]
            .into_iter()
            .chain(project.map(|name| ("Project", name)));
        let namespace = self.prefix.as_str();
        self.lines.write(line(namespace, &sets, named, at, numbers));
    }

    /// For how long a sandbox of a project ran. To be told once for each sandbox.
    pub fn ran(&self, scope: &ProjectScope, ran: &Ran) {
        let numbers = [
            (Metric::VcpuSeconds, thousandths(ran.vcpu_ms())),
            (Metric::GbSeconds, thousandths(ran.gb_ms())),
        ];
        self.of_project(scope.project().as_str(), ran.stopped_at, &numbers);
    }
}

/// Counts starts and ends of steps, and releases of secrets.
impl Watch for Metrics {
    fn stored(&self, scope: &ProjectScope, events: &[Event], at: Timestamp) {
        let (mut started, mut ended, mut released) = (0.0, 0.0, 0.0);
        for event in events {
            match event {
                Event::StepRunning { .. } => started += 1.0,
                Event::SecretReleased { secrets, .. }
                    if secrets
                        .iter()
                        .any(|secret| secret.uri.scheme() == AWS_SM.name) =>
                {
                    released += 1.0;
                }
                Event::StepSucceeded { .. }
                | Event::StepFailed { .. }
                | Event::StepAborted { .. }
                | Event::StepDead { .. } => ended += 1.0,
                _ => {}
            }
        }
        let mut numbers = vec![
            (Metric::StepsStarted, started),
            (Metric::StepsEnded, ended),
            (Metric::SecretsReleased, released),
        ];
        numbers.retain(|(_, number)| *number > 0.0);
        if !numbers.is_empty() {
            self.of_project(scope.project().as_str(), at, &numbers);
        }
    }

    fn used(&self, scope: &ProjectScope, used: &ByModel, at: Timestamp) {
        let project = scope.project().as_str();
        let mut all = Sums::default();
        for (model, sums) in used {
            all = all.plus(sums);
            if sums.input + sums.output > 0 {
                // Names of OpenTelemetry's semantic conventions for generative AI.
                let (provider, model) = model.split_once('/').unwrap_or(("unknown", model));
                tracing::info!(
                    sealfleet.project_id = project,
                    gen_ai.provider.name = provider,
                    gen_ai.request.model = model,
                    gen_ai.usage.input_tokens = sums.input,
                    gen_ai.usage.cached_input_tokens = sums.cached,
                    gen_ai.usage.output_tokens = sums.output,
                    "an agent has used a model"
                );
            }
        }
        let mut numbers = vec![
            (Metric::StepSeconds, thousandths(all.wall_ms)),
            (Metric::InputTokens, thousandths(all.input) * 1000.0),
            (Metric::OutputTokens, thousandths(all.output) * 1000.0),
            (
                Metric::EgressBytes,
                thousandths(all.sent.saturating_add(all.received)) * 1000.0,
            ),
            (
                Metric::CostDollars,
                thousandths(all.sandbox_nanos.saturating_add(all.model_nanos)) / 1e6,
            ),
        ];
        numbers.retain(|(_, number)| *number > 0.0);
        if !numbers.is_empty() {
            self.of_project(project, at, &numbers);
        }
    }
}

/// A sum of thousandths, as CloudWatch takes it.
#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for watching, not for bills"
)]
fn thousandths(sum: u64) -> f64 {
    sum as f64 / 1000.0
}

/// The line that says each of `numbers` once for each dimension of `sets`. `named` gives the
/// dimensions' values, and what the log alone says.
fn line<'a>(
    namespace: &str,
    sets: &[[&str; 1]],
    named: impl Iterator<Item = (&'a str, &'a str)>,
    at: Timestamp,
    numbers: &[(Metric, f64)],
) -> String {
    let metrics: Vec<Value> = numbers
        .iter()
        .map(|(metric, _)| json!({ "Name": metric.name(), "Unit": metric.unit() }))
        .collect();
    let directive = json!({ "Namespace": namespace, "Dimensions": sets, "Metrics": metrics });
    let mut members = Map::new();
    members.insert(
        "_aws".to_owned(),
        json!({ "Timestamp": at.millis(), "CloudWatchMetrics": [directive] }),
    );
    members.extend(named.map(|(name, value)| (name.to_owned(), json!(value))));
    members.extend(
        numbers
            .iter()
            .map(|(metric, number)| (metric.name().to_owned(), json!(number))),
    );
    Value::Object(members).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_769_846_400_123);
    const ALL: [Metric; 19] = [
        Metric::StepsStarted,
        Metric::StepsEnded,
        Metric::VcpuSeconds,
        Metric::GbSeconds,
        Metric::StepSeconds,
        Metric::InputTokens,
        Metric::OutputTokens,
        Metric::EgressBytes,
        Metric::CostDollars,
        Metric::DispatchRefusals,
        Metric::SecretsReleased,
        Metric::RequestsThrottled,
        Metric::ReadsUnexplained,
        Metric::OrphanTasks,
        Metric::FanOutsUnfinished,
        Metric::SweepLeft,
        Metric::QueuedSeconds,
        Metric::AuditSetAside,
        Metric::DigestsWritten,
    ];

    fn written(write: impl Fn(&Metrics)) -> Vec<Value> {
        written_with("", write)
    }

    fn written_with(by_project: &str, write: impl Fn(&Metrics)) -> Vec<Value> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics {
            by_project: ByProject::parse(by_project),
            ..Metrics::to("observe", lines.clone())
        };
        write(&metrics);
        let lines = lines.lock().unwrap();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What the specification requires of a document, for the members that are used here.
    fn check(document: &Value) {
        assert!(document.to_string().len() <= 1_048_576);
        let root = document.as_object().unwrap();
        let metadata = root["_aws"].as_object().unwrap();
        assert!(
            metadata["Timestamp"].as_u64().unwrap() > 1_000_000_000_000,
            "milliseconds since the epoch"
        );
        let directives = metadata["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives.len(), 1);
        // The project is named in the log whether it is a dimension or not.
        let mut targets = vec!["_aws", "Project"];
        for directive in directives {
            assert!((1..=1024).contains(&directive["Namespace"].as_str().unwrap().len()));
            for set in directive["Dimensions"].as_array().unwrap() {
                let set = set.as_array().unwrap();
                assert!((1..=30).contains(&set.len()));
                for name in set {
                    let name = name.as_str().unwrap();
                    assert!(
                        (1..=1024).contains(&root[name].as_str().unwrap().len()),
                        "a dimension's target is a string"
                    );
                    targets.push(name);
                }
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=100).contains(&metrics.len()));
            for metric in metrics {
                let name = metric["Name"].as_str().unwrap();
                assert!(root[name].is_number(), "a metric's target is a number");
                assert!(
                    ["Bytes", "Count", "None", "Seconds"]
                        .contains(&metric["Unit"].as_str().unwrap())
                );
                targets.push(name);
            }
        }
        assert!(
            root.keys().all(|member| targets.contains(&member.as_str())),
            "nothing else is in a line: {root:?}"
        );
    }

    #[test]
    fn each_line_is_a_document_of_the_embedded_metric_format() {
        for metric in ALL {
            let lines = written(|metrics| {
                metrics.of_project("healthcare", AT, &[(metric, 2.0)]);
                metrics.of_function(AT, &[(metric, 2.0)]);
                metrics.of_project_and_function("~system", AT, &[(metric, 2.0)]);
            });
            assert_eq!(lines.len(), 3);
            for line in &lines {
                check(line);
                assert_eq!(
                    line["_aws"]["CloudWatchMetrics"][0]["Namespace"],
                    "sealfleet"
                );
                assert_eq!(line[metric.name()], 2.0);
            }
            let sets = |line: &Value| line["_aws"]["CloudWatchMetrics"][0]["Dimensions"].clone();
            assert_eq!(lines[0]["Project"], "healthcare");
            assert_eq!(sets(&lines[0]), json!([["Deployment"]]));
            assert_eq!(lines[1]["Function"], "observe");
            assert_eq!(sets(&lines[1]), json!([["Function"]]));
            assert_eq!(lines[2]["Project"], "~system");
            assert_eq!(sets(&lines[2]), json!([["Function"]]));
        }
    }

    #[test]
    fn a_project_is_a_dimension_only_where_it_is_asked_for() {
        let own = |asked: &str, project: &str| {
            let lines = written_with(asked, |metrics| {
                metrics.of_project(project, AT, &[(Metric::StepsEnded, 1.0)]);
            });
            check(&lines[0]);
            let sets = &lines[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
            assert_eq!(sets[0], json!(["Deployment"]), "the sum has every project");
            sets.as_array().unwrap().contains(&json!(["Project"]))
        };
        assert!(own("finance, healthcare", "healthcare"));
        assert!(own("*", "healthcare"));
        for asked in ["", "finance", "health", "healthcare-2"] {
            assert!(!own(asked, "healthcare"), "{asked}");
        }
    }

    #[test]
    fn starts_ends_and_releases_are_counted_and_nothing_else_is() {
        let scope = ProjectScope::of_stored_row("healthcare".parse().unwrap());
        let step = |name: &str| name.parse().unwrap();
        let fence = sealfleet_domain::run::Fence::default();
        let reason = sealfleet_domain::run::AbortReason::Cancelled;
        let released = |uri: &str| Event::SecretReleased {
            step_id: step("a"),
            fence,
            secrets: vec![sealfleet_domain::identity::SecretRef {
                delivery: sealfleet_domain::delivery::Delivery::Env,
                redact: true,
                name: "TOKEN".to_owned(),
                uri: uri.split('@').next().unwrap().parse().unwrap(),
                version: Some("1".to_owned()),
                arn: None,
                from: "crm".parse().unwrap(),
            }],
        };
        let events = [
            Event::StepQueued { step_id: step("a") },
            Event::StepRunning {
                step_id: step("a"),
                fence,
            },
            Event::StepSucceeded {
                step_id: step("a"),
                fence,
            },
            Event::StepAborted {
                step_id: step("b"),
                reason,
            },
            released("aws-sm://sealfleet/healthcare/crm#token"),
            // CloudTrail tells of no read in a worker's store.
            released("builtin://crm@1"),
        ];
        let lines = written(|metrics| {
            metrics.stored(&scope, &events, AT);
            metrics.stored(&scope, &events[..1], AT);
        });
        assert_eq!(
            lines.len(),
            1,
            "a change without a start or an end says nothing"
        );
        check(&lines[0]);
        assert_eq!(
            (&lines[0]["StepsStarted"], &lines[0]["StepsEnded"]),
            (&json!(1.0), &json!(2.0))
        );
        assert_eq!(lines[0]["SecretsReleased"], json!(1.0));
    }

    #[test]
    fn a_task_uses_its_size_for_its_time() {
        let scope = ProjectScope::of_stored_row("healthcare".parse().unwrap());
        let ran = Ran {
            size: sealfleet_domain::usage::Size {
                cpu: 512,
                memory_mib: 3072,
            },
            started_at: AT,
            stopped_at: AT.plus_seconds(90),
        };
        let lines = written(|metrics| metrics.ran(&scope, &ran));
        check(&lines[0]);
        assert_eq!(
            (&lines[0]["VcpuSeconds"], &lines[0]["GbSeconds"]),
            (&json!(45.0), &json!(270.0))
        );
    }

    #[test]
    fn what_steps_use_is_told_without_their_models() {
        let scope = ProjectScope::of_stored_row("healthcare".parse().unwrap());
        let sums = Sums {
            attempts: 1,
            wall_ms: 1500,
            input: 1000,
            output: 20,
            sent: 1,
            received: 2,
            sandbox_nanos: 500_000_000,
            model_nanos: 1_000_000_000,
            ..Sums::default()
        };
        let used = ByModel::from([("openai/gpt".to_owned(), sums), (String::new(), sums)]);
        let lines = written(|metrics| metrics.used(&scope, &used, AT));
        check(&lines[0]);
        let number = |metric: Metric| lines[0][metric.name()].as_f64().unwrap();
        assert!((number(Metric::StepSeconds) - 3.0).abs() < 1e-9);
        assert!((number(Metric::InputTokens) - 2000.0).abs() < 1e-9);
        assert!((number(Metric::OutputTokens) - 40.0).abs() < 1e-9);
        assert!((number(Metric::EgressBytes) - 6.0).abs() < 1e-9);
        assert!((number(Metric::CostDollars) - 3.0).abs() < 1e-9);
        // A model is no dimension, and not in the line: an agent's model is the project's own text.
        assert!(!lines[0].to_string().contains("gpt"));
    }
}
