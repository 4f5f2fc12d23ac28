//! Clients that break the rules, each with its named answer.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::{
    client::frame,
    harness::{ADA, Broker, now_ms},
};

#[tokio::test]
async fn r5_each_breach_of_the_framing_has_its_close_code() {
    let broker = Broker::spawn().await;
    let bomb: Vec<u8> = [frame(0x01, b""), frame(0x00, b"").repeat(16)].concat();
    let table: [(&str, Vec<u8>, u16); 9] = [
        ("binary", frame(0x82, b"x"), 1003),
        ("not utf-8", frame(0x81, b"\xff"), 1007),
        ("unmasked", b"\x81\x01a".to_vec(), 1002),
        ("reserved bits", frame(0xc1, b"x"), 1002),
        ("long pong", frame(0x8a, &[0; 126]), 1002),
        ("long close", frame(0x88, &[0; 126]), 1002),
        ("fragment bomb", bomb, 1009),
        ("65537 bytes", frame(0x81, &[b'x'; 65_537]), 1009),
        ("says 63 MiB", b"\x81\xff\0\0\0\0\x03\xf0\0\0\0\0\0\0".to_vec(), 1009),
    ];
    for (name, bytes, code) in table {
        let mut client = broker.connect(ADA).await;
        client.raw(&bytes).await;
        assert_eq!(client.closed().await, code, "{name}");
        assert_eq!(client.frame().await, None, "{name}: the end");
    }
}

#[tokio::test]
async fn r5_a_message_that_takes_too_long_is_too_big() {
    let broker = Broker::spawn().await;
    let mut client = broker.join(ADA).await;
    let began = now_ms();
    client.raw(&frame(0x81, b"{}")[..3]).await;
    let closed = timeout(Duration::from_secs(14), async {
        loop {
            // The client's own patience is shorter than the limit.
            if let Ok(code) = timeout(Duration::from_secs(4), client.closed()).await {
                break code;
            }
        }
    });
    assert_eq!(closed.await.unwrap(), 1009);
    assert!(now_ms() - began >= 10_000);
}

#[tokio::test]
async fn r7_r8_r9_bad_commands_are_told_and_too_many_end_it() {
    let broker = Broker::spawn().await;
    let mut client = broker.join(ADA).await;
    for bad in ["not json", "{}", "{\"type\":\"ping\",\"id\":4,\"more\":1}", "[[[[[[[[[]]]]]]]]]"] {
        client.say(bad).await;
        assert_eq!(client.next("error").await["code"], "invalid", "{bad}");
    }
    client.say("{\"type\":\"ping\",\"id\":9}").await;
    assert_eq!(client.next("ok").await["id"], 9);
    for _ in 0..7 {
        client.say("{}").await;
    }
    assert_eq!(client.closed().await, 4400);
}

#[tokio::test]
async fn pings_are_answered_with_their_payload_and_a_close_with_its_code() {
    let broker = Broker::spawn().await;
    let mut client = broker.connect(ADA).await;
    client.raw(&frame(0x89, b"are you there")).await;
    assert_eq!(client.frame().await, Some((0x8a, b"are you there".to_vec())));
    client.raw(&frame(0x88, &4001u16.to_be_bytes())).await;
    assert_eq!(client.closed().await, 4001);
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn a_flood_of_frames_ends_with_rate_limited() {
    let broker = Broker::spawn().await;
    let mut client = broker.connect(ADA).await;
    client.raw(&frame(0x8a, b"").repeat(4_000)).await;
    assert_eq!(client.closed().await, 4429);
}

#[tokio::test]
async fn who_sends_no_header_in_time_is_hung_up_on() {
    let broker = Broker::spawn().await;
    let mut slow = TcpStream::connect(broker.address).await.unwrap();
    slow.write_all(b"GET /ws HT").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut slow, &mut rest);
    let _ = timeout(Duration::from_secs(8), read).await.expect("hung up within the limit");
}
