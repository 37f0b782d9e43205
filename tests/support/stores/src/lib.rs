//! Stores that nobody can run here, as far as the product asks them: Bitwarden Secrets Manager and
//! 1Password Connect, on the loopback interface. Their tests hold them to what others say of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod bitwarden;
pub mod connect;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that does what it is told. Dropped, it answers nobody.
pub struct StandIn<B> {
    pub url: String,
    does: Arc<Mutex<B>>,
    serving: JoinHandle<()>,
}

impl<B> Drop for StandIn<B> {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl<B: Send + 'static> StandIn<B> {
    async fn serve(does: B, routes: Router<Arc<Mutex<B>>>) -> Self {
        let does = Arc::new(Mutex::new(does));
        let routes = routes.with_state(Arc::clone(&does));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Self { url, does, serving }
    }

    /// Looks at what it does, or changes it.
    pub fn change<T>(&self, with: impl FnOnce(&mut B) -> T) -> T {
        with(&mut self.does.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
