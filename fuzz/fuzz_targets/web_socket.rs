//! Channels over WebSocket as a client may ask for them and fill them: a refusal, or messages until the end.
#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use stream::upgrade::{Protocol, Purpose, negotiate};

// So that what is named in here is found from this folder.
#[path = "."]
mod stream {
    // Only these files of the node agent: the rest of it takes minutes to build.
    #[path = "../../orchestra-runtime/src/stream/channel.rs"]
    #[allow(dead_code, reason = "the node agent calls what the target does not")]
    pub mod channel;
    #[path = "../../orchestra-runtime/src/stream/upgrade.rs"]
    #[allow(dead_code, reason = "the node agent calls what the target does not")]
    pub mod upgrade;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    pub trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}

    impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Duplex for T {}

    /// Sends everything, has each message sent back, and waits until both have said goodbye.
    pub async fn converse(codec: upgrade::Codec, bytes: Vec<u8>) {
        let (mut client, server) = duplex(64 * 1024);
        let (sender, mut receiver) = channel::open(server, codec).await;
        let talking = tokio::spawn(async move {
            let _ = client.write_all(&bytes).await;
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut Vec::new()).await;
        });
        while let Some((number, bytes)) = receiver.next().await {
            if sender.send(number, &bytes).await.is_err() {
                break;
            }
        }
        sender.close(receiver).await;
        talking.await.expect("the client does not panic");
    }
}

const PROTOCOLS: [&str; 4] =
    ["v5.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io, v1"];

fuzz_target!(
    init: orchestra_fuzz::plant("web_socket", seeds()),
    |bytes: &[u8]| {
        let Some((&first, rest)) = bytes.split_first() else { return };
        asked(first, rest);
        let protocol = PROTOCOLS[usize::from(first) % PROTOCOLS.len()];
        let headers = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", protocol),
        ];
        let headers: HeaderMap = headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let agreed = negotiate(Purpose::Command, &Method::GET, &headers).expect("known protocols are taken");
        let Protocol::Channels(_, codec) = agreed.protocol else { unreachable!("none of them is another") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let talk = stream::converse(codec, rest.to_vec());
            tokio::time::timeout(Duration::from_secs(3600), talk).await.expect("it ends when the client has");
        });
    }
);

/// The handshake with whatever headers the bytes make.
fn asked(first: u8, bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let method = if first % 2 == 0 { Method::GET } else { Method::POST };
    for purpose in [Purpose::Command, Purpose::Forward] {
        if let Ok(agreed) = negotiate(purpose, &method, &headers) {
            assert_eq!(agreed.answer(()).status(), 101);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    // A text and a binary message, masked with zeros, then the end.
    let message = |kind: u8, body: &[u8]| {
        let length = u8::try_from(body.len()).expect("a short message");
        [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0][..], body].concat()
    };
    let all = [message(2, b"\0hello"), message(9, b""), message(8, &[3, 232])].concat();
    let texts = [message(1, b"0aGVsbG8="), message(1, b"?"), message(2, b"")].concat();
    let asked =
        b"\0Connection:Upgrade\nUpgrade:SPDY/3.1\nX-Stream-Protocol-Version:v4.channel.k8s.io, v1\n".to_vec();
    vec![[vec![0], all.clone()].concat(), [vec![1], texts].concat(), [vec![3], all].concat(), asked]
}
