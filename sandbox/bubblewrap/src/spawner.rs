//! The one thread that starts every sandbox of this process.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that created the child ends (prctl(2)). Threads of an
//! async runtime come and go, so children are created on a thread that ends with the process only.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Job {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts `command` on that thread. The calling runtime watches its exit.
pub(crate) async fn spawn(command: Command) -> io::Result<Child> {
    static THREAD: OnceLock<Sender<Job>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        let work = move || {
            for mut job in jobs {
                let _runtime = job.runtime.enter();
                // Fails if nobody waits any more: dropping the child kills it.
                drop(job.answer.send(job.command.spawn()));
            }
        };
        // If the thread cannot be made, the receiver is dropped and every send below fails.
        drop(
            std::thread::Builder::new()
                .name("sandbox-spawner".into())
                .spawn(work),
        );
        sender
    });
    let gone = || io::Error::other("the thread that starts sandboxes could not be made");
    let (answer, child) = oneshot::channel();
    thread
        .send(Job {
            command,
            runtime: Handle::current(),
            answer,
        })
        .map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}
