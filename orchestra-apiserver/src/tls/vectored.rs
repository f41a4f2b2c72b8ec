//! AES-GCM for TLS 1.3 by ring, whose code uses the vectors of AVX2.

use std::sync::LazyLock;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::cipher::{
    self, AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
    UnsupportedOperationError, make_tls13_aad,
};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    SupportedCipherSuite, Tls13CipherSuite,
};

static AES_128: LazyLock<Option<Tls13CipherSuite>> =
    LazyLock::new(|| suite(cipher_suite::TLS13_AES_128_GCM_SHA256, &Cipher::Aes128));
static AES_256: LazyLock<Option<Tls13CipherSuite>> =
    LazyLock::new(|| suite(cipher_suite::TLS13_AES_256_GCM_SHA384, &Cipher::Aes256));

/// Whether the processor has the instructions that ring has code for, and not those that aws-lc has better code for.
pub(super) fn is_fastest() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
        && !is_x86_feature_detected!("avx512bw")
}

/// Takes the place of a suite that is here, too.
pub(super) fn replace(theirs: &mut SupportedCipherSuite) {
    let ours = match theirs.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => &*AES_128,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => &*AES_256,
        _ => return,
    };
    if let Some(ours) = ours {
        *theirs = SupportedCipherSuite::Tls13(ours);
    }
}

/// The suite with another cipher.
fn suite(theirs: SupportedCipherSuite, cipher: &'static Cipher) -> Option<Tls13CipherSuite> {
    let theirs = theirs.tls13()?;
    let CipherSuiteCommon { suite, hash_provider, confidentiality_limit } = theirs.common;
    let common = CipherSuiteCommon { suite, hash_provider, confidentiality_limit };
    Some(Tls13CipherSuite {
        common,
        hkdf_provider: theirs.hkdf_provider,
        aead_alg: cipher,
        quic: theirs.quic,
    })
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes256,
}

impl Cipher {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128 => &AES_128_GCM,
            Self::Aes256 => &AES_256_GCM,
        }
    }

    fn keyed(self, key: &AeadKey, iv: Iv) -> Box<Keyed> {
        // rustls asks for the length of keys first.
        let key = UnboundKey::new(self.algorithm(), key.as_ref()).ok().map(LessSafeKey::new);
        Box::new(Keyed { key, iv })
    }
}

impl Tls13AeadAlgorithm for Cipher {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.keyed(&key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.keyed(&key, iv)
    }

    fn key_len(&self) -> usize {
        self.algorithm().key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(match self {
            Self::Aes128 => ConnectionTrafficSecrets::Aes128Gcm { key, iv },
            Self::Aes256 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        })
    }
}

/// One direction of one connection.
struct Keyed {
    /// None when the key was of another length, which encrypts and decrypts nothing.
    key: Option<LessSafeKey>,
    iv: Iv,
}

impl Keyed {
    /// The nonce of a record: none comes twice with one key, as rustls counts records and ends the connection before the count does.
    fn nonce(&self, record: u64) -> Nonce {
        Nonce::assume_unique_for_key(cipher::Nonce::new(&self.iv, record).0)
    }
}

impl MessageEncrypter for Keyed {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        record: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let key = self.key.as_ref().ok_or(Error::EncryptError)?;
        let about = Aad::from(make_tls13_aad(length));
        key.seal_in_place_append_tag(self.nonce(record), about, &mut payload)
            .map_err(|_| Error::EncryptError)?;
        // What a record says of itself outside: RFC 8446, 5.2.
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        let tag = self.key.as_ref().map_or(0, |key| key.algorithm().tag_len());
        length + size_of::<u8>() + tag
    }
}

impl MessageDecrypter for Keyed {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        record: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let key = self.key.as_ref().ok_or(Error::DecryptError)?;
        let payload = &mut message.payload;
        let about = Aad::from(make_tls13_aad(payload.len()));
        let plain =
            key.open_in_place(self.nonce(record), about, payload).map_err(|_| Error::DecryptError)?.len();
        payload.truncate(plain);
        message.into_tls13_unpadded_message()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;

