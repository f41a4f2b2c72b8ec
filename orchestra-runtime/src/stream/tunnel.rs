//! A connection inside the binary messages of a WebSocket, for SPDY that must pass where only WebSockets do.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Duplex, PIPE, channel};

/// The inner connection, and the future that carries it.
pub(crate) fn open<T: Duplex>(io: T) -> (DuplexStream, impl Future<Output = ()> + Send + 'static) {
    let (inner, outer) = duplex(PIPE);
    let carry = async move {
        let (mut sink, mut stream) = channel::accept(io).await.split();
        let (mut from, mut to) = split(outer);
        let inward = async {
            while let Some(message) = stream.next().await {
                match message? {
                    Message::Binary(bytes) => to.write_all(&bytes).await?,
                    Message::Close(_) => break,
                    _ => {}
                }
            }
            Ok::<_, Error>(())
        };
        let outward = async {
            let mut buffer = vec![0; PIPE];
            loop {
                let read = from.read(&mut buffer).await?;
                if read == 0 {
                    return sink.send(channel::goodbye_frame()).await;
                }
                sink.send(Message::binary(buffer.get(..read).unwrap_or_default().to_vec())).await?;
            }
        };
        tokio::pin!(outward);
        let ended = tokio::select! {
            // Without the client there is nobody to write for.
            ended = inward => ended,
            ended = &mut outward => ended,
        };
        if let Err(problem) = ended {
            tracing::trace!(%problem, "a tunnel ended");
        }
    };
    (inner, carry)
}
