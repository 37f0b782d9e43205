//! Containers that nobody has any more.

use std::collections::HashMap;
use std::io;

use bollard::query_parameters::ListContainersOptions;
use sealfleet_domain::{Clock as _, Timestamp};
use sealfleet_sandbox_backend::{Found, StateDirectory};
use sealfleet_system::SystemClock;

use crate::container::label;
use crate::engine::{Engine, EngineError};
use crate::sandbox::{forget, remove};

/// How long after its time a container of another state directory is left alone, in seconds: its
/// worker takes it away itself, if it lives.
const PATIENCE_SECONDS: i64 = 300;

/// A container with the labels of a sandbox.
struct Labelled {
    found: Found,
    id: String,
}

impl Engine {
    /// The sandboxes of all workers that use this engine. Of a worker with another state directory,
    /// nobody knows whether it lives: it counts as alive until its sandbox has expired.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn sandboxes(&self, state: &StateDirectory) -> Result<Vec<Found>, EngineError> {
        let labelled = self.labelled(state).await?;
        Ok(labelled.into_iter().map(|one| one.found).collect())
    }

    /// Takes away the containers of dead workers and those that have expired, and what they have
    /// left in the state directory. Answers the containers.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn reap(&self, state: &StateDirectory) -> Result<Vec<Found>, EngineError> {
        let mut reaped = Vec::new();
        for one in self.labelled(state).await? {
            if one.found.worker_lives {
                continue;
            }
            remove(self, &one.id)
                .await
                .map_err(|error| self.fault(&error))?;
            tracing::warn!(
                container = one.found.sandbox,
                run = one.found.run,
                "took away the sandbox of a dead worker"
            );
            reaped.push(one.found);
        }
        if let Err(error) = forget_channels(state) {
            tracing::warn!(%error, "channels of dead workers are left");
        }
        Ok(reaped)
    }

    async fn labelled(&self, state: &StateDirectory) -> Result<Vec<Labelled>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![label::WORKER.to_owned()])]);
        let options = ListContainersOptions {
            all: true,
            filters: Some(filters),
            ..ListContainersOptions::default()
        };
        let listed = self.docker.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| self.fault(&error))?;
        let now = SystemClock.now();
        let labelled = listed.into_iter().filter_map(|container| {
            let id = container.id?;
            let labels = container.labels.unwrap_or_default();
            let text = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let names = container.names.unwrap_or_default();
            let name = names.first().map_or(id.as_str(), String::as_str);
            let expires = Timestamp::parse(&text(label::EXPIRES)).ok();
            let expired = expires.is_some_and(|at| at.plus_seconds(PATIENCE_SECONDS) < now);
            let is_ours = text(label::STATE) == state.id();
            let worker = text(label::WORKER);
            Some(Labelled {
                found: Found {
                    backend: "docker".to_owned(),
                    sandbox: name.trim_start_matches('/').to_owned(),
                    project: text(label::PROJECT),
                    run: text(label::RUN),
                    step: text(label::STEP),
                    fence: text(label::FENCE),
                    since: Timestamp::from_millis(
                        container.created.unwrap_or_default().saturating_mul(1000),
                    ),
                    worker_lives: if is_ours {
                        state.lives(&worker)
                    } else {
                        !expired
                    },
                    worker,
                },
                id,
            })
        });
        Ok(labelled.collect())
    }
}

/// Removes the directories of channels whose workers are dead: `sealfleet-WORKER-NUMBER`.
fn forget_channels(state: &StateDirectory) -> io::Result<()> {
    let entries = match std::fs::read_dir(state.path().join("docker")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let worker = name
            .and_then(|name| name.strip_prefix("sealfleet-"))
            .and_then(|name| name.rsplit_once('-'));
        if worker.is_some_and(|(worker, _)| !state.lives(worker)) {
            forget(&path)?;
        }
    }
    Ok(())
}
