//! SPDY/3.1 as a client may send it: any bytes end the connection or open streams, and never more than are allowed.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use stream::spdy::connection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

/// The most streams at once, as for a port-forward.
const MOST: usize = 4;

// So that what is named in here is found from this folder.
#[path = "."]
mod stream {
    // Only these files of the node agent: the rest of it takes minutes to build.
    #[path = "../../orchestra-runtime/src/stream/spdy/mod.rs"]
    #[allow(dead_code, reason = "the node agent calls what the target does not")]
    pub mod spdy;

    pub const PIPE: usize = 32 * 1024;
    pub const FAREWELL: std::time::Duration = std::time::Duration::from_secs(30);

    pub trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}

    impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Duplex for T {}
}

fuzz_target!(
    init: orchestra_fuzz::plant("spdy", seeds()),
    |bytes: &[u8]| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(talk(bytes.to_vec()));
    }
);

/// Sends everything, reads whatever comes back, takes every stream, and waits until the connection has ended.
async fn talk(bytes: Vec<u8>) {
    let (client, server) = duplex(stream::PIPE);
    let (mut incoming, serve) = connection::serve(server, MOST);
    let serving = tokio::spawn(serve);
    let (mut from, mut to) = tokio::io::split(client);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all).await;
    });
    let writing = tokio::spawn(async move {
        let _ = to.write_all(&bytes).await;
        let _ = to.shutdown().await;
    });
    let taking = tokio::spawn(async move {
        let mut echoes = tokio::task::JoinSet::new();
        while let Some(mut opened) = incoming.recv().await {
            let _ = opened.headers.get("streamtype");
            echoes.spawn(async move {
                let mut held = Vec::new();
                let _ = opened.stream.read_to_end(&mut held).await;
            });
        }
        while echoes.join_next().await.is_some() {}
    });
    let all = async {
        serving.await.expect("the connection does not panic");
        for task in [reading, writing, taking] {
            task.await.expect("nor do those around it");
        }
    };
    tokio::time::timeout(Duration::from_secs(3600), all).await.expect("it ends when the client has");
}

fn seeds() -> Vec<Vec<u8>> {
    // Stream 1 with no headers that can be read, data on it, its end, a ping, and farewell.
    let open = [&[0x80, 3, 0, 1, 0, 0, 0, 10][..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    let data = [&[0, 0, 0, 1, 1, 0, 0, 3][..], b"abc"].concat();
    let ping = vec![0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1];
    let reset = vec![0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 5];
    let farewell = vec![0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0];
    let large = vec![0x80, 3, 0, 8, 0, 0xff, 0xff, 0xff];
    vec![[open.clone(), data.clone(), reset].concat(), [ping, data].concat(), farewell, large, open]
}
