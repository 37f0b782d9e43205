//! Launchers as a worker uses them: `sealfleet-init` is the first process of a sandbox, and
//! inherits its channel.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_channel::Socket;
use sealfleet_sandbox_backend::{
    DEFAULT_IMAGE, Exit, Order, Output, SandboxBackend, StartError, Started,
};

use crate::launcher::Launcher;
use crate::rootfs::INIT_PATH;
use crate::sandbox::Sandbox;
use crate::spec::{CHANNEL_FD, SandboxSpec};

/// One launcher for each root directory, by the name of its variant.
#[derive(Debug)]
pub struct Roots(BTreeMap<String, Launcher>);

impl Roots {
    #[must_use]
    pub fn new(by_name: BTreeMap<String, Launcher>) -> Self {
        Self(by_name)
    }

    pub fn launchers(&self) -> impl Iterator<Item = &Launcher> {
        self.0.values()
    }
}

/// One root for all steps.
impl From<Launcher> for Roots {
    fn from(launcher: Launcher) -> Self {
        Self([(DEFAULT_IMAGE.to_owned(), launcher)].into())
    }
}

#[async_trait]
impl SandboxBackend for Roots {
    fn name(&self) -> &'static str {
        "bubblewrap"
    }

    fn images(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn start(&self, order: Order) -> Result<Started, StartError> {
        let variant = order.image.as_deref().unwrap_or(DEFAULT_IMAGE);
        let launcher = self.0.get(variant);
        let launcher = launcher.ok_or_else(|| format!("this worker has no root `{variant}`"))?;
        let (channel, inside) =
            Socket::pair().map_err(|error| format!("cannot make a channel: {error}"))?;
        let channel_fd = CHANNEL_FD.to_string();
        let mut spec = SandboxSpec::new([INIT_PATH, "exec", "--channel-fd", &channel_fd]);
        (spec.channel, spec.network, spec.limits) = (Some(inside), order.network, order.limits);
        let mut sandbox = launcher.spawn(spec).await?;
        let stdout = sandbox.stdout.take().map(|out| Box::new(out) as Output);
        let stderr = sandbox.stderr.take().map(|err| Box::new(err) as Output);
        Ok(Started {
            sandbox: Box::new(sandbox),
            channel,
            stdout: stdout.ok_or("its standard output is missing")?,
            stderr: stderr.ok_or("its standard error is missing")?,
        })
    }
}

#[async_trait]
impl sealfleet_sandbox_backend::Sandbox for Sandbox {
    fn id(&self) -> &str {
        Self::id(self)
    }

    async fn wait(&self) -> Exit {
        Self::wait(self).await
    }

    async fn stop(&self, grace: Duration) -> Exit {
        Self::stop(self, grace).await
    }
}
