//! An echo server around the codec and nothing else, for the conformance run: `echo 127.0.0.1:0`.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use broker::websocket::{Decoder, Input, Limits, decode::Flow, encode};

/// The suite sends messages of 16 MiB and in thousands of fragments.
const LIMITS: Limits =
    Limits { message_bytes_max: 32 << 20, fragments_max: usize::MAX, assembly_ms_max: u64::MAX };

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("echo on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(stream));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut byte = [0u8];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head);
    let key = text
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().starts_with("sec-websocket-key:").then(|| line[18..].trim())
        })
        .unwrap_or("");
    let accept = broker::handshake::accept_key(key);
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    let (mut decoder, mut buffer) = (Decoder::default(), vec![0u8; 64 * 1024]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let (mut out, mut done) = (Vec::new(), false);
        let fed = decoder.feed(&mut buffer[..count], 0, &LIMITS, |input| {
            match input {
                Input::Text(text) => out.push(encode::text(text)),
                Input::Binary(bytes) => out.push(encode::binary(bytes)),
                Input::Ping(payload) => out.push(encode::pong(payload)),
                Input::Pong => {}
                Input::Close(code) => {
                    out.push(encode::close_with(code.unwrap_or(1000), ""));
                    done = true;
                    return Flow::Stop;
                }
            }
            Flow::Continue
        });
        if let Err(code) = fed {
            out.push(encode::close(code));
            done = true;
        }
        for frame in out {
            stream.write_all(&frame)?;
        }
        if done {
            stream.shutdown(std::net::Shutdown::Write)?;
            let _ = stream.read(&mut buffer);
            return Ok(());
        }
    }
}
