//! What names, label keys and other short texts may look like.
//!
//! Each check returns upstream's messages (`k8s.io/apimachinery/pkg/util/validation`), none when the text is fine:
//! clients print them, so the wording counts. The regular expressions in the messages are what the checks mean; the
//! checks themselves are written out, because they run on every write.

/// The longest name of most objects, a DNS-1123 subdomain.
pub const SUBDOMAIN_MAX: usize = 253;
/// The longest label of a DNS name, and the longest label value.
pub const LABEL_MAX: usize = 63;

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const WILDCARD_FORMAT: &str = r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035_FORMAT: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE_FORMAT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const QUALIFIED_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// What is wrong with a text; empty when nothing is.
pub type Messages = Vec<String>;

/// The message for a text that does not match a regular expression, with examples that do.
pub fn regex_message(rule: &str, format: &str, examples: &[&str]) -> String {
    let mut message = format!("{rule} (");
    for (i, example) in examples.iter().enumerate() {
        message.push_str(if i == 0 { "e.g. " } else { " or " });
        message.push_str(&format!("'{example}', "));
    }
    message.push_str(&format!("regex used for validation is '{format}')"));
    message
}

/// The message for a text longer than `max` bytes. Upstream calls them characters in this place.
pub fn too_long_message(max: usize) -> String {
    format!("must be no more than {max} characters")
}

