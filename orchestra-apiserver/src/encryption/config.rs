//! Upstream's `EncryptionConfiguration`: which resources, which keys, and whether plain values are read.
//!
//! Read are the providers `aesgcm`, with keys of 32 bytes, and `identity`. What is written under `aesgcm` is this project's
//! own format: a key from an upstream cluster works here, values copied out of its etcd do not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra_store::encryption::{EncryptionRules, Keyring, Policy, SealingKey};
use serde::Deserialize;

use super::resources::storage_prefix;

const API_VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "v1"];

/// Rules and keys, read from an `EncryptionConfiguration`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncryptionConfig {
    /// Which values are encrypted.
    pub rules: EncryptionRules,
    /// With what; `None` when there is no key, and so nothing is encrypted.
    pub keyring: Option<Keyring>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Configuration {
    api_version: String,
    kind: String,
    resources: Vec<Resources>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    resources: Vec<String>,
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    aesgcm: Option<AesGcm>,
    identity: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AesGcm {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    name: String,
    secret: String,
}

/// Providers that upstream has and this server does not.
const UNSUPPORTED: &[&str] = &["kms", "aescbc", "secretbox"];

impl EncryptionConfig {
    /// Reads a file's text.
    ///
    /// # Errors
    /// One line that says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Whatever the reader says may quote what is wrong, and that may be a key: only the place is told, and a provider's name.
        let read: Configuration = serde_yaml::from_str(text).map_err(|problem| {
            let said = problem.to_string();
            let named = |provider: &&&str| said.contains(&format!("unknown field `{provider}`"));
            let what = match UNSUPPORTED.iter().find(named) {
                Some(provider) => format!("the provider {provider} is not supported"),
                None => "not in the form of an EncryptionConfiguration".to_owned(),
            };
            match problem.location() {
                Some(at) => format!("line {}, column {}: {what}", at.line(), at.column()),
                None => what,
            }
        })?;
        if read.kind != "EncryptionConfiguration" || !API_VERSIONS.contains(&read.api_version.as_str()) {
            let (version, kind) = (&read.api_version, &read.kind);
            return Err(format!("{version} {kind} is no apiserver.config.k8s.io/v1 EncryptionConfiguration"));
        }
        let mut config = Self { rules: EncryptionRules::new(), keyring: None };
        for (nth, entry) in read.resources.iter().enumerate() {
            config.take(entry, &format!("resources[{nth}]"))?;
        }
        Ok(config)
    }

    fn take(&mut self, entry: &Resources, at: &str) -> Result<(), String> {
        let mut policy = None;
        for (nth, provider) in entry.providers.iter().enumerate() {
            let at = format!("{at}.providers[{nth}]");
            let seals = match provider {
                Provider { aesgcm: Some(aesgcm), identity: None } => {
                    self.take_keys(aesgcm, &format!("{at}.aesgcm"))?;
                    true
                }
                Provider { aesgcm: None, identity: Some(Identity {}) } => false,
                _ => return Err(format!("{at}: exactly one of aesgcm and identity is asked for")),
            };
            policy = Some(match (policy, seals) {
                (None, true) => Policy::Sealed,
                (None, false) => Policy::Plain,
                // Plain values are read behind the keys.
                (Some(Policy::Sealed), false) => Policy::Sealing,
                (Some(policy), _) => policy,
            });
        }
        let policy = policy.ok_or_else(|| format!("{at}.providers: at least one is needed"))?;
        if entry.resources.is_empty() {
            return Err(format!("{at}.resources: at least one is needed"));
        }
        for (nth, resource) in entry.resources.iter().enumerate() {
            let prefix = storage_prefix(resource).map_err(|bad| format!("{at}.resources[{nth}]: {bad}"))?;
            if self.rules.iter().any(|(known, _)| known == prefix.as_bytes()) {
                return Err(format!("{at}.resources[{nth}]: {resource:?} is there twice"));
            }
            self.rules = std::mem::take(&mut self.rules).with(prefix, policy);
        }
        Ok(())
    }

    fn take_keys(&mut self, aesgcm: &AesGcm, at: &str) -> Result<(), String> {
        let mut first = None;
        for (nth, key) in aesgcm.keys.iter().enumerate() {
            let at = format!("{at}.keys[{nth}]");
            let bytes = zeroize_on_drop(STANDARD.decode(&key.secret))
                .map_err(|_| format!("{at}.secret: key {:?} is not base64", key.name))?;
            let key = SealingKey::from_bytes(&bytes)
                .map_err(|_| format!("{at}.secret: key {:?} has {} bytes, not 32", key.name, bytes.len()))?;
            first.get_or_insert(key.id());
            self.keyring = Some(match self.keyring.take() {
                None => Keyring::new(key),
                Some(keyring) => keyring.with_older(key),
            });
        }
        match (first, &self.keyring) {
            (None, _) | (_, None) => Err(format!("{at}.keys: at least one is needed")),
            (Some(first), Some(keyring)) if keyring.newest().id() != first => {
                Err(format!("{at}.keys: the first key has to be the same for all resources"))
            }
            _ => Ok(()),
        }
    }
}

