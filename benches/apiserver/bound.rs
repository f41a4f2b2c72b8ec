//! What the machine lets pass: events over the same TLS from one thread to another, which do nothing else. No server of events
//! can deliver more on two cores, with whoever reads them beside it.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::report::Report;
use crate::wire::READ_BYTES;

const HOST: &str = "localhost";
/// An event of a ConfigMap of 1 KiB.
pub(crate) const EVENT: usize = 1_150;
/// Bytes for each row.
const ALL: usize = 512 << 20;

/// A row for each number of events that are written at once.
pub(crate) fn measure(report: &mut Report, connections: usize, share: usize) {
    for at_once in [1, 4, 16, 56] {
        let rounds = (ALL / share / (EVENT * at_once * connections)).max(1);
        let took = pass(connections, EVENT * at_once, rounds);
        let rate = (connections * at_once * rounds) as f64 / took;
        report.figure(&format!("the machine's bound, {at_once} at once: deliveries/s"), rate);
    }
}

/// How many seconds it takes to send `rounds` pieces over each connection.
fn pass(connections: usize, piece: usize, rounds: usize) -> f64 {
    let (server, client) = configurations();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let writer = thread::spawn(move || {
        let mut streams: Vec<_> = (0..connections)
            .map(|_| {
                let (socket, _) = listener.accept().expect("a client");
                socket.set_nodelay(true).expect("a socket");
                let mut session = ServerConnection::new(server.clone()).expect("a session");
                let mut socket = socket;
                session.complete_io(&mut socket).expect("a handshake");
                StreamOwned::new(session, socket)
            })
            .collect();
        let piece = vec![b'x'; piece];
        for _ in 0..rounds {
            for stream in &mut streams {
                stream.write_all(&piece).expect("somebody reads");
            }
        }
    });
    let mut streams: Vec<_> = (0..connections)
        .map(|_| {
            let socket = TcpStream::connect(address).expect("it listens");
            socket.set_nodelay(true).expect("a socket");
            let name = ServerName::try_from(HOST).expect("a name");
            let session = ClientConnection::new(client.clone(), name).expect("a session");
            let mut stream =
                StreamOwned::new(session, Buffered(BufReader::with_capacity(READ_BYTES, socket)));
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
            stream
        })
        .collect();
    let begin = Instant::now();
    let mut buffer = vec![0; piece];
    for _ in 0..rounds {
        for stream in &mut streams {
            stream.read_exact(&mut buffer).expect("somebody writes");
        }
    }
    let took = begin.elapsed().as_secs_f64();
    writer.join().expect("it has written everything");
    took
}

/// A socket that is read in large pieces.
struct Buffered(BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.get_mut().flush()
    }
}

/// Both sides' with one certificate.
fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key).expect("a key");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}
