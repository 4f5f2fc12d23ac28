//! Publishes to the log: wait for one, drain what else is there, one append; its verdicts go back as one mail per shard.
//!
//! Owns: the batch in flight of one partition. Never does: two at a time. Talks to: `Log`. Start reading at: [`run`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::{
    AppendError, Appender, Envelope, Log, LogInfo, Partition, Verdict, standing::Standing,
};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    mail::Mail,
    node::Node,
    shard::{AppendOutcome, AppendTicket},
};

/// Waits between tries of a batch whose outcome is unknown: from here, doubled each time …
const RETRY_MIN: Duration = Duration::from_millis(50);
/// … up to here.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// One publish on its way to the log.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) ticket: AppendTicket,
    pub(crate) envelope: Envelope,
    /// The mailbox of the shard's life that asks.
    pub(crate) reply_to: mpsc::Sender<Mail>,
    pub(crate) queued: Instant,
}

/// Takes one and drains what else is there, up to the caps. `held`: what did not fit into the last batch.
async fn next_batch(
    queue: &mut mpsc::Receiver<Request>,
    held: &mut Option<Request>,
    caps: &LogInfo,
) -> Option<Vec<Request>> {
    let first = match held.take() {
        Some(request) => request,
        None => queue.recv().await?,
    };
    let mut bytes = first.envelope.cost();
    let mut batch = vec![first];
    while batch.len() < caps.batch_envelopes_max
        && let Ok(request) = queue.try_recv()
    {
        bytes += request.envelope.cost();
        if bytes > caps.batch_bytes_max {
            *held = Some(request);
            break;
        }
        batch.push(request);
    }
    Some(batch)
}

/// Appends for one partition until every shard is gone.
pub(crate) async fn run(
    node: Arc<Node>,
    log: Arc<dyn Log>,
    partition: Partition,
    standing: Arc<Standing>,
    mut queue: mpsc::Receiver<Request>,
) {
    let (mut caps, spacing) = (log.info(), Duration::from_millis(node.config.flush_spacing_ms));
    caps.batch_envelopes_max = caps.batch_envelopes_max.min(node.config.append_envelopes_max);
    let mut appender = log.appender(partition);
    let mut held = None;
    while let Some(batch) = next_batch(&mut queue, &mut held, &caps).await {
        let began = Instant::now();
        node.metrics.batch_messages.observe(batch.len() as u64);
        let envelopes: Vec<Envelope> = batch.iter().map(|r| r.envelope.clone()).collect();
        let outcomes = append(&node, &standing, &mut *appender, &envelopes).await;
        let waited = batch[0].queued.elapsed().as_micros() as u64;
        node.metrics.append_seconds.observe(waited);
        answer(batch, &outcomes);
        if let Some(rest) = spacing.checked_sub(began.elapsed()) {
            sleep(rest).await;
        }
    }
}

/// Runs the task over `envelopes` as shards would, at most `in_flight` of them unanswered, and returns the outcomes in the
/// same order. Public for the bench of the queue (`benches/batcher`) and for whoever fills a log with made-up content:
/// what goes through the queue stays private.
pub async fn append_all(
    node: Arc<Node>,
    log: Arc<dyn Log>,
    envelopes: Vec<Envelope>,
    in_flight: usize,
) -> Vec<AppendOutcome> {
    let room = in_flight.max(1);
    let ((queue, requests), (reply_to, mut inbox)) = (mpsc::channel(room), mpsc::channel(room));
    let mut outcomes = vec![AppendOutcome::Unknown; envelopes.len()];
    let feed = async {
        let (mut waiting, mut left) = (0, envelopes.into_iter().zip(0..));
        loop {
            for (envelope, ticket) in left.by_ref().take(room - waiting) {
                let (ticket, queued) = (AppendTicket(ticket), Instant::now());
                let request = Request { ticket, envelope, reply_to: reply_to.clone(), queued };
                // There is room for all that wait; closed is a task that ended, and then no outcome comes either.
                waiting += usize::from(queue.try_send(request).is_ok());
            }
            if waiting == 0 {
                break;
            }
            let Some(Mail::Verdicts(verdicts)) = inbox.recv().await else { break };
            waiting -= verdicts.len();
            for (ticket, outcome) in verdicts {
                outcomes[ticket.0 as usize] = outcome;
            }
        }
        drop(queue);
    };
    let standing = Arc::new(Standing::new(0, node.config.node.0, Box::new(|_| Vec::new())));
    tokio::join!(feed, run(node, log, 0, standing, requests));
    outcomes
}

