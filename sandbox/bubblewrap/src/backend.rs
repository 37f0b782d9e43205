//! The launcher as a worker uses it: `sealfleet-init` is the first process, and inherits its
//! channel.

use std::time::Duration;

use async_trait::async_trait;
use sealfleet_channel::Socket;
use sealfleet_sandbox_backend::{Exit, Order, Output, SandboxBackend, StartError, Started};

use crate::launcher::Launcher;
use crate::rootfs::INIT_PATH;
use crate::sandbox::Sandbox;
use crate::spec::{CHANNEL_FD, SandboxSpec};

#[async_trait]
impl SandboxBackend for Launcher {
    fn name(&self) -> &'static str {
        "bubblewrap"
    }

    fn images(&self) -> Vec<String> {
        Vec::new()
    }

    async fn start(&self, order: Order) -> Result<Started, StartError> {
        let (channel, inside) =
            Socket::pair().map_err(|error| format!("cannot make a channel: {error}"))?;
        let channel_fd = CHANNEL_FD.to_string();
        let mut spec = SandboxSpec::new([INIT_PATH, "exec", "--channel-fd", &channel_fd]);
        (spec.channel, spec.network, spec.limits) = (Some(inside), order.network, order.limits);
        let mut sandbox = self.spawn(spec).await?;
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
