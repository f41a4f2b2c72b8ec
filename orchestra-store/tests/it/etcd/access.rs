//! TLS and users.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra_store::{
    Error, EtcdIdentity, EtcdOptions, EtcdStore, KeyRange, RangeOptions, ReadAt, Store, Txn,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

use super::server::{Single, available, connect};

/// An authority and what it signed, in PEM.
struct Pki {
    dir: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { dir: tempfile::tempdir().unwrap(), authority };
        pki.write("ca.crt", &pki.authority.pem());
        pki
    }

    fn issue(&self) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.authority).unwrap().pem(), key.serialize_pem())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// An etcd that shows a certificate and wants one.
    fn etcd(&self) -> Single {
        let (certificate, key) = self.issue();
        let path = |name: &str, text: &str| self.write(name, text).display().to_string();
        let arguments = [
            "--cert-file".to_owned(),
            path("etcd.crt", &certificate),
            "--key-file".to_owned(),
            path("etcd.key", &key),
            "--trusted-ca-file".to_owned(),
            self.dir.path().join("ca.crt").display().to_string(),
            "--client-cert-auth".to_owned(),
        ];
        Single::start_secure(&arguments)
    }
}

async fn works(store: &EtcdStore) {
    let revision = store.commit(Txn::new().put("k".into(), "v")).await.unwrap().revision;
    assert_eq!(store.get(&"k".into(), ReadAt::Exactly(revision)).await.unwrap().value.unwrap().value, "v");
    drop(store.watch(KeyRange::all(), revision).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_show_certificates() {
    if !available() {
        return;
    }
    let pki = Pki::new();
    let etcd = pki.etcd();
    let options = EtcdOptions::parse(&etcd.url("etcds", "")).unwrap();
    let (certificate, key) = pki.issue();
    let identity = EtcdIdentity::from_pem(certificate, key);
    works(&connect(options.clone().authority(pki.authority.pem()).identity(identity.clone())).await).await;

    let outcome = EtcdStore::connect(options.clone()).await;
    assert!(matches!(outcome, Err(Error::Invalid(_))), "without an authority: {outcome:?}");
    let (stranger, no_identity) = tokio::join!(
        EtcdStore::connect(options.clone().authority(Pki::new().authority.pem()).identity(identity)),
        EtcdStore::connect(options.authority(pki.authority.pem())),
    );
    match stranger {
        Err(Error::Unavailable(why)) => assert!(why.contains("certificate"), "{why}"),
        other => panic!("an etcd of another authority is trusted: {other:?}"),
    }
    assert!(matches!(no_identity, Err(Error::Unavailable(_))), "{no_identity:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_a_root_of_their_own_uses_that_and_nothing_else() {
    if !available() {
        return;
    }
    let mut etcd = Single::start();
    drop(connect(etcd.options_at("/elsewhere")).await);
    let encoded = |text: &str| STANDARD.encode(text);
    for (path, body) in [
        ("user/add", r#"{"name":"root","password":"r00t"}"#.to_owned()),
        ("role/add", r#"{"name":"root"}"#.to_owned()),
        ("user/grant", r#"{"user":"root","role":"root"}"#.to_owned()),
        ("user/add", r#"{"name":"ann","password":"s3cret"}"#.to_owned()),
        ("role/add", r#"{"name":"team"}"#.to_owned()),
        (
            "role/grant",
            format!(
                r#"{{"name":"team","perm":{{"permType":"READWRITE","key":"{}","range_end":"{}"}}}}"#,
                encoded("/team/"),
                encoded("/team0")
            ),
        ),
        ("user/grant", r#"{"user":"ann","role":"team"}"#.to_owned()),
        ("enable", "{}".to_owned()),
    ] {
        etcd.ask(&format!("/v3/auth/{path}"), &body);
    }
    let ann = |root: &str| etcd.options_at(root).login("ann", "s3cret");
    let store = connect(ann("/team")).await;
    works(&store).await;
    for options in [ann("/other"), etcd.options_at("/team").login("ann", "wrong"), etcd.options_at("/team")] {
        let outcome = EtcdStore::connect(options).await;
        assert!(matches!(outcome, Err(Error::Backend { .. })), "{outcome:?}");
    }
    // A restart forgets all tokens; a new one is asked for without anybody noticing.
    etcd.restart();
    while store.range(KeyRange::all(), RangeOptions::new()).await.is_err() {}
    works(&store).await;
}
