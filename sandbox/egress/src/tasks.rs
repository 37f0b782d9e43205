//! Tasks of HTTP/2. They end with what started them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::rt::Executor;
use tokio::task::{AbortHandle, JoinSet};

/// A task that ends with what holds this.
pub struct Running(AbortHandle);

impl Running {
    pub fn start(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task).abort_handle())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tasks that end with what holds this.
#[derive(Default)]
pub struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Starts some of them. Tasks may hold it, so it does not keep them.
#[derive(Clone)]
pub struct Starter(Weak<Mutex<JoinSet<()>>>);

impl Tasks {
    pub fn starter(&self) -> Starter {
        Starter(Arc::downgrade(&self.0))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Starter {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }
}
