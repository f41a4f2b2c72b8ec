//! The names under which service accounts come: `system:serviceaccount:NAMESPACE:NAME`.

use super::User;

const PREFIX: &str = "system:serviceaccount:";

/// Namespace and name of the account that a user name stands for; `None` when it stands for none.
pub(crate) fn parse(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// The name of an account as a user.
pub(crate) fn user_name(namespace: &str, name: &str) -> String {
    format!("{PREFIX}{namespace}:{name}")
}

/// An account as a user.
pub(crate) fn user(namespace: &str, name: &str, uid: &str) -> User {
    let mut user = User::new(user_name(namespace, name), groups(namespace));
    uid.clone_into(&mut user.uid);
    user
}

/// The groups that every account of a namespace is in.
pub(crate) fn groups(namespace: &str) -> [String; 2] {
    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}