// Label keys and values are checked by another package upstream, which says bytes.
fn too_many_bytes_message(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn range_message(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn label_form(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.copied().is_some_and(lower_or_digit);
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|&b| lower_or_digit(b) || b == b'-')
}

fn subdomain_form(text: &str) -> bool {
    text.split('.').all(label_form)
}

fn qualified_form(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A DNS label after RFC 1123: names of namespaces, containers, volumes.
pub fn is_dns1123_label(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > LABEL_MAX {
        messages.push(too_long_message(LABEL_MAX));
    }
    if !label_form(value) {
        messages.push(if subdomain_form(value) {
            "must not contain dots".to_owned()
        } else {
            regex_message(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_FORMAT,
                &["my-name", "123-abc"],
            )
        });
    }
    messages
}

/// A DNS subdomain after RFC 1123: names of most objects.
pub fn is_dns1123_subdomain(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > SUBDOMAIN_MAX {
        messages.push(too_long_message(SUBDOMAIN_MAX));
    }
    if !subdomain_form(value) {
        messages.push(regex_message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_FORMAT,
            &["example.com"],
        ));
    }
    messages
}

/// A DNS label after RFC 1035, which starts with a letter: names of Services.
pub fn is_dns1035_label(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > LABEL_MAX {
        messages.push(too_long_message(LABEL_MAX));
    }
    if !label_form(value) || !value.as_bytes().first().is_some_and(u8::is_ascii_lowercase) {
        messages.push(regex_message(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            DNS1035_FORMAT,
            &["my-name", "abc-123"],
        ));
    }
    messages
}

/// A subdomain below `*.`: hosts of Ingresses.
pub fn is_wildcard_dns1123_subdomain(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > SUBDOMAIN_MAX {
        messages.push(too_long_message(SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(subdomain_form) {
        messages.push(regex_message(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            WILDCARD_FORMAT,
            &["*.example.com"],
        ));
    }
    messages
}

/// A label or annotation key: a name, with a DNS subdomain and a slash before it if wanted.
pub fn is_qualified_name(value: &str) -> Messages {
    let mut messages = Messages::new();
    let examples = ["MyName", "my.name", "123-abc"];
    let name = match value.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".to_owned());
            } else {
                // This length, unlike that of a whole name, is told in bytes.
                messages.extend(is_dns1123_subdomain(prefix).into_iter().map(|message| {
                    let message = if message.starts_with("must be no") {
                        too_many_bytes_message(SUBDOMAIN_MAX)
                    } else {
                        message
                    };
                    format!("prefix part {message}")
                }));
            }
            name
        }
        _ => {
            let rule = regex_message(QUALIFIED_RULE, QUALIFIED_FORMAT, &examples);
            messages.push(format!(
                "a valid label key {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return messages;
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        messages.push(format!("name part {}", too_many_bytes_message(LABEL_MAX)));
    }
    if !qualified_form(name) {
        messages.push(format!("name part {}", regex_message(QUALIFIED_RULE, QUALIFIED_FORMAT, &examples)));
    }
    messages
}

/// The name of a resource that is not Kubernetes' own, as those are of devices: in a domain, and a name of labels still with
/// `requests.` before it, as quotas name it.
pub fn is_extended_resource(value: &str) -> bool {
    const QUOTA: &str = "requests.";
    let is_own = !value.contains('/') || value.contains("kubernetes.io/");
    !is_own && !value.starts_with(QUOTA) && is_qualified_name(&format!("{QUOTA}{value}")).is_empty()
}

/// The value of a label; may be empty.
pub fn is_label_value(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > LABEL_MAX {
        messages.push(too_many_bytes_message(LABEL_MAX));
    }
    if !value.is_empty() && !qualified_form(value) {
        messages.push(regex_message(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            LABEL_VALUE_FORMAT,
            &["MyValue", "my_value", "12345"],
        ));
    }
    messages
}

/// An identifier of the C language.
pub fn is_c_identifier(value: &str) -> Messages {
    let start = value.as_bytes().first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    if start && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Messages::new();
    }
    vec![regex_message(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// The reason of a condition: words for programs, in the form of identifiers.
pub fn is_condition_reason(value: &str) -> Messages {
    let bytes = value.as_bytes();
    let starts = bytes.first().is_some_and(u8::is_ascii_alphabetic);
    let ends = bytes.last().is_some_and(|b| b.is_ascii_alphanumeric() || (*b == b'_' && bytes.len() > 1));
    if starts && ends && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':')) {
        return Messages::new();
    }
    vec![regex_message(
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
    )]
}

/// The name of an environment variable as a container may declare it: any printable ASCII but `=`.
pub fn is_env_var_name(value: &str) -> Messages {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Messages::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_owned(),
    ]
}

/// The key of an item of a ConfigMap or Secret; it can be a file name.
pub fn is_config_map_key(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > SUBDOMAIN_MAX {
        messages.push(too_long_message(SUBDOMAIN_MAX));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if value.is_empty() || !value.bytes().all(allowed) {
        messages.push(regex_message(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    messages.extend(parent_folder(value).map(str::to_owned));
    messages
}

fn parent_folder(value: &str) -> Option<&'static str> {
    match value {
        "." => Some("must not be '.'"),
        ".." => Some("must not be '..'"),
        _ if value.starts_with("..") => Some("must not start with '..'"),
        _ => None,
    }
}

/// The name of a port: up to 15 lower-case letters, digits and single hyphens, with a letter.
pub fn is_port_name(value: &str) -> Messages {
    let mut messages = Messages::new();
    let mut refuse = |wrong: bool, message: &str| {
        if wrong {
            messages.push(message.to_owned());
        }
    };
    refuse(value.len() > 15, &too_long_message(15));
    refuse(
        value.is_empty() || !value.bytes().all(|b| lower_or_digit(b) || b == b'-'),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    refuse(!value.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    refuse(value.contains("--"), "must not contain consecutive hyphens");
    refuse(value.starts_with('-') || value.ends_with('-'), "must not begin or end with a hyphen");
    messages
}

/// A number of a port, 1 to 65535.
pub fn is_port_number(value: i64) -> Messages {
    is_in_range(value, 1, 65535)
}

/// A number from `low` to `high`, both included.
pub fn is_in_range(value: i64, low: i64, high: i64) -> Messages {
    if (low..=high).contains(&value) { Messages::new() } else { vec![range_message(low, high)] }
}

/// The number of a user or group of the operating system.
pub fn is_user_or_group_id(value: i64) -> Messages {
    is_in_range(value, 0, i64::from(u32::MAX))
}

/// An address of version 4 or 6 as upstream accepts it today: no leading zeros, no IPv4 mapped into IPv6.
pub fn is_ip(value: &str) -> Messages {
    match value.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Ok(_) => Messages::new(),
        Err(_) if has_leading_zeros(value) => vec!["must not have leading 0s".to_owned()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

/// What is wrong with the address of an interface, an address with the length of its network as in `10.9.8.7/24`; `None` for
/// its canonical form.
///
/// As upstream reads them: leading zeros are understood, and told as not canonical.
pub fn of_interface_address(value: &str) -> Option<String> {
    let unreadable = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
    let Some(canonical) = canonical_interface_address(value) else { return Some(unreadable.to_owned()) };
    (value != canonical).then(|| format!("must be in canonical form ({canonical:?})"))
}

fn canonical_interface_address(value: &str) -> Option<String> {
    let (address, length) = value.split_once('/')?;
    if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let length: u32 = length.parse().ok()?;
    if address.contains(':') {
        let ip: std::net::Ipv6Addr = address.parse().ok().filter(|_| length <= 128)?;
        // One of version 4 in the clothes of version 6 is shown as what it is.
        return Some(match ip.to_ipv4_mapped() {
            Some(ip) => format!("{ip}/{}", if length > 32 { length.saturating_sub(96) } else { length }),
            None => format!("{ip}/{length}"),
        });
    }
    let parts: Vec<&str> = address.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if parts.len() != 4 || !parts.iter().all(is_number) || length > 32 {
        return None;
    }
    let numbers: Vec<u8> = parts.iter().map(|part| part.parse()).collect::<Result<_, _>>().ok()?;
    let numbers: Vec<String> = numbers.iter().map(u8::to_string).collect();
    Some(format!("{}/{length}", numbers.join(".")))
}

fn has_leading_zeros(value: &str) -> bool {
    let parts: Vec<&str> = value.split('.').collect();
    parts.len() == 4
        && parts.iter().all(|part| {
            part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u32>().is_ok_and(|number| number <= 255)
        })
}

/// A percentage such as `25%`.
pub fn is_percent(value: &str) -> Messages {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Messages::new();
    }
    vec![regex_message(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// The name of a header of HTTP.
pub fn is_http_header_name(value: &str) -> Messages {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Messages::new();
    }
    vec![regex_message(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// A segment of a path: names of kinds with no stricter rule, such as roles.
pub fn is_path_segment(value: &str) -> Messages {
    if matches!(value, "." | "..") {
        return vec![format!("may not be '{value}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|bad| value.contains(**bad))
        .map(|bad| format!("may not contain '{bad}'"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_have_no_messages() {
        for name in ["a", "my-name", "123-abc", &"a".repeat(63)] {
            assert!(is_dns1123_label(name).is_empty(), "{name}");
        }
        for name in ["a", "a.b-c.d", &format!("{}.b", "a".repeat(200))] {
            assert!(is_dns1123_subdomain(name).is_empty(), "{name}");
        }
        for key in ["app", "App_1.x", "app.kubernetes.io/name", "a/B"] {
            assert!(is_qualified_name(key).is_empty(), "{key}");
        }
        assert!(is_label_value("").is_empty());
        assert!(is_dns1035_label("a1-b").is_empty());
        assert!(is_port_name("http-2").is_empty());
        assert!(is_env_var_name("1 odd.name").is_empty());
        assert!(is_ip("2001:db8::1").is_empty() && is_ip("10.0.0.1").is_empty());
        assert!(is_wildcard_dns1123_subdomain("*.a.b").is_empty());
        assert!(is_config_map_key(".hidden").is_empty());
    }

    #[test]
    fn a_bad_label_is_described_as_upstream_does() {
        assert_eq!(is_dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            is_dns1123_label("My_Name"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(is_dns1123_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
    }

    #[test]
    fn a_bad_subdomain_is_described_as_upstream_does() {
        let expected = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        for name in ["", "A", "-a", "a-", "a..b", ".a", "a_b", "ä"] {
            assert_eq!(is_dns1123_subdomain(name), [expected], "{name}");
        }
    }

    #[test]
    fn a_bad_label_key_is_described_part_by_part() {
        assert_eq!(is_qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(is_qualified_name("a/")[0], "name part must be non-empty");
        assert_eq!(is_qualified_name(&"a".repeat(64)), ["name part must be no more than 63 bytes"]);
        assert!(is_qualified_name("a/b/c")[0].starts_with("a valid label key must consist of alphanumeric"));
        assert!(is_qualified_name("A_/b")[0].starts_with("prefix part a lowercase RFC 1123 subdomain"));
    }

    #[test]
    fn several_wrongs_of_a_port_name_are_all_told() {
        assert_eq!(is_port_name("-").len(), 2);
        assert_eq!(
            is_port_name("12--3"),
            ["must contain at least one letter (a-z)", "must not contain consecutive hyphens"]
        );
        assert_eq!(is_port_number(0), ["must be between 1 and 65535, inclusive"]);
    }

    #[test]
    fn addresses_that_mean_different_things_to_different_programs_are_refused() {
        assert_eq!(is_ip("010.1.1.1"), ["must not have leading 0s"]);
        assert_eq!(is_ip("::ffff:1.2.3.4"), ["must not be an IPv4-mapped IPv6 address"]);
        assert_eq!(is_ip("1.2.3"), ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]);
    }

    #[test]
    fn the_address_of_an_interface_has_one_form() {
        for good in ["10.9.8.7/24", "0.0.0.0/0", "2001:db8::1/64", "::/128"] {
            assert_eq!(of_interface_address(good), None, "{good}");
        }
        for (odd, canonical) in [
            ("010.9.8.7/24", "10.9.8.7/24"),
            ("10.9.8.7/024", "10.9.8.7/24"),
            ("2001:DB8:0::1/64", "2001:db8::1/64"),
            ("::ffff:192.168.0.1/120", "192.168.0.1/24"),
            ("::ffff:192.168.0.1/24", "192.168.0.1/24"),
        ] {
            let why = format!("must be in canonical form ({canonical:?})");
            assert_eq!(of_interface_address(odd), Some(why), "{odd}");
        }
        for bad in [
            "10.9.8.7",
            "10.9.8/24",
            "10.9.8.256/24",
            "10.9.8.7/33",
            "::/129",
            "::1/",
            "/24",
            "a.b.c.d/8",
            "1.2.3.4/+8",
        ] {
            let why = of_interface_address(bad).unwrap();
            assert!(why.starts_with("must be a valid address in CIDR form"), "{bad}: {why}");
        }
    }

    #[test]
    fn a_reason_is_a_word_for_programs() {
        for good in ["R", "Ready", "a_", "A,b:c"] {
            assert!(is_condition_reason(good).is_empty(), "{good}");
        }
        for bad in ["", "1", "_a", "a,", "a:", "a b", "a-b"] {
            assert_eq!(is_condition_reason(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn keys_that_lead_out_of_a_folder_are_refused() {
        assert_eq!(is_config_map_key(".."), ["must not be '..'"]);
        assert_eq!(is_config_map_key("..a"), ["must not start with '..'"]);
        assert_eq!(is_path_segment(".."), ["may not be '..'"]);
        assert_eq!(is_path_segment("a/b%"), ["may not contain '/'", "may not contain '%'"]);
    }
}
