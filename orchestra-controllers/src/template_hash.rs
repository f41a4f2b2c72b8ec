//! Short names for pod templates: the value of `pod-template-hash` and `controller-revision-hash`.
//!
//! Upstream hashes a dump of Go's memory, so its values cannot be had here; ours are as long and of the same letters.
//! They only need to be the same for the same template.

use serde::Serialize;

/// Letters that do not spell words by accident.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a over the JSON of `value` and the number of earlier collisions, in safe letters.
pub(crate) fn hash<T: Serialize>(value: &T, collisions: Option<i32>) -> String {
    let mut state = 0x811c_9dc5_u32;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            state = (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    // Plain data always serialises; were it ever not to, all templates would share a hash and collide, which is
    // handled as any collision is.
    feed(&serde_json::to_vec(value).unwrap_or_default());
    if let Some(collisions) = collisions {
        feed(&collisions.to_le_bytes());
    }
    spell(state)
}

fn spell(number: u32) -> String {
    let letter = |digit: u8| char::from(LETTERS[usize::from(digit) % LETTERS.len()]);
    number.to_string().bytes().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_values_hash_alike_and_collisions_change_the_hash() {
        assert_eq!(hash(&"a", None), hash(&"a", None));
        assert_ne!(hash(&"a", None), hash(&"b", None));
        assert_ne!(hash(&"a", None), hash(&"a", Some(1)));
        assert_ne!(hash(&"a", Some(0)), hash(&"a", Some(1)));
    }

    #[test]
    fn only_letters_that_labels_and_names_take() {
        let hash = hash(&"template", Some(3));
        assert!(!hash.is_empty() && hash.len() <= 10);
        assert!(hash.bytes().all(|b| LETTERS.contains(&b)), "{hash}");
    }
}
