//! Encryption over real etcd: the suite, what others see who look into etcd, and several servers that rotate their keys.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use orchestra_store::conformance::PATIENCE;
use orchestra_store::encryption::{Encrypted, Encryption, Sharing};
use orchestra_store::{Error, EtcdStore, KeyRange, RangeOptions, ReadAt, Result, Store, Txn, WatchMessage};
use tempfile::TempDir;
use tokio::time::timeout;

use super::server::{Single, available};
use crate::encryption::{Plain, everything, keyring};

async fn open(etcd: &Single) -> Plain<EtcdStore> {
    Plain(Encrypted::new(etcd.store().await, everything(), keyring()))
}

async fn build() -> (Plain<EtcdStore>, Single) {
    let etcd = Single::start();
    (open(&etcd).await, etcd)
}

orchestra_store::store_conformance!(build, if available);
orchestra_store::store_durability!(Single::start, open, if available);

/// A server's data directory, on an etcd that others use too.
struct Server {
    dir: TempDir,
    encryption: Encryption,
}

impl Server {
    async fn start(etcd: &Single) -> Self {
        Self::start_with(etcd, tempfile::tempdir().unwrap()).await
    }

    async fn start_with(etcd: &Single, dir: TempDir) -> Self {
        let (store, keys) = (Arc::new(etcd.store().await), dir.path().join("encryption.keys"));
        let opened = Encryption::open(store, keys, &["/secrets/"], Sharing::Shared).await;
        Self { dir, encryption: opened.unwrap().unwrap() }
    }

    /// Another one, with a copy of this one's keys.
    async fn beside(&self, etcd: &Single) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(self.keys(), dir.path().join("encryption.keys")).unwrap();
        Self::start_with(etcd, dir).await
    }

    fn keys(&self) -> PathBuf {
        self.dir.path().join("encryption.keys")
    }

    /// As `scp` does it: in place, and not at once.
    fn give_keys(&self, to: &Self) {
        fs::write(to.keys(), fs::read(self.keys()).unwrap()).unwrap();
    }

    async fn put(&self, key: &str, value: &str) {
        self.encryption.store().commit(Txn::new().put(key.into(), value.to_owned())).await.unwrap();
    }

    async fn get(&self, key: &str) -> Result<String> {
        let read = self.encryption.store().get(&key.into(), ReadAt::Latest).await?;
        Ok(String::from_utf8_lossy(&read.value.unwrap().value).into_owned())
    }

    async fn seals_with(&self) -> String {
        self.encryption.store().keyring().newest().id().to_string()
    }
}

