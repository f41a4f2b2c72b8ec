//! The cryptography of connections: that of aws-lc, and for AES the fastest implementation that the processor can run.
//!
//! A third of what a long list cost was its encryption. aws-lc has code for the wide vectors of AVX-512 and code of the time before
//! any wide vectors; ring has code for those that lie between, and takes about half the time of the latter with them
//! (`docs/adr/0002-two-sources-of-aes.md`). Only its cipher is used, for TLS 1.3: the feature `ring` of rustls stays off, because with two
//! providers among its features rustls would know no default one for anybody else in the program.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

#[cfg(target_arch = "x86_64")]
mod vectored;

/// What connections are secured with: as rustls with aws-lc, AES of 128 bits before that of 256, as Go's clients and servers have it.
///
/// The servers and clients of this crate use it by themselves.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(choose()));
    Arc::clone(&PROVIDER)
}

fn choose() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let suites = &mut provider.cipher_suites;
    // Stable, so that all others stay in their order.
    suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    #[cfg(target_arch = "x86_64")]
    if vectored::is_fastest() {
        suites.iter_mut().for_each(vectored::replace);
    }
    provider
}

/// Makes it what all clients and servers of the process use that are not given another, and does nothing where somebody else has
/// already chosen: a choice of the program, made at its start.
///
/// ```
/// orchestra_apiserver::tls::install();
/// orchestra_apiserver::tls::install();
/// ```
pub fn install() {
    let provider = CryptoProvider::clone(&provider());
    // An error is the provider back, as there is one.
    let _refused = provider.install_default();
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;

    use super::*;

    #[test]
    fn what_is_offered_is_what_rustls_offers_and_the_shorter_key_first() {
        let suites = |provider: &CryptoProvider| -> Vec<CipherSuite> {
            provider.cipher_suites.iter().map(rustls::SupportedCipherSuite::suite).collect()
        };
        let (ours, mut theirs) = (suites(&provider()), suites(&aws_lc_rs::default_provider()));
        assert_eq!(ours[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        theirs.retain(|suite| *suite != ours[0]);
        assert_eq!(ours[1..], theirs);
    }
}
