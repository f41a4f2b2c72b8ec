//! The names under which service accounts come: `system:serviceaccount:NAMESPACE:NAME`.

const PREFIX: &str = "system:serviceaccount:";

/// Namespace and name of the account that a user name stands for; `None` when it stands for none.
pub(crate) fn parse(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// The groups that every account of a namespace is in.
pub(crate) fn groups(namespace: &str) -> [String; 2] {
    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}
