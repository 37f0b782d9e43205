//! What a worker tells its own host: `GET /healthz` and `GET /metrics` on a loopback port.
//!
//! Both hold counts only. They are taken where requests leave the worker, so that nothing else has
//! to know of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use sealfleet_client::types::{
    AskIdentityToken, Claim, ClaimStep, FetchInputs, Heartbeat, HeartbeatAnswer, IdentityToken,
    LeaseRef, OutputCredentials, QueueCredentials, ReportStep, StartStep, StepAnswer, StepInput,
    StepInputs,
};
use sealfleet_client::{Error, TransferError};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::control::ControlPlane;
use crate::lease::Leases;
use crate::queue::{Message, Queue, QueueError};

/// A worker is healthy if the control plane or the queue has answered it within this time. It waits
/// 20 seconds for a message, and sends a heartbeat every 60 at least while it has steps.
const PATIENCE: Duration = Duration::from_secs(120);

/// What has happened so far.
#[derive(Clone)]
pub struct Telemetry(Arc<Mutex<Counts>>);

struct Counts {
    heard: Instant,
    requests: BTreeMap<(&'static str, &'static str), u64>,
    steps: BTreeMap<String, u64>,
    output_cut_bytes: u64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Counts {
            heard: Instant::now(),
            requests: BTreeMap::new(),
            steps: BTreeMap::new(),
            output_cut_bytes: 0,
        })))
    }
}