fn zeroize_on_drop<E>(bytes: Result<Vec<u8>, E>) -> Result<zeroize::Zeroizing<Vec<u8>>, E> {
    bytes.map(zeroize::Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const SECOND: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    fn config(resources: &str) -> Result<EncryptionConfig, String> {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n{resources}"
        );
        EncryptionConfig::parse(&text)
    }

    fn entry(resources: &str, providers: &str) -> String {
        format!("- resources: [{resources}]\n  providers: [{providers}]\n")
    }

    fn aesgcm(keys: &[&str]) -> String {
        let keys = keys.iter().map(|secret| format!("{{name: k, secret: {secret}}}")).collect::<Vec<_>>();
        format!("{{aesgcm: {{keys: [{}]}}}}", keys.join(", "))
    }

    #[test]
    fn the_first_provider_writes_and_all_read() {
        let keys = aesgcm(&[FIRST, SECOND]);
        let read = config(
            &(entry("secrets", &keys)
                + &entry("configmaps, '*.apps'", &format!("{keys}, {{identity: {{}}}}"))
                + &entry("'*.*'", &format!("{{identity: {{}}}}, {keys}"))),
        )
        .unwrap();
        let rules: Vec<_> = read
            .rules
            .iter()
            .map(|(prefix, policy)| (String::from_utf8_lossy(prefix).into_owned(), policy))
            .collect();
        let expected = [
            ("/registry/core/secrets/", Policy::Sealed),
            ("/registry/core/configmaps/", Policy::Sealing),
            ("/registry/apps/", Policy::Sealing),
            ("/registry/", Policy::Plain),
        ];
        assert_eq!(rules, expected.map(|(prefix, policy)| (prefix.to_owned(), policy)));
        let keyring = read.keyring.unwrap();
        assert_eq!(keyring.keys().count(), 2);
        assert_eq!(keyring.newest().id(), SealingKey::from_bytes(&[1; 32]).unwrap().id());
    }

    #[test]
    fn what_cannot_be_read_is_not_repeated() {
        for text in
            ["keys: [{name: k, secret:AQEBsecret=}]", "kind: [AQEBsecret]", "apiVersion: {AQEBsecret: 1}"]
        {
            let problem = EncryptionConfig::parse(text).unwrap_err();
            assert!(!problem.contains("AQEB"), "{problem}");
            assert!(problem.contains("EncryptionConfiguration"), "{problem}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_key_is_told() {
        let keys = aesgcm(&[FIRST]);
        for (text, complaint) in [
            (
                entry("secrets", &aesgcm(&["AQEB"])),
                "resources[0].providers[0].aesgcm.keys[0].secret: key \"k\" has 3 bytes",
            ),
            (entry("secrets", &aesgcm(&["'!'"])), "is not base64"),
            (entry("secrets", &aesgcm(&[])), "providers[0].aesgcm.keys: at least one"),
            (entry("secrets", ""), "resources[0].providers: at least one"),
            (entry("", &keys), "resources[0].resources: at least one"),
            (entry("Secrets", &keys), "resources[0].resources[0]: \"Secrets\" names no resource"),
            (entry("secrets, secrets", &keys), "is there twice"),
            (entry("secrets", "{}"), "exactly one of"),
            (entry("secrets", &format!("{{kms: {{name: {FIRST}}}}}")), "kms"),
            (entry("a", &keys) + &entry("b", &aesgcm(&[SECOND, FIRST])), "the first key has to be the same"),
        ] {
            let error = config(&text).unwrap_err();
            assert!(error.contains(complaint), "{error}");
            assert!(!error.contains(FIRST) && !error.contains('\n'), "{error}");
        }
        let other = EncryptionConfig::parse("apiVersion: v1\nkind: Pod\nresources: []\n").unwrap_err();
        assert!(other.contains("v1 Pod"), "{other}");
        assert!(config(" []").is_ok_and(|read| read.keyring.is_none()));
    }
}
