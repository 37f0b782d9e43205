//! Bytes both ways, once a request has led to it.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};

use crate::forward::Running;
use crate::metered::Metered;

/// Bytes that are on their way in one direction. Whoever reads slowly makes the other side wait.
const BUFFER: usize = 16 * 1024;

/// What to do with the connection of a client once it has its answer.
pub struct Tunnel {
    pub client: OnUpgrade,
    pub to: To,
}

pub enum To {
    /// A host, by `CONNECT`.
    Host(Metered),
    /// A host that has changed the protocol, too, and what reads its answer until it has.
    Upgraded(OnUpgrade, Running),
}

impl Tunnel {
    /// Passes bytes until both sides have ended. The end of one direction is passed on, and the
    /// other goes on.
    pub async fn run(self) {
        let Ok(client) = self.client.await else {
            return;
        };
        let client = TokioIo::new(client);
        match self.to {
            To::Host(host) => pass(client, host).await,
            To::Upgraded(host, _reading) => {
                if let Ok(host) = host.await {
                    pass(client, TokioIo::new(host)).await;
                }
            }
        }
    }
}

async fn pass(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut host: impl AsyncRead + AsyncWrite + Unpin,
) {
    // Why it ended is of no use to anybody: both ends know, and nothing is logged.
    let _ = copy_bidirectional_with_sizes(&mut client, &mut host, BUFFER, BUFFER).await;
}
