//! The connections of `port-forward`: a stream for data and one for errors each.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncWriteExt, DuplexStream, WriteHalf, split};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::spdy::connection::{self, Incoming};
use super::upgrade::Codec;
use super::{CREATION, Duplex, FAREWELL, PIPE, channel};

/// The most streams of one client: two for each connection.
const MAX_STREAMS: usize = 2048;

/// Connects to a port of the pod and copies both ways; the error is for the client.
pub(crate) type Connect =
    Arc<dyn Fn(u16, DuplexStream) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Forwards the connections that a client opens over SPDY.
pub(crate) async fn over_spdy<T: Duplex>(io: T, connect: Connect) {
    let (mut incoming, connection) = connection::serve(io, MAX_STREAMS);
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let mut halves: HashMap<String, Half> = HashMap::new();
    // Ends with the connection, and the connections to the pod with it.
    while let Some(stream) = incoming.recv().await {
        while tasks.try_join_next().is_some() {}
        halves.retain(|_, half| half.since.elapsed() < CREATION);
        if let Some((port, pair)) = pair(&mut halves, stream) {
            tasks.spawn(serve(port, pair, connect.clone()));
        }
    }
}

/// One of the two streams, waiting for the other.
struct Half {
    data: Option<DuplexStream>,
    error: Option<DuplexStream>,
    port: u16,
    since: Instant,
}

struct Pair {
    data: DuplexStream,
    error: DuplexStream,
}

/// Puts the two streams of a request together.
fn pair(halves: &mut HashMap<String, Half>, incoming: Incoming) -> Option<(u16, Pair)> {
    let Incoming { headers, stream } = incoming;
    let id = headers.get("requestid")?.to_owned();
    let port: u16 = headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
    let half = halves.entry(id.clone()).or_insert_with(|| Half {
        data: None,
        error: None,
        port,
        since: Instant::now(),
    });
    match headers.get("streamtype")? {
        "data" => half.data = Some(stream),
        "error" => half.error = Some(stream),
        _ => return None,
    }
    if half.data.is_none() || half.error.is_none() {
        return None;
    }
    let Half { data, error, port, .. } = halves.remove(&id)?;
    Some((port, Pair { data: data?, error: error? }))
}

async fn serve(port: u16, Pair { data, mut error }: Pair, connect: Connect) {
    if let Err(why) = connect(port, data).await
        && let Err(problem) = error.write_all(why.as_bytes()).await
    {
        tracing::debug!(%problem, why, "a client did not wait for an error");
    }
}

/// Forwards `ports` over the channels of a WebSocket: of each port, data on an even channel, errors on the next.
pub(crate) async fn over_channels<T: Duplex>(io: T, codec: Codec, ports: &[u16], connect: Connect) {
    let (sender, mut receiver) = channel::open(io, codec).await;
    let mut tasks = JoinSet::new();
    let mut inputs: Vec<Option<WriteHalf<DuplexStream>>> = Vec::new();
    // At most 100 ports, so that the number of a channel is a byte; the caller sees to it.
    for (port, data) in ports.iter().copied().zip((0u8..).step_by(2)) {
        let error = data + 1;
        for channel in [data, error] {
            if sender.send(channel, &port.to_le_bytes()).await.is_err() {
                return;
            }
        }
        let (near, far) = tokio::io::duplex(PIPE);
        let (output, input) = split(near);
        inputs.push(Some(input));
        tasks.spawn(sender.clone().pump(data, output));
        let (sender, connected) = (sender.clone(), connect(port, far));
        tasks.spawn(async move {
            if let Err(why) = connected.await
                && let Err(problem) = sender.send(error, why.as_bytes()).await
            {
                tracing::debug!(%problem, why, "a client did not wait for an error");
            }
        });
    }
    let listening = async {
        while let Some((channel, bytes)) = receiver.next().await {
            let Some(input) = inputs.get_mut(usize::from(channel / 2)) else { continue };
            if let Some(to) = input
                && channel % 2 == 0
                && to.write_all(&bytes).await.is_err()
            {
                *input = None;
            }
        }
    };
    tokio::select! {
        () = listening => return,
        () = async { while tasks.join_next().await.is_some() {} } => {}
    }
    if timeout(FAREWELL, sender.close(receiver)).await.is_err() {
        tracing::debug!("a client did not say goodbye");
    }
}