    use rustls::crypto::{CryptoProvider, aws_lc_rs};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
    use rustls_pki_types::{PrivateKeyDer, ServerName};

    use super::*;

    const HOST: &str = "localhost";

    fn theirs(suite: SupportedCipherSuite) -> Arc<CryptoProvider> {
        Arc::new(CryptoProvider { cipher_suites: vec![suite], ..aws_lc_rs::default_provider() })
    }

    fn ours(suite: SupportedCipherSuite) -> Arc<CryptoProvider> {
        let mut provider = CryptoProvider::clone(&theirs(suite));
        provider.cipher_suites.iter_mut().for_each(replace);
        Arc::new(provider)
    }

    /// A client and a server who have shaken hands.
    fn pair(
        client: Arc<CryptoProvider>,
        server: Arc<CryptoProvider>,
    ) -> (ClientConnection, ServerConnection) {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let server = ServerConfig::builder_with_provider(server).with_safe_default_protocol_versions();
        let server = server.unwrap().with_no_client_auth();
        let server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let client = ClientConfig::builder_with_provider(client).with_safe_default_protocol_versions();
        let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(HOST).unwrap();
        let mut client = ClientConnection::new(client.into(), name).unwrap();
        let mut server = ServerConnection::new(server.into()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            carry(&mut client, &mut server);
            carry(&mut server, &mut client);
        }
        (client, server)
    }

    /// Everything that one has to send to the other.
    fn carry<A, B>(
        from: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<A>>,
        to: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<B>>,
    ) {
        let mut sent = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut sent).unwrap();
        }
        let mut sent = sent.as_slice();
        while !sent.is_empty() {
            to.read_tls(&mut sent).unwrap();
            to.process_new_packets().unwrap();
        }
    }

    fn suites() -> [SupportedCipherSuite; 2] {
        [cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_AES_256_GCM_SHA384]
    }

    #[test]
    fn either_side_understands_the_other_cipher_and_both_their_own() {
        for suite in suites() {
            for (client, server) in
                [(ours(suite), theirs(suite)), (theirs(suite), ours(suite)), (ours(suite), ours(suite))]
            {
                let (mut client, mut server) = pair(client, server);
                for length in [1, 15, 16, 17, 1_000, 16_384] {
                    let said: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
                    let mut heard = vec![0; said.len()];
                    client.writer().write_all(&said).unwrap();
                    carry(&mut client, &mut server);
                    server.reader().read_exact(&mut heard).unwrap();
                    assert_eq!(heard, said);
                    server.writer().write_all(&heard).unwrap();
                    carry(&mut server, &mut client);
                    let mut echo = vec![0; said.len()];
                    client.reader().read_exact(&mut echo).unwrap();
                    assert_eq!(echo, said);
                }
            }
        }
    }

    #[test]
    fn a_record_in_which_one_bit_was_turned_is_refused() {
        for at in [0, 7, 40] {
            let [suite, _] = suites();
            let (mut client, mut server) = pair(ours(suite), ours(suite));
            client.writer().write_all(&[7; 24]).unwrap();
            let mut sent = Vec::new();
            client.write_tls(&mut sent).unwrap();
            // Behind the five bytes that a record begins with.
            sent[5 + at] ^= 1;
            server.read_tls(&mut sent.as_slice()).unwrap();
            assert_eq!(server.process_new_packets().unwrap_err(), Error::DecryptError, "{at}");
        }
    }

    #[test]
    fn a_key_of_another_length_encrypts_and_decrypts_nothing() {
        let key = || AeadKey::from([1; 32]);
        let mut sender = Cipher::Aes128.encrypter(key(), Iv::from([2; 12]));
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_2,
            payload: b"said".as_slice().into(),
        };
        assert_eq!(sender.encrypt(message, 0).err(), Some(Error::EncryptError));
        let mut receiver = Cipher::Aes128.decrypter(key(), Iv::from([2; 12]));
        let mut payload = [0; 32];
        let message =
            InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, &mut payload);
        assert_eq!(receiver.decrypt(message, 0).err(), Some(Error::DecryptError));
    }
}
