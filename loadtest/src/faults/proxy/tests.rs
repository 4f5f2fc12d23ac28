//! Each fault of the proxy is seen to bite, against a real TCP echo.
//!
//! Owns: the echo, the proxy in front of it. Never does: other machines. Talks to: loopback. Start reading at: the top.

use std::sync::atomic::AtomicU64;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::*;

/// For everything that has to happen.
const SOON: Duration = Duration::from_secs(10);
/// For what must not happen. A pass proves little on a slow machine, a failure always much.
const NOT: Duration = Duration::from_millis(80);

/// Sends back what it gets, and counts it.
struct Echo {
    address: SocketAddr,
    got: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo() -> Echo {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let got = Arc::new(AtomicU64::new(0));
    let count = got.clone();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            connections.spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    count.fetch_add(n as u64, Relaxed);
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    Echo { address, got, task }
}

async fn both() -> (Echo, FaultProxy, TcpStream) {
    let echo = echo().await;
    let proxy = FaultProxy::start(echo.address, 7).await.unwrap();
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    (echo, proxy, stream)
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// The answer arrives whole.
async fn hear(stream: &mut TcpStream, text: &str) {
    let mut buffer = vec![0; text.len()];
    timeout(SOON, stream.read_exact(&mut buffer)).await.expect("in time").expect("an answer");
    assert_eq!(buffer, text.as_bytes());
}

async fn hear_nothing(stream: &mut TcpStream) {
    let mut buffer = [0; 1];
    let heard = timeout(NOT, stream.read(&mut buffer)).await;
    assert!(heard.is_err(), "nothing passes: {heard:?}");
}

/// The next read fails with a reset, without a byte before it.
async fn is_reset(stream: &mut TcpStream) {
    let mut buffer = [0; 64];
    let read = timeout(SOON, stream.read(&mut buffer)).await.expect("in time");
    assert_eq!(read.expect_err("no byte, no end").kind(), io::ErrorKind::ConnectionReset);
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < SOON, "{what}");
        sleep(Duration::from_millis(2)).await;
    }
}

fn mode(mode: Mode) -> Flow {
    Flow { mode, ..Flow::default() }
}

