//! Appends on one connection, one batch in flight.
//!
//! Owns: the connection, and what an answer or its absence means. Never does: go over to another start of the server by
//! itself. Talks to: `append.lua`; the archive for what the log says it has to ask. Start reading at:
//! [`RedisAppender::attempt`].

use std::sync::Arc;

use bytes::Buf;
use protocol::{ConversationId, Pos, limits};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    Options,
    connection::{Admission, Connection, Server, number, part},
    fault::Fault,
    packed,
};
use crate::{AppendError, Appender, BoxFuture, Envelope, Room, Verdict, sequencer::Mutation};

/// Retry hints, in milliseconds.
const RETRY_SERVER_MS: u64 = 100;
const RETRY_ARCHIVE_MS: u64 = 250;
const RETRY_TOO_LARGE_MS: u64 = 1_000;
const RETRY_FULL_MS: u64 = 1_000;
/// Heads that are asked for at once.
const ASKED_AT_ONCE: usize = 16;
/// An append asks the archive once; once more if an epoch began in between.
const ROUNDS_MAX: usize = 3;

/// One writer.
#[derive(Debug)]
pub(super) struct RedisAppender {
    server: Arc<Server>,
    connection: Option<Connection>,
    /// Whether an append was carried out is open: the next one is the same batch.
    open: bool,
}

/// What the function said.
enum Answer {
    Verdicts(Vec<Verdict>),
    Ask(Vec<ConversationId>),
    Fenced(u32),
}

