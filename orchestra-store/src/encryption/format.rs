//! The text of a file of keys. Pure; what it may say is told at [`super::file`].

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::extent::Extent;
use super::key::{Keyring, SealingKey, unhex};

const FIRST_LINE: &str = "orchestra encryption keys 1";
const COMMENT: &str = "# Without these keys what they seal is lost. Keep a copy with every snapshot.";

pub(super) fn text(keyring: &Keyring, Extent { sealed, mixed }: &Extent) -> Zeroizing<String> {
    // Long enough from the start, so that no copy of a key stays behind when it grows.
    let prefixes: usize = sealed.iter().chain(mixed).map(|prefix| prefix.len() + 8).sum();
    let room = 512 + (keyring.keys().count() + 1) * 80 + prefixes;
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str(FIRST_LINE);
    text.push('\n');
    text.push_str(COMMENT);
    text.push('\n');
    let keys = keyring.keys().map(|key| ("key ", key)).chain(keyring.next().map(|key| ("next ", key)));
    for (word, key) in keys {
        text.push_str(word);
        push_hex(&mut text, key.bytes());
        text.push('\n');
    }
    for (word, prefixes) in [("sealed ", sealed), ("mixed ", mixed)] {
        for prefix in prefixes {
            text.push_str(word);
            text.push_str(prefix);
            text.push('\n');
        }
    }
    let digest = Sha256::digest(text.as_bytes());
    text.push_str("end ");
    push_hex(&mut text, &digest[..8]);
    text.push('\n');
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

pub(super) fn parse(text: &str) -> Result<(Keyring, Extent), String> {
    if !text.starts_with("orchestra encryption keys ") {
        return Err("is not a file of encryption keys".to_owned());
    }
    if text.lines().next() != Some(FIRST_LINE) {
        return Err("has a format that this version does not know".to_owned());
    }
    let damaged = || "is damaged, or was changed by hand: take the copy that was kept of it".to_owned();
    let (body, end) =
        text.strip_suffix('\n').and_then(|text| text.rsplit_once("\nend ")).ok_or_else(damaged)?;
    let digest = Sha256::new().chain_update(body).chain_update("\n").finalize();
    if unhex::<8>(end).is_none_or(|said| said[..] != digest[..8]) {
        return Err(damaged());
    }
    let key = |digits: &str| {
        let bytes = Zeroizing::new(unhex::<32>(digits).ok_or_else(damaged)?);
        SealingKey::from_bytes(&*bytes).map_err(|error| error.to_string())
    };
    let (mut keyring, mut extent): (Option<Keyring>, _) = (None, Extent::default());
    for line in body.lines().skip(1).filter(|line| !line.starts_with('#')) {
        match line.split_once(' ') {
            Some(("key", digits)) => {
                let key = key(digits)?;
                keyring = Some(match keyring {
                    None => Keyring::new(key),
                    Some(keyring) => keyring.with_older(key),
                });
            }
            // Behind the keys, and there is one at most.
            Some(("next", digits)) => {
                let keys = keyring.filter(|keyring| keyring.next().is_none()).ok_or_else(damaged)?;
                keyring = Some(keys.with_next(key(digits)?));
            }
            Some(("sealed", prefix)) => drop(extent.sealed.insert(prefix.to_owned())),
            Some(("mixed", prefix)) => drop(extent.mixed.insert(prefix.to_owned())),
            _ => return Err(damaged()),
        }
    }
    Ok((keyring.ok_or_else(damaged)?, extent))
}
