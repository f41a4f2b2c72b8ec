//! Real sockets on loopback.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::super::ServiceRef;
use super::*;

/// A backend that answers each connection with one letter and what it was sent.
async fn backend(letter: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut sent = Vec::new();
                stream.read_to_end(&mut sent).await.unwrap();
                stream.write_all(&[letter]).await.unwrap();
                stream.write_all(&sent).await.unwrap();
            });
        }
    });
    address
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn port(number: u16, protocol: Protocol, backends: &[SocketAddr]) -> VirtualPort {
    VirtualPort {
        frontend: Frontend { address: [127, 0, 0, 1].into(), port: number, protocol },
        service: ServiceRef { namespace: "default".into(), name: "web".into() },
        backends: backends.into(),
        affinity: None,
    }
}

async fn ask(number: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", number)).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn connections_reach_every_backend_and_pass_over_one_that_is_gone() {
    let (a, b) = (backend(b'a').await, backend(b'b').await);
    let gone = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let number = free_port();
    let proxy = UserspaceProxy::new(1);
    assert_eq!(proxy.sync(vec![port(number, Protocol::Tcp, &[a, gone, b])]).await, []);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        seen.insert(ask(number).await.unwrap());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [b"ahello".to_vec(), b"bhello".to_vec()]);
}

#[tokio::test]
async fn an_open_connection_outlives_its_port() {
    let number = free_port();
    let proxy = UserspaceProxy::new(1);
    proxy.sync(vec![port(number, Protocol::Tcp, &[backend(b'a').await])]).await;
    let mut stream = TcpStream::connect(("127.0.0.1", number)).await.unwrap();
    stream.write_all(b"first").await.unwrap();
    // The connection is carried once its first bytes were: ask again until a second one answers.
    ask(number).await.unwrap();
    proxy.sync(Vec::new()).await;
    stream.write_all(b" last").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "afirst last");
    tokio::task::yield_now().await;
    assert_eq!(
        TcpStream::connect(("127.0.0.1", number)).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn a_service_without_backends_resets_its_clients() {
    let number = free_port();
    let proxy = UserspaceProxy::new(1);
    proxy.sync(vec![port(number, Protocol::Tcp, &[])]).await;
    assert_eq!(ask(number).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_port_in_use_is_reported_and_taken_once_it_is_free() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = other.local_addr().unwrap().port();
    let proxy = UserspaceProxy::new(1);
    let wanted = vec![port(number, Protocol::Tcp, &[backend(b'a').await])];
    let problems = proxy.sync(wanted.clone()).await;
    assert_eq!(
        problems[0].message,
        format!("cannot listen on 127.0.0.1:{number}: another program listens there")
    );
    drop(other);
    assert_eq!(proxy.sync(wanted).await, []);
    assert_eq!(ask(number).await.unwrap(), b"ahello");
}

#[tokio::test]
async fn datagrams_find_their_way_there_and_back() {
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let echo_address = echo.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 64];
        while let Ok((length, from)) = echo.recv_from(&mut datagram).await {
            echo.send_to(&datagram[..length], from).await.unwrap();
        }
    });
    let number = free_port();
    let proxy = UserspaceProxy::new(1);
    assert_eq!(proxy.sync(vec![port(number, Protocol::Udp, &[echo_address])]).await, []);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", number)).await.unwrap();
    for word in [&b"one"[..], b"two"] {
        client.send(word).await.unwrap();
        let mut answer = [0; 64];
        let length =
            tokio::time::timeout(Duration::from_secs(10), client.recv(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer[..length], word);
    }
}
