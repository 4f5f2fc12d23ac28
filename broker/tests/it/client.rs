//! A client that can say anything, right or wrong.

use std::{net::SocketAddr, time::Duration};

use protocol::ConversationId;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// Sends a request and reads the head of its answer: status, head, connection.
pub(crate) async fn request(address: SocketAddr, text: &str) -> (u16, String, Client) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut client = Client { stream, read: Vec::new() };
    let end = loop {
        if let Some(at) = client.read.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(client.more().await, "no answer to {text}");
    };
    let head = String::from_utf8(client.read.drain(..end).collect()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, client)
}

/// The headers of a good upgrade, without a token.
pub(crate) const UPGRADE: [(&str, &str); 5] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "webchat.v1"),
];

pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> String {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", lines.collect::<String>())
}

pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [9, 8, 7, 6];
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0xfe);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(0xff);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ key[i % 4]));
    out
}

impl Client {
    pub(crate) async fn upgrade(
        address: SocketAddr,
        headers: &[(&str, &str)],
    ) -> (u16, String, Self) {
        request(address, &get("/ws", &[&UPGRADE[..], headers].concat())).await
    }

    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        read.expect("an answer").unwrap_or(0) > 0
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        // The server may have closed already: what it says is what counts.
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.raw(&frame(0x81, text.as_bytes())).await;
    }

    /// The next frame: first byte and payload. `None` when the server is gone.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [first, length, ..] = self.read[..] {
                assert!(length < 128, "a server does not mask");
                let (header, payload) = match length {
                    126 if self.read.len() >= 4 => {
                        (4, usize::from(u16::from_be_bytes([self.read[2], self.read[3]])))
                    }
                    127 if self.read.len() >= 10 => {
                        let bytes = <[u8; 8]>::try_from(&self.read[2..10]).unwrap();
                        (10, u64::from_be_bytes(bytes) as usize)
                    }
                    126 | 127 => (10, usize::MAX / 2),
                    short => (2, usize::from(short)),
                };
                if self.read.len() >= header + payload {
                    let bytes: Vec<u8> = self.read.drain(..header + payload).collect();
                    return Some((first, bytes[header..].to_vec()));
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next text message of any type.
    pub(crate) async fn any(&mut self) -> Value {
        loop {
            let (first, payload) = self.frame().await.expect("a message, not the end");
            match first {
                0x81 => return serde_json::from_slice(&payload).unwrap(),
                0x88 => panic!("closed: {payload:?}"),
                _ => {}
            }
        }
    }

    /// The next message of a type; others are passed over.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = self.any().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The code of the close frame that comes; messages before it are passed over.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            let (first, payload) = self.frame().await.expect("a close frame before the end");
            if first == 0x88 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }

    pub(crate) async fn publish(&mut self, no: u64, text: &str) {
        self.publish_to(crate::harness::direct(), no, text).await;
    }

    pub(crate) async fn publish_to(&mut self, conversation: ConversationId, no: u64, text: &str) {
        self.say(&format!(
            "{{\"type\":\"publish\",\"conversation\":\"{conversation}\",\"producer\":\"9f8e7d6c5b4a3921\",\"no\":{no},\"body\":{{\"text\":\"{text}\"}}}}"
        ))
        .await;
    }
}