impl Telemetry {
    /// Serves both until the runtime ends, and answers where. Port 0 is any free one.
    ///
    /// # Errors
    /// The port cannot be used.
    pub async fn serve(self, port: u16, leases: Leases) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let health = self.clone();
        let health = move || {
            let health = health.health();
            async move { health }
        };
        let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
        let metrics = move || {
            let metrics = self.metrics(leases.all().len());
            async move { (text, metrics) }
        };
        let router = Router::new()
            .route("/healthz", get(health))
            .route("/metrics", get(metrics));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "health and metrics are no longer served");
            }
        });
        Ok(address)
    }

    fn health(&self) -> (StatusCode, String) {
        let silent = self.lock().heard.elapsed();
        if silent <= PATIENCE {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        let seconds = silent.as_secs();
        let why =
            format!("neither the control plane nor the queue has answered for {seconds} seconds\n");
        (StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// In Prometheus' text format, version 0.0.4.
    fn metrics(&self, held: usize) -> String {
        let counts = self.lock();
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, u64)>| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let plain = |value| vec![(String::new(), value)];
        family(
            "sealfleet_worker_steps_held",
            "gauge",
            "Steps whose lease the worker holds.",
            plain(held as u64),
        );
        family(
            "sealfleet_worker_steps_total",
            "counter",
            "Steps whose end was reported, by state.",
            counts
                .steps
                .iter()
                .map(|(state, count)| (format!("{{state=\"{state}\"}}"), *count))
                .collect(),
        );
        family(
            "sealfleet_worker_requests_total",
            "counter",
            "Requests to the control plane and the queue, by operation and result.",
            counts
                .requests
                .iter()
                .map(|((operation, result), count)| {
                    let labels = format!("{{operation=\"{operation}\",result=\"{result}\"}}");
                    (labels, *count)
                })
                .collect(),
        );
        family(
            "sealfleet_worker_output_cut_bytes_total",
            "counter",
            "Bytes of output that were not kept.",
            plain(counts.output_cut_bytes),
        );
        family(
            "sealfleet_worker_silence_seconds",
            "gauge",
            "Seconds since the control plane or the queue last answered.",
            plain(counts.heard.elapsed().as_secs()),
        );
        text
    }

    /// Counts a request. A refusal is an answer, too.
    fn count<T, E>(
        &self,
        operation: &'static str,
        result: Result<T, E>,
        is_refusal: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let word = match &result {
            Ok(_) => "ok",
            Err(error) if is_refusal(error) => "refused",
            Err(_) => "failed",
        };
        let mut counts = self.lock();
        *counts.requests.entry((operation, word)).or_default() += 1;
        if word != "failed" {
            counts.heard = Instant::now();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A control plane or a queue whose answers are counted.
pub struct Counted<T> {
    pub inner: T,
    pub telemetry: Telemetry,
}

impl<T> Counted<T> {
    fn answer<A>(&self, operation: &'static str, answer: Result<A, Error>) -> Result<A, Error> {
        self.telemetry
            .count(operation, answer, |error| !error.is_passing())
    }

    fn queue<A>(
        &self,
        operation: &'static str,
        answer: Result<A, QueueError>,
    ) -> Result<A, QueueError> {
        self.telemetry.count(operation, answer, |_| false)
    }
}

#[async_trait]
impl<T: ControlPlane> ControlPlane for Counted<T> {
    async fn claim(&self, request: &ClaimStep) -> Result<Claim, Error> {
        self.answer("claim", self.inner.claim(request).await)
    }

    async fn heartbeat(&self, request: &Heartbeat) -> Result<HeartbeatAnswer, Error> {
        self.answer("heartbeat", self.inner.heartbeat(request).await)
    }

    async fn start(&self, request: &StartStep) -> Result<StepAnswer, Error> {
        self.answer("start", self.inner.start(request).await)
    }

    async fn report(&self, request: &ReportStep) -> Result<StepAnswer, Error> {
        let answer = self.answer("report", self.inner.report(request).await)?;
        let mut counts = self.telemetry.lock();
        *counts.steps.entry(request.state.clone()).or_default() += 1;
        counts.output_cut_bytes += request.output_cut_bytes;
        Ok(answer)
    }

    async fn queue_credentials(&self) -> Result<QueueCredentials, Error> {
        self.answer("queue_credentials", self.inner.queue_credentials().await)
    }

    async fn output_credentials(&self, claim: &LeaseRef) -> Result<OutputCredentials, Error> {
        self.answer(
            "output_credentials",
            self.inner.output_credentials(claim).await,
        )
    }

    async fn step_inputs(&self, request: &FetchInputs) -> Result<StepInputs, Error> {
        self.answer("step_inputs", self.inner.step_inputs(request).await)
    }

    async fn identity_token(&self, request: &AskIdentityToken) -> Result<IdentityToken, Error> {
        self.answer("identity_token", self.inner.identity_token(request).await)
    }

    /// Content is not of the control plane, and is not counted.
    async fn fetch(&self, input: &StepInput, into: &mut File) -> Result<(), TransferError> {
        self.inner.fetch(input, into).await
    }
}

#[async_trait]
impl<T: Queue> Queue for Counted<T> {
    async fn receive(&self) -> Result<Option<Message>, QueueError> {
        self.queue("receive", self.inner.receive().await)
    }

    async fn delete(&self, message: &Message) -> Result<(), QueueError> {
        self.queue("delete", self.inner.delete(message).await)
    }

    async fn release(&self, message: &Message, after: Duration) -> Result<(), QueueError> {
        self.queue("release", self.inner.release(message, after).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealfleet_client::{Code, Problem};

    /// A queue that answers nothing, or fails.
    struct Silent(bool);

    #[async_trait]
    impl Queue for Silent {
        async fn receive(&self) -> Result<Option<Message>, QueueError> {
            match self.0 {
                true => Ok(None),
                false => Err(QueueError::Address("no".to_owned())),
            }
        }

        async fn delete(&self, _: &Message) -> Result<(), QueueError> {
            Ok(())
        }

        async fn release(&self, _: &Message, _: Duration) -> Result<(), QueueError> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_makes_a_worker_unhealthy_and_an_answer_healthy() {
        let telemetry = Telemetry::default();
        let asked = async |answers| {
            let telemetry = telemetry.clone();
            let inner = Silent(answers);
            drop(Counted { inner, telemetry }.receive().await);
        };
        tokio::time::advance(PATIENCE).await;
        assert_eq!(telemetry.health().0, StatusCode::OK);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(telemetry.health().0, StatusCode::SERVICE_UNAVAILABLE);
        asked(false).await;
        assert_eq!(telemetry.health().0, StatusCode::SERVICE_UNAVAILABLE);
        asked(true).await;
        assert_eq!(telemetry.health(), (StatusCode::OK, "ok\n".to_owned()));
        let text = telemetry.metrics(3);
        for line in [
            "# TYPE sealfleet_worker_steps_held gauge\nsealfleet_worker_steps_held 3\n",
            "sealfleet_worker_requests_total{operation=\"receive\",result=\"failed\"} 1\n",
            "sealfleet_worker_requests_total{operation=\"receive\",result=\"ok\"} 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer() {
        let telemetry = Telemetry::default();
        tokio::time::advance(PATIENCE * 2).await;
        let inner = Silent(true);
        let counted = Counted {
            inner,
            telemetry: telemetry.clone(),
        };
        let refusal = Error::Problem(Problem::new(Code::NotQueued, "no"));
        assert!(counted.answer::<()>("claim", Err(refusal)).is_err());
        assert_eq!(telemetry.health().0, StatusCode::OK);
        let text = telemetry.metrics(0);
        assert!(
            text.contains("{operation=\"claim\",result=\"refused\"} 1"),
            "{text}"
        );
    }
}
