//! The device's memory against answers in every order, and against a model of the log.
//!
//! Owns: nothing. Never does: IO. Talks to: the parent. Start reading at: [`run`].

use protocol::UserId;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

fn conversation() -> ConversationId {
    ConversationId::direct(UserId(1), UserId(2))
}

fn session() -> Session {
    let mut session = Session::new("d".into(), Producer(7));
    session.follow(conversation(), 1, 0);
    session
}

fn frame(session: &mut Session, text: &str) -> Todo {
    session.on_frame(&Frame::scan(text).unwrap(), 1_000)
}

fn event(session: &mut Session, seq: u64) {
    let c = conversation();
    let text = format!(
        r#"{{"type":"created","conversation":"{c}","epoch":1,"seq":{seq},"at":"1-{seq}"}}"#
    );
    frame(session, &text);
}

fn seqs(session: &Session) -> Vec<u64> {
    session.log.deliveries[&conversation()].iter().map(|d| d.seq).collect()
}

fn answer(session: &mut Session, kind: &str, no: u64, rest: &str) {
    answer_to(session, Producer(7), kind, no, rest);
}

fn answer_to(session: &mut Session, producer: Producer, kind: &str, no: u64, rest: &str) {
    let c = conversation();
    let head = format!(r#""conversation":"{c}","producer":"{producer}","no":{no}"#);
    frame(session, &format!(r#"{{"type":"{kind}",{head},{rest}}}"#));
}

fn refuse(session: &mut Session, no: u64, code: &str) {
    answer(session, "error", no, &format!(r#""code":"{code}","message":"","expected":1"#));
}

/// Keys and texts of publishes.
fn sent(out: &mut Vec<String>) -> Vec<(Producer, u64, String)> {
    let read = |text: &String| {
        let frame = Frame::scan(text).unwrap();
        (frame.producer.unwrap(), frame.no.unwrap(), frame.text().to_owned())
    };
    out.drain(..).map(|text| read(&text)).collect()
}

fn three(session: &mut Session) -> Vec<(Producer, u64, String)> {
    let mut out = Vec::new();
    for _ in 0..3 {
        session.publish(conversation(), 60, 0, 0, &mut out);
    }
    sent(&mut out)
}

fn again(session: &mut Session, after_welcome: bool) -> Vec<(Producer, u64, String)> {
    let mut out = Vec::new();
    session.resend(after_welcome, &mut out);
    sent(&mut out)
}

#[test]
fn r22_events_are_applied_once_in_order_and_gaps_wait_for_their_fetch() {
    let mut session = session();
    for seq in [1, 2, 2, 1, 5, 4] {
        event(&mut session, seq);
    }
    assert_eq!(seqs(&session), [1, 2]);
    assert!(session.gaps.contains(&conversation()));
    let slot = Slot::HoleTo(3);
    session.on_slot(conversation(), Delivery { epoch: 1, seq: 2, slot });
    assert_eq!(seqs(&session), [1, 2, 3, 4, 5]);
    assert!(session.gaps.is_empty());
    assert_eq!(session.token.as_deref(), Some("1-4"));
}

#[test]
fn r16_an_ack_moves_no_position_and_the_event_behind_it_does() {
    let (mut session, mut out) = (session(), Vec::new());
    session.publish(conversation(), 60, 0, 0, &mut out);
    answer(&mut session, "ack", 1, r#""epoch":1,"seq":2"#);
    assert_eq!(session.position(conversation()), 0);
    event(&mut session, 1);
    event(&mut session, 2);
    assert_eq!(session.position(conversation()), 2);
}

#[test]
fn a_pending_lives_until_it_is_persisted_and_is_sent_again_after_a_loss() {
    let (mut session, mut out) = (session(), Vec::new());
    for _ in 0..3 {
        session.publish(conversation(), 60, 0, 0, &mut out);
    }
    answer(&mut session, "ack", 1, r#""epoch":1,"seq":2"#);
    answer(&mut session, "ack", 2, r#""epoch":1,"seq":3"#);
    assert_eq!((session.unsettled(), session.unacked(), session.in_flight), (3, 1, 1));
    session.disconnected();
    let first = std::mem::take(&mut out);
    session.resend(true, &mut out);
    assert_eq!(out, first[1..], "the newest acked one and all without an ack");
    let c = conversation();
    frame(
        &mut session,
        &format!(r#"{{"type":"persisted","conversation":"{c}","epoch":1,"seq":2}}"#),
    );
    assert_eq!(session.unsettled(), 2);
}

/// Found by the simulator (seed 2686): the archive was asked first, and slow.
#[test]
fn r13_an_answer_that_is_older_than_an_ack_moves_nothing() {
    let mut session = session();
    let first = three(&mut session);
    answer(&mut session, "ack", 1, r#""epoch":1,"seq":2"#);
    let c = conversation();
    let persisted = format!(r#"{{"type":"persisted","conversation":"{c}","epoch":1,"seq":2}}"#);
    frame(&mut session, &persisted);
    for no in 2..=3 {
        refuse(&mut session, no, "out_of_order");
    }
    assert_eq!(again(&mut session, false), first[1..], "under the same keys");
    // What is said of an attempt that was sent after the ack counts.
    for no in 2..=3 {
        refuse(&mut session, no, "out_of_order");
    }
    assert_ne!(again(&mut session, false)[0].0, Producer(7));
}

#[test]
fn r14_after_a_final_refusal_the_later_ones_go_on_under_a_new_producer() {
    let mut session = session();
    let first = three(&mut session);
    refuse(&mut session, 1, "forbidden");
    assert!(again(&mut session, false).is_empty(), "the answers to 2 and 3 are still to come");
    for no in 2..=3 {
        refuse(&mut session, no, "out_of_order");
    }
    let moved = again(&mut session, false);
    let new = moved[0].0;
    assert_ne!(new, Producer(7));
    assert_eq!(moved, [(new, 1, first[1].2.clone()), (new, 2, first[2].2.clone())]);
    assert_eq!(session.log.publishes[0].outcome, Outcome::Fail);
    answer_to(&mut session, new, "ack", 1, r#""epoch":1,"seq":2"#);
    let mut out = Vec::new();
    session.publish(conversation(), 60, 0, 0, &mut out);
    assert_eq!(sent(&mut out)[0].1, 3);
}

#[test]
fn r14_a_new_producer_waits_until_all_before_it_is_answered() {
    let mut session = session();
    three(&mut session);
    refuse(&mut session, 2, "forbidden");
    refuse(&mut session, 3, "out_of_order");
    assert!(again(&mut session, false).is_empty(), "the first one is under way");
    answer(&mut session, "ack", 1, r#""epoch":1,"seq":2"#);
    assert!(session.resend_at_ns.is_some());
    assert_eq!(again(&mut session, false)[0].1, 1);
}

#[test]
fn r14_behind_a_refused_one_that_may_be_stored_keys_are_kept() {
    let mut session = session();
    let first = three(&mut session);
    session.disconnected();
    assert_eq!(again(&mut session, true), first);
    refuse(&mut session, 1, "forbidden");
    answer(&mut session, "error", 2, r#""code":"unavailable","message":"""#);
    answer(&mut session, "error", 3, r#""code":"unavailable","message":"""#);
    assert_eq!(again(&mut session, false), first[1..]);
    for no in 2..=3 {
        refuse(&mut session, no, "out_of_order");
    }
    assert!(again(&mut session, false).is_empty(), "they may come with the first one");
    assert_eq!(session.unsettled(), 0);
    assert!(session.log.publishes.iter().all(|publish| publish.outcome == Outcome::Info));
}

#[test]
fn r14_a_final_refusal_of_what_has_an_ack_frees_nothing() {
    let mut session = session();
    three(&mut session);
    answer(&mut session, "ack", 1, r#""epoch":1,"seq":2"#);
    answer(&mut session, "ack", 2, r#""epoch":1,"seq":3"#);
    answer(&mut session, "error", 3, r#""code":"unavailable","message":"""#);
    session.disconnected();
    assert_eq!(again(&mut session, true).len(), 2);
    refuse(&mut session, 2, "forbidden");
    answer(&mut session, "error", 3, r#""code":"unavailable","message":"""#);
    let left = again(&mut session, false);
    assert_eq!((left.len(), left[0].0, left[0].1), (1, Producer(7), 3));
}

#[test]
fn r17_an_ack_of_an_earlier_epoch_that_comes_late_is_asked_for_again() {
    let mut session = session();
    three(&mut session);
    answer(&mut session, "ack", 1, r#""epoch":2,"seq":9"#);
    again(&mut session, false);
    answer(&mut session, "ack", 2, r#""epoch":1,"seq":3"#);
    assert_eq!(again(&mut session, false)[0].1, 2);
    answer(&mut session, "ack", 2, r#""epoch":1,"seq":3"#);
    answer(&mut session, "ack", 3, r#""epoch":2,"seq":10"#);
    let c = conversation();
    for epoch in [1, 2] {
        let text =
            format!(r#"{{"type":"persisted","conversation":"{c}","epoch":{epoch},"seq":10}}"#);
        frame(&mut session, &text);
    }
    assert_eq!(session.unsettled(), 0);
}

#[test]
fn a_refusal_after_a_lost_answer_stays_unknown() {
    let (mut session, mut out) = (session(), Vec::new());
    session.publish(conversation(), 60, 0, 0, &mut out);
    session.disconnected();
    session.resend(true, &mut out);
    answer(&mut session, "error", 1, r#""code":"forbidden","message":"""#);
    assert_eq!(session.log.publishes[0].outcome, Outcome::Info);
}

/// A log that takes one producer's numbers in order and a key once, behind connections that break.
#[derive(Default)]
struct Model {
    stored: Vec<(Producer, u64, String)>,
    last: HashMap<Producer, u64>,
    /// Of lost connections, each in its own order: stored later, perhaps.
    under_way: Vec<VecDeque<(Producer, u64, String)>>,
    barred: bool,
}

impl Model {
    /// Its seq; 0: a gap.
    fn append(&mut self, (producer, no, text): (Producer, u64, String)) -> u64 {
        let last = self.last.entry(producer).or_default();
        if no > *last + 1 {
            return 0;
        }
        if no == *last + 1 {
            *last = no;
            self.stored.push((producer, no, text.clone()));
        }
        let key = |stored: &(Producer, u64, String)| (stored.0, stored.1) == (producer, no);
        let at = self.stored.iter().position(key).unwrap();
        assert_eq!(self.stored[at].2, text, "a key stands for one message");
        at as u64 + 1
    }

    fn serve(&mut self, publish: (Producer, u64, String), dice: u32) -> (&'static str, String) {
        let code = |code: &str| ("error", format!(r#""code":"{code}","message":"""#));
        if dice < 10 {
            return code("unavailable");
        }
        if self.barred {
            return code("forbidden");
        }
        if dice < 20 {
            self.under_way.push([publish].into());
            return code("unknown");
        }
        let producer = publish.0;
        match self.append(publish) {
            0 => {
                let expected = self.last[&producer] + 1;
                let rest = format!(r#""code":"out_of_order","message":"","expected":{expected}"#);
                ("error", rest)
            }
            _ if dice < 30 => code("unknown"),
            seq => ("ack", format!(r#""epoch":1,"seq":{seq}"#)),
        }
    }

    fn arrive(&mut self, which: usize) {
        let n = self.under_way.len();
        if n > 0
            && let Some(late) = self.under_way[which % n].pop_front()
        {
            self.append(late);
        }
        self.under_way.retain(|link| !link.is_empty());
    }
}

/// One device, slow appends, and a right to write that comes and goes.
fn run(seed: u64) {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let (mut session, mut model) = (session(), Model::default());
    let mut out: VecDeque<(Producer, u64, String)> = VecDeque::new();
    for step in 0..400 {
        let (last, mut new) = (step >= 300, Vec::new());
        model.barred &= !last;
        match random.random_range(0..100) {
            0..25 if !last && session.resend_at_ns.is_none() => {
                session.publish(conversation(), 0, step, step, &mut new);
            }
            25..70 => {
                if let Some(publish) = out.pop_front() {
                    let (producer, no, _) = publish.clone();
                    let dice = if last { 99 } else { random.random_range(0..100) };
                    let (kind, rest) = model.serve(publish, dice);
                    answer_to(&mut session, producer, kind, no, &rest);
                }
            }
            70..80 if session.resend_at_ns.is_some() => session.resend(false, &mut new),
            80..85 if !last => {
                let open = std::mem::take(&mut out);
                model.under_way.push(if model.barred { VecDeque::new() } else { open });
                session.disconnected();
                session.resend(true, &mut new);
            }
            85..95 => model.arrive(random.random_range(0..99)),
            95..98 => model.barred = !last && !model.barred,
            _ => {}
        }
        out.extend(sent(&mut new));
    }
    while !model.under_way.is_empty() {
        model.arrive(0);
    }
    assert_eq!((session.unacked(), session.in_flight), (0, 0), "seed {seed}");
    let number = |text: &String| Stamp::parse(text).unwrap().id.k;
    let stored: Vec<u64> = model.stored.iter().map(|(.., text)| number(text)).collect();
    let distinct: BTreeSet<u64> = stored.iter().copied().collect();
    assert_eq!(distinct.len(), stored.len(), "seed {seed}: something is there twice: {stored:?}");
    let acked = |k: &&u64| {
        let of = session.log.publishes.iter().find(|publish| publish.id.k == **k);
        of.is_some_and(|publish| matches!(publish.outcome, Outcome::Ok { .. }))
    };
    // What was given up in doubt may come late.
    assert!(stored.iter().filter(acked).is_sorted(), "seed {seed}: out of order: {stored:?}");
    for publish in &session.log.publishes {
        let is_there = stored.contains(&publish.id.k);
        match publish.outcome {
            Outcome::Ok { .. } => assert!(is_there, "seed {seed}: {publish:?} is lost"),
            Outcome::Fail => assert!(!is_there, "seed {seed}: {publish:?} is there"),
            Outcome::Info => {}
        }
    }
}

#[test]
fn r14_slow_appends_and_refusals_that_come_and_go_store_nothing_twice() {
    (1..=400).for_each(run);
}
