//! SIGTERM and Ctrl-C.
//!
//! Owns: hearing them, at any moment of a process. Never does: stop anything itself. Talks to: the system.
//! Start reading at: [`End`].

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::AbortHandle,
};

/// Whether the process is to end. The first signal says so, the second one ends it at once.
#[derive(Debug)]
pub struct End {
    asked: watch::Receiver<bool>,
    task: AbortHandle,
}

impl Drop for End {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl End {
    /// Listens from now on. `program` says that it stops. Errors: the system does not let us hear signals.
    pub fn listen(program: &'static str) -> io::Result<Self> {
        let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (ask, asked) = watch::channel(false);
        let task = tokio::spawn(async move {
            either(&mut signals).await;
            eprintln!("{program}: stopping; once more to stop at once (nothing is lost by it)");
            ask.send_replace(true);
            either(&mut signals).await;
            std::process::exit(130);
        });
        Ok(Self { asked, task: task.abort_handle() })
    }

    /// Returns once the process is to end.
    pub fn asked(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut asked = self.asked.clone();
        async move {
            // The sender lives as long as the task, which sends before it ends.
            let _ = asked.wait_for(|asked| *asked).await;
        }
    }
}

async fn either((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