impl RedisAppender {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, connection: None, open: false }
    }

    fn fenced(&self, epoch: u32) -> AppendError {
        self.server.dismiss();
        AppendError::Fenced { epoch }
    }

    /// Cancel safety: a call that was sent stays before the next one on its connection, so the same batch again is told
    /// what became of it.
    async fn attempt(&mut self, envelopes: &[Envelope]) -> Result<Vec<Verdict>, AppendError> {
        let bytes: usize = envelopes.iter().map(Envelope::cost).sum();
        if bytes > 2 * limits::BATCH_BYTES_MAX || envelopes.len() > limits::BATCH_ENVELOPES_MAX {
            tracing::error!(bytes, "an append is larger than the caps that info() names");
            return Err(AppendError::NotStored { retry_after_ms: RETRY_TOO_LARGE_MS });
        }
        if self.connection.is_none() {
            self.connection = Some(self.server.connect().await.map_err(|f| self.failed(&f))?);
        }
        let mut seeds = Vec::new();
        for _ in 0..ROUNDS_MAX {
            match self.call(envelopes, &seeds).await? {
                Answer::Verdicts(verdicts) if verdicts.len() == envelopes.len() => {
                    return Ok(verdicts);
                }
                Answer::Verdicts(_) => return Err(AppendError::Unknown),
                Answer::Fenced(epoch) => return Err(self.fenced(epoch)),
                Answer::Ask(conversations) => {
                    seeds.clear();
                    self.recall(&conversations, &mut seeds).await?;
                }
            }
        }
        Err(AppendError::NotStored { retry_after_ms: RETRY_SERVER_MS })
    }

    async fn call(&mut self, envelopes: &[Envelope], seeds: &[u8]) -> Result<Answer, AppendError> {
        let admission = self.server.admission();
        let server = Arc::clone(&self.server);
        // Another start of the server than the one that this process has answered to: it has not told what it has seen.
        // Whichever of the two is the old one, the next append is on a new connection.
        let connected = self.connection.take();
        let fence_off = server.options.mutation == Mutation::FenceOff;
        let same =
            |there: &Admission| fence_off || connected.as_ref().is_some_and(|c| c.run == there.run);
        let Some(Admission { run, epoch }) = admission.filter(same) else {
            return Err(AppendError::Fenced { epoch: server.epoch() });
        };
        self.connection = connected;
        let Some(connection) = &mut self.connection else { return Err(AppendError::Unknown) };
        let options = &server.options;
        let mut arguments = vec![
            run.as_bytes().to_vec(),
            number(u64::from(epoch)),
            number((options.ahead_ms)()),
            number(options.producers_max as u64),
            seeds.to_vec(),
        ];
        arguments.extend(packed::runs(envelopes));
        let answer = server.ask_loaded(connection, "append", &arguments).await;
        let answer = answer.map_err(|fault| self.failed(&fault))?;
        self.read(&answer, epoch).map_err(|fault| self.failed(&fault))
    }

    fn read(&self, answer: &[redis::Value], epoch: u32) -> Result<Answer, Fault> {
        let kind: String = part(answer, 0)?;
        match &*kind {
            "fenced" => Ok(Answer::Fenced(part(answer, 1)?)),
            "ask" => {
                let ids: Vec<u8> = part(answer, 1)?;
                let id = |mut bytes: &[u8]| ConversationId(bytes.get_u128());
                Ok(Answer::Ask(ids.chunks_exact(16).map(id).collect()))
            }
            _ => {
                let (pos, ts) = (Pos::new(epoch, part(answer, 1)?), part(answer, 2)?);
                let packed: Vec<u8> = part(answer, 3)?;
                let odd = |_| Fault::Unknown("verdicts that are none".to_owned());
                let verdicts = packed::verdicts(&packed, pos, ts).map_err(odd)?;
                for verdict in &verdicts {
                    if let Verdict::Stored { pos, .. } | Verdict::Dup { pos, .. } = verdict {
                        self.server.saw(*pos);
                    }
                }
                Ok(Answer::Verdicts(verdicts))
            }
        }
    }

    /// Heads from the archive, for conversations that the epoch has not numbered yet.
    async fn recall(
        &self,
        conversations: &[ConversationId],
        seeds: &mut Vec<u8>,
    ) -> Result<(), AppendError> {
        let Options { archive, answer_timeout, .. } = &self.server.options;
        let (mut asking, mut rest) = (JoinSet::new(), conversations.iter().copied());
        let deadline = Instant::now() + *answer_timeout;
        loop {
            while asking.len() < ASKED_AT_ONCE
                && let Some(conversation) = rest.next()
            {
                let archive = Arc::clone(archive);
                asking.spawn(async move { (conversation, archive.head(conversation).await) });
            }
            match timeout_at(deadline, asking.join_next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok((conversation, Ok(head))))) => {
                    packed::put_seed(seeds, conversation, head);
                }
                failed => {
                    tracing::warn!(?failed, "cannot ask for a conversation after a loss");
                    return Err(AppendError::NotStored { retry_after_ms: RETRY_ARCHIVE_MS });
                }
            }
        }
    }

    /// After an unknown outcome the connection is dropped: what is still under way on it is told apart by its keys.
    fn failed(&mut self, fault: &Fault) -> AppendError {
        tracing::debug!(%fault, partition = self.server.partition, "append without verdicts");
        match fault {
            Fault::Refused(_) | Fault::Unloaded => {
                AppendError::NotStored { retry_after_ms: RETRY_SERVER_MS }
            }
            Fault::Replaced(_) => {
                self.connection = None;
                AppendError::NotStored { retry_after_ms: RETRY_SERVER_MS }
            }
            Fault::Broken(_) | Fault::Unknown(_) => {
                self.connection = None;
                AppendError::Unknown
            }
        }
    }
}

impl Appender for RedisAppender {
    fn append<'a>(
        &'a mut self,
        envelopes: &'a [Envelope],
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AppendError>> {
        Box::pin(async move {
            // One more try of what may be stored takes no room, or is what somebody waits for.
            if self.server.room() == Room::Red && !self.open {
                return Err(AppendError::NotStored { retry_after_ms: RETRY_FULL_MS });
            }
            let before = std::mem::replace(&mut self.open, true);
            let answer = self.attempt(envelopes).await;
            self.open = match &answer {
                Ok(_) => false,
                Err(AppendError::Unknown) => true,
                Err(AppendError::NotStored { .. } | AppendError::Fenced { .. }) => before,
            };
            answer
        })
    }
}
