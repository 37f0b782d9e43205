//! What a connection becomes once a request has led to it.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sealfleet_domain::egress::Denied;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes};

use crate::Shared;
use crate::hello::{Guarded, UNRECOGNIZED_NAME};
use crate::metered::Metered;
use crate::target::Target;
use crate::terminate;
use crate::upstream::Over;

/// Bytes that are on their way in one direction. Whoever reads slowly makes the other side wait.
const BUFFER: usize = 16 * 1024;

/// What to do with the connection of a client once it has its answer.
pub struct Tunnel {
    pub client: OnUpgrade,
    pub to: To,
}

pub enum To {
    /// A host, by `CONNECT`: bytes both ways.
    Host(Metered, Target),
    /// A host whose requests the proxy reads, by `CONNECT`.
    Requests(Target),
    /// A host that has changed the protocol, too, and what reads its answer until it has.
    Upgraded(OnUpgrade, Over),
}

impl Tunnel {
    /// Passes bytes until both sides have ended. The end of one direction is passed on, and the
    /// other goes on.
    pub async fn run(self, shared: Arc<Shared>) {
        let Ok(client) = self.client.await else {
            return;
        };
        let client = TokioIo::new(client);
        match self.to {
            To::Host(host, target) => {
                let mut client = Guarded::new(client, target.host.clone());
                pass(&mut client, host).await;
                if let Some(mut client) = client.refused() {
                    shared.record.denied(&target, Denied::Sni);
                    let _ = client.write_all(&UNRECOGNIZED_NAME).await;
                    let _ = client.shutdown().await;
                }
            }
            // It may come here again, for a WebSocket inside.
            To::Requests(target) => Box::pin(terminate::serve(shared, target, client)).await,
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