#[tokio::test]
async fn without_a_fault_everything_passes_and_ends_as_it_would() {
    let (_echo, proxy, mut stream) = both().await;
    let text = "x".repeat(300_000);
    let (mut from, mut to) = stream.split();
    let mut heard = Vec::new();
    let send = async {
        to.write_all(text.as_bytes()).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let (_, end) = tokio::join!(send, timeout(SOON, from.read_to_end(&mut heard)));
    assert_eq!(end.expect("in time").expect("a clean end"), text.len());
    assert_eq!(proxy.stats().cut.load(Relaxed), 0);
}

#[tokio::test]
async fn a_delay_is_waited_for_in_each_direction_and_keeps_the_order() {
    let (_echo, proxy, mut stream) = both().await;
    let delay = Duration::from_millis(40);
    proxy.set_both(Flow { delay, jitter: delay, ..Flow::default() });
    let begun = Instant::now();
    for n in 0..20 {
        say(&mut stream, &format!("{n:02}")).await;
        sleep(Duration::from_millis(1)).await;
    }
    let all: String = (0..20).map(|n| format!("{n:02}")).collect();
    hear(&mut stream, &all).await;
    assert!(begun.elapsed() >= delay * 2, "{:?}", begun.elapsed());
    assert!(begun.elapsed() < delay * 20, "chunks wait side by side: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_nothing_later() {
    let (echo, proxy, mut stream) = both().await;
    say(&mut stream, "a").await;
    hear(&mut stream, "a").await;
    proxy.cut();
    is_reset(&mut stream).await;
    until("counted", || proxy.stats().cut.load(Relaxed) == 1).await;
    let mut next = TcpStream::connect(proxy.address).await.unwrap();
    say(&mut next, "b").await;
    hear(&mut next, "b").await;
    assert_eq!(echo.got.load(Relaxed), 2);
}

#[tokio::test]
async fn refusing_is_for_new_connections() {
    let (_echo, proxy, mut old) = both().await;
    say(&mut old, "a").await;
    hear(&mut old, "a").await;
    proxy.refuse(true);
    let mut new = TcpStream::connect(proxy.address).await.unwrap();
    is_reset(&mut new).await;
    say(&mut old, "b").await;
    hear(&mut old, "b").await;
    proxy.heal();
    let mut new = TcpStream::connect(proxy.address).await.unwrap();
    say(&mut new, "c").await;
    hear(&mut new, "c").await;
    assert_eq!(proxy.stats().refused.load(Relaxed), 1);
}

#[tokio::test]
async fn what_a_partition_holds_up_arrives_after_it() {
    let (echo, proxy, mut stream) = both().await;
    proxy.set(Direction::Down, mode(Mode::Stall));
    say(&mut stream, "hello").await;
    until("one way is open", || echo.got.load(Relaxed) == 5).await;
    hear_nothing(&mut stream).await;
    proxy.set(Direction::Up, mode(Mode::Stall));
    say(&mut stream, " there").await;
    hear_nothing(&mut stream).await;
    assert_eq!(echo.got.load(Relaxed), 5, "now neither is");
    proxy.heal();
    hear(&mut stream, "hello there").await;
}

#[tokio::test]
async fn who_lost_bytes_is_cut_when_the_hole_ends() {
    let (echo, proxy, mut stream) = both().await;
    say(&mut stream, "a").await;
    hear(&mut stream, "a").await;
    proxy.set(Direction::Up, mode(Mode::Discard));
    say(&mut stream, "hello").await;
    until("thrown away", || proxy.stats().lost.load(Relaxed) == 5).await;
    hear_nothing(&mut stream).await;
    assert_eq!(echo.got.load(Relaxed), 1);
    proxy.heal();
    is_reset(&mut stream).await;
}

#[tokio::test]
async fn an_end_falls_into_the_hole_too() {
    let (echo, proxy, mut stream) = both().await;
    proxy.set_both(mode(Mode::Discard));
    say(&mut stream, "a").await;
    drop(stream);
    until("thrown away", || proxy.stats().lost.load(Relaxed) == 1).await;
    assert_eq!((echo.got.load(Relaxed), proxy.stats().cut.load(Relaxed)), (0, 0), "half-open");
    proxy.heal();
    until("cut", || proxy.stats().cut.load(Relaxed) == 1).await;
}

#[tokio::test]
async fn a_trickle_takes_its_time() {
    let (_echo, proxy, mut stream) = both().await;
    proxy.set(Direction::Down, Flow { trickle: 10_000, ..Flow::default() });
    let begun = Instant::now();
    let text = "x".repeat(3_000);
    say(&mut stream, &text).await;
    hear(&mut stream, &text).await;
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn eaten_replies_never_arrive() {
    let (echo, proxy, mut stream) = both().await;
    proxy.eat_replies(6);
    say(&mut stream, "abc").await;
    until("the first half is eaten", || proxy.stats().lost.load(Relaxed) == 3).await;
    assert_eq!(proxy.stats().cut.load(Relaxed), 0);
    say(&mut stream, "def").await;
    is_reset(&mut stream).await;
    assert_eq!(echo.got.load(Relaxed), 6, "the target did all of it");
}

/// Found by a campaign: a connection whose replies were eaten in part lived on with a hole in them.
#[tokio::test]
async fn who_lost_a_part_of_what_is_to_be_eaten_is_cut_when_all_is_healed() {
    let (echo, proxy, mut stream) = both().await;
    proxy.eat_replies(1_000);
    say(&mut stream, "abc").await;
    until("eaten", || proxy.stats().lost.load(Relaxed) == 3).await;
    let mut other = TcpStream::connect(proxy.address).await.unwrap();
    say(&mut other, "d").await;
    hear(&mut other, "d").await;
    proxy.heal();
    is_reset(&mut stream).await;
    assert_eq!(echo.got.load(Relaxed), 4);
}

#[tokio::test]
async fn a_reply_breaks_off_in_the_middle() {
    let (_echo, proxy, mut stream) = both().await;
    proxy.cut_in_reply(5);
    say(&mut stream, "hello there").await;
    hear(&mut stream, "hello").await;
    is_reset(&mut stream).await;
}

#[tokio::test]
async fn it_dies_with_its_owner_and_finds_a_new_target() {
    let (_first, proxy, mut stream) = both().await;
    let second = echo().await;
    proxy.retarget(second.address);
    let mut other = TcpStream::connect(proxy.address).await.unwrap();
    say(&mut other, "b").await;
    hear(&mut other, "b").await;
    assert_eq!(second.got.load(Relaxed), 1);
    let address = proxy.address;
    drop(proxy);
    let mut rest = Vec::new();
    // An end or a reset, but an end.
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it ends");
    assert!(TcpStream::connect(address).await.is_err());
}