/// All values of etcd, as it gives them to whoever asks.
fn values(etcd: &Single) -> Vec<Vec<u8>> {
    let answer = etcd.ask("/v3/kv/range", r#"{"key":"AA==","range_end":"AA=="}"#);
    let values = answer.split(r#""value":""#).skip(1);
    values.map(|value| STANDARD.decode(value.split('"').next().unwrap()).unwrap()).collect()
}

fn holds(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|part| part == mark.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_into_etcd_sees_cipher_text() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let server = Server::start(&etcd).await;
    for n in 0..20 {
        server.put(&format!("/secrets/{n}"), "hunter2").await;
    }
    server.put("/secrets/0", "hunter3").await;
    server.put("/pods/a", "plain to see").await;
    let values = values(&etcd);
    assert!(values.iter().any(|value| holds(value, "plain to see")), "the look would find it");
    assert!(!values.iter().any(|value| holds(value, "hunter")));
    assert_eq!(values.iter().filter(|value| value.starts_with(b"orch-enc")).count(), 21, "and the marker");
    let mut etcdctl = Command::new("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &etcd.url("http", ""), "get", "", "--from-key"]);
    // It comes in a package of its own, which a machine with etcd need not have.
    if let Ok(told) = etcdctl.output() {
        assert!(told.status.success() && holds(&told.stdout, "plain to see"), "{told:?}");
        assert!(holds(&told.stdout, "orch-enc") && !holds(&told.stdout, "hunter"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_was_moved_or_changed_in_etcd_is_an_error_and_no_data() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let server = Server::start(&etcd).await;
    let store = server.encryption.store();
    server.put("/secrets/a", "hunter2").await;
    server.put("/secrets/b", "hunter3").await;
    let from = store.status().await.unwrap().revision.next();
    let mut watch = store.watch(KeyRange::prefix("/secrets/"), from).await.unwrap();
    let raw = |key: &str| STANDARD.encode(format!("/orchestra/keys/{key}"));
    let stored = etcd.ask("/v3/kv/range", &format!(r#"{{"key":"{}"}}"#, raw("/secrets/a")));
    let stored = stored.split(r#""value":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let put = |key: &str, value: &str| {
        etcd.ask("/v3/kv/put", &format!(r#"{{"key":"{}","value":"{value}"}}"#, raw(key)));
    };
    let is_damaged = |error: Error, key: &str| {
        let told = error.to_string();
        assert!(
            matches!(error, Error::Corrupt(_)) && told.contains(key) && !told.contains("hunter"),
            "{told}"
        );
    };
    put("/secrets/b", &stored);
    is_damaged(server.get("/secrets/b").await.unwrap_err(), "/secrets/b");
    let list = store.range(KeyRange::prefix("/secrets/"), RangeOptions::new()).await;
    is_damaged(list.unwrap_err(), "/secrets/b");
    let told = timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    is_damaged(told.unwrap_err(), "/secrets/b");
    assert_eq!(server.get("/secrets/a").await.unwrap(), "hunter2");
    let mut flipped = STANDARD.decode(&stored).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    put("/secrets/a", &STANDARD.encode(flipped));
    is_damaged(server.get("/secrets/a").await.unwrap_err(), "/secrets/a");
    put("/secrets/a", &STANDARD.encode("planted"));
    is_damaged(server.get("/secrets/a").await.unwrap_err(), "/secrets/a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_share_an_etcd_rotate_without_a_restart_and_without_a_moment_in_which_one_cannot_read() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let one = Server::start(&etcd).await;
    let two = one.beside(&etcd).await;
    for n in 0..300 {
        one.put(&format!("/secrets/{n}"), "hunter2").await;
    }
    let from = one.encryption.store().status().await.unwrap().revision.next();
    let mut watch = two.encryption.store().watch(KeyRange::prefix("/secrets/"), from).await.unwrap();
    let before = one.seals_with().await;
    // The next key reaches everybody before anybody uses it.
    let next = one.encryption.prepare().await.unwrap();
    assert_eq!(one.encryption.prepare().await.unwrap(), next, "it is made once");
    assert_eq!(one.encryption.status().await.unwrap().next, Some(next));
    one.give_keys(&two);
    assert_eq!((one.seals_with().await, two.seals_with().await), (before.clone(), before.clone()));
    let rotated = one.encryption.rotate().await.unwrap();
    assert_eq!((rotated.key, rotated.rewritten.rewritten), (next, 301));
    // The other one follows by what it sees: no read and no watch fails.
    for n in 0..300 {
        assert_eq!(two.get(&format!("/secrets/{n}")).await.unwrap(), "hunter2");
    }
    for _ in 0..300 {
        let told = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(&told, WatchMessage::Events { events, .. } if events.len() == 1), "{told:?}");
    }
    assert_eq!(two.seals_with().await, next.to_string());
    two.put("/secrets/new", "hunter4").await;
    assert_eq!(one.get("/secrets/new").await.unwrap(), "hunter4");
    // It undoes nothing: for it, too, everything is as it should be.
    assert_eq!(two.encryption.rewrite().await.unwrap().rewritten, 0);
    assert_eq!(one.encryption.prune().await.unwrap().dropped[0].to_string(), before);
    // The other way round, and by a server that was started anew.
    let again = two.encryption.rotate().await.unwrap().key;
    two.give_keys(&one);
    assert_eq!(one.get("/secrets/7").await.unwrap(), "hunter2");
    assert_eq!(one.seals_with().await, again.to_string());
    let third = one.beside(&etcd).await;
    assert_eq!(third.get("/secrets/7").await.unwrap(), "hunter2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lacks_the_key_says_so_and_goes_on_as_soon_as_it_has_it() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let one = Server::start(&etcd).await;
    let two = one.beside(&etcd).await;
    one.put("/secrets/a", "hunter2").await;
    let older = fs::read(one.keys()).unwrap();
    one.encryption.rotate().await.unwrap();
    for _ in 0..3 {
        assert!(matches!(two.get("/secrets/a").await, Err(Error::KeyMissing { .. })));
    }
    // It has no key to write it anew with, and leaves it as it is.
    let rewritten = two.encryption.rewrite().await.unwrap();
    assert_eq!((rewritten.rewritten, rewritten.unreadable), (0, 2));
    // Half a copy is no file of keys, and is not the end of it either.
    let newer = fs::read(one.keys()).unwrap();
    fs::write(two.keys(), &newer[..newer.len() / 2]).unwrap();
    assert!(matches!(two.get("/secrets/a").await, Err(Error::KeyMissing { .. })));
    one.give_keys(&two);
    assert_eq!(two.get("/secrets/a").await.unwrap(), "hunter2");
    assert_eq!(two.seals_with().await, one.seals_with().await);
    // An old copy takes away nothing, neither from who runs nor from the file at the next change.
    fs::write(two.keys(), older).unwrap();
    let rotated = two.encryption.rotate().await.unwrap();
    assert_eq!(rotated.rewritten.unreadable, 0);
    assert_eq!(two.encryption.status().await.unwrap().keys.len(), 3);
    two.give_keys(&one);
    assert_eq!(one.get("/secrets/a").await.unwrap(), "hunter2");
}