/// One outcome per envelope. After an unknown the same batch is tried until a call answers with verdicts: a refusal in
/// between says nothing about the first try. The shards tell their clients `unknown` at the deadline meanwhile. Nor is it
/// final then that a conversation does not exist: the first try may arrive after its birth. And an epoch may have begun
/// without that birth, which its api is about to append again.
async fn append(
    node: &Node,
    standing: &Standing,
    appender: &mut dyn Appender,
    envelopes: &[Envelope],
) -> Vec<AppendOutcome> {
    let (mut unknown, mut wait) = (false, RETRY_MIN);
    loop {
        let refused = match appender.append(envelopes).await {
            Ok(verdicts) => {
                node.append_answered(true);
                verdicts.iter().filter_map(Verdict::pos).for_each(|pos| standing.saw(pos));
                let outcome = |verdict| match verdict {
                    Verdict::UnknownConversation if unknown || standing.is_young() => {
                        AppendOutcome::Unknown
                    }
                    verdict => AppendOutcome::Verdict(verdict),
                };
                return verdicts.into_iter().map(outcome).collect();
            }
            Err(AppendError::NotStored { retry_after_ms }) => Some(retry_after_ms),
            Err(AppendError::Unknown) => {
                unknown = true;
                None
            }
            Err(AppendError::Fenced { .. }) => {
                standing.doubt();
                Some(wait.as_millis() as u64)
            }
        };
        node.append_answered(false);
        node.metrics.append_errors.add(1);
        if let (false, Some(retry_after_ms)) = (unknown, refused) {
            return vec![AppendOutcome::NotStored { retry_after_ms }; envelopes.len()];
        }
        tracing::warn!(
            ?standing,
            envelopes = envelopes.len(),
            "append without an answer, trying again"
        );
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// One mail per shard. A shard that restarted meanwhile has a new mailbox: nobody reads the old one.
fn answer(batch: Vec<Request>, outcomes: &[AppendOutcome]) {
    type Mails = Vec<(mpsc::Sender<Mail>, Vec<(AppendTicket, AppendOutcome)>)>;
    let mut mails: Mails = Vec::new();
    for (request, outcome) in batch.into_iter().zip(outcomes) {
        let verdict = (request.ticket, *outcome);
        match mails.iter_mut().find(|(to, _)| to.same_channel(&request.reply_to)) {
            Some((_, verdicts)) => verdicts.push(verdict),
            None => mails.push((request.reply_to, vec![verdict])),
        }
    }
    for (reply_to, verdicts) in mails {
        // Full cannot be (there is room for every unacked publish); closed is a shard that is gone.
        let _ = reply_to.try_send(Mail::Verdicts(verdicts));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use backplane::{BoxFuture, Key};
    use bytes::Bytes;
    use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

    use super::*;
    use crate::config::BrokerConfig;

    fn request(no: u64, bytes: usize, reply_to: &mpsc::Sender<Mail>) -> Request {
        let conversation = ConversationId::direct(UserId(1), UserId(2));
        let key = Key { conversation, user: UserId(1), producer: Producer(1), no };
        let body = Bytes::from(vec![b'x'; bytes]);
        Request {
            ticket: AppendTicket(no),
            envelope: Envelope::new(key, 0, EventKind::Message, body),
            reply_to: reply_to.clone(),
            queued: Instant::now(),
        }
    }

    fn caps() -> LogInfo {
        LogInfo {
            partitions: 1,
            durability: "fsync".into(),
            batch_envelopes_max: 3,
            batch_bytes_max: 1_000,
        }
    }

    #[tokio::test]
    async fn a_batch_is_what_is_there_up_to_the_caps_and_nothing_is_lost_between_batches() {
        let (reply_to, _inbox) = mpsc::channel(9);
        let (sender, mut queue) = mpsc::channel(9);
        for (no, bytes) in [(1, 10), (2, 10), (3, 10), (4, 10), (5, 900), (6, 10)] {
            sender.try_send(request(no, bytes, &reply_to)).expect("room");
        }
        drop(sender);
        let (mut held, mut sizes) = (None, Vec::new());
        while let Some(batch) = next_batch(&mut queue, &mut held, &caps()).await {
            sizes.push(batch.iter().map(|r| r.ticket.0).collect::<Vec<_>>());
        }
        assert_eq!(sizes, [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
    }

    #[tokio::test]
    async fn everything_that_goes_through_the_queue_is_answered_in_its_place() {
        let node = Node::new(BrokerConfig { shards: 1, ..BrokerConfig::new(backplane::NodeId(1)) });
        let archive = Arc::new(backplane::memory_archive::MemoryArchive::default());
        let disk = Arc::new(backplane::local::MemoryDisk::default());
        let mut options = backplane::local::Options::new(Arc::new(|| 1), Arc::new(|_| ()));
        options.segment_bytes = 1 << 20;
        let log = backplane::local::LocalLog::open(disk, archive, Pos::new(1, 0), options).unwrap();
        let (reply_to, _inbox) = mpsc::channel(1);
        let mut envelopes: Vec<_> = (1..=40).map(|no| request(no, 9, &reply_to).envelope).collect();
        envelopes[0].kind = EventKind::Created;
        envelopes[0].body = Bytes::from_static(br#"{"members":[]}"#);
        let outcomes = append_all(node, Arc::new(log), envelopes, 7).await;
        let seqs = outcomes.iter().map(|outcome| match outcome {
            AppendOutcome::Verdict(Verdict::Stored { seq, .. }) => *seq,
            other => panic!("{other:?}"),
        });
        assert!(seqs.eq(1..=40));
    }

    /// Answers by a script; remembers what it was asked.
    #[derive(Debug)]
    struct Script(Mutex<VecDeque<Result<Verdict, AppendError>>>, Mutex<Vec<u64>>);

    #[derive(Debug)]
    struct Scripted(Arc<Script>);

    impl Appender for Scripted {
        fn append<'a>(
            &'a mut self,
            envelopes: &'a [Envelope],
        ) -> BoxFuture<'a, Result<Vec<Verdict>, AppendError>> {
            self.0.1.lock().unwrap().push(envelopes[0].no);
            let answer = self.0.0.lock().unwrap().pop_front().unwrap();
            Box::pin(std::future::ready(answer.map(|verdict| vec![verdict; envelopes.len()])))
        }
    }

    async fn outcome(answers: Vec<Result<Verdict, AppendError>>) -> (AppendOutcome, usize) {
        let script = Arc::new(Script(Mutex::new(answers.into()), Mutex::default()));
        let node = Node::new(BrokerConfig { shards: 1, ..BrokerConfig::new(backplane::NodeId(1)) });
        let standing = Standing::new(0, 1, Box::new(|_| Vec::new()));
        let (reply_to, _inbox) = mpsc::channel(1);
        let envelopes = [request(1, 1, &reply_to).envelope];
        let outcomes =
            append(&node, &standing, &mut Scripted(Arc::clone(&script)), &envelopes).await;
        let tries = script.1.lock().unwrap().len();
        (outcomes[0], tries)
    }

    #[tokio::test(start_paused = true)]
    async fn r14_a_refusal_is_told_but_after_an_unknown_only_verdicts_count() {
        let refused = Err(AppendError::NotStored { retry_after_ms: 7 });
        let (first, tries) = outcome(vec![refused]).await;
        assert_eq!((first, tries), (AppendOutcome::NotStored { retry_after_ms: 7 }, 1));
        let stored = Verdict::Stored { seq: 1, pos: Pos::new(1, 1), ts: 1 };
        let (second, tries) = outcome(vec![Err(AppendError::Unknown), refused, Ok(stored)]).await;
        assert_eq!((second, tries), (AppendOutcome::Verdict(stored), 3));
    }

    /// Found by the simulator: the first try arrived after the birth of the conversation, and what had been refused for
    /// good was there.
    #[tokio::test(start_paused = true)]
    async fn r14_that_a_conversation_does_not_exist_is_final_only_if_no_earlier_try_is_open() {
        let unborn = Verdict::UnknownConversation;
        let (first, _) = outcome(vec![Ok(unborn)]).await;
        assert_eq!(first, AppendOutcome::Verdict(unborn));
        let (after_unknown, _) = outcome(vec![Err(AppendError::Unknown), Ok(unborn)]).await;
        assert_eq!(after_unknown, AppendOutcome::Unknown);
    }
}
