//! The connection for commands: made when it is needed, made anew after it broke, and never waited for beyond a deadline.
//!
//! Owns: the connection, and the pause after it could not be made. Never does: know what a command means. Talks to: the
//! server. Start reading at: [`Link::call`].

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Value, aio::MultiplexedConnection,
};
use tokio::time::{Instant, timeout_at};

use super::{LiveOptions, LiveStartError, library};
use crate::redis::{connection::run_of, fault::Fault};

/// First and longest pause between two attempts: live state is said to be healed within 2 s of the server's return.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The pause after so many failures in a row: doubled each time, half of it by chance, so that processes do not come at once.
pub(super) fn pause_after(failures: u32) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
    // A fresh hasher is as random as this has to be.
    let chance = RandomState::new().hash_one(failures) % 1_024;
    whole / 2 + whole.mul_f64(chance as f64 / 2_048.0)
}

#[derive(Debug, Clone)]
struct Connection {
    inner: MultiplexedConnection,
    /// Which.
    id: u64,
}

/// Why there is none.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    /// Nobody tries again before.
    until: Option<Instant>,
    why: String,
}

/// How commands get to the server. A call that is not answered is an error, and the next one makes a new connection.
#[derive(Debug)]
pub(super) struct Link {
    options: LiveOptions,
    client: Client,
    there: Mutex<Option<Connection>>,
    /// Held by whoever connects; the others wait for the outcome.
    connecting: tokio::sync::Mutex<Failures>,
    connections: AtomicU64,
}

impl Link {
    pub(super) fn new(options: LiveOptions) -> Result<Self, LiveStartError> {
        let told = options.server.as_str().into_connection_info();
        let told = told.map_err(|_| LiveStartError::Url)?;
        // The name of a client library is nobody's business, and not among a broker's commands.
        let settings = told.redis_settings().clone().set_skip_set_lib_name();
        let client = Client::open(told.set_redis_settings(settings));
        Ok(Self {
            client: client.map_err(|_| LiveStartError::Url)?,
            options,
            there: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            connections: AtomicU64::new(0),
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    fn there(&self) -> MutexGuard<'_, Option<Connection>> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a function. May be carried out although it is an error.
    pub(super) async fn call(
        &self,
        function: &str,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Value, Fault> {
        let mut command = redis::cmd("FCALL");
        command.arg(format!("{}_{function}", library::NAME)).arg(keys.len()).arg(keys);
        for argument in arguments {
            command.arg(*argument);
        }
        self.run(&command).await
    }

    /// Runs what may be run twice: a connection that had broken before is no failure yet.
    pub(super) async fn read(&self, command: &Cmd) -> Result<Value, Fault> {
        match self.run(command).await {
            Err(Fault::Broken(_)) => self.run(command).await,
            answer => answer,
        }
    }

    async fn run(&self, command: &Cmd) -> Result<Value, Fault> {
        let deadline = Instant::now() + self.options.answer_timeout;
        let late = || Fault::Unknown("no answer in time".to_owned());
        let connection = timeout_at(deadline, self.connection());
        let mut connection = connection.await.map_err(|_| Fault::Refused("away".to_owned()))??;
        let answered = timeout_at(deadline, async {
            match ask(&mut connection.inner, command).await {
                Err(Fault::Unloaded) if self.options.loads => {
                    load(&mut connection.inner).await?;
                    ask(&mut connection.inner, command).await
                }
                answer => answer,
            }
        });
        let answer = answered.await.unwrap_or_else(|_| Err(late()));
        let is_spent = match &answer {
            Err(Fault::Broken(_) | Fault::Unknown(_)) => true,
            // It was the primary once.
            Err(Fault::Refused(why)) => why.contains("READONLY"),
            _ => false,
        };
        if is_spent {
            let mut there = self.there();
            if there.as_ref().is_some_and(|there| there.id == connection.id) {
                *there = None;
            }
        }
        answer
    }

    async fn connection(&self) -> Result<Connection, Fault> {
        if let Some(connection) = &*self.there() {
            return Ok(connection.clone());
        }
        let mut failures = self.connecting.lock().await;
        // Somebody made it meanwhile.
        if let Some(connection) = &*self.there() {
            return Ok(connection.clone());
        }
        if failures.until.is_some_and(|until| Instant::now() < until) {
            return Err(Fault::Refused(failures.why.clone()));
        }
        // Less than a call may take, so that one which waits in vain has noted it before it is given up.
        let deadline = Instant::now() + self.options.answer_timeout.mul_f64(0.7);
        let made = timeout_at(deadline, self.connect()).await;
        match made.unwrap_or_else(|_| Err("no connection in time".to_owned())) {
            Ok(inner) => {
                let id = self.connections.fetch_add(1, Ordering::Relaxed);
                let connection = Connection { inner, id };
                *failures = Failures::default();
                *self.there() = Some(connection.clone());
                Ok(connection)
            }
            Err(why) => {
                let count = failures.count.saturating_add(1);
                let until = Some(Instant::now() + pause_after(count));
                *failures = Failures { count, until, why: why.clone() };
                Err(Fault::Refused(why))
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(self.options.answer_timeout));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut inner = connecting.await.map_err(|error| error.to_string())?;
        let info = redis::cmd("INFO").query_async::<String>(&mut inner).await;
        run_of(&info.map_err(|error| error.to_string())?)?;
        if self.options.loads {
            let mut status = redis::cmd("FCALL");
            status.arg(format!("{}_status", library::NAME)).arg(0);
            if ask(&mut inner, &status).await == Err(Fault::Unloaded) {
                load(&mut inner).await.map_err(|fault| fault.to_string())?;
            }
        }
        Ok(inner)
    }
}

async fn ask(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, Fault> {
    command.query_async(connection).await.map_err(|error| Fault::of(&error))
}

async fn load(connection: &mut MultiplexedConnection) -> Result<(), Fault> {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD").arg("REPLACE").arg(library::source());
    ask(connection, &command).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_differ() {
        for failures in 0..100 {
            let whole = PAUSE_MIN.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
            let pause = pause_after(failures);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} after {failures}");
        }
        let some: Vec<_> = (0..20).map(|_| pause_after(9)).collect();
        assert!(some.iter().any(|pause| *pause != some[0]));
    }
}
